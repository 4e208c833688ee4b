package fsm

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/oprc/oprc-pm/storage"
)

func TestWaitForIndexes(t *testing.T) {
	t.Parallel()
	var a appliedIndex
	const n, last = 500, 1000
	var done sync.WaitGroup
	var early atomic.Int32
	rng := rand.New(rand.NewPCG(1, 2))
	for range n {
		index := 1 + rng.Uint64N(last)
		done.Go(func() {
			if err := a.wait(t.Context(), index); err != nil {
				t.Errorf("wait for %d: %v", index, err)
			}
			if a.load() < index {
				early.Add(1)
			}
		})
	}
	for index := uint64(1); index <= last; index += 1 + rng.Uint64N(9) {
		a.advance(index)
	}
	a.advance(last)
	done.Wait()
	if got := early.Load(); got != 0 {
		t.Errorf("%d waiters were woken before their index", got)
	}
	if len(a.waiters) != 0 {
		t.Errorf("%d waiters are left", len(a.waiters))
	}
}

func TestWaitEndsWithContext(t *testing.T) {
	t.Parallel()
	var a appliedIndex
	gone := errors.New("gone")
	var contexts []context.CancelCauseFunc
	var done sync.WaitGroup
	for i := range 100 {
		ctx, cancel := context.WithCancelCause(t.Context())
		contexts = append(contexts, cancel)
		done.Go(func() {
			err := a.wait(ctx, uint64(10+i))
			// Those that were reached before their context ended may say either.
			if err != nil && !errors.Is(err, gone) {
				t.Errorf("wait: got %v, want %v", err, gone)
			}
			if err == nil && a.load() < uint64(10+i) {
				t.Errorf("waiter for %d was woken at %d", 10+i, a.load())
			}
		})
	}
	rand.New(rand.NewPCG(3, 4)).Shuffle(len(contexts), func(i, j int) { contexts[i], contexts[j] = contexts[j], contexts[i] })
	for i, cancel := range contexts {
		if i == 50 {
			a.advance(40)
		}
		cancel(gone)
	}
	done.Wait()
	if len(a.waiters) != 0 {
		t.Errorf("%d waiters are left", len(a.waiters))
	}
}

func TestWaitEndsWithClose(t *testing.T) {
	t.Parallel()
	var a appliedIndex
	a.advance(5)
	var done sync.WaitGroup
	for i := range uint64(50) {
		done.Go(func() {
			if err := a.wait(t.Context(), 6+i); !errors.Is(err, storage.ErrClosed) {
				t.Errorf("wait: got %v, want %v", err, storage.ErrClosed)
			}
		})
	}
	a.close()
	a.close()
	done.Wait()
	if err := a.wait(t.Context(), 5); err != nil {
		t.Errorf("wait for what is there: %v", err)
	}
	if err := a.wait(t.Context(), 6); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("wait after close: got %v, want %v", err, storage.ErrClosed)
	}
}
