package fsm

import (
	"container/heap"
	"context"
	"sync"
	"sync/atomic"

	"github.com/oprc/oprc-pm/storage"
)

// appliedIndex is the index applied last, and those who wait for a later one.
type appliedIndex struct {
	index atomic.Uint64

	mu      sync.Mutex
	waiters waiterHeap
	closed  bool
}

// load returns the index applied last.
func (a *appliedIndex) load() uint64 { return a.index.Load() }

// advance publishes a new index and wakes whom it concerns.
func (a *appliedIndex) advance(index uint64) {
	a.index.Store(index)
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.waiters) > 0 && a.waiters[0].index <= index {
		close(heap.Pop(&a.waiters).(*waiter).done)
	}
}

// wait blocks until index is applied, ctx ends or close is called.
func (a *appliedIndex) wait(ctx context.Context, index uint64) error {
	if a.index.Load() >= index {
		return nil
	}
	w, err := a.enqueue(index)
	if w == nil {
		return err
	}
	select {
	case <-w.done:
		if w.closed {
			return storage.ErrClosed
		}
		return nil
	case <-ctx.Done():
		a.leave(w)
		return context.Cause(ctx)
	}
}

// enqueue returns nil when there is nothing to wait for.
func (a *appliedIndex) enqueue(index uint64) (*waiter, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, storage.ErrClosed
	}
	// The index may have advanced before the lock was held.
	if a.index.Load() >= index {
		return nil, nil
	}
	w := &waiter{index: index, done: make(chan struct{})}
	heap.Push(&a.waiters, w)
	return w, nil
}

func (a *appliedIndex) leave(w *waiter) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if w.position >= 0 {
		heap.Remove(&a.waiters, w.position)
	}
}

// close fails all that wait with storage.ErrClosed.
func (a *appliedIndex) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	for len(a.waiters) > 0 {
		w := heap.Pop(&a.waiters).(*waiter)
		w.closed = true
		close(w.done)
	}
}

type waiter struct {
	index uint64
	done  chan struct{}
	// closed is written before done is closed and read after.
	closed bool
	// position in the heap; -1 outside.
	position int
}

// waiterHeap has the smallest index on top.
type waiterHeap []*waiter

func (h waiterHeap) Len() int           { return len(h) }
func (h waiterHeap) Less(i, j int) bool { return h[i].index < h[j].index }

func (h waiterHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].position, h[j].position = i, j
}

func (h *waiterHeap) Push(x any) {
	w := x.(*waiter)
	w.position = len(*h)
	*h = append(*h, w)
}

func (h *waiterHeap) Pop() any {
	old := *h
	w := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	w.position = -1
	return w
}
