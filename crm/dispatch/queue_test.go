package dispatch

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// startQueue runs a queue's timer until the test ends.
func startQueue(t *testing.T) *queue {
	t.Helper()
	q := newQueue()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { q.runTimer(ctx) })
	t.Cleanup(func() { cancel(); q.close(); wg.Wait() })
	return q
}

func wantNext(t *testing.T, q *queue, want string) {
	t.Helper()
	if got, ok := q.next(); !ok || got != want {
		t.Fatalf("next: got %q, %v, want %q", got, ok, want)
	}
}

func TestQueueDeduplicates(t *testing.T) {
	t.Parallel()
	q := startQueue(t)
	for range 3 {
		q.add("x")
		q.add("y")
	}
	wantNext(t, q, "x")
	wantNext(t, q, "y")
	if got := q.depth(); got != 0 {
		t.Errorf("depth: got %d, want 0", got)
	}
}

func TestQueueServesOneKeyOnceAtATime(t *testing.T) {
	t.Parallel()
	q := startQueue(t)
	q.add("x")
	wantNext(t, q, "x")
	q.add("x") // while it is worked on
	q.addPassing("x")
	q.add("y")
	wantNext(t, q, "y")
	if got := q.depth(); got != 0 {
		t.Errorf("depth: got %d, want 0: x is being worked on", got)
	}
	q.done("x")
	wantNext(t, q, "x")
	q.done("x")
	if got := q.depth(); got != 0 {
		t.Errorf("depth: got %d, want 0", got)
	}
}

func TestQueuePrefersWhatHappened(t *testing.T) {
	t.Parallel()
	q := startQueue(t)
	for _, key := range []string{"p1", "p2", "p3"} {
		q.addPassing(key)
	}
	q.add("u1")
	q.add("p3") // something happened to it now
	q.addPassing("u1")
	for _, want := range []string{"u1", "p3", "p1", "p2"} {
		wantNext(t, q, want)
	}
	if got := q.depth(); got != 0 {
		t.Errorf("depth: got %d, want 0", got)
	}
}

func TestQueueDelays(t *testing.T) {
	t.Parallel()
	q := startQueue(t)
	begin := time.Now()
	q.addAfter("late", time.Hour)
	q.addAfter("b", 40*time.Millisecond)
	q.addAfter("a", 20*time.Millisecond)
	q.addAfter("b", time.Hour) // the shorter one counts
	wantNext(t, q, "a")
	if took := time.Since(begin); took < 20*time.Millisecond {
		t.Errorf("a: came after %v, want at least 20ms", took)
	}
	wantNext(t, q, "b")
	q.addAfter("late", time.Millisecond) // shortens
	wantNext(t, q, "late")
	q.addAfter("now", 0)
	wantNext(t, q, "now")
}

func TestQueueHandingOutEndsDelay(t *testing.T) {
	t.Parallel()
	q := startQueue(t)
	q.addAfter("x", time.Hour)
	q.add("x")
	wantNext(t, q, "x")
	q.done("x")
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.delays) != 0 || len(q.delayed) != 0 {
		t.Errorf("got %d delays, want none", len(q.delays))
	}
}

func TestQueueCloseEndsWorkers(t *testing.T) {
	t.Parallel()
	q := startQueue(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for _, ok := q.next(); ok; _, ok = q.next() {
			}
		})
	}
	q.close()
	wg.Wait()
	q.add("x")
	q.addAfter("y", time.Nanosecond)
	if _, ok := q.next(); ok {
		t.Error("next after close: got a key, want none")
	}
}

func TestQueueUnderLoad(t *testing.T) {
	t.Parallel()
	q := startQueue(t)
	const keys, rounds = 20, 200
	var active [keys]atomic.Int32
	var handled atomic.Int32
	var seen sync.Map
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				key, ok := q.next()
				if !ok {
					return
				}
				var i int
				if _, err := fmt.Sscanf(key, "k%d", &i); err != nil {
					t.Error(err)
				}
				if active[i].Add(1) != 1 {
					t.Errorf("%s is worked on twice at a time", key)
				}
				seen.Store(key, true)
				handled.Add(1)
				active[i].Add(-1)
				q.done(key)
			}
		})
	}
	for i := range keys * rounds {
		key := fmt.Sprintf("k%d", i%keys)
		switch i % 3 {
		case 0:
			q.add(key)
		case 1:
			q.addPassing(key)
		default:
			q.addAfter(key, time.Duration(i%5)*time.Millisecond)
		}
	}
	until(t, "all keys were handed out and the queue is empty", func() bool {
		q.mu.Lock()
		defer q.mu.Unlock()
		return len(q.queued)+len(q.active)+len(q.delays)+len(q.again) == 0
	})
	count := 0
	seen.Range(func(any, any) bool { count++; return true })
	if count != keys {
		t.Errorf("got %d keys, want %d", count, keys)
	}
	q.close()
	wg.Wait()
}

func TestLaneBoundsAndKeepsOrderChangesFirst(t *testing.T) {
	t.Parallel()
	var wg sync.WaitGroup
	l := &lane{limit: func() int { return 2 }, wg: &wg}
	release := make(chan struct{})
	var inFlight, most atomic.Int32
	for range 2 {
		l.submit(t.Context(), false, func(context.Context) {
			most.Store(max(most.Load(), inFlight.Add(1)))
			<-release
			inFlight.Add(-1)
		})
	}
	var mu sync.Mutex
	var order []int
	for i := range 50 {
		// The looks come first, and have to wait all the same.
		look := i < 25
		position := (i + 25) % 50
		l.submit(t.Context(), look, func(context.Context) {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, position)
		})
	}
	until(t, "both slots are in use", func() bool { return inFlight.Load() == 2 })
	mu.Lock()
	if len(order) != 0 {
		t.Errorf("got %d calls beyond the limit, want 0", len(order))
	}
	mu.Unlock()
	release <- struct{}{} // one slot serves the rest, in order
	until(t, "all calls were made", func() bool { mu.Lock(); defer mu.Unlock(); return len(order) == 50 })
	close(release)
	wg.Wait()
	for i, got := range order {
		if got != i {
			t.Fatalf("position %d: got call %d, want %d", i, got, i)
		}
	}
	if l.running != 0 {
		t.Errorf("goroutines left: got %d, want 0", l.running)
	}
}

func TestDoubled(t *testing.T) {
	t.Parallel()
	for times, want := range map[int]time.Duration{0: 1, 1: 2, 2: 4, 3: 8, 4: 10, 5: 10, 1000: 10} {
		if got := doubled(1, 10, times); got != want {
			t.Errorf("doubled %d times: got %d, want %d", times, got, want)
		}
	}
}
