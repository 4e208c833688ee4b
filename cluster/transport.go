package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// raftStream is the Raft share of the mux, as the library wants it.
type raftStream struct {
	mux      *mux
	incoming chan net.Conn
	done     chan struct{}
	once     sync.Once
	// notBefore is when the first peer is heard. A voter that just started does
	// not know that it may have promised its ear to a leader a moment ago, and
	// would elect another one within the first one's lease.
	notBefore time.Time
	// muted: nothing leaves this node, see runWatchdog.
	muted atomic.Bool
}

var _ raft.StreamLayer = (*raftStream)(nil)

func newRaftStream(m *mux) *raftStream {
	return &raftStream{mux: m, incoming: make(chan net.Conn), done: make(chan struct{})}
}

// serve hands an accepted connection to the library, when it is time.
func (s *raftStream) serve(c net.Conn, _ string) {
	if wait := time.Until(s.notBefore); wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-s.done:
		}
	}
	select {
	case s.incoming <- c:
	case <-s.done:
		c.Close()
	}
}

func (s *raftStream) Accept() (net.Conn, error) {
	select {
	case c := <-s.incoming:
		return c, nil
	case <-s.done:
		return nil, net.ErrClosed
	}
}

func (s *raftStream) Close() error {
	s.once.Do(func() { close(s.done) })
	return nil
}

// Addr is the advertised address: it is what the library writes into its
// messages as its own.
func (s *raftStream) Addr() net.Addr { return streamAddr(s.mux.id.advertise) }

func (s *raftStream) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(s.mux.ctx, timeout)
	defer cancel()
	// Without an id whoever answers there would be taken for the wanted server,
	// and its acknowledgements for that server's.
	id, addr := splitPeer(string(address))
	if id == "" || addr == "" {
		return nil, errors.New("no address is known")
	}
	if s.muted.Load() {
		return nil, errMuted
	}
	c, err := s.mux.dial(ctx, protocolRaft, id, addr)
	if err != nil {
		return nil, err
	}
	return &mutableConn{c, &s.muted}, nil
}

var errMuted = errors.New("this node is silent because its disk has stalled")

// mutableConn is a connection to a peer that can be silenced.
type mutableConn struct {
	net.Conn
	muted *atomic.Bool
}

func (c *mutableConn) Write(b []byte) (int, error) {
	if c.muted.Load() {
		return 0, errMuted
	}
	return c.Conn.Write(b)
}

type streamAddr string

func (a streamAddr) Network() string { return "tcp" }
func (a streamAddr) String() string  { return string(a) }

// addressProvider tells Raft where a server is now, whatever its configuration
// says. The address carries the server id, see joinPeer.
type addressProvider struct{ node *Node }

func (p addressProvider) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	if string(id) == p.node.id.serverID {
		return raft.ServerAddress(p.node.id.advertise), nil
	}
	addr := p.node.peerAddr(string(id))
	if addr == "" {
		return "", fmt.Errorf("no address is known of server %s", id)
	}
	return raft.ServerAddress(joinPeer(string(id), addr)), nil
}

// peerAddr is the newest address known of a server, or "".
func (n *Node) peerAddr(id string) string {
	if addr := n.book.lookup(id); addr != "" {
		return addr
	}
	r := n.raftRef.Load()
	if r == nil {
		return ""
	}
	for _, s := range r.GetConfiguration().Configuration().Servers {
		if string(s.ID) == id {
			_, addr := splitPeer(string(s.Address))
			return addr
		}
	}
	return ""
}
