package bolt

import (
	"fmt"
	"io"

	"go.etcd.io/bbolt"
)

// Snapshot is a consistent copy of the file that can be streamed while the file
// changes. It pins the pages it needs: Close it soon.
type Snapshot struct {
	tx   *bbolt.Tx
	meta Meta
}

// Snapshot takes a snapshot, at once.
func (db *DB) Snapshot() (*Snapshot, error) {
	tx, err := db.begin()
	if err != nil {
		return nil, err
	}
	meta, err := readMeta(tx)
	if err != nil {
		_ = tx.Rollback() // The first error is the one to tell.
		return nil, err
	}
	return &Snapshot{tx: tx, meta: meta}, nil
}

// Meta of the snapshot's data. Configuration is valid until Close.
func (s *Snapshot) Meta() Meta { return s.meta }

// WriteTo streams the file.
func (s *Snapshot) WriteTo(w io.Writer) (int64, error) {
	n, err := s.tx.WriteTo(w)
	if err != nil {
		return n, fmt.Errorf("write snapshot: %w", err)
	}
	return n, nil
}

// Close ends the snapshot. It may be called more than once.
func (s *Snapshot) Close() {
	_ = s.tx.Rollback() // A read transaction has nothing to lose.
}
