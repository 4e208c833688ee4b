package fsm

import (
	"context"
	"errors"
	"fmt"

	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/bolt"
)

// Compact rewrites the state file without the room that deleted data left in it.
// Entries are applied meanwhile. It may be called from any goroutine.
func (f *FSM) Compact() (before, after int64, err error) {
	if err := f.faulted(); err != nil {
		return 0, 0, err
	}
	return f.db.Compact()
}

// FileStats tell how big the state file is and how much of it is in use.
func (f *FSM) FileStats() bolt.Stats { return f.db.Stats() }

// Scrub reads the whole state and compares it with its digest, which is otherwise
// only carried forward: what the disk changed is found no other way. Damage is a
// fault, which says the remedy.
func (f *FSM) Scrub(ctx context.Context, remedy string) error {
	err := f.db.VerifyContent(ctx)
	if err != nil && ctx.Err() == nil && !errors.Is(err, storage.ErrClosed) {
		return f.fail(fmt.Errorf("%w; %s", err, remedy))
	}
	return err
}
