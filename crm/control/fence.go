package control

import (
	"context"

	"github.com/oprc/oprc-pm/internal/wait"
	"github.com/oprc/oprc-pm/storage"
)

// fence is what CRMs are shown instead of a term. They refuse whoever shows less than
// they have seen, and the state may come from a cluster that counted further.
func (c *Control) fence(term uint64) uint64 { return c.termBase.Load() + term }

// readTermBase reads what is added to terms. It repeats what fails until ctx ends, and
// tells whether it is done. A restore begins another run.
func (c *Control) readTermBase(ctx context.Context) bool {
	for {
		err := c.tryTermBase(ctx)
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		c.deps.Logger.Warn("fence for CRMs will be read again", "error", err)
		wait.For(ctx, registerPause)
	}
}

func (c *Control) tryTermBase(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	var base uint64
	_, err := c.deps.Store.View(ctx, storage.ReadOptions{Consistency: storage.Stale}, func(r storage.Reader) (err error) {
		base, err = storage.TermBase(r)
		return err
	})
	if err == nil {
		c.termBase.Store(base)
	}
	return err
}
