package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"maps"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// memberMeta is what a node tells of itself through gossip. It must stay within
// memberlist's limit of 512 bytes.
type memberMeta struct {
	Name        string `json:"n"`
	ClusterID   string `json:"c,omitempty"`
	ClusterAddr string `json:"a"`
	HTTPAddr    string `json:"h,omitempty"`
	Expect      int    `json:"e"`
	Version     string `json:"v,omitempty"`
	// Features is what the node can decode, see features.go; 0: it did not tell.
	Features int `json:"f,omitempty"`
	// HasState: the node holds Raft state, so it must not found a cluster.
	HasState bool `json:"s,omitempty"`
	// Leaving: the node asked to be removed and must not be added again.
	Leaving bool `json:"l,omitempty"`
}

// gossip finds the other nodes and tells whether they seem alive. It is a hint:
// what it says never removes a server, and adds one only by way of a non-voter
// that catches up first.
type gossip struct {
	self    string
	seeds   []string
	timings gossipTimings
	book    *addrBook // addresses by server id
	names   *addrBook // names by server id
	levels  *addrBook // features by server id
	logger  *slog.Logger
	// changed is poked when members come, go or change.
	changed func()

	list *memberlist.Memberlist
	addr string // where others can join through this node
	ctx  context.Context
	stop context.CancelFunc

	mu      sync.RWMutex // guards meta, encoded, members
	meta    memberMeta
	encoded []byte
	members map[string]memberMeta // alive, without this node
	update  chan struct{}
}

// gossipTimings are the knobs that tests turn.
type gossipTimings struct {
	rejoin, reclaim, leave time.Duration
	fast                   bool
}

func timingsOf(fast bool) gossipTimings {
	if fast {
		return gossipTimings{rejoin: 50 * time.Millisecond, reclaim: 50 * time.Millisecond, leave: 200 * time.Millisecond, fast: true}
	}
	return gossipTimings{rejoin: 5 * time.Second, reclaim: time.Second, leave: 2 * time.Second}
}

// open joins the gossip with this node's meta; run keeps it joined.
func (g *gossip) open(cfg Config, network Network, meta memberMeta) error {
	g.members = make(map[string]memberMeta)
	g.update = make(chan struct{}, 1)
	g.ctx, g.stop = context.WithCancel(context.Background())
	if err := g.setMeta(meta); err != nil {
		return err
	}
	mc, err := g.listConfig(cfg, network)
	if err != nil {
		return err
	}
	g.list, err = memberlist.Create(mc)
	if err != nil {
		return errors.Join(fmt.Errorf("start gossip: %w", err), mc.Transport.Shutdown())
	}
	return nil
}

func (g *gossip) listConfig(cfg Config, network Network) (*memberlist.Config, error) {
	host, portText, err := net.SplitHostPort(cfg.GossipAddr)
	if err != nil {
		return nil, fmt.Errorf("parse gossip address: %w", err)
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return nil, fmt.Errorf("parse gossip address: %w", err)
	}
	bind := resolveIP(g.ctx, host)
	if bind == "" {
		bind = "0.0.0.0"
	}
	mc := memberlist.DefaultLANConfig()
	mc.Name = g.self
	mc.Delegate = g
	mc.Events = g
	mc.BindAddr = bind
	mc.TCPTimeout = 3 * time.Second
	mc.DeadNodeReclaimTime = g.timings.reclaim
	mc.MsgpackUseNewTimeFormat = true
	mc.Logger = log.New(&lineWriter{out: g.logger}, "", 0)
	if g.timings.fast {
		mc.GossipInterval = 10 * time.Millisecond
		mc.ProbeInterval = 100 * time.Millisecond
		mc.ProbeTimeout = 50 * time.Millisecond
		mc.PushPullInterval = 500 * time.Millisecond
		mc.SuspicionMult = 2
		mc.TCPTimeout = time.Second
		// Whoever is dead is soon not even told so.
		mc.GossipToTheDeadTime = 100 * time.Millisecond
	}
	transport, err := openGossipTransport(g.ctx, bind, port, network, mc.Logger)
	if err != nil {
		return nil, fmt.Errorf("listen on gossip address: %w", err)
	}
	mc.Transport = transport
	mc.BindPort = transport.GetAutoBindPort()
	mc.AdvertisePort = mc.BindPort
	if cfg.AdvertiseHost != "" {
		mc.AdvertiseAddr = resolveIP(g.ctx, cfg.AdvertiseHost)
	} else if ip := net.ParseIP(bind); ip != nil && ip.IsUnspecified() {
		mc.AdvertiseAddr = privateIP()
	}
	ip, final, err := transport.FinalAdvertiseAddr(mc.AdvertiseAddr, mc.AdvertisePort)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("find gossip address: %w", err), transport.Shutdown())
	}
	g.addr = net.JoinHostPort(ip.String(), strconv.Itoa(final))
	return mc, nil
}

// resolveIP returns an address of host, or "" when there is none now: gossip
// itself speaks only addresses.
func resolveIP(ctx context.Context, host string) string {
	if host == "" || net.ParseIP(host) != nil {
		return host
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	ips, err := net.DefaultResolver.LookupIP(ctx, "ip4", host)
	if err != nil || len(ips) == 0 {
		return ""
	}
	return ips[0].String()
}

// run joins the seeds at once and whenever no or few members are known, and
// spreads changes of this node's meta, until ctx ends.
func (g *gossip) run(ctx context.Context, wanted func() int) {
	g.join()
	tick := time.NewTicker(g.timings.rejoin)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			// A healed partition is not found by gossip once both sides have
			// forgotten each other; only the seeds lead back.
			if len(g.alive())+1 < wanted() {
				g.join()
			}
		case <-g.update:
			if err := g.list.UpdateNode(g.timings.leave); err != nil {
				g.logger.Debug("gossip of changed metadata was not confirmed", "err", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

func (g *gossip) join() {
	if len(g.seeds) == 0 {
		return
	}
	if _, err := g.list.Join(g.seeds); err != nil {
		g.logger.Debug("no gossip seed was reached", "err", err)
	}
}

// leave says goodbye, so that the others do not wait for this node to be
// suspected.
func (g *gossip) leave() {
	if err := g.list.Leave(g.timings.leave); err != nil {
		g.logger.Debug("gossip leave was not confirmed", "err", err)
	}
}

// close ends gossip. The library's own goroutines end soon after.
func (g *gossip) close() {
	if g.list == nil {
		return
	}
	g.stop()
	if err := g.list.Shutdown(); err != nil {
		g.logger.Warn("gossip did not shut down cleanly", "err", err)
	}
}

// setMeta changes what this node tells of itself.
func (g *gossip) setMeta(meta memberMeta) error {
	encoded, err := json.Marshal(meta)
	if err != nil {
		return fmt.Errorf("encode gossip metadata: %w", err)
	}
	if len(encoded) > memberlist.MetaMaxSize {
		return fmt.Errorf("node name, version and addresses are too long for gossip: %d bytes, the limit is %d",
			len(encoded), memberlist.MetaMaxSize)
	}
	g.mu.Lock()
	changed := g.meta != meta
	g.meta, g.encoded = meta, encoded
	g.mu.Unlock()
	if changed {
		select {
		case g.update <- struct{}{}:
		default:
		}
	}
	return nil
}

// alive returns the other members that seem alive, by server id.
func (g *gossip) alive() map[string]memberMeta {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return maps.Clone(g.members)
}

// member looks one member up.
func (g *gossip) member(id string) (memberMeta, bool) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	m, ok := g.members[id]
	return m, ok
}

// NodeMeta implements memberlist.Delegate.
func (g *gossip) NodeMeta(int) []byte {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.encoded
}

// The rest of memberlist.Delegate: this node spreads nothing but its meta.
func (g *gossip) NotifyMsg([]byte)                {}
func (g *gossip) GetBroadcasts(int, int) [][]byte { return nil }
func (g *gossip) LocalState(bool) []byte          { return nil }
func (g *gossip) MergeRemoteState([]byte, bool)   {}

// NotifyJoin implements memberlist.EventDelegate.
func (g *gossip) NotifyJoin(node *memberlist.Node) { g.seen(node) }

// NotifyUpdate implements memberlist.EventDelegate.
func (g *gossip) NotifyUpdate(node *memberlist.Node) { g.seen(node) }

// NotifyLeave implements memberlist.EventDelegate.
func (g *gossip) NotifyLeave(node *memberlist.Node) {
	g.mu.Lock()
	delete(g.members, node.Name)
	g.mu.Unlock()
	g.changed()
}

func (g *gossip) seen(node *memberlist.Node) {
	if node.Name == g.self {
		return
	}
	var meta memberMeta
	if err := json.Unmarshal(node.Meta, &meta); err != nil || len(node.Name) != 32 {
		g.logger.Warn("gossip member is not of this kind", "member", node.Name)
		return
	}
	g.mu.Lock()
	g.members[node.Name] = meta
	g.mu.Unlock()
	g.book.learn(node.Name, meta.ClusterAddr)
	g.names.learn(node.Name, meta.Name)
	g.levels.learn(node.Name, toldFeatures(meta.Features))
	g.changed()
}

// gossipTransport makes the streams of gossip through the node's Network. The
// listeners are the library's: it needs UDP and TCP on one port.
type gossipTransport struct {
	*memberlist.NetTransport
	ctx     context.Context
	network Network
}

func openGossipTransport(ctx context.Context, bind string, port int, network Network, logger *log.Logger) (*gossipTransport, error) {
	var last error
	// With port 0 the kernel picks a TCP port that may be taken for UDP.
	for range 10 {
		t, err := memberlist.NewNetTransport(&memberlist.NetTransportConfig{
			BindAddrs: []string{bind}, BindPort: port, Logger: logger,
		})
		if err == nil {
			return &gossipTransport{NetTransport: t, ctx: ctx, network: network}, nil
		}
		last = err
		if port != 0 {
			break
		}
	}
	return nil, last
}

// packetFilter is a Network that also decides which packets of gossip pass: the
// listeners are the library's, so tests could not cut gossip otherwise.
type packetFilter interface {
	// Passes reports whether a packet may be sent to addr, HOST:PORT.
	Passes(addr string) bool
}

// WriteToAddress implements memberlist.NodeAwareTransport. What a filter holds
// back is lost, as packets are.
func (t *gossipTransport) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	if filter, ok := t.network.(packetFilter); ok && !filter.Passes(a.Addr) {
		return time.Now(), nil
	}
	return t.NetTransport.WriteToAddress(b, a)
}

// WriteTo implements memberlist.Transport.
func (t *gossipTransport) WriteTo(b []byte, addr string) (time.Time, error) {
	return t.WriteToAddress(b, memberlist.Address{Addr: addr})
}

// DialTimeout implements memberlist.Transport.
func (t *gossipTransport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(t.ctx, timeout)
	defer cancel()
	return t.network.Dial(ctx, addr)
}

// DialAddressTimeout implements memberlist.NodeAwareTransport.
func (t *gossipTransport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return t.DialTimeout(a.Addr, timeout)
}

// withPort completes a seed.
func withPort(seed string) string {
	if _, _, err := net.SplitHostPort(seed); err == nil {
		return seed
	}
	return net.JoinHostPort(seed, defaultGossipPort)
}
