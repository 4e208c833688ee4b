package dispatch

import (
	"context"
	"sync"
)

// lane is the way to one cluster: calls wait here for their turn, in order, and
// at most limit are in flight. Each cluster has its own, so one that hangs fills
// its own lane and nobody else's.
//
// Its goroutines exist only while there are calls; they are counted in wg, which
// belongs to the leader run.
type lane struct {
	limit int
	wg    *sync.WaitGroup

	// mu guards waiting and running.
	mu      sync.Mutex
	waiting []func(ctx context.Context)
	running int
}

// submit queues a call. It never blocks. A call that still waits when ctx ends
// is made with the ended ctx, so that it can clean up.
func (l *lane) submit(ctx context.Context, call func(ctx context.Context)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = append(l.waiting, call)
	if l.running < l.limit {
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
	if len(l.waiting) == 0 {
		l.waiting = nil
		l.running--
		return nil, false
	}
	call = l.waiting[0]
	l.waiting[0] = nil
	l.waiting = l.waiting[1:]
	return call, true
}
