package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"
)

// handshakeTimeout bounds the exchange of preamble and answer.
const handshakeTimeout = 5 * time.Second

// mux shares the cluster port between Raft and node-to-node calls. Every
// connection of the node, in or out, is made and tracked here.
type mux struct {
	id       *identity
	book     *addrBook
	network  Network
	metrics  *nodeMetrics
	logger   *slog.Logger
	quiet    *throttle
	maxConns int
	// admit says why a connection from a cluster cannot be taken, or nil. It may
	// block for the time of a disk write.
	admit func(p preamble) error
	// serve takes over accepted connections, by protocol; it must not block
	// beyond the life of the connection.
	serve map[protocol]func(c net.Conn, peer string)

	listener net.Listener
	wg       sync.WaitGroup
	ctx      context.Context
	cancel   context.CancelFunc

	mu     sync.Mutex // guards conns, closed
	conns  map[*muxConn]struct{}
	closed bool
}

// muxConn leaves the mux's books when it is closed.
type muxConn struct {
	net.Conn
	mux      *mux
	incoming bool
	once     sync.Once
	err      error
}

// Read reports the end of the stream when this node itself closed it: for the
// reader that is no error.
func (c *muxConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil && errors.Is(err, net.ErrClosed) {
		err = io.EOF
	}
	return n, err
}

func (c *muxConn) Close() error {
	c.once.Do(func() {
		c.mux.mu.Lock()
		delete(c.mux.conns, c)
		c.mux.mu.Unlock()
		c.err = c.Conn.Close()
	})
	return c.err
}

// listen opens the port; run accepts.
func (m *mux) listen(addr string) error {
	l, err := m.network.Listen(addr)
	if err != nil {
		return fmt.Errorf("listen on cluster address: %w", err)
	}
	m.listener = l
	m.conns = make(map[*muxConn]struct{})
	m.ctx, m.cancel = context.WithCancel(context.Background())
	return nil
}

// start begins to accept.
func (m *mux) start() { m.wg.Go(m.run) }

// run accepts connections until the mux closes.
func (m *mux) run() {
	delay := 5 * time.Millisecond
	for {
		c, err := m.listener.Accept()
		if err != nil {
			if m.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			m.logger.Warn("accept failed", "err", err)
			select {
			case <-time.After(delay):
			case <-m.ctx.Done():
				return
			}
			delay = min(2*delay, time.Second)
			continue
		}
		delay = 5 * time.Millisecond
		tracked, err := m.track(c, true)
		if err != nil {
			m.metrics.connsRefused.Inc()
			if m.quiet.allow("full") {
				m.logger.Warn("connection refused", "err", err)
			}
			c.Close()
			continue
		}
		m.wg.Go(func() { m.accept(tracked) })
	}
}

// track enters c into the books. Only incoming connections are bounded: the
// number of outgoing ones follows from the number of peers.
func (m *mux) track(c net.Conn, incoming bool) (*muxConn, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, ErrClosed
	}
	if incoming && len(m.conns) >= m.maxConns {
		return nil, fmt.Errorf("%d connections are open, the limit is %d", len(m.conns), m.maxConns)
	}
	t := &muxConn{Conn: c, mux: m, incoming: incoming}
	m.conns[t] = struct{}{}
	return t, nil
}

// accept answers the preamble and hands the connection on.
func (m *mux) accept(c *muxConn) {
	c.SetDeadline(time.Now().Add(handshakeTimeout))
	p, err := readPreamble(c)
	if err == nil {
		err = m.check(p)
	}
	reply := answer{clusterID: m.id.clusterID(), serverID: m.id.serverID}
	if err != nil {
		reply.status, reply.message = statusRefused, err.Error()
	}
	_, werr := c.Write(reply.encode())
	if err != nil || werr != nil {
		c.Close()
		m.metrics.connsRefused.Inc()
		if err != nil && m.quiet.allow(p.serverID+p.clusterID) {
			m.logger.Warn("connection refused", "peer", p.serverID, "peer_cluster", p.clusterID,
				"remote", c.RemoteAddr().String(), "err", err)
		}
		return
	}
	c.SetDeadline(time.Time{})
	m.metrics.connsAccepted.Inc()
	m.book.learn(p.serverID, p.addr)
	m.serve[p.protocol](c, p.serverID)
}

// check decides on a preamble.
func (m *mux) check(p preamble) error {
	own := m.id.clusterID()
	switch {
	case m.serve[p.protocol] == nil:
		return fmt.Errorf("%s is not spoken here", p.protocol)
	case len(p.serverID) != 32:
		return fmt.Errorf("server id %q must have 32 hexadecimal digits", p.serverID)
	case p.serverID == m.id.serverID:
		return fmt.Errorf("server %s called itself", p.serverID)
	case p.wantID != "" && p.wantID != m.id.serverID:
		return fmt.Errorf("this is server %s, not %s", m.id.serverID, p.wantID)
	case own != "" && p.clusterID != "" && own != p.clusterID:
		return fmt.Errorf("this node belongs to cluster %s, the caller to cluster %s", own, p.clusterID)
	}
	return m.admit(p)
}

// dial opens a connection to the server id at addr and completes the preamble.
// An empty id accepts whoever answers.
func (m *mux) dial(ctx context.Context, proto protocol, id, addr string) (net.Conn, error) {
	m.metrics.dials.Inc()
	c, err := m.dialPeer(ctx, proto, id, addr)
	if err != nil {
		m.metrics.dialErrors.Inc()
		return nil, fmt.Errorf("connect to %s (%s): %w", id, addr, err)
	}
	return c, nil
}

func (m *mux) dialPeer(ctx context.Context, proto protocol, id, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	stop := context.AfterFunc(m.ctx, cancel)
	defer stop()
	raw, err := m.network.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	c, err := m.track(raw, false)
	if err != nil {
		raw.Close()
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	c.SetDeadline(deadline)
	hello := preamble{protocol: proto, clusterID: m.id.clusterID(), serverID: m.id.serverID, wantID: id, addr: m.id.advertise}
	if _, err := c.Write(hello.encode()); err != nil {
		c.Close()
		return nil, err
	}
	a, err := readAnswer(c)
	if err == nil {
		err = m.judge(a, id)
	}
	if err != nil {
		c.Close()
		if a.serverID != "" && m.quiet.allow("dial"+id) {
			m.logger.Warn("connection was refused", "peer", a.serverID, "peer_cluster", a.clusterID,
				"cluster", m.id.clusterID(), "addr", addr, "err", err)
		}
		return nil, err
	}
	c.SetDeadline(time.Time{})
	return c, nil
}

// judge decides on the answer to a dial.
func (m *mux) judge(a answer, id string) error {
	own := m.id.clusterID()
	switch {
	case a.status != statusAccepted:
		return fmt.Errorf("refused: %s", a.message)
	case id != "" && a.serverID != id:
		return fmt.Errorf("server %s answers at this address", a.serverID)
	case own != "" && a.clusterID != "" && own != a.clusterID:
		return fmt.Errorf("peer belongs to cluster %s, this node to cluster %s", a.clusterID, own)
	}
	return nil
}

func (m *mux) open() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.conns)
}

// shut stops accepting, ends dials and closes every connection, so that nothing
// waits for a peer any more. wait joins.
func (m *mux) shut() {
	m.mu.Lock()
	m.closed = true
	conns := make([]*muxConn, 0, len(m.conns))
	for c := range m.conns {
		conns = append(conns, c)
	}
	m.mu.Unlock()
	m.cancel()
	m.listener.Close()
	for _, c := range conns {
		c.Close()
	}
}

func (m *mux) wait() { m.wg.Wait() }

// splitPeer undoes joinPeer.
func splitPeer(s string) (id, addr string) {
	id, addr, found := strings.Cut(s, "@")
	if !found {
		return "", s
	}
	return id, addr
}

// joinPeer names a server and its address in one string: the Raft library hands
// only an address to the stream layer, which must know whom it means to reach.
func joinPeer(id, addr string) string { return id + "@" + addr }
