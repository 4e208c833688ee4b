package bolt

import (
	"fmt"
	"io"
	"sync"

	"go.etcd.io/bbolt"
)

// Snapshot is a consistent copy of the file that can be streamed while the file
// changes. It pins the pages it needs: Close it soon.
type Snapshot struct {
	tx   *bbolt.Tx
	meta Meta
	end  func()
}

// Snapshot takes a snapshot, at once.
func (db *DB) Snapshot() (*Snapshot, error) {
	f, tx, err := db.begin()
	if err != nil {
		return nil, err
	}
	meta, err := readMeta(tx)
	if err != nil {
		f.end(tx)
		return nil, err
	}
	return &Snapshot{tx: tx, meta: meta, end: sync.OnceFunc(func() { f.end(tx) })}, nil
}

// Meta of the snapshot's data. Configuration is valid until Close.
func (s *Snapshot) Meta() Meta { return s.meta }

// Size is how many bytes WriteTo will write.
func (s *Snapshot) Size() int64 { return s.tx.Size() }

// WriteTo streams the file.
func (s *Snapshot) WriteTo(w io.Writer) (int64, error) {
	n, err := s.tx.WriteTo(w)
	if err != nil {
		return n, fmt.Errorf("write snapshot: %w", err)
	}
	return n, nil
}

// Close ends the snapshot. It may be called more than once.
func (s *Snapshot) Close() { s.end() }
