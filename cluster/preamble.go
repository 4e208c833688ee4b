package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/oprc/oprc-pm/storage"
)

// Every connection to the cluster port begins with a preamble that says what
// will be spoken and by whom, and an answer that accepts or refuses it:
//
//	preamble: "OPRC" version(1) protocol(1) length(2) fields
//	          fields: cluster id, server id, wanted server id, own address
//	answer:   "OPRC" version(1) status(1)  length(2) fields
//	          fields: cluster id, server id, message
//
// Each field is a length (2) and bytes. Numbers are big endian. Fields may be
// added at the end; unknown ones are ignored.
const (
	preambleMagic   = "OPRC"
	wireVersion     = storage.WireFormat
	preambleHeader  = 8
	maxPreambleSize = 2048
)

// protocol is what a connection carries.
type protocol uint8

const (
	protocolRaft protocol = 1
	protocolRPC  protocol = 2
)

func (p protocol) String() string {
	switch p {
	case protocolRaft:
		return "raft"
	case protocolRPC:
		return "rpc"
	}
	return fmt.Sprintf("protocol %d", uint8(p))
}

const (
	statusAccepted uint8 = 0
	statusRefused  uint8 = 1
)

// preamble is what the dialer says of itself.
type preamble struct {
	protocol  protocol
	clusterID string
	serverID  string
	// wantID is the server that the dialer means to reach; addresses move
	// between servers.
	wantID string
	// addr is where the dialer can be dialled.
	addr string
}

// answer is what the accepting node says of itself.
type answer struct {
	status    uint8
	clusterID string
	serverID  string
	message   string
}

func appendHeader(kind uint8, fields ...string) []byte {
	b := append([]byte(preambleMagic), wireVersion, kind, 0, 0)
	for _, f := range fields {
		f = f[:min(len(f), 400)]
		b = binary.BigEndian.AppendUint16(b, uint16(len(f)))
		b = append(b, f...)
	}
	binary.BigEndian.PutUint16(b[6:], uint16(len(b)-preambleHeader))
	return b
}

func (p preamble) encode() []byte {
	return appendHeader(uint8(p.protocol), p.clusterID, p.serverID, p.wantID, p.addr)
}

func (a answer) encode() []byte {
	return appendHeader(a.status, a.clusterID, a.serverID, a.message)
}

var errNotOurs = errors.New("peer does not speak this protocol")

// readHeader reads a preamble or an answer. It reads not one byte more.
func readHeader(r io.Reader, want int) (kind uint8, fields []string, err error) {
	var head [preambleHeader]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, fmt.Errorf("read preamble: %w", err)
	}
	if string(head[:4]) != preambleMagic {
		return 0, nil, errNotOurs
	}
	if head[4] != wireVersion {
		return 0, nil, fmt.Errorf("peer speaks wire version %d, this node %d", head[4], wireVersion)
	}
	size := int(binary.BigEndian.Uint16(head[6:]))
	if size > maxPreambleSize {
		return 0, nil, fmt.Errorf("preamble of %d bytes is too long", size)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		return 0, nil, fmt.Errorf("read preamble: %w", err)
	}
	for len(fields) < want {
		if len(body) < 2 {
			return 0, nil, errNotOurs
		}
		n := int(binary.BigEndian.Uint16(body))
		if len(body) < 2+n {
			return 0, nil, errNotOurs
		}
		fields = append(fields, strings.ToValidUTF8(string(body[2:2+n]), "?"))
		body = body[2+n:]
	}
	return head[5], fields, nil
}

func readPreamble(r io.Reader) (preamble, error) {
	kind, f, err := readHeader(r, 4)
	if err != nil {
		return preamble{}, err
	}
	return preamble{protocol: protocol(kind), clusterID: f[0], serverID: f[1], wantID: f[2], addr: f[3]}, nil
}

func readAnswer(r io.Reader) (answer, error) {
	status, f, err := readHeader(r, 3)
	if err != nil {
		return answer{}, err
	}
	return answer{status: status, clusterID: f[0], serverID: f[1], message: f[2]}, nil
}
