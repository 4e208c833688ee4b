package backups

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/oprc/oprc-pm/internal/wait"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/backup"
)

// initialPause is how often a node looks whether the first start is over.
const initialPause = 100 * time.Millisecond

// FirstStart tells whether nothing ever happened in a cluster: no documents, no event,
// no restore.
func FirstStart(r storage.Reader) (bool, error) {
	if what, err := storage.HoldsDocuments(r); err != nil || what != "" {
		return false, err
	}
	for _, key := range [][]byte{storage.RestoredKey, storage.EventSequenceKey} {
		if value, err := r.Get(key); err != nil || value != nil {
			return false, err
		}
	}
	return true, nil
}

// Undecided says why this node is not ready: its cluster starts for the first time and
// what it is to hold is not there yet. It is "" otherwise.
func (m *Manager) Undecided(ctx context.Context) string {
	if !m.cfg.RestoreIfEmpty {
		return ""
	}
	first, err := m.firstStart(ctx, storage.Stale)
	if err != nil || first {
		return "the newest backup is to be restored first"
	}
	return ""
}

func (m *Manager) firstStart(ctx context.Context, consistency storage.Consistency) (first bool, err error) {
	_, err = m.deps.Store.View(ctx, storage.ReadOptions{Consistency: consistency}, func(r storage.Reader) (err error) {
		first, err = FirstStart(r)
		return err
	})
	return first, err
}

// Hold returns when a leader may begin its work: once what the cluster is to hold at
// its first start is there. It reports false when ctx ended before.
func (m *Manager) Hold(ctx context.Context) bool {
	for m.Undecided(ctx) != "" {
		if !wait.For(ctx, initialPause) {
			return false
		}
	}
	return ctx.Err() == nil
}

// RunInitial restores the newest backup at the first start of the cluster, if this node
// leads it, and returns when the first start is over or ctx ends. It must not be part
// of a leader run: a restore ends those.
func (m *Manager) RunInitial(ctx context.Context) {
	for m.Undecided(ctx) != "" {
		pause := initialPause
		if st := m.deps.Store.Status(); st.Role == storage.RoleLeader && st.Ready {
			if err := m.restoreInitial(ctx); err != nil && ctx.Err() == nil {
				m.deps.Logger.Error("newest backup was not restored; it will be tried again", "err", err)
				pause = wait.Jitter(min(m.cfg.Retry, 10*time.Second), 0.2)
			}
		}
		if !wait.For(ctx, pause) {
			return
		}
	}
}

func (m *Manager) restoreInitial(ctx context.Context) error {
	if first, err := m.firstStart(ctx, storage.Linearizable); err != nil || !first {
		return err
	}
	candidates, err := m.candidates(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, c := range candidates {
		h, err := m.restoreFrom(ctx, c)
		if err == nil {
			m.record(ctx, 0, model.Event{Type: model.EventNormal, Reason: ReasonRestored, Message: fmt.Sprintf(
				"the cluster began with %s of %s: cluster %s at index %d", c.file.Name, c.from, h.ClusterID, h.Index)})
			return nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", c.file.Name, err))
		if !backup.Refused(err) {
			// Not the backup's fault: an older one would be the wrong one.
			return errors.Join(errs...)
		}
		m.deps.Logger.Error("backup is damaged, the one before is tried", "name", c.file.Name, "err", err)
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	m.record(ctx, 0, model.Event{Type: model.EventNormal, Reason: ReasonNoBackup, Message: "the cluster began empty: there is no backup"})
	return nil
}

type candidate struct {
	from Destination
	file File
}

// candidates are all backups, the newest first.
func (m *Manager) candidates(ctx context.Context) ([]candidate, error) {
	var all []candidate
	for _, d := range m.deps.Destinations {
		files, err := d.List(ctx)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", d, err)
		}
		for _, f := range files {
			all = append(all, candidate{d, f})
		}
	}
	slices.SortStableFunc(all, func(a, b candidate) int { return newer(a.file, b.file) })
	return all, nil
}

// restoreFrom fetches a backup and restores it.
func (m *Manager) restoreFrom(ctx context.Context, c candidate) (backup.Header, error) {
	dir, err := m.cfg.TempDir()
	if err != nil {
		return backup.Header{}, err
	}
	spool, err := newSpool(dir)
	if err != nil {
		return backup.Header{}, err
	}
	defer spool.close()
	source, err := c.from.Open(ctx, c.file.Name)
	if err != nil {
		return backup.Header{}, err
	}
	if err := spool.fill(source); err != nil {
		return backup.Header{}, err
	}
	h, _, err := m.Restore(ctx, spool.file, false)
	return h, err
}
