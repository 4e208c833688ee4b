package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"github.com/oprc/oprc-pm/storage"
)

// All buckets of the file. Every replicated key lives in dataBucket; metaBucket
// holds what this replica knows about it.
var (
	dataBucket = []byte("data")
	metaBucket = []byte("meta")

	formatKey        = []byte("format")
	appliedKey       = []byte("applied")
	configurationKey = []byte("configuration")
)

// formatVersion is the layout of the file. A newer one is refused.
const formatVersion = storage.StateFormat

// Meta is what the file says about its data.
type Meta struct {
	// Index and Term of the log entry applied last.
	Index, Term uint64
	// Digest of all replicated keys.
	Digest [2]uint64
	// Configuration is the cluster configuration applied last, encoded by its
	// writer; nil leaves the stored one as it is.
	Configuration []byte
}

// Config of a DB.
type Config struct {
	Path string
	// InitialMmapSize is how many bytes of address space to map at once. As long
	// as the file is smaller, writers never wait for readers to let go of a
	// mapping. It costs no memory.
	InitialMmapSize int
	// ReadOnly opens an existing file without changing it.
	ReadOnly bool
	// Fault is for tests.
	Fault Fault
}

// DefaultInitialMmapSize is enough for some million documents.
const DefaultInitialMmapSize = 64 << 30

// DB is an open file. View, Stats and Compact may be called from any goroutine,
// everything else from one at a time.
type DB struct {
	cfg Config

	// mu guards current, which is nil after Close.
	mu      sync.RWMutex
	current *file
	// retired counts the files that were replaced and still have views.
	retired sync.WaitGroup

	// writing is held by whoever writes or replaces the file, and guards noted.
	writing sync.Mutex
	// noted collects what transactions write while the file is compacted.
	noted *notes

	closeOnce sync.Once
	closeErr  error
}

// file is one generation of the state file. bbolt's own Close would make those
// who begin a view wait for the views that are open, so they are counted here and
// a file is closed when nobody uses it any more.
type file struct {
	*bbolt.DB
	views sync.WaitGroup
	// seen is the meta that a view read last. Views outnumber transactions by
	// far, and looking it up costs as much as looking up a document.
	seen atomic.Pointer[seenMeta]
}

// seenMeta is the meta as the transaction with number tx left it. It is never
// modified.
type seenMeta struct {
	tx   int
	meta Meta
}

// Open opens or creates the file.
func Open(cfg Config) (*DB, error) {
	inner, err := openBolt(cfg)
	if err != nil {
		return nil, err
	}
	return &DB{cfg: cfg, current: inner}, nil
}

func openBolt(cfg Config) (*file, error) {
	inner, err := bbolt.Open(cfg.Path, 0o600, &bbolt.Options{
		Timeout:         2 * time.Second,
		ReadOnly:        cfg.ReadOnly,
		NoSync:          true,
		NoGrowSync:      true,
		FreelistType:    bbolt.FreelistMapType,
		InitialMmapSize: cfg.InitialMmapSize,
	})
	if err != nil {
		return nil, fmt.Errorf("open state file %s: %w", cfg.Path, err)
	}
	prepare := inner.Update
	if cfg.ReadOnly {
		prepare = inner.View
	}
	if err := prepare(initialize); err != nil {
		return nil, errors.Join(fmt.Errorf("open state file %s: %w", cfg.Path, err), inner.Close())
	}
	return &file{DB: inner}, nil
}

// initialize creates the buckets of a new file and checks those of an old one.
func initialize(tx *bbolt.Tx) error {
	if !tx.Writable() {
		return checkFormat(tx)
	}
	if _, err := tx.CreateBucketIfNotExists(dataBucket); err != nil {
		return err
	}
	meta, err := tx.CreateBucketIfNotExists(metaBucket)
	if err != nil {
		return err
	}
	format := meta.Get(formatKey)
	if format == nil {
		return meta.Put(formatKey, []byte{formatVersion})
	}
	return checkFormat(tx)
}

// checkFormat checks that a file is one of these, and not of a newer program.
func checkFormat(tx *bbolt.Tx) error {
	meta := tx.Bucket(metaBucket)
	if meta == nil || tx.Bucket(dataBucket) == nil {
		return errors.New("it is no state file")
	}
	format := meta.Get(formatKey)
	if len(format) != 1 || format[0] == 0 {
		return fmt.Errorf("its format %x is damaged", format)
	}
	if format[0] > formatVersion {
		return fmt.Errorf("format %d is newer than this program understands (%d): %w", format[0], formatVersion, ErrNewerFormat)
	}
	return nil
}

// ErrNewerFormat tells that a newer release of the program wrote the file.
var ErrNewerFormat = errors.New("start the release that wrote it, or a later one")

// View calls fn with a consistent view of the data and its meta.
func (db *DB) View(fn func(r storage.Reader, m Meta) error) error {
	f, tx, err := db.begin()
	if err != nil {
		return err
	}
	defer f.end(tx)
	m, err := f.meta(tx)
	if err != nil {
		return err
	}
	return fn(&view{bucket: tx.Bucket(dataBucket)}, m)
}

// meta is readMeta for a read transaction, remembered: read transactions with
// the same number see the same. Its Configuration outlives the transaction.
func (f *file) meta(tx *bbolt.Tx) (Meta, error) {
	if s := f.seen.Load(); s != nil && s.tx == tx.ID() {
		return s.meta, nil
	}
	m, err := readMeta(tx)
	if err != nil {
		return m, err
	}
	m.Configuration = bytes.Clone(m.Configuration)
	f.seen.Store(&seenMeta{tx: tx.ID(), meta: m})
	return m, nil
}

// begin opens a read transaction on the current file; end must follow.
func (db *DB) begin() (*file, *bbolt.Tx, error) {
	f := db.acquire()
	if f == nil {
		return nil, nil, storage.ErrClosed
	}
	tx, err := f.Begin(false)
	if err != nil {
		f.views.Done()
		return nil, nil, fmt.Errorf("begin view: %w", err)
	}
	return f, tx, nil
}

// acquire counts a view of the current file; it returns nil after Close. A view
// is never counted on a file that was swapped out, so whoever swaps it can wait
// for the count to reach zero.
func (db *DB) acquire() *file {
	db.mu.RLock()
	defer db.mu.RUnlock()
	if db.current != nil {
		db.current.views.Add(1)
	}
	return db.current
}

func (f *file) end(tx *bbolt.Tx) {
	_ = tx.Rollback() // A read transaction has nothing to lose.
	f.views.Done()
}

// swap makes fresh the current file and returns the one before.
func (db *DB) swap(fresh *file) *file {
	db.mu.Lock()
	defer db.mu.Unlock()
	old := db.current
	db.current = fresh
	return old
}

// writable returns the current file for the one goroutine that writes.
func (db *DB) writable() (*file, error) {
	db.mu.RLock()
	defer db.mu.RUnlock()
	if db.current == nil {
		return nil, storage.ErrClosed
	}
	return db.current, nil
}

// Update calls fn in a transaction and commits what it wrote together with m as
// fn left it. When fn fails, nothing is written.
func (db *DB) Update(fn func(tx storage.Tx, m *Meta) error) error {
	db.writing.Lock()
	defer db.writing.Unlock()
	f, err := db.writable()
	if err != nil {
		return err
	}
	var written writes
	var m Meta
	committing := false
	err = f.Update(func(tx *bbolt.Tx) error {
		if m, err = readMeta(tx); err != nil {
			return err
		}
		m.Configuration = nil
		t := &transaction{view: view{bucket: tx.Bucket(dataBucket)}}
		if db.noted != nil {
			written = writes{}
			t.written = written
		}
		if err := fn(t, &m); err != nil {
			return err
		}
		if err := writeMeta(tx, m); err != nil {
			return err
		}
		committing = true
		return db.cfg.Fault.Before("write", db.cfg.Path)
	})
	if err != nil && committing {
		return fmt.Errorf("write state file %s: %w", db.cfg.Path, err)
	}
	if err == nil && db.noted != nil {
		db.noted.add(written, m)
	}
	return err
}

// Sync makes everything committed so far survive a loss of power.
func (db *DB) Sync() error {
	f, err := db.writable()
	if err != nil {
		return err
	}
	if err := errors.Join(db.cfg.Fault.Before("sync", db.cfg.Path), f.Sync()); err != nil {
		return fmt.Errorf("sync state file: %w", err)
	}
	return nil
}

// Size of the file in bytes.
func (db *DB) Size() int64 {
	info, err := os.Stat(db.cfg.Path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// Replace puts the file at path in the place of this one. Views that are open
// keep the old one, which is closed in the background after the last of them:
// Replace must not wait for them, since a snapshot that is being written may in
// turn be waiting for whoever called Replace. When Replace fails before the
// rename the old file stays in use; when after, the DB is closed.
func (db *DB) Replace(path string) error {
	db.writing.Lock()
	defer db.writing.Unlock()
	if db.noted != nil {
		db.noted.void = true
	}
	return db.replace(path)
}

// replace is Replace for whoever holds writing.
func (db *DB) replace(path string) error {
	err := db.cfg.Fault.Before("rename", db.cfg.Path)
	if err == nil {
		err = os.Rename(path, db.cfg.Path)
	}
	if err != nil {
		return fmt.Errorf("replace state file: %w", err)
	}
	err = errors.Join(db.cfg.Fault.Before("syncdir", db.cfg.Path), SyncDir(filepath.Dir(db.cfg.Path)))
	var fresh *file
	if err == nil {
		fresh, err = openBolt(db.cfg)
	}
	if old := db.swap(fresh); old != nil {
		db.retired.Go(func() {
			old.views.Wait()
			_ = old.Close() // The file has no name any more: nothing is lost with it.
		})
	}
	return err
}

// Close syncs and closes the file. It waits for open views, of replaced files
// too, and may be called more than once.
func (db *DB) Close() error {
	db.closeOnce.Do(func() {
		db.writing.Lock()
		f := db.swap(nil)
		db.writing.Unlock()
		if f != nil {
			f.views.Wait()
			synced := db.cfg.Fault.Before("sync", db.cfg.Path)
			if !db.cfg.ReadOnly {
				synced = errors.Join(synced, f.Sync())
			}
			db.closeErr = errors.Join(synced, f.Close())
		}
		db.retired.Wait()
	})
	return db.closeErr
}

func readMeta(tx *bbolt.Tx) (Meta, error) {
	bucket := tx.Bucket(metaBucket)
	m := Meta{Configuration: bucket.Get(configurationKey)}
	applied := bucket.Get(appliedKey)
	if applied == nil {
		return m, nil
	}
	if len(applied) != 32 {
		return m, fmt.Errorf("state file: applied index has %d bytes, want 32", len(applied))
	}
	m.Index = binary.BigEndian.Uint64(applied[0:])
	m.Term = binary.BigEndian.Uint64(applied[8:])
	m.Digest[0] = binary.BigEndian.Uint64(applied[16:])
	m.Digest[1] = binary.BigEndian.Uint64(applied[24:])
	return m, nil
}

func writeMeta(tx *bbolt.Tx, m Meta) error {
	bucket := tx.Bucket(metaBucket)
	applied := make([]byte, 0, 32)
	applied = binary.BigEndian.AppendUint64(applied, m.Index)
	applied = binary.BigEndian.AppendUint64(applied, m.Term)
	applied = binary.BigEndian.AppendUint64(applied, m.Digest[0])
	applied = binary.BigEndian.AppendUint64(applied, m.Digest[1])
	if err := bucket.Put(appliedKey, applied); err != nil {
		return fmt.Errorf("write applied index: %w", err)
	}
	if m.Configuration == nil {
		return nil
	}
	if err := bucket.Put(configurationKey, m.Configuration); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return nil
}

// SyncDir makes the entries of a directory (creations, renames) survive a loss
// of power.
func SyncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	return nil
}
