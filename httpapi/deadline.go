package httpapi

import (
	"context"
	"sync"
	"time"
)

// deadlineContext is a context with a deadline that costs a timer only when
// somebody asks for Done. Most reads and many writes are answered without
// waiting, and never do.
type deadlineContext struct {
	base     context.Context
	deadline time.Time

	// mu guards inner and cancel, which exist from the first call of Done on.
	mu     sync.Mutex
	inner  context.Context
	cancel context.CancelFunc
}

var _ context.Context = (*deadlineContext)(nil)

func newDeadlineContext(base context.Context, deadline time.Time) *deadlineContext {
	return &deadlineContext{base: base, deadline: deadline}
}

// release frees the timer. A context that was released without ever having been
// waited for ends with its deadline.
func (c *deadlineContext) release() {
	c.mu.Lock()
	cancel := c.cancel
	c.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

func (c *deadlineContext) materialize() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner == nil {
		c.inner, c.cancel = context.WithDeadline(c.base, c.deadline)
	}
	return c.inner
}

func (c *deadlineContext) Deadline() (time.Time, bool) { return c.deadline, true }

func (c *deadlineContext) Done() <-chan struct{} { return c.materialize().Done() }

func (c *deadlineContext) Err() error {
	c.mu.Lock()
	inner := c.inner
	c.mu.Unlock()
	switch {
	case inner != nil:
		return inner.Err()
	case c.base.Err() != nil:
		return c.base.Err()
	case !time.Now().Before(c.deadline):
		return context.DeadlineExceeded
	}
	return nil
}

// Value materializes the context, so that the context package finds its own
// cancel machinery in it and derives contexts without a goroutine.
func (c *deadlineContext) Value(key any) any { return c.materialize().Value(key) }
