package testcluster

import (
	"context"
	"errors"
	"net"
	"sync"
)

// fabric is the network between the nodes. It knows who listens where and who
// dialled whom, so it can cut them apart.
type fabric struct {
	mu       sync.Mutex // guards the fields below
	owners   map[string]int
	isolated map[int]bool
	side     map[int]bool // the cut-off side of a partition
	conns    map[*fabricConn]struct{}
	// gossips are the owners of gossip addresses, mute the nodes whose gossip is
	// cut off from everybody.
	gossips map[string]int
	mute    map[int]bool
}

func newFabric() *fabric {
	return &fabric{owners: make(map[string]int), isolated: make(map[int]bool), conns: make(map[*fabricConn]struct{}),
		gossips: make(map[string]int)}
}

// of is the network as node i sees it.
func (f *fabric) of(i int) *nodeNetwork { return &nodeNetwork{fabric: f, node: i} }

var errCut = errors.New("the network is cut here")

// cut reports whether nothing may pass between a and b. mu must be held.
func (f *fabric) cut(a, b int) bool {
	return f.isolated[a] || f.isolated[b] || f.side[a] != f.side[b]
}

// sever closes what may no longer pass.
func (f *fabric) sever() {
	f.mu.Lock()
	var doomed []*fabricConn
	for c := range f.conns {
		if f.cut(c.from, c.to) {
			doomed = append(doomed, c)
		}
	}
	f.mu.Unlock()
	for _, c := range doomed {
		c.Close()
	}
}

func (f *fabric) isolate(i int) {
	f.mu.Lock()
	f.isolated[i] = true
	f.mu.Unlock()
	f.sever()
}

func (f *fabric) rejoin(i int) {
	f.mu.Lock()
	delete(f.isolated, i)
	f.mu.Unlock()
}

func (f *fabric) partition(ids []int) {
	f.mu.Lock()
	f.side = make(map[int]bool)
	for _, i := range ids {
		f.side[i] = true
	}
	f.mu.Unlock()
	f.sever()
}

func (f *fabric) heal() {
	f.mu.Lock()
	f.side = nil
	f.mu.Unlock()
}

// nodeNetwork implements cluster.Network for one node.
type nodeNetwork struct {
	fabric *fabric
	node   int
}

func (n *nodeNetwork) Listen(addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	n.fabric.mu.Lock()
	n.fabric.owners[l.Addr().String()] = n.node
	n.fabric.mu.Unlock()
	return l, nil
}

func (n *nodeNetwork) Dial(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	raw, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	f := n.fabric
	f.mu.Lock()
	to, known := f.owners[addr]
	if !known { // gossip
		passes := f.gossipPasses(n.node, addr)
		f.mu.Unlock()
		if !passes {
			raw.Close()
			return nil, errCut
		}
		return raw, nil
	}
	c := &fabricConn{Conn: raw, fabric: f, from: n.node, to: to}
	cut := f.cut(n.node, to)
	if !cut {
		f.conns[c] = struct{}{}
	}
	f.mu.Unlock()
	if cut {
		raw.Close()
		return nil, errCut
	}
	return c, nil
}

// Passes implements the filter of gossip packets.
func (n *nodeNetwork) Passes(addr string) bool {
	n.fabric.mu.Lock()
	defer n.fabric.mu.Unlock()
	return n.fabric.gossipPasses(n.node, addr)
}

// gossipPasses reports whether node i may gossip with addr. mu must be held.
func (f *fabric) gossipPasses(i int, addr string) bool {
	to, known := f.gossips[addr]
	return !known || i == to || !f.mute[i] && !f.mute[to]
}

func (f *fabric) setMute(ids []int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mute = make(map[int]bool)
	for _, i := range ids {
		f.mute[i] = true
	}
}

func (f *fabric) gossipsAt(addr string, i int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gossips[addr] = i
}

type fabricConn struct {
	net.Conn
	fabric   *fabric
	from, to int
}

func (c *fabricConn) Close() error {
	c.fabric.mu.Lock()
	delete(c.fabric.conns, c)
	c.fabric.mu.Unlock()
	return c.Conn.Close()
}
