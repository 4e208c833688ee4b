package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/cluster"
	"github.com/oprc/oprc-pm/internal/testcluster"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

func ctxFor(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func mustPut(t *testing.T, n *cluster.Node, name, value string) storage.Result {
	t.Helper()
	res, err := n.Apply(ctxFor(t, 20*time.Second), storage.Request{Command: testcluster.Put(name, value)})
	if err != nil {
		t.Fatalf("put %s=%s: %v", name, value, err)
	}
	return res
}

func wantValue(t *testing.T, n *cluster.Node, opts storage.ReadOptions, name, want string) {
	t.Helper()
	got, err := testcluster.Get(ctxFor(t, 20*time.Second), n, name, opts)
	if err != nil {
		t.Fatalf("get %s: %v", name, err)
	}
	if got != want {
		t.Errorf("value of %s = %q, want %q", name, got, want)
	}
}

// others returns the nodes that are up, without one.
func others(c *testcluster.Cluster, not int) []int {
	var out []int
	for _, i := range c.Up() {
		if i != not {
			out = append(out, i)
		}
	}
	return out
}

func TestWriteAnywhereReadEverywhere(t *testing.T) {
	for _, size := range []int{1, 3, 5} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			c := testcluster.New(t, size)
			for i := range size {
				res := mustPut(t, c.Node(i), "p", fmt.Sprint(i))
				if got := c.Node(i).Status().AppliedIndex; got < res.Index {
					t.Errorf("node %d answered at index %d and has applied %d", i, res.Index, got)
				}
				for j := range size {
					for _, opts := range []storage.ReadOptions{
						{}, {Consistency: storage.Lease}, {Consistency: storage.Stale, MinIndex: res.Index},
					} {
						wantValue(t, c.Node(j), opts, "p", fmt.Sprint(i))
					}
				}
			}
			wantMembers(t, c, size)
		})
	}
}

func wantMembers(t *testing.T, c *testcluster.Cluster, size int) {
	t.Helper()
	for _, i := range c.Up() {
		// A busy member may not answer in time; then it is asked again.
		deadline := time.Now().Add(20 * time.Second)
		for {
			err := checkMembers(t, c.Node(i), size)
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				t.Errorf("node %d: %v", i, err)
				break
			}
		}
	}
}

// checkMembers tells what a node sees other than so many alive voters with one leader.
func checkMembers(t *testing.T, n *cluster.Node, size int) error {
	t.Helper()
	members, err := n.Members(ctxFor(t, 5*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	leaders := 0
	for _, m := range members {
		if !m.Alive || !m.Voter || m.Error != "" || m.Name == "" || m.ClusterAddr == "" {
			err = errors.Join(err, fmt.Errorf("member %+v, want an alive voter", m))
		}
		if m.Role == storage.RoleLeader {
			leaders++
		}
	}
	if len(members) != size || leaders != 1 {
		err = errors.Join(err, fmt.Errorf("%d members and %d leaders, want %d and 1", len(members), leaders, size))
	}
	return err
}

func TestRejectionIsReturnedWithItsResult(t *testing.T) {
	c := testcluster.New(t, 3)
	mustPut(t, c.Node(0), "p", "1")
	for i := range 3 {
		cmd := testcluster.Put("p", "2")
		cmd.Mode = storage.Create
		res, err := c.Node(i).Apply(ctxFor(t, 10*time.Second), storage.Request{Command: cmd})
		if got, want := model.CodeOf(err), model.CodeConflict; got != want {
			t.Errorf("code at node %d = %q (%v), want %q", i, got, err, want)
		}
		if res.Outcome != storage.Rejected || res.Index == 0 {
			t.Errorf("result at node %d = %+v, want a rejection with its index", i, res)
		}
	}
}

func TestTooLargeCommand(t *testing.T) {
	c := testcluster.New(t, 1, testcluster.WithConfig(func(_ int, cfg *cluster.Config) { cfg.MaxEntryBytes = 4 << 10 }))
	cmd := testcluster.Put("p", "1")
	cmd.Document = append(cmd.Document, bytes.Repeat([]byte(" "), 4<<10)...)
	_, err := c.Node(0).Apply(ctxFor(t, 10*time.Second), storage.Request{Command: cmd})
	if got, want := model.CodeOf(err), model.CodeTooLarge; got != want {
		t.Errorf("code = %q (%v), want %q", got, err, want)
	}
}

// A command sent again with its request id is applied once, at whichever node.
func TestSameRequestIDAppliesOnce(t *testing.T) {
	c := testcluster.New(t, 3)
	req := storage.Request{ID: "the-same", Command: testcluster.Put("p", "1")}
	first, err := c.Node(0).Apply(ctxFor(t, 10*time.Second), req)
	if err != nil {
		t.Fatal(err)
	}
	mustPut(t, c.Node(1), "p", "2")
	again, err := c.Node(2).Apply(ctxFor(t, 10*time.Second), req)
	if err != nil {
		t.Fatal(err)
	}
	if !again.Duplicate || again.Index != first.Index || again.Outcome != first.Outcome {
		t.Errorf("second answer = %+v, want the first %+v as a duplicate", again, first)
	}
	wantValue(t, c.Node(0), storage.ReadOptions{}, "p", "2")
}

// Writers that keep their request ids go on through the crash of the leader:
// every write is acknowledged, and applied exactly once.
func TestLeaderCrashWithRetries(t *testing.T) {
	c := testcluster.New(t, 3)
	leader := c.Leader(t)
	survivors := others(c, leader)
	const writers, writes = 8, 40
	var wg sync.WaitGroup
	var acked atomic.Int64
	halfway := make(chan struct{})
	var once sync.Once
	for w := range writers {
		node := c.Node(survivors[w%len(survivors)])
		wg.Go(func() {
			for i := range writes {
				req := storage.Request{ID: fmt.Sprintf("w%d-%d", w, i), Command: testcluster.Put(fmt.Sprintf("w%d-%d", w, i), "v")}
				ctx, cancel := context.WithTimeout(context.Background(), 25*time.Second)
				_, err := node.Apply(ctx, req)
				cancel()
				if err != nil {
					t.Errorf("write %s: %v", req.ID, err)
					once.Do(func() { close(halfway) })
					return
				}
				if acked.Add(1) > writers*writes/3 {
					once.Do(func() { close(halfway) })
				}
			}
		})
	}
	<-halfway
	c.Crash(leader)
	wg.Wait()
	c.Restart(leader)
	c.WaitReady()
	for _, i := range c.Up() {
		for w := range writers {
			for k := range writes {
				wantOnce(t, c.Node(i), fmt.Sprintf("w%d-%d", w, k))
			}
		}
	}
}

// wantOnce checks that a package was created and never changed since.
func wantOnce(t *testing.T, n *cluster.Node, name string) {
	t.Helper()
	_, err := n.View(ctxFor(t, 20*time.Second), storage.ReadOptions{}, func(r storage.Reader) error {
		doc, err := r.Get(storage.PackageKey(name))
		if err != nil {
			return err
		}
		stamp, err := storage.ReadStamp(doc)
		if err != nil {
			return fmt.Errorf("package %s: %w", name, err)
		}
		if stamp.Generation != 1 {
			return fmt.Errorf("package %s was applied %d times", name, stamp.Generation)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestPartitionedLeader(t *testing.T) {
	c := testcluster.New(t, 3)
	old := c.Leader(t)
	mustPut(t, c.Node(old), "p", "before")

	started, ended := make(chan uint64, 16), make(chan error, 16)
	leadCtx, stopLead := context.WithCancel(context.Background())
	leadDone := make(chan struct{})
	go func() {
		defer close(leadDone)
		_ = c.Node(old).Lead(leadCtx, func(ctx context.Context, term uint64) {
			started <- term
			<-ctx.Done()
			ended <- context.Cause(ctx)
		})
	}()
	defer func() { stopLead(); <-leadDone }()
	<-started

	c.Partition(old)
	// The leader run ends because leadership does.
	if got, want := <-ended, cluster.ErrLeadershipLost; !errors.Is(got, want) {
		t.Errorf("cause of the run's end = %v, want %v", got, want)
	}
	majority := others(c, old)
	mustPut(t, c.Node(majority[0]), "p", "after")

	for _, consistency := range []storage.Consistency{storage.Linearizable, storage.Lease} {
		value, err := testcluster.Get(ctxFor(t, 500*time.Millisecond), c.Node(old), "p", storage.ReadOptions{Consistency: consistency})
		if got, want := model.CodeOf(err), model.CodeUnavailable; got != want {
			t.Errorf("consistency %d at the cut-off leader: value %q, code %q (%v), want %q", consistency, value, got, err, want)
		}
	}
	wantValue(t, c.Node(old), storage.ReadOptions{Consistency: storage.Stale}, "p", "before")
	// It has no leader and has stepped down: nothing is proposed.
	_, err := c.Node(old).Apply(ctxFor(t, 300*time.Millisecond), storage.Request{Command: testcluster.Put("q", "lost")})
	if got, want := model.CodeOf(err), model.CodeUnavailable; got != want {
		t.Errorf("write at the cut-off leader: code %q (%v), want %q", got, err, want)
	}
	c.Heal()
	wantValue(t, c.Node(old), storage.ReadOptions{}, "p", "after")
	wantValue(t, c.Node(old), storage.ReadOptions{}, "q", "")
}

// A write that a leader accepted just before it lost its majority is of unknown
// outcome, and sending it again tells.
func TestUnknownOutcome(t *testing.T) {
	c := testcluster.New(t, 3)
	old := c.Leader(t)
	c.Partition(old)
	req := storage.Request{ID: "unknown", Command: testcluster.Put("p", "1")}
	_, err := c.Node(old).Apply(ctxFor(t, 400*time.Millisecond), req)
	got := model.CodeOf(err)
	// On a slow machine the leader may have stepped down before the write came.
	if got != model.CodeUnknownOutcome && got != model.CodeUnavailable {
		t.Errorf("code = %q (%v), want %q", got, err, model.CodeUnknownOutcome)
	}
	c.Heal()
	if _, err := c.Node(others(c, old)[0]).Apply(ctxFor(t, 20*time.Second), req); err != nil {
		t.Fatal(err)
	}
	wantValue(t, c.Node(old), storage.ReadOptions{}, "p", "1")
	wantOnce(t, c.Node(old), "p")
}

// Leader runs are exclusive: in one term on one node only, and with a transfer
// the old run has returned before the new one begins.
func TestLeaderRunsDoNotOverlap(t *testing.T) {
	c := testcluster.New(t, 3)
	var running, runs atomic.Int32
	var mu sync.Mutex
	terms := make(map[uint64]int)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for i := range 3 {
		node := c.Node(i)
		wg.Go(func() {
			_ = node.Lead(ctx, func(ctx context.Context, term uint64) {
				if running.Add(1) > 1 {
					t.Errorf("node %d leads in term %d while another one does", i, term)
				}
				runs.Add(1)
				mu.Lock()
				if other, ok := terms[term]; ok && other != i {
					t.Errorf("nodes %d and %d both lead in term %d", other, i, term)
				}
				terms[term] = i
				mu.Unlock()
				<-ctx.Done()
				running.Add(-1)
			})
		})
	}
	waitRuns := func(n int) {
		testcluster.Wait(t, "the next run", func() error {
			if runs.Load() < int32(n) {
				return fmt.Errorf("%d runs", runs.Load())
			}
			return nil
		})
	}
	waitRuns(1)
	for round := range 5 {
		leader := c.Leader(t)
		next := others(c, leader)[round%2]
		// Asked at any node, with and without a target.
		id := c.Node(next).ID()
		if round == 0 {
			id = ""
		}
		asked := c.Node(round % 3)
		testcluster.Wait(t, "a transfer of leadership", func() error {
			return asked.TransferLeadership(ctxFor(t, 5*time.Second), id)
		})
		waitRuns(round + 2)
	}
	cancel()
	wg.Wait()
}

// Lead may be called while the node leads, returns when its context ends, and
// gives a fencing term that the state machine accepts.
func TestLeadLate(t *testing.T) {
	c := testcluster.New(t, 1)
	c.WaitLeader(t)
	ctx, cancel := context.WithCancel(context.Background())
	err := c.Node(0).Lead(ctx, func(ctx context.Context, term uint64) {
		_, err := c.Node(0).Apply(ctx, storage.Request{LeaderTerm: term, Command: testcluster.Put("p", "fenced")})
		if err != nil {
			t.Errorf("fenced write: %v", err)
		}
		_, err = c.Node(0).Apply(ctx, storage.Request{LeaderTerm: term - 1, Command: testcluster.Put("p", "stale")})
		if got, want := model.CodeOf(err), model.CodeConflict; got != want {
			t.Errorf("write of an older term: code %q (%v), want %q", got, err, want)
		}
		cancel()
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Lead returned %v, want %v", err, context.Canceled)
	}
	wantValue(t, c.Node(0), storage.ReadOptions{}, "p", "fenced")
}

func TestGracefulStopHandsOver(t *testing.T) {
	c := testcluster.New(t, 3)
	leader := c.Leader(t)
	mustPut(t, c.Node(leader), "p", "1")
	c.Stop(leader)
	start := time.Now()
	mustPut(t, c.Node(others(c, leader)[0]), "p", "2")
	t.Logf("write after hand-over took %s", time.Since(start))
	c.Restart(leader)
	c.WaitReady()
	wantValue(t, c.Node(leader), storage.ReadOptions{}, "p", "2")
}

func TestNewAddresses(t *testing.T) {
	c := testcluster.New(t, 3)
	res := mustPut(t, c.Node(0), "p", "kept")
	before := make([]string, 3)
	for i := range 3 {
		before[i] = c.Node(i).ClusterAddr()
	}
	start := time.Now()
	c.RestartWithNewAddrs()
	c.WaitLeader(t)
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("leader after %s, want at most 10 s", took)
	}
	for i := range 3 {
		if c.Node(i).ClusterAddr() == before[i] {
			t.Fatalf("node %d kept its address", i)
		}
		wantValue(t, c.Node(i), storage.ReadOptions{MinIndex: res.Index}, "p", "kept")
	}
	mustPut(t, c.Node(1), "q", "1")
	// Each leader corrects its own address in the configuration.
	for i := range 3 {
		testcluster.Wait(t, "a transfer of leadership", func() error {
			return c.Node(0).TransferLeadership(ctxFor(t, 5*time.Second), c.Node(i).ID())
		})
		testcluster.Wait(t, "the leader's new address in the raft configuration", func() error {
			if addrs := c.Node(i).ConfiguredAddrs(); !slices.Contains(addrs, c.Node(i).ClusterAddr()) {
				return fmt.Errorf("addresses %v lack %s", addrs, c.Node(i).ClusterAddr())
			}
			return nil
		})
	}
	testcluster.Wait(t, "new addresses in the raft configuration", func() error {
		for i := range 3 {
			for _, addr := range c.Node(i).ConfiguredAddrs() {
				for _, old := range before {
					if addr == old {
						return fmt.Errorf("node %d still has %s", i, old)
					}
				}
			}
		}
		return nil
	})
}

// A node that was away for longer than the log is kept catches up by a
// snapshot, with either log store.
func TestCatchUpFromSnapshot(t *testing.T) {
	for _, store := range []string{cluster.LogStoreBolt, cluster.LogStoreWAL} {
		t.Run(store, func(t *testing.T) {
			c := testcluster.New(t, 3, testcluster.WithConfig(func(_ int, cfg *cluster.Config) {
				cfg.LogStore = store
				cfg.SnapshotInterval = 20 * time.Millisecond
				cfg.SnapshotThreshold = 20
				cfg.TrailingLogs = 5
			}))
			away := others(c, c.Leader(t))[0]
			c.Crash(away)
			up := c.Up()
			var last storage.Result
			for i := range 150 {
				last = mustPut(t, c.Node(up[i%2]), fmt.Sprintf("p%d", i%50), fmt.Sprint(i))
			}
			testcluster.Wait(t, "the log to be compacted", func() error {
				if first := c.Node(c.Leader(t)).FirstLogIndex(); first < 50 {
					return fmt.Errorf("log begins at %d", first)
				}
				return nil
			})
			c.Restart(away)
			c.WaitApplied(t, last.Index)
			wantValue(t, c.Node(away), storage.ReadOptions{Consistency: storage.Stale}, "p49", "149")
			// And all of them start again from what they have.
			for _, i := range c.Up() {
				c.Crash(i)
			}
			for i := range 3 {
				c.Restart(i)
			}
			c.WaitReady()
			wantValue(t, c.Node(away), storage.ReadOptions{}, "p49", "149")
		})
	}
}

func TestWatchSeesWritesOfOtherNodes(t *testing.T) {
	c := testcluster.New(t, 3)
	w, err := c.Node(2).Watch(context.Background(), storage.WatchOptions{Kinds: []storage.Kind{storage.KindPackage}})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	res := mustPut(t, c.Node(0), "p", "1")
	for {
		events, _, err := w.Next(ctxFor(t, 10*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		if len(events) == 0 {
			continue
		}
		if got := events[0]; got.Index != res.Index || got.Key != "p" || got.Type != storage.EventPut {
			t.Errorf("event = %+v, want the put of p at %d", got, res.Index)
		}
		return
	}
}

func TestClosedNodeAnswersUnavailable(t *testing.T) {
	c := testcluster.New(t, 1)
	node := c.Node(0)
	c.Stop(0)
	if err := node.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
	_, err := node.Apply(context.Background(), storage.Request{Command: storage.Barrier{}})
	if got, want := model.CodeOf(err), model.CodeUnavailable; got != want {
		t.Errorf("apply: code %q, want %q", got, want)
	}
	_, err = node.View(context.Background(), storage.ReadOptions{}, func(storage.Reader) error { return nil })
	if got, want := model.CodeOf(err), model.CodeUnavailable; got != want {
		t.Errorf("view: code %q, want %q", got, want)
	}
	if _, err := node.Watch(context.Background(), storage.WatchOptions{}); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("watch: %v, want %v", err, storage.ErrClosed)
	}
}

// After a fault nothing is answered from state that cannot be trusted, the
// program is told, and the others go on.
func TestFaultStopsTheNode(t *testing.T) {
	c := testcluster.New(t, 3)
	broken := c.Leader(t)
	node := c.Node(broken)
	mustPut(t, node, "p", "1")
	fault := errors.New("disk is on fire")
	node.Fault(fault)
	<-node.Done()
	if err := node.Err(); !errors.Is(err, fault) {
		t.Errorf("Err() = %v, want %v", err, fault)
	}
	if st := node.Status(); st.Ready {
		t.Error("a node with a fault is ready")
	}
	if _, err := node.Apply(ctxFor(t, 5*time.Second), storage.Request{Command: testcluster.Put("p", "2")}); err == nil {
		t.Error("a node with a fault took a write")
	}
	_, err := testcluster.Get(ctxFor(t, 5*time.Second), node, "p", storage.ReadOptions{Consistency: storage.Stale})
	if got, want := model.CodeOf(err), model.CodeUnavailable; got != want {
		t.Errorf("read at a node with a fault: code %q, want %q", got, want)
	}
	c.Crash(broken)
	mustPut(t, c.Node(others(c, broken)[0]), "p", "3")
	c.Restart(broken)
	c.WaitReady()
	wantValue(t, c.Node(broken), storage.ReadOptions{}, "p", "3")
}
