package etcd_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/internal/testetcd"
	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/etcd"
)

// hammer writes through a node without a pause until stop closes, and counts.
func hammer(t *testing.T, all *sync.WaitGroup, s storage.Store, clients int, stop <-chan struct{}) *atomic.Int64 {
	t.Helper()
	var count atomic.Int64
	for c := range clients {
		all.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
					put(t, s, fmt.Sprintf("%s-%d", s.Status().NodeName, c), fmt.Sprint(n))
					count.Add(1)
				}
			}
		})
	}
	return &count
}

// TestSlowNodeGetsItsTurn lets a node far from etcd write beside two that are near: by
// speed alone it would hardly ever be first.
func TestSlowNodeGetsItsTurn(t *testing.T) {
	t.Parallel()
	servers := testetcd.Start(t, 1)
	cfg := config(servers, "/turns")
	near := []*etcd.Store{open(t, cfg, "near1"), open(t, cfg, "near2")}
	far, proxy := behind(t, servers, cfg, "far")
	proxy.Slow(10 * time.Millisecond)
	stop := make(chan struct{})
	var all sync.WaitGroup
	for _, node := range near {
		hammer(t, &all, node, 4, stop)
	}
	began := time.Now()
	const writes = 10
	for i := range writes {
		put(t, far, "p", fmt.Sprint(i))
	}
	took := time.Since(began)
	close(stop)
	all.Wait()
	if took > 10*time.Second {
		t.Errorf("%d writes of the far node took %v", writes, took)
	}
	t.Logf("%d writes of the far node took %v", writes, took)
	sameState(t, near[0], near[1], far)
}

// TestDeadOwnerOfATurn does not hold others up for long.
func TestDeadOwnerOfATurn(t *testing.T) {
	t.Parallel()
	servers := testetcd.Start(t, 1)
	node := open(t, config(servers, "/dead-turn"), "node")
	if _, err := servers.Client().Put(t.Context(), node.Key("turns/DEAD"), ""); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for i := range 20 {
		put(t, node, "p", fmt.Sprint(i))
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("20 writes took %v", took)
	}
}

// TestWatchersOfAllNodesSeeTheSame writes through three nodes at once: each watcher, on
// whichever node, gets every change once, in the same order.
func TestWatchersOfAllNodesSeeTheSame(t *testing.T) {
	t.Parallel()
	servers := testetcd.Start(t, 1)
	nodes := openThree(t, config(servers, "/watchers"))
	var watchers []storage.Watcher
	start := put(t, nodes[0], "p", "start").Index
	for _, node := range nodes {
		if _, err := node.View(within(t, patience), storage.ReadOptions{MinIndex: start}, func(storage.Reader) error { return nil }); err != nil {
			t.Fatal(err)
		}
		w, err := node.Watch(t.Context(), storage.WatchOptions{Since: start})
		if err != nil {
			t.Fatal(err)
		}
		watchers = append(watchers, w)
	}
	stop := make(chan struct{})
	var writing sync.WaitGroup
	var counts []*atomic.Int64
	for _, node := range nodes {
		counts = append(counts, hammer(t, &writing, node, 3, stop))
	}
	for i, count := range counts {
		eventually(t, fmt.Sprint("progress of node ", i), func() bool { return count.Load() >= 60 })
	}
	close(stop)
	writing.Wait()
	written := 0
	for _, count := range counts {
		written += int(count.Load())
	}
	last := put(t, nodes[1], "p", "end").Index
	var want []string
	for i, w := range watchers {
		got := collect(t, w, last)
		if i == 0 {
			want = got
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("changes on node %d and the first: -first +node\n%s", i, diff)
		}
		if len(got) != written+1 {
			t.Errorf("node %d: %d changes, want %d", i, len(got), written+1)
		}
	}
	sameState(t, nodes...)
}

// collect reads a watcher up to an index.
func collect(t *testing.T, w storage.Watcher, last uint64) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var got []string
	for at := uint64(0); at < last; {
		events, index, err := w.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			got = append(got, fmt.Sprintf("%d %s %s %s %s", e.Index, e.Type, e.Kind, e.Key, e.Document))
		}
		at = index
	}
	return got
}

// TestVersionsNameOneContent writes one document from many clients at once: no two
// contents get the same resource version, though commands share transactions.
func TestVersionsNameOneContent(t *testing.T) {
	t.Parallel()
	servers := testetcd.Start(t, 1)
	nodes := openThree(t, config(servers, "/versions"))
	var mu sync.Mutex
	values := map[uint64]string{}
	var all sync.WaitGroup
	for c := range 24 {
		all.Go(func() {
			for i := range 5 {
				value := fmt.Sprintf("%d-%d", c, i)
				result := put(t, nodes[c%3], "p", value)
				mu.Lock()
				if other, taken := values[result.ResourceVersion]; taken {
					t.Errorf("version %d is of %s and of %s", result.ResourceVersion, other, value)
				}
				values[result.ResourceVersion] = value
				mu.Unlock()
			}
		})
	}
	all.Wait()
	sameState(t, nodes...)
}
