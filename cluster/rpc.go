package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/oprc/oprc-pm/model"
)

// Node-to-node calls. A frame is
//
//	length(4) of what follows, request id(8), type(1), payload
//
// in big endian. The caller chooses the request id; the answer repeats it, and
// answers come in any order. An unknown type is answered with an error, so a
// newer node can find out what an older one cannot do.
type frameType uint8

const (
	// framePropose: an encoded proposal -> an encoded storage.Result.
	framePropose frameType = 1
	// frameReadIndex: one byte, 1 when a lease is enough -> index(8).
	frameReadIndex frameType = 2
	// frameStatus: nothing -> JSON of peerStatus.
	frameStatus frameType = 3
	// framePromise: JSON of promiseRequest -> JSON of promiseAnswer.
	framePromise frameType = 4
	// frameConfirm: term(8) -> term(8), nanoseconds since contact with the
	// leader of that term (8).
	frameConfirm frameType = 5
	// frameTransfer: the server id to transfer to, or nothing -> nothing.
	frameTransfer frameType = 6
	// frameHealth: nothing -> JSON of storage.ClusterState, from the leader.
	frameHealth frameType = 7
	// frameDepart: JSON of departRequest -> JSON of adminAnswer, from the leader.
	frameDepart frameType = 8
	// frameLeave: one byte, 1 to force -> JSON of adminAnswer.
	frameLeave frameType = 9
	// frameRestore: an encoded proposal of a CommitRestore -> an encoded storage.Result.
	frameRestore frameType = 10

	frameOK    frameType = 0x80
	frameError frameType = 0x81
)

const (
	frameHeader = 13
	// frameSlack is room beyond the largest command, for results with problems.
	frameSlack = 64 << 10
)

// frame is one message. payload belongs to its receiver.
type frame struct {
	id      uint64
	kind    frameType
	payload []byte
}

func appendFrame(b []byte, f frame) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(frameHeader-4+len(f.payload)))
	b = binary.BigEndian.AppendUint64(b, f.id)
	b = append(b, byte(f.kind))
	return append(b, f.payload...)
}

// putLength corrects the length of an encoded header whose payload of n bytes is
// written separately.
func putLength(head []byte, n int) {
	binary.BigEndian.PutUint32(head, uint32(frameHeader-4+n))
}

// readFrame reads one frame of at most limit payload bytes. Any error ends the
// connection: there is no way back into step.
func readFrame(r io.Reader, limit int) (frame, error) {
	var head [frameHeader]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return frame{}, err
	}
	size := int64(binary.BigEndian.Uint32(head[:])) - (frameHeader - 4)
	if size < 0 || size > int64(limit) {
		return frame{}, fmt.Errorf("frame of %d bytes is beyond the limit of %d", size, limit)
	}
	f := frame{id: binary.BigEndian.Uint64(head[4:]), kind: frameType(head[12])}
	if size == 0 {
		return f, nil
	}
	f.payload = make([]byte, size)
	if _, err := io.ReadFull(r, f.payload); err != nil {
		return frame{}, err
	}
	return f, nil
}

// remoteCode classifies an error answer.
type remoteCode uint8

const (
	// remoteNotLeader: nothing was done; the answer names the leader if known.
	remoteNotLeader remoteCode = 1
	// remoteBusy: nothing was done; try again in a moment.
	remoteBusy remoteCode = 2
	// remoteMaybe: the command may have been proposed.
	remoteMaybe remoteCode = 3
	// remoteInvalid: the request cannot be understood or is not allowed.
	remoteInvalid remoteCode = 4
	// remoteTooLarge: the command exceeds the cap of the leader.
	remoteTooLarge remoteCode = 5
	// remoteUnknownType: the peer does not know this kind of call.
	remoteUnknownType remoteCode = 6
	// remoteFailed: anything else; nothing was proposed.
	remoteFailed remoteCode = 7
	// remoteDiskFull: nothing was done; there is no space for writes.
	remoteDiskFull remoteCode = 8
	// remoteRefused: nothing was done; what must hold before does not.
	remoteRefused remoteCode = 9
)

// remoteError is an error answer.
type remoteError struct {
	code remoteCode
	// leader is the server id of the leader as the peer knows it.
	leader  string
	message string
}

func (e *remoteError) Error() string { return e.message }

func remoteErrorf(code remoteCode, format string, args ...any) *remoteError {
	return &remoteError{code: code, message: fmt.Sprintf(format, args...)}
}

// encode: code(1), length of leader(1), leader, message.
func (e *remoteError) encode() []byte {
	leader := e.leader[:min(len(e.leader), 255)]
	b := append([]byte{byte(e.code), byte(len(leader))}, leader...)
	return append(b, e.message[:min(len(e.message), 4096)]...)
}

var errBadFrame = errors.New("malformed answer")

func decodeRemoteError(b []byte) error {
	if len(b) < 2 || len(b) < 2+int(b[1]) {
		return errBadFrame
	}
	n := 2 + int(b[1])
	return &remoteError{code: remoteCode(b[0]), leader: string(b[2:n]), message: string(b[n:])}
}

// toRemote turns the error of an attempt on this node into an answer.
func toRemote(err error) *remoteError {
	var remote *remoteError
	var attempt *attemptError
	switch {
	case errors.As(err, &remote):
		return remote
	case errors.As(err, &attempt) && attempt.proposed:
		return remoteErrorf(remoteMaybe, "%v", err)
	case errors.Is(err, errBusy):
		return remoteErrorf(remoteBusy, "%v", err)
	case errors.As(err, &attempt):
		return &remoteError{code: remoteNotLeader, leader: attempt.hint, message: err.Error()}
	case model.CodeOf(err) == model.CodeTooLarge:
		return remoteErrorf(remoteTooLarge, "%v", err)
	case model.CodeOf(err) == model.CodeDiskFull:
		return remoteErrorf(remoteDiskFull, "%v", err)
	case model.CodeOf(err) == model.CodeFailedPrecondition:
		return remoteErrorf(remoteRefused, "%v", err)
	default:
		return remoteErrorf(remoteFailed, "%v", err)
	}
}

// fromRemote is toRemote's inverse on the forwarding node, for proposals.
func fromRemote(e *remoteError) error {
	switch e.code {
	case remoteMaybe:
		return maybeProposed(e)
	case remoteTooLarge:
		return &model.Error{Code: model.CodeTooLarge, Message: e.message}
	case remoteDiskFull:
		return &model.Error{Code: model.CodeDiskFull, Message: e.message}
	case remoteRefused:
		return &model.Error{Code: model.CodeFailedPrecondition, Message: e.message}
	case remoteInvalid, remoteUnknownType:
		return &model.Error{Code: model.CodeInternal, Message: "the leader does not understand this node: " + e.message}
	default:
		return &attemptError{err: e, hint: e.leader}
	}
}
