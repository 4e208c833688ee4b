package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"go.etcd.io/bbolt"

	"github.com/oprc/oprc-pm/storage"
)

// ErrReplaced tells that another file came in place of the one that was being compacted.
var ErrReplaced = errors.New("the state file was replaced meanwhile")

// compactStep is how many bytes one transaction of a compaction copies.
const compactStep = 4 << 20

// writes are the keys that a transaction wrote; a nil value is a deletion.
type writes map[string][]byte

func (w writes) note(key, value []byte) {
	if w != nil {
		w[string(key)] = bytes.Clone(value)
	}
}

// notes are what was written since the copy began that a compaction makes.
type notes struct {
	writes writes
	meta   Meta
	any    bool
	void   bool // the file was replaced
}

func (n *notes) add(w writes, m Meta) {
	for key, value := range w {
		n.writes[key] = value
	}
	configuration := n.meta.Configuration
	if m.Configuration != nil {
		configuration = bytes.Clone(m.Configuration)
	}
	n.meta, n.any = m, true
	n.meta.Configuration = configuration
}

// Compact rewrites the file without the room that deleted data left in it. Reads
// go on, and so do writes but for a moment at the end: what they change while the
// copy is made is done to the copy then.
func (db *DB) Compact() (before, after int64, err error) {
	before = db.Size()
	path := db.cfg.Path + ".compact"
	defer func() {
		if rerr := os.Remove(path); rerr != nil && !errors.Is(rerr, os.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
	}()
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return before, before, fmt.Errorf("compact state file: %w", err)
	}
	copied, err := db.startNotes()
	if err != nil {
		return before, before, err
	}
	defer db.stopNotes()
	cfg := db.cfg
	cfg.Path, cfg.InitialMmapSize = path, 0
	fresh, err := openBolt(cfg)
	if err != nil {
		copied.Close()
		return before, before, err
	}
	err = copied.copyTo(fresh.DB, db.cfg.Fault)
	copied.Close()
	if err != nil {
		return before, before, errors.Join(fmt.Errorf("compact state file: %w", err), fresh.Close())
	}
	if err := db.finishCompaction(fresh, path); err != nil {
		return before, before, err
	}
	return before, db.Size(), nil
}

// startNotes takes a snapshot, and notes what is written from then on.
func (db *DB) startNotes() (*Snapshot, error) {
	db.writing.Lock()
	defer db.writing.Unlock()
	if db.noted != nil {
		return nil, errors.New("compact state file: it is being compacted already")
	}
	s, err := db.Snapshot()
	if err == nil {
		db.noted = &notes{writes: writes{}}
	}
	return s, err
}

func (db *DB) stopNotes() {
	db.writing.Lock()
	db.noted = nil
	db.writing.Unlock()
}

// finishCompaction brings the copy up to date and puts it in place. Nobody writes
// meanwhile.
func (db *DB) finishCompaction(fresh *file, path string) error {
	db.writing.Lock()
	defer db.writing.Unlock()
	err := db.noted.apply(fresh.DB)
	if db.noted.void {
		err = ErrReplaced
	}
	if err == nil {
		err = errors.Join(db.cfg.Fault.Before("sync", path), fresh.Sync())
	}
	if err = errors.Join(err, fresh.Close()); err != nil {
		return fmt.Errorf("compact state file: %w", err)
	}
	if _, err := db.writable(); err != nil {
		return err
	}
	return db.replace(path)
}

func (n *notes) apply(fresh *bbolt.DB) error {
	if !n.any {
		return nil
	}
	return fresh.Update(func(tx *bbolt.Tx) error {
		t := &transaction{view: view{bucket: tx.Bucket(dataBucket)}}
		for key, value := range n.writes {
			var err error
			if value == nil {
				err = t.Delete([]byte(key))
			} else {
				err = t.Put([]byte(key), value)
			}
			if err != nil {
				return err
			}
		}
		return writeMeta(tx, n.meta)
	})
}

// copyTo copies both buckets into a new file, in steps.
func (s *Snapshot) copyTo(fresh *bbolt.DB, fault Fault) error {
	for _, name := range [][]byte{metaBucket, dataBucket} {
		cursor := s.tx.Bucket(name).Cursor()
		key, value := cursor.First()
		for key != nil {
			err := fresh.Update(func(tx *bbolt.Tx) error {
				bucket := tx.Bucket(name)
				bucket.FillPercent = 0.9 // in key order, so pages can be full
				for size := 0; key != nil && size < compactStep; key, value = cursor.Next() {
					size += len(key) + len(value)
					if err := bucket.Put(key, value); err != nil {
						return err
					}
				}
				return fault.Before("write", fresh.Path())
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// Stats tell how big the file is and how much of it is in use.
type Stats struct {
	// Bytes is the file's size, FreeBytes what of it waits to be used again.
	Bytes, FreeBytes int64
}

// Stats of the present file.
func (db *DB) Stats() Stats {
	f := db.acquire()
	if f == nil {
		return Stats{}
	}
	defer f.views.Done()
	stats := f.DB.Stats()
	return Stats{Bytes: db.Size(), FreeBytes: int64(stats.FreeAlloc)}
}

// CheckFile verifies a state file that nobody has open: its pages, its format, and
// that its content has the digest that it says. It returns what the file says.
func CheckFile(path string) (m Meta, err error) {
	if err := VerifyFile(path); err != nil {
		return m, err
	}
	defer guard(&err)()
	db, err := Open(Config{Path: path, ReadOnly: true})
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return m, db.View(func(r storage.Reader, meta Meta) error {
		m = meta
		m.Configuration = bytes.Clone(meta.Configuration)
		if err := verifyContent(context.Background(), r, meta); err != nil {
			return fmt.Errorf("verify %s: %w", path, err)
		}
		return nil
	})
}

// ErrContent tells that the content is not what its digest says.
var ErrContent = errors.New("the content of the state file is not what was written")

// VerifyContent reads the whole of the present state and compares it with the
// digest that was written with it.
func (db *DB) VerifyContent(ctx context.Context) (err error) {
	defer guard(&err)()
	return db.View(func(r storage.Reader, m Meta) error { return verifyContent(ctx, r, m) })
}

// guard makes an error of a page that cannot be read, which shows as a fault of the
// mapped file. Defer what it returns.
func guard(err *error) func() {
	before := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(before)
		if cause := recover(); cause != nil { //nolint:revive // what guard returns is deferred
			*err = fmt.Errorf("the state file cannot be read: %v", cause)
		}
	}
}

func verifyContent(ctx context.Context, r storage.Reader, m Meta) error {
	var digest storage.Digest
	err := r.Scan(nil, nil, func(key, value []byte) (bool, error) {
		digest.Add(key, value)
		return true, context.Cause(ctx)
	})
	if err == nil && digest != m.Digest {
		err = fmt.Errorf("%w: its digest is %s, want %s", ErrContent, digest, storage.Digest(m.Digest))
	}
	return err
}
