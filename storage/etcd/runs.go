package etcd

import (
	"context"
	"sync"

	"github.com/oprc/oprc-pm/storage"
)

// leaderRun is a time in which this node leads.
type leaderRun struct {
	term uint64
	ctx  context.Context
	// calls are those of Lead that take part; nobody joins any more once closed.
	calls  sync.WaitGroup
	closed bool
}

// leaderRuns is the present run, and how to wait for the next.
type leaderRuns struct {
	mu      sync.Mutex // guards the fields below
	current *leaderRun
	changed chan struct{}
}

func newLeaderRuns() *leaderRuns { return &leaderRuns{changed: make(chan struct{})} }

func (l *leaderRuns) begin(ctx context.Context, term uint64) *leaderRun {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.current = &leaderRun{term: term, ctx: ctx}
	close(l.changed)
	l.changed = make(chan struct{})
	return l.current
}

// end closes the run to newcomers and waits for the calls in it.
func (l *leaderRuns) end(run *leaderRun) {
	l.mu.Lock()
	run.closed = true
	l.mu.Unlock()
	run.calls.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.current = nil
}

// join enters the present run if it is another than last, or returns what announces
// the next one.
func (l *leaderRuns) join(last *leaderRun) (*leaderRun, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current == nil || l.current == last || l.current.closed {
		return nil, l.changed
	}
	l.current.calls.Add(1)
	return l.current, nil
}

// Lead implements storage.Store.
func (s *Store) Lead(ctx context.Context, run func(ctx context.Context, term uint64)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(s.ctx, func() { cancel(storage.ErrClosed) })
	defer stop()
	var last *leaderRun
	for {
		current, changed := s.runs.join(last)
		if current == nil {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		last = current
		takePart(ctx, current, run)
	}
}

// takePart calls run with a context that ends with the caller's and with the leader run.
func takePart(ctx context.Context, current *leaderRun, run func(ctx context.Context, term uint64)) {
	defer current.calls.Done()
	both, end := context.WithCancelCause(current.ctx)
	defer end(nil)
	stop := context.AfterFunc(ctx, func() { end(context.Cause(ctx)) })
	defer stop()
	run(both, current.term)
}
