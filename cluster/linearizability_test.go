package cluster_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/internal/testcluster"
	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/storagetest"
)

// killEvery is the pause between two kills of the leader in the long form.
const killEvery = 5 * time.Second

// linearizing is a history that grows under clients at all nodes of a cluster that are
// up.
type linearizing struct {
	*storagetest.Linearizability
	cluster *testcluster.Cluster
	mu      sync.RWMutex // guards the set of nodes against the test's own changes
	clients sync.WaitGroup
	stop    chan struct{}
}

func startLinearizing(c *testcluster.Cluster) *linearizing {
	l := &linearizing{Linearizability: storagetest.NewLinearizability(), cluster: c, stop: make(chan struct{})}
	for id := range 9 {
		l.clients.Go(func() { l.Client(id, l.pick, l.stop) })
	}
	return l
}

// pick gives a node that is up.
func (l *linearizing) pick() storage.Store {
	l.mu.RLock()
	defer l.mu.RUnlock()
	up := l.cluster.Up()
	return l.cluster.Node(up[rand.IntN(len(up))])
}

// progress waits for n more operations.
func (l *linearizing) progress(t *testing.T, n int64) {
	t.Helper()
	from := l.Done()
	testcluster.Wait(t, "operations", func() error {
		if done := l.Done() - from; done < n {
			return fmt.Errorf("%d of %d", done, n)
		}
		return nil
	})
}

// killLeader crashes the leader, lets the others go on for a while, and brings it back.
func (l *linearizing) killLeader(t *testing.T) {
	t.Helper()
	leader := l.cluster.Leader(t)
	l.mu.Lock()
	crash := l.cluster.Take(leader)
	l.mu.Unlock()
	crash()
	l.progress(t, 150)
	l.mu.Lock()
	l.cluster.Restart(leader)
	l.mu.Unlock()
}

func (l *linearizing) end() {
	close(l.stop)
	l.clients.Wait()
}

// I2: operations through all nodes are linearizable, while the leader crashes,
// comes back, is cut off, and hands over.
func TestLinearizability(t *testing.T) {
	c := testcluster.New(t, 3)
	l := startLinearizing(c)
	if operations, long := storagetest.Operations(t, os.Getenv(storagetest.OperationsVariable)); long {
		for l.Recorded() < operations {
			<-time.After(killEvery)
			l.killLeader(t)
		}
	} else {
		l.progress(t, 150)
		l.killLeader(t)
		l.progress(t, 150)
		c.Partition(c.Leader(t))
		l.progress(t, 60) // a third of them wait in vain at the node that is cut off
		c.Heal()
		l.progress(t, 150)
		if err := c.Node(c.Leader(t)).TransferLeadership(ctxFor(t, 10*time.Second), ""); err != nil {
			t.Logf("transfer: %v", err)
		}
		l.progress(t, 150)
	}
	l.end()
	c.WaitReady()
	l.Check(t, 5*time.Minute)
}

// The checker itself must find what it is for: with stale reads, at nodes cut off
// from the leader, the same history is not linearizable.
func TestLinearizabilityCheckerFindsStaleReads(t *testing.T) {
	c := testcluster.New(t, 3)
	leader := c.Leader(t)
	behind := others(c, leader)[0]
	ahead := others(c, leader)[1]
	l := storagetest.NewLinearizability()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for i, value := range []string{"1", "2"} {
		if !l.Put(ctx, c.Node(ahead), 0, "k", value) {
			t.Fatalf("put %s: the outcome is not known", value)
		}
		if i == 0 {
			c.Partition(behind)
		}
	}
	if l.Recorded() != 2 {
		t.Fatal("a put failed")
	}
	if err := l.Get(ctx, c.Node(behind), 1, "k", storage.Stale); err != nil {
		t.Fatal(err)
	}
	if !l.Faulty(time.Minute) {
		t.Error("the stale read was not found")
	}
}
