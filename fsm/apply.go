package fsm

import (
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/bolt"
)

// Apply applies one log entry. Raft calls ApplyBatch instead.
func (f *FSM) Apply(entry *raft.Log) any { return f.ApplyBatch([]*raft.Log{entry})[0] }

// ApplyBatch applies log entries in one transaction, together with the index of
// the last: after a crash either all of it is there or nothing. Entries at or
// below the applied index are skipped, since a restarted Raft hands them over
// again. After a fault nothing is applied any more.
func (f *FSM) ApplyBatch(entries []*raft.Log) []any {
	responses := make([]any, len(entries))
	err := f.faulted()
	if err == nil {
		if err = f.applyBatch(entries, responses); err != nil {
			err = f.fail(err)
		}
	}
	if err != nil {
		for i := range responses {
			responses[i] = err
		}
	}
	return responses
}

func (f *FSM) applyBatch(entries []*raft.Log, responses []any) error {
	var changes []change
	var after published
	restored := false
	err := f.db.Update(func(tx storage.Tx, m *bolt.Meta) error {
		batch := batch{fsm: f, tx: digestTx{Tx: tx, digest: m.Digest}, meta: m}
		for i, entry := range entries {
			if entry.Index <= m.Index {
				continue
			}
			response, err := batch.apply(entry)
			if err != nil {
				return err
			}
			responses[i] = response
		}
		m.Digest = batch.tx.digest
		changes, restored = batch.changes, batch.restored
		clusterID, err := tx.Get(storage.ClusterIDKey)
		after = published{index: m.Index, term: m.Term, digest: m.Digest, clusterID: string(clusterID)}
		return err
	})
	if err != nil {
		return err
	}
	f.published.Store(&after)
	for _, c := range changes {
		f.history.Append(c.index, c.events)
	}
	if restored {
		f.cfg.Logger.Info("restored a backup", "index", after.index)
		f.cfg.OnRestored()
	}
	// Waiters last: who waited for an index finds its events in the history.
	f.applied.advance(after.index)
	return nil
}

// change is what one log entry changed.
type change struct {
	index  uint64
	events []storage.Event
}

// batch is one transaction over several log entries.
type batch struct {
	fsm     *FSM
	tx      digestTx
	meta    *bolt.Meta
	changes []change
	// restored: a backup took the place of the state.
	restored bool
}

func (b *batch) apply(entry *raft.Log) (any, error) {
	b.meta.Index, b.meta.Term = entry.Index, entry.Term
	switch entry.Type {
	case raft.LogConfiguration:
		b.meta.Configuration = entry.Data
		b.changes = append(b.changes, change{index: entry.Index})
		return nil, nil
	case raft.LogCommand:
		proposals, err := UnpackEntry(entry.Data)
		if err != nil {
			return nil, fmt.Errorf("log entry %d: %w", entry.Index, err)
		}
		results, events, err := b.fsm.machine.Apply(&b.tx, entry.Index, entry.Term, proposals)
		if err != nil {
			return nil, err
		}
		b.fsm.metrics.count(results)
		b.restored = b.restored || storage.RestoreCommitted(proposals, results)
		b.changes = append(b.changes, change{index: entry.Index, events: events})
		return results, nil
	default:
		return nil, fmt.Errorf("log entry %d has the unexpected type %s", entry.Index, entry.Type)
	}
}
