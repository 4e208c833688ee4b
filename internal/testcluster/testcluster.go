// Package testcluster runs several real nodes in one process, over real TCP on
// loopback, with short timers. It is for tests only.
//
// Whatever a test does, its cleanup always checks that the nodes still running
// agree: the same applied index, and at the same index the same digest. Then it
// closes them and checks that no goroutine is left. Because of that check tests
// that use it must not run in parallel with others of their package.
package testcluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/oprc/oprc-pm/cluster"
	"github.com/oprc/oprc-pm/storage"
)

// anyAddr is a free port on loopback.
const anyAddr = "127.0.0.1:0"

// patience is how long anything may take on a busy machine.
const patience = 30 * time.Second

// Cluster is a set of nodes. Its methods are for the goroutine of the test.
type Cluster struct {
	t      testing.TB
	fabric *fabric
	slots  []*slot
	opts   options
	logs   *testLog
	dir    string
}

// slot is a node's place: its directory and settings outlive the node.
type slot struct {
	index int
	cfg   cluster.Config
	node  *cluster.Node // nil while it is down
}

type options struct {
	configure []func(i int, c *cluster.Config)
	provide   []func(i int, d *cluster.Deps)
	expect    int
	idle      bool
}

// Option changes how New builds the cluster.
type Option func(*options)

// WithConfig changes the settings of each node before it is first started.
func WithConfig(fn func(i int, c *cluster.Config)) Option {
	return func(o *options) { o.configure = append(o.configure, fn) }
}

// WithDeps changes what each node gets from its surroundings at every start.
func WithDeps(fn func(i int, d *cluster.Deps)) Option {
	return func(o *options) { o.provide = append(o.provide, fn) }
}

// WithExpect sets bootstrap-expect of all nodes; the default is their number.
func WithExpect(n int) Option { return func(o *options) { o.expect = n } }

// NotStarted leaves all nodes down; the test starts them.
func NotStarted() Option { return func(o *options) { o.idle = true } }

// New starts n nodes that found a cluster, and waits until all are ready.
func New(t testing.TB, n int, opts ...Option) *Cluster {
	t.Helper()
	// The directory outlives the nodes: cleanups run last in, first out.
	c := &Cluster{t: t, fabric: newFabric(), logs: &testLog{t: t}, dir: t.TempDir()}
	c.opts.expect = n
	for _, o := range opts {
		o(&c.opts)
	}
	before := goleak.IgnoreCurrent()
	living.Add(1)
	t.Cleanup(func() { c.cleanup(before) })
	for range n {
		c.Add(c.opts.expect)
	}
	if c.opts.idle {
		return c
	}
	for i := range n {
		c.Start(i)
	}
	c.WaitReady()
	return c
}

// Add makes a place for one more node, not started yet, and returns its number.
func (c *Cluster) Add(expect int) int {
	i := len(c.slots)
	cfg := FastConfig()
	cfg.NodeName = fmt.Sprintf("node-%d", i)
	cfg.DataDir = filepath.Join(c.dir, cfg.NodeName)
	cfg.BootstrapExpect = expect
	for _, fn := range c.opts.configure {
		fn(i, &cfg)
	}
	c.slots = append(c.slots, &slot{index: i, cfg: cfg})
	return i
}

// FastConfig is a node on loopback, on free ports, with short timers.
func FastConfig() cluster.Config {
	cfg := cluster.DefaultConfig()
	cfg.ClusterAddr = anyAddr
	cfg.GossipAddr = anyAddr
	cfg.HTTPAddr = "127.0.0.1:1"
	cfg.Version = "test"
	cfg.HeartbeatTimeout = slowness * 200 * time.Millisecond
	cfg.ElectionTimeout = slowness * 200 * time.Millisecond
	cfg.LeaderLeaseTimeout = slowness * 150 * time.Millisecond
	cfg.CommitTimeout = 5 * time.Millisecond
	cfg.MembershipInterval = 50 * time.Millisecond
	cfg.DigestInterval = 100 * time.Millisecond
	cfg.IOTimeout = 2 * time.Second
	cfg.HistoryEntries = 4096
	cfg.HistoryBytes = 4 << 20
	cfg.FastGossip = true
	cfg.Disk.ReserveBytes = 0
	cfg.Autopilot.Interval = slowness * 100 * time.Millisecond
	cfg.Autopilot.ServerStabilizationTime = slowness * 200 * time.Millisecond
	return cfg
}

// Config returns the settings of node i, to be changed while it is down.
func (c *Cluster) Config(i int) *cluster.Config { return &c.slots[i].cfg }

// Size is the number of places.
func (c *Cluster) Size() int { return len(c.slots) }

// Start starts node i, which is down. It joins through the nodes that are up.
func (c *Cluster) Start(i int) *cluster.Node {
	c.t.Helper()
	cfg := c.slots[i].cfg
	for _, other := range c.slots {
		if other.node != nil {
			cfg.Join = append(cfg.Join, other.node.GossipAddr())
		}
	}
	return c.start(i, cfg)
}

// StartAlone starts node i, which is down, without telling it of the others.
func (c *Cluster) StartAlone(i int) *cluster.Node {
	c.t.Helper()
	return c.start(i, c.slots[i].cfg)
}

// Forget closes node i and leaves it out of all checks: it turned out to be no
// replica of the others.
func (c *Cluster) Forget(i int) { c.t.Helper(); c.Crash(i) }

func (c *Cluster) start(i int, cfg cluster.Config) *cluster.Node {
	c.t.Helper()
	s := c.slots[i]
	if s.node != nil {
		c.t.Fatalf("node %d is up already", i)
	}
	node := cluster.New(cfg, c.deps(i))
	err := node.Open(context.Background())
	if errors.Is(err, syscall.EADDRINUSE) {
		// Somebody took a port while the node was down: then it moves.
		cfg.ClusterAddr, cfg.GossipAddr = anyAddr, anyAddr
		node = cluster.New(cfg, c.deps(i))
		err = node.Open(context.Background())
	}
	if err != nil {
		c.t.Fatalf("open node %d: %v", i, err)
	}
	s.node = node
	c.fabric.gossipsAt(node.GossipAddr(), i)
	s.cfg.ClusterAddr, s.cfg.GossipAddr = node.ClusterAddr(), node.GossipAddr()
	return node
}

func (c *Cluster) deps(i int) cluster.Deps {
	deps := cluster.Deps{Logger: c.logs.logger(i), Network: c.fabric.of(i)}
	for _, fn := range c.opts.provide {
		fn(i, &deps)
	}
	return deps
}

// TryStart starts node i, which is down, and returns why it does not start.
func (c *Cluster) TryStart(i int) error {
	node := cluster.New(c.slots[i].cfg, c.deps(i))
	err := node.Open(context.Background())
	if err == nil {
		err = errors.Join(errors.New("it started"), node.Close())
	}
	return err
}

// Node returns node i, which must be up.
func (c *Cluster) Node(i int) *cluster.Node {
	c.t.Helper()
	if c.slots[i].node == nil {
		c.t.Fatalf("node %d is down", i)
	}
	return c.slots[i].node
}

// Up returns the numbers of the nodes that are up.
func (c *Cluster) Up() []int {
	var up []int
	for i, s := range c.slots {
		if s.node != nil {
			up = append(up, i)
		}
	}
	return up
}

// Stop shuts node i down in good order.
func (c *Cluster) Stop(i int) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	node := c.Node(i)
	c.slots[i].node = nil
	if err := node.Shutdown(ctx); err != nil {
		c.t.Errorf("shut down node %d: %v", i, err)
	}
}

// Crash takes node i away in the middle of whatever it does: its connections
// break first, then it is closed.
func (c *Cluster) Crash(i int) {
	c.t.Helper()
	c.Take(i)()
}

// Take marks node i as down and returns what crashes it, for tests whose clients
// pick among the nodes that are up meanwhile.
func (c *Cluster) Take(i int) (crash func()) {
	c.t.Helper()
	node := c.Node(i)
	c.slots[i].node = nil
	return func() {
		c.t.Helper()
		c.fabric.isolate(i)
		if err := node.Close(); err != nil {
			c.t.Errorf("close node %d: %v", i, err)
		}
		c.fabric.rejoin(i)
	}
}

// CrashFaulted is Crash of a node that stopped itself, whose files may not close.
func (c *Cluster) CrashFaulted(i int) {
	c.t.Helper()
	node := c.Node(i)
	if node.Err() == nil {
		c.t.Errorf("node %d has no fault", i)
	}
	c.slots[i].node = nil
	_ = node.Close() // the fault is known
}

// Restart starts a node that is down, on the addresses that it had, if it can.
func (c *Cluster) Restart(i int) *cluster.Node {
	c.t.Helper()
	return c.Start(i)
}

// RestartWithNewAddrs stops every node and starts all of them on other ports.
// Nothing but their data directories survives.
func (c *Cluster) RestartWithNewAddrs() {
	c.t.Helper()
	for _, i := range c.Up() {
		c.Crash(i)
	}
	// The old ports are held while new ones are picked, so that they differ.
	for _, s := range c.slots {
		old, err := net.Listen("tcp", s.cfg.ClusterAddr)
		if err != nil {
			c.t.Fatalf("hold old address: %v", err)
		}
		defer old.Close()
		s.cfg.ClusterAddr, s.cfg.GossipAddr = anyAddr, anyAddr
	}
	for i := range c.slots {
		c.Start(i)
	}
}

// Partition cuts the given nodes off from the others; among themselves they stay
// connected. Gossip is not cut: it only hints.
func (c *Cluster) Partition(ids ...int) { c.fabric.partition(ids) }

// Mute cuts the gossip of the given nodes off from everybody; without any, all
// gossip passes again.
func (c *Cluster) Mute(ids ...int) { c.fabric.setMute(ids) }

// Heal undoes Partition.
func (c *Cluster) Heal() { c.fabric.heal() }

// Leader waits for a node that leads for certain, and returns its number.
func (c *Cluster) Leader(t testing.TB) int {
	t.Helper()
	leader := -1
	Wait(t, "a leader that all others follow", func() error {
		up := c.Up()
		found := slices.IndexFunc(up, func(i int) bool { return c.Node(i).Status().Role == storage.RoleLeader })
		if found < 0 {
			return fmt.Errorf("none of %v leads", up)
		}
		leader = up[found]
		st := c.Node(leader).Status()
		for _, i := range up {
			other := c.Node(i).Status()
			if other.Term > st.Term {
				return fmt.Errorf("node %d is in term %d, the leader in %d", i, other.Term, st.Term)
			}
		}
		return nil
	})
	return leader
}

// WaitLeader waits until there is a leader.
func (c *Cluster) WaitLeader(t testing.TB) { t.Helper(); c.Leader(t) }

// WaitReady waits until every node that is up is ready.
func (c *Cluster) WaitReady() {
	c.t.Helper()
	Wait(c.t, "all nodes to be ready", func() error {
		for _, i := range c.Up() {
			if st := c.Node(i).Status(); !st.Ready {
				return fmt.Errorf("node %d: %s", i, st.Reason)
			}
		}
		return nil
	})
}

// WaitApplied waits until every node that is up has applied index.
func (c *Cluster) WaitApplied(t testing.TB, index uint64) {
	t.Helper()
	Wait(t, fmt.Sprintf("index %d to be applied everywhere", index), func() error {
		for _, i := range c.Up() {
			if st := c.Node(i).Status(); st.AppliedIndex < index {
				return fmt.Errorf("node %d is at %d", i, st.AppliedIndex)
			}
		}
		return nil
	})
}

// WaitVoters waits until the leader counts n voters that are alive.
func (c *Cluster) WaitVoters(t testing.TB, n int) {
	t.Helper()
	Wait(t, fmt.Sprintf("%d voters", n), func() error {
		members, err := c.Node(c.Leader(t)).Members(context.Background())
		if err != nil {
			return err
		}
		voters := 0
		for _, m := range members {
			if m.Voter && m.Alive {
				voters++
			}
		}
		if voters != n {
			return fmt.Errorf("%d voters of %d members", voters, len(members))
		}
		return nil
	})
}

// Wait polls cond until it returns nil, or fails the test with its last error.
func Wait(t testing.TB, what string, cond func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := cond()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for %s: %v", patience, what, err)
		}
		<-tick.C
	}
}

// living counts the clusters that are not cleaned up. Of several in one test, the
// goroutines of one that lives are not left over by another: the last that goes,
// which was the first to come, looks for them all.
var living atomic.Int64

// cleanup is the check at the end of every test.
func (c *Cluster) cleanup(before goleak.Option) {
	c.Heal()
	c.checkAgreement()
	for _, i := range c.Up() {
		node := c.slots[i].node
		c.slots[i].node = nil
		if err := node.Close(); err != nil {
			c.t.Errorf("close node %d: %v", i, err)
		}
	}
	c.logs.stop()
	if living.Add(-1) > 0 {
		return
	}
	// The gossip library's goroutines end soon after, not with, its shutdown.
	deadline := time.Now().Add(patience)
	for {
		err := goleak.Find(before)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			c.t.Errorf("goroutines are left: %v", err)
			return
		}
	}
}

// checkAgreement asserts that equal index means equal digest (I4), and that the
// nodes come to the same index when a majority is up.
func (c *Cluster) checkAgreement() {
	up := c.Up()
	if len(up) == 0 {
		return
	}
	var last error
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if last = c.agree(up); last == nil {
			return
		}
		if time.Now().After(deadline) {
			break
		}
		<-tick.C
	}
	c.t.Errorf("nodes do not agree: %v", last)
}

func (c *Cluster) agree(up []int) error {
	digests := make(map[uint64]string)
	indexes := make(map[uint64][]int)
	var members, quorum int
	for _, i := range up {
		st := c.slots[i].node.Status()
		if err := c.slots[i].node.Err(); err != nil {
			return fmt.Errorf("node %d stopped: %w", i, err)
		}
		if other, ok := digests[st.DigestIndex]; ok && other != st.Digest {
			return fmt.Errorf("digests differ at index %d: %s and %s", st.DigestIndex, other, st.Digest)
		}
		digests[st.DigestIndex] = st.Digest
		indexes[st.AppliedIndex] = append(indexes[st.AppliedIndex], i)
		if st.Role == storage.RoleLeader {
			list, err := c.slots[i].node.Members(context.Background())
			if err != nil {
				return err
			}
			for _, m := range list {
				if m.Voter {
					quorum++
				}
			}
		}
		if st.ClusterID != "" {
			members++
		}
	}
	if quorum > 0 && len(indexes) > 1 && members == len(up) {
		return fmt.Errorf("applied indexes differ: %v", indexes)
	}
	return nil
}
