package etcd

import (
	"context"

	"github.com/oprc/oprc-pm/storage"
)

// OnSettling calls fn after each transaction that settles an entry.
func (s *Store) OnSettling(fn func()) { s.settling = fn }

// OnAnswer lets fn change what etcd answered to a transaction that commits.
func (s *Store) OnAnswer(fn func(error) error) { s.answer = fn }

// Staged says whether the newest entry is still to be written to its keys.
func (s *Store) Staged() bool { return s.current.Load().head.Staged != "" }

// Revision is that of the head.
func (s *Store) Revision() int64 { return s.current.Load().revision }

// Key is the key in etcd of a key of the state.
func (s *Store) Key(key string) string { return s.keys.of(key) }

// StaleReads makes linearizable reads answer at once from the copy: what the check of
// histories has to find.
type StaleReads struct{ *Store }

// View implements storage.Store, wrongly.
func (s StaleReads) View(ctx context.Context, opts storage.ReadOptions, fn func(storage.Reader) error) (storage.ReadInfo, error) {
	opts.Consistency = storage.Stale
	return s.Store.View(ctx, opts, fn)
}
