package cluster_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/internal/testcluster"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// Concurrent reads share rounds: there are far fewer rounds than reads, at the
// leader and at a follower.
func TestReadIndexIsShared(t *testing.T) {
	c := testcluster.New(t, 3)
	mustPut(t, c.Node(0), "p", "1")
	leader := c.Leader(t)
	for _, i := range []int{leader, others(c, leader)[0]} {
		node := c.Node(i)
		roundsBefore, _ := node.ReadRounds()
		const readers, reads = 64, 20
		var wg sync.WaitGroup
		for range readers {
			wg.Go(func() {
				for range reads {
					wantValue(t, node, storage.ReadOptions{}, "p", "1")
				}
			})
		}
		wg.Wait()
		rounds, _ := node.ReadRounds()
		rounds -= roundsBefore
		t.Logf("%d rounds for %d reads", rounds, readers*reads)
		if rounds == 0 || rounds > readers*reads/4 {
			t.Errorf("%d rounds for %d reads, want far fewer but some", rounds, readers*reads)
		}
	}
}

// A single node reads without rounds, and never allocates for asking.
func TestSingleNodeReadsAlone(t *testing.T) {
	c := testcluster.New(t, 1)
	mustPut(t, c.Node(0), "p", "1")
	before, _ := c.Node(0).ReadRounds()
	for range 100 {
		wantValue(t, c.Node(0), storage.ReadOptions{}, "p", "1")
	}
	if rounds, _ := c.Node(0).ReadRounds(); rounds != before {
		t.Errorf("%d rounds for reads of the only voter, want none", rounds-before)
	}
	allocs := testing.AllocsPerRun(100, func() {
		if _, ok := c.Node(0).FastReadIndex(); !ok {
			t.Error("no fast read index")
		}
	})
	if allocs != 0 {
		t.Errorf("fast read index allocates %v times", allocs)
	}
}

// Lease reads at the leader need no round while one is recent.
func TestLeaseReads(t *testing.T) {
	c := testcluster.New(t, 3)
	mustPut(t, c.Node(0), "p", "1")
	leader := c.Node(c.Leader(t))
	before, _ := leader.ReadRounds()
	reads := uint64(0)
	for end := time.Now().Add(5 * testcluster.FastConfig().LeaderLeaseTimeout); time.Now().Before(end); reads++ {
		wantValue(t, leader, storage.ReadOptions{Consistency: storage.Lease}, "p", "1")
	}
	after, _ := leader.ReadRounds()
	if rounds := after - before; rounds == 0 || rounds > reads/2 {
		t.Errorf("%d rounds for %d lease reads, want few but some", rounds, reads)
	}
}

func TestMinIndexWaits(t *testing.T) {
	c := testcluster.New(t, 1)
	res := mustPut(t, c.Node(0), "p", "1")
	_, err := c.Node(0).View(ctxFor(t, 100*time.Millisecond), storage.ReadOptions{Consistency: storage.Stale, MinIndex: res.Index + 1000},
		func(storage.Reader) error { return nil })
	if got, want := model.CodeOf(err), model.CodeUnavailable; got != want {
		t.Errorf("code = %q (%v), want %q", got, err, want)
	}
	done := make(chan error, 1)
	go func() {
		_, err := c.Node(0).View(ctxFor(t, 10*time.Second), storage.ReadOptions{Consistency: storage.Stale, MinIndex: res.Index + 1},
			func(storage.Reader) error { return nil })
		done <- err
	}()
	mustPut(t, c.Node(0), "p", "2")
	if err := <-done; err != nil {
		t.Errorf("read of the next index: %v", err)
	}
}

// A write goes at most one hop: a node that is told to forward to another that
// does not lead is refused, never relayed.
func TestForwardingHasOneHop(t *testing.T) {
	c := testcluster.New(t, 3)
	leader := c.Leader(t)
	rest := others(c, leader)
	from, via := c.Node(rest[0]), c.Node(rest[1])
	before := via.Forwarded()
	hint, err := from.ForwardTo(ctxFor(t, 5*time.Second), via.ID(), testcluster.Put("p", "1"))
	if err == nil {
		t.Error("a follower took a forwarded write")
	}
	if got, want := hint, c.Node(leader).ID(); got != want {
		t.Errorf("hint = %q, want the leader %q", got, want)
	}
	if got := via.Forwarded(); got != before {
		t.Errorf("the follower forwarded %d writes that were forwarded to it", got-before)
	}
	wantValue(t, via, storage.ReadOptions{}, "p", "")
}

// Followers take part of the load without falling out of step: writes through
// all nodes at once, each read back at once where it was written.
func TestReadYourWritesUnderLoad(t *testing.T) {
	c := testcluster.New(t, 3)
	var wg sync.WaitGroup
	for w := range 9 {
		node := c.Node(w % 3)
		wg.Go(func() {
			for i := range 30 {
				name, value := fmt.Sprintf("w%d", w), fmt.Sprint(i)
				mustPut(t, node, name, value)
				wantValue(t, node, storage.ReadOptions{Consistency: storage.Stale}, name, value)
			}
		})
	}
	wg.Wait()
}
