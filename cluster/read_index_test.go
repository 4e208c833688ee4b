package cluster

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/VictoriaMetrics/metrics"
)

// Waiters that come while a round is under way get the next one, never the one
// that began before them.
func TestRoundsAreSharedAndNeverOlderThanTheirWaiters(t *testing.T) {
	t.Parallel()
	var began atomic.Uint64
	gate, entered := make(chan struct{}), make(chan struct{})
	r := newRounds(newNodeMetrics(metrics.NewSet()), func(context.Context) (uint64, error) {
		n := began.Add(1)
		if n == 2 {
			close(entered)
		}
		<-gate
		return n, nil
	})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { r.run(ctx) })

	const waiters = 100
	results := make(chan [2]uint64, waiters)
	join := func() {
		before := began.Load()
		r.join(func(index uint64, err error) {
			if err != nil {
				t.Error(err)
			}
			results <- [2]uint64{before, index}
		})
	}
	join()
	gate <- struct{}{} // the first round ends for the first waiter
	if got := <-results; got != [2]uint64{0, 1} {
		t.Errorf("first waiter: %v, want round 1", got)
	}
	join() // begins round 2
	<-entered
	for range waiters - 1 {
		join()
	}
	close(gate)
	for range waiters {
		if got := <-results; got[1] <= got[0] {
			t.Errorf("waiter that came in round %d was answered by round %d", got[0], got[1])
		}
	}
	if got := began.Load(); got != 3 {
		t.Errorf("%d rounds for %d waiters, want 3", got, waiters+1)
	}
	cancel()
	wg.Wait()
	closed := make(chan error, 1)
	r.join(func(_ uint64, err error) { closed <- err })
	if err := <-closed; !errors.Is(err, ErrClosed) {
		t.Errorf("after close: %v, want %v", err, ErrClosed)
	}
}
