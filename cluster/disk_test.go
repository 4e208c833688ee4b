package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/oprc/oprc-pm/cluster"
	"github.com/oprc/oprc-pm/internal/testcluster"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// flipInState changes a byte of a value in the state file, whose pages stay whole.
func flipInState(t *testing.T, dir string) {
	t.Helper()
	inBolt("fsm/state.db", "data", func(b *bbolt.Bucket) error {
		key := []byte(storage.PackagePrefix + "q3")
		value := bytes.Clone(b.Get(key))
		value[len(value)-2] ^= 1
		return b.Put(key, value)
	})(t, dir)
}

// disks are those of a cluster's nodes, as a test wants them.
type disks struct {
	mu   sync.Mutex
	free map[string]uint64 // by the name of the node; absent: plenty
}

const gib = 1 << 30

func (d *disks) set(node int, free uint64) {
	d.mu.Lock()
	d.free[fmt.Sprintf("node-%d", node)] = free
	d.mu.Unlock()
}

func (d *disks) look(path string) (cluster.DiskSpace, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	free, ok := d.free[filepath.Base(path)]
	if !ok {
		free = 50 * gib
	}
	return cluster.DiskSpace{Free: free, Total: 100 * gib}, nil
}

func withDisks(d *disks) []testcluster.Option {
	return []testcluster.Option{
		testcluster.WithDeps(func(_ int, deps *cluster.Deps) { deps.DiskSpace = d.look }),
		testcluster.WithConfig(func(_ int, cfg *cluster.Config) {
			cfg.Disk.Interval = 10 * time.Millisecond
			cfg.Disk.ReserveBytes = 1 << 20
		}),
	}
}

// put tries once and returns the error of the answer.
func put(t *testing.T, n *cluster.Node, name string) error {
	t.Helper()
	_, err := n.Apply(ctxFor(t, 5*time.Second), storage.Request{Command: testcluster.Put(name, "v")})
	return err
}

func waitPut(t *testing.T, n *cluster.Node, want model.Code) error {
	t.Helper()
	var last error
	testcluster.Wait(t, fmt.Sprintf("a write to end with %q", want), func() error {
		if last = put(t, n, "w"); model.CodeOf(last) != want {
			return fmt.Errorf("it ended with %w", last)
		}
		return nil
	})
	return last
}

// A single node refuses writes before its disk is full, says how much is left,
// still answers reads and is ready, gives its reserve up, records an event, and
// takes writes again by itself.
func TestDiskFull(t *testing.T) {
	d := &disks{free: map[string]uint64{}}
	c := testcluster.New(t, 1, withDisks(d)...)
	node, reserve := c.Node(0), filepath.Join(c.Config(0).DataDir, "reserve")
	mustPut(t, node, "p", "1")
	testcluster.Wait(t, "the reserve", func() error {
		info, err := os.Stat(reserve)
		if err == nil && info.Size() != 1<<20 {
			err = fmt.Errorf("it has %d bytes", info.Size())
		}
		return err
	})
	d.set(0, gib) // alarm
	waitEvent(t, node, "DiskShort")
	if err := put(t, node, "q"); err != nil {
		t.Errorf("write while the disk is only short: %v", err)
	}
	d.set(0, 100<<20)
	if err := waitPut(t, node, model.CodeDiskFull); !strings.Contains(err.Error(), "node-0 has 104857600 bytes left") {
		t.Errorf("refusal %q, want the node and the bytes", err)
	}
	if _, err := os.Stat(reserve); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the reserve is still there: %v", err)
	}
	wantValue(t, node, storage.ReadOptions{}, "p", "1")
	if st := node.Status(); !st.Ready {
		t.Errorf("not ready: %s", st.Reason)
	}
	waitEvent(t, node, "the disk of node-0 is full: 104857600 bytes left of 107374182400")
	index := node.Status().AppliedIndex
	holdsFor(t, 100*time.Millisecond, func() error {
		if now := node.Status().AppliedIndex; now != index {
			return fmt.Errorf("index %d became %d while nothing happened", index, now)
		}
		return nil
	})
	d.set(0, 512<<20+1<<19) // the reserve that came back is no relief
	holdsFor(t, 50*time.Millisecond, func() error {
		if err := put(t, node, "w"); model.CodeOf(err) != model.CodeDiskFull {
			return fmt.Errorf("write: %w", err)
		}
		return nil
	})
	d.set(0, 50*gib)
	_ = waitPut(t, node, "")
	waitEvent(t, node, "DiskHasSpace")
}

// waitEvent waits for an event with that reason or message.
func waitEvent(t *testing.T, n *cluster.Node, text string) {
	t.Helper()
	testcluster.Wait(t, "the event "+text, func() error {
		found := false
		_, err := n.View(context.Background(), storage.ReadOptions{}, func(r storage.Reader) error {
			return storage.ScanPrefix(r, []byte(storage.StoredEventPrefix), func(_, value []byte) (bool, error) {
				found = found || bytes.Contains(value, []byte(`"`+text+`"`))
				return !found, nil
			})
		})
		if err == nil && !found {
			err = errors.New("it is not recorded")
		}
		return err
	})
}

// A follower that is short of space stops nobody; a majority that is does, and a
// leader that is hands over to a node that has space. A write sent to a follower
// gets the same answer.
func TestDiskFullOfSome(t *testing.T) {
	d := &disks{free: map[string]uint64{}}
	c := testcluster.New(t, 3, withDisks(d)...)
	leader := c.Leader(t)
	first, second := (leader+1)%3, (leader+2)%3
	d.set(first, 1)
	waitEvent(t, c.Node(leader), "DiskShort")
	if err := put(t, c.Node(leader), "a"); err != nil {
		t.Errorf("write with one full follower: %v", err)
	}
	d.set(second, 1)
	_ = waitPut(t, c.Node(leader), model.CodeDiskFull)
	_ = waitPut(t, c.Node(first), model.CodeDiskFull)
	d.set(first, 50*gib)
	d.set(second, 50*gib)
	_ = waitPut(t, c.Node(first), "")

	d.set(leader, 1)
	testcluster.Wait(t, "another leader, that takes writes", func() error {
		if now := c.Leader(t); now == leader {
			return errors.New("the node with the full disk leads")
		}
		return put(t, c.Node(leader), "b")
	})
	d.set(leader, 50*gib)
}

// faultyDisk fails, or holds, operations on files of one node.
type faultyDisk struct {
	mu    sync.Mutex
	match func(op, path string) bool
	err   error
	hits  atomic.Int64
	hold  chan struct{} // not nil: matching operations wait for it
}

func (f *faultyDisk) arm(err error, match func(op, path string) bool) {
	f.mu.Lock()
	f.match, f.err = match, err
	f.mu.Unlock()
	f.hits.Store(0)
}

func (f *faultyDisk) fault(op, path string) error {
	f.mu.Lock()
	match, err, hold := f.match, f.err, f.hold
	f.mu.Unlock()
	if match == nil || !match(op, path) {
		return nil
	}
	f.hits.Add(1)
	if hold != nil {
		<-hold
	}
	return err
}

func at(op, suffix string) func(string, string) bool {
	return func(o, path string) bool { return o == op && strings.HasSuffix(path, suffix) }
}

// TestWriteFaults: whatever cannot be written, the node stops and says why, or goes
// on without harm; started again on a mended disk it has all that was acknowledged.
func TestWriteFaults(t *testing.T) {
	for _, site := range []struct {
		op, path string
		survives bool
		provoke  func(t *testing.T, c *testcluster.Cluster)
	}{
		{op: "write", path: "raft/log.db"},
		{op: "sync", path: "raft/log.db"},
		{op: "write", path: "fsm/state.db"},
		{op: "write", path: "raft/stable.db", provoke: newTerm},
		{op: "sync", path: "raft/stable.db", provoke: newTerm},
		{op: "create", path: "raft/snapshots", survives: true, provoke: compaction},
		{op: "write", path: "raft/snapshots", survives: true, provoke: compaction},
		{op: "sync", path: "raft/snapshots", survives: true, provoke: compaction},
		{op: "rename", path: "raft/snapshots", survives: true, provoke: compaction},
		{op: "write", path: "state.db.compact", survives: true, provoke: compaction},
		{op: "sync", path: "state.db.compact", survives: true, provoke: compaction},
		{op: "create", path: "peers.json.tmp", survives: true, provoke: newPeer},
		{op: "write", path: "peers.json.tmp", survives: true, provoke: newPeer},
		{op: "sync", path: "peers.json.tmp", survives: true, provoke: newPeer},
		{op: "rename", path: "peers.json", survives: true, provoke: newPeer},
	} {
		for _, errno := range []error{syscall.ENOSPC, syscall.EIO} {
			t.Run(fmt.Sprintf("%s %s %v", site.op, filepath.Base(site.path), errno), func(t *testing.T) {
				testWriteFault(t, site.op, site.path, errno, site.survives, site.provoke)
			})
			if site.survives {
				break // the error makes no difference
			}
		}
	}
}

func testWriteFault(t *testing.T, op, path string, errno error, survives bool, provoke func(*testing.T, *testcluster.Cluster)) {
	disk := &faultyDisk{}
	c := testcluster.New(t, 3, testcluster.WithDeps(func(i int, d *cluster.Deps) {
		if i == 0 {
			d.DiskFault = disk.fault
		}
	}))
	testcluster.Wait(t, "the first node to lead", func() error {
		if leader := c.Leader(t); leader != 0 {
			return errors.Join(fmt.Errorf("node %d leads", leader), c.Node(leader).TransferLeadership(ctxFor(t, 5*time.Second), c.Node(0).ID()))
		}
		return nil
	})
	for i := range 5 {
		mustPut(t, c.Node(0), fmt.Sprintf("before-%d", i), "1")
	}
	victim := c.Node(0)
	disk.arm(errno, at(op, path))
	if provoke != nil {
		provoke(t, c)
	}
	acknowledged := map[string]bool{}
	for i := 0; !survives && victim.Err() == nil; i++ {
		name := fmt.Sprintf("during-%d", i)
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		if _, err := c.Node(1).Apply(ctx, storage.Request{Command: testcluster.Put(name, "1")}); err == nil {
			acknowledged[name] = true
		}
		cancel()
		if i > 200 {
			t.Fatalf("the node went on, with %d faults", disk.hits.Load())
		}
	}
	if disk.hits.Load() == 0 {
		t.Fatal("the fault was never met")
	}
	if survives {
		if victim.Err() != nil {
			t.Fatalf("the node stopped: %v", victim.Err())
		}
	} else {
		if err := victim.Err(); !errors.Is(err, errno) || !strings.Contains(err.Error(), filepath.Base(path)) {
			t.Errorf("fault: %v, want %v and the file", err, errno)
		}
		c.CrashFaulted(0)
		disk.arm(nil, nil)
		c.Start(0)
	}
	disk.arm(nil, nil)
	res := mustPut(t, c.Node(1), "after", "1")
	c.WaitApplied(t, res.Index)
	for name := range acknowledged {
		wantValue(t, c.Node(0), storage.ReadOptions{}, name, "1")
	}
	wantValue(t, c.Node(0), storage.ReadOptions{}, "before-4", "1")
	// The cleanup compares the digests.
}

// newTerm makes the first node write a term and a vote.
func newTerm(t *testing.T, c *testcluster.Cluster) {
	t.Helper()
	_ = c.Node(0).TransferLeadership(ctxFor(t, 5*time.Second), c.Node(1).ID()) // it may not come about
}

// compaction makes the first node write a snapshot and a new state file.
func compaction(t *testing.T, c *testcluster.Cluster) {
	t.Helper()
	if _, err := c.Node(0).Compact(ctxFor(t, 10*time.Second)); err == nil {
		t.Error("compact on a failing disk: got no error")
	}
}

// newPeer makes the first node remember another address.
func newPeer(t *testing.T, c *testcluster.Cluster) {
	t.Helper()
	i := c.Add(1)
	c.Start(i)
	c.WaitVoters(t, 4)
}

// TestStalledLeaderStepsDown: the write of a leader does not return. The others
// elect another one within seconds, writes go on, and when the disk goes on the
// node follows, with the same state.
func TestStalledLeaderStepsDown(t *testing.T) {
	stalls := make([]*faultyDisk, 3)
	for i := range stalls {
		stalls[i] = &faultyDisk{}
	}
	c := testcluster.New(t, 3,
		testcluster.WithDeps(func(i int, d *cluster.Deps) { d.DiskFault = stalls[i].fault }),
		testcluster.WithConfig(func(_ int, cfg *cluster.Config) { cfg.Disk.StallTimeout = 300 * time.Millisecond }))
	mustPut(t, c.Node(0), "p", "1")
	leader := c.Leader(t)
	other := (leader + 1) % 3
	term := c.Node(leader).Status().Term
	hold := make(chan struct{})
	release := sync.OnceFunc(func() { close(hold) })
	defer release()
	disk := stalls[leader]
	disk.mu.Lock()
	disk.hold = hold
	disk.mu.Unlock()
	disk.arm(nil, at("write", "raft/log.db"))
	begun := time.Now()
	res, err := c.Node(other).Apply(ctxFor(t, 20*time.Second), storage.Request{Command: testcluster.Put("q", "2")})
	if err != nil {
		t.Fatalf("write while the leader's disk is stalled: %v", err)
	}
	took := time.Since(begun)
	if took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	if disk.hits.Load() == 0 {
		t.Fatal("the leader's disk was never asked to write")
	}
	if st := c.Node(other).Status(); st.Term == term || st.LeaderID == c.Node(leader).ID() {
		t.Errorf("node %s still leads in term %d", st.LeaderID, st.Term)
	}
	if n := c.Node(leader).DiskStalls(); n != 1 {
		t.Errorf("%d stalls were counted, want 1", n)
	}
	wantValue(t, c.Node(other), storage.ReadOptions{}, "q", "2")
	disk.arm(nil, nil)
	release()
	c.WaitApplied(t, res.Index)
	wantValue(t, c.Node(leader), storage.ReadOptions{}, "q", "2")
	res = mustPut(t, c.Node(leader), "r", "3")
	c.WaitApplied(t, res.Index)
}
