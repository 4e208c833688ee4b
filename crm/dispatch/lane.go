package dispatch

import (
	"context"
	"sync"
)

// lane is the way to one cluster: calls wait here for their turn, in order, and
// at most limit are in flight. Each cluster has its own, so one that hangs fills
// its own lane and nobody else's. Calls that change something go before those that
// only look.
//
// Its goroutines exist only while there are calls; they are counted in wg, which
// belongs to the leader run.
type lane struct {
	limit func() int
	wg    *sync.WaitGroup

	// mu guards what waits and running.
	mu      sync.Mutex
	changes fifo
	looks   fifo
	running int
}

// fifo is calls in order.
type fifo []func(ctx context.Context)

func (f *fifo) pop() func(ctx context.Context) {
	call := (*f)[0]
	(*f)[0] = nil
	if *f = (*f)[1:]; len(*f) == 0 {
		*f = nil // so that what once waited is not kept
	}
	return call
}

// laneOf returns the lane of a cluster.
func (r *run) laneOf(cluster string) *lane {
	r.mu.Lock()
	defer r.mu.Unlock()
	l, exists := r.lanes[cluster]
	if !exists {
		l = &lane{limit: func() int { return max(1, r.deps.Fleet.Concurrency(cluster)) }, wg: &r.wg}
		r.lanes[cluster] = l
	}
	return l
}

// submit queues a call; look says that it changes nothing. It never blocks. A call
// that still waits when ctx ends is made with the ended ctx, so that it can clean
// up.
func (l *lane) submit(ctx context.Context, look bool, call func(ctx context.Context)) {
	limit := l.limit()
	l.mu.Lock()
	defer l.mu.Unlock()
	if look {
		l.looks = append(l.looks, call)
	} else {
		l.changes = append(l.changes, call)
	}
	if l.running < limit {
		l.running++
		l.wg.Go(func() { l.drain(ctx) })
	}
}

// drain makes calls until none waits.
func (l *lane) drain(ctx context.Context) {
	for {
		call, ok := l.take()
		if !ok {
			return
		}
		call(ctx)
	}
}

func (l *lane) take() (call func(ctx context.Context), ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case len(l.changes) > 0:
		return l.changes.pop(), true
	case len(l.looks) > 0:
		return l.looks.pop(), true
	}
	l.running--
	return nil, false
}
