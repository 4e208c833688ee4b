package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

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
const formatVersion = 1

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
}

// DefaultInitialMmapSize is enough for some hundred thousand documents.
const DefaultInitialMmapSize = 4 << 30

// DB is an open file. View may be called from any goroutine, everything else
// from one at a time.
type DB struct {
	cfg    Config
	bolt   atomic.Pointer[bbolt.DB]
	closed atomic.Bool
}

// Open opens or creates the file.
func Open(cfg Config) (*DB, error) {
	db := &DB{cfg: cfg}
	inner, err := openBolt(cfg)
	if err != nil {
		return nil, err
	}
	db.bolt.Store(inner)
	return db, nil
}

func openBolt(cfg Config) (*bbolt.DB, error) {
	inner, err := bbolt.Open(cfg.Path, 0o600, &bbolt.Options{
		Timeout:         2 * time.Second,
		NoSync:          true,
		NoGrowSync:      true,
		FreelistType:    bbolt.FreelistMapType,
		InitialMmapSize: cfg.InitialMmapSize,
	})
	if err != nil {
		return nil, fmt.Errorf("open state file %s: %w", cfg.Path, err)
	}
	if err := inner.Update(initialize); err != nil {
		return nil, errors.Join(fmt.Errorf("open state file %s: %w", cfg.Path, err), inner.Close())
	}
	return inner, nil
}

// initialize creates the buckets of a new file and checks those of an old one.
func initialize(tx *bbolt.Tx) error {
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
	if len(format) != 1 || format[0] > formatVersion {
		return fmt.Errorf("format %x is newer than this program understands (%d)", format, formatVersion)
	}
	return nil
}

// View calls fn with a consistent view of the data and its meta.
func (db *DB) View(fn func(r storage.Reader, m Meta) error) error {
	tx, err := db.begin()
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // A read transaction has nothing to lose.
	m, err := readMeta(tx)
	if err != nil {
		return err
	}
	return fn(&view{bucket: tx.Bucket(dataBucket)}, m)
}

// begin opens a read transaction on the current file. It is retried when the
// file was replaced in between.
func (db *DB) begin() (*bbolt.Tx, error) {
	for {
		inner := db.bolt.Load()
		tx, err := inner.Begin(false)
		if err == nil {
			return tx, nil
		}
		if !errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
			return nil, fmt.Errorf("begin view: %w", err)
		}
		if db.closed.Load() {
			return nil, storage.ErrClosed
		}
		if db.bolt.Load() == inner {
			return nil, storage.ErrClosed
		}
	}
}

// Update calls fn in a transaction and commits what it wrote together with m as
// fn left it. When fn fails, nothing is written.
func (db *DB) Update(fn func(tx storage.Tx, m *Meta) error) error {
	return db.bolt.Load().Update(func(tx *bbolt.Tx) error {
		m, err := readMeta(tx)
		if err != nil {
			return err
		}
		m.Configuration = nil
		if err := fn(&transaction{view{bucket: tx.Bucket(dataBucket)}}, &m); err != nil {
			return err
		}
		return writeMeta(tx, m)
	})
}

// Sync makes everything committed so far survive a loss of power.
func (db *DB) Sync() error {
	if err := db.bolt.Load().Sync(); err != nil {
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
// keep the old one; Replace waits for them. When it fails before the rename the
// old file stays in use; when after, the DB is closed.
func (db *DB) Replace(path string) error {
	if err := os.Rename(path, db.cfg.Path); err != nil {
		return fmt.Errorf("replace state file: %w", err)
	}
	if err := SyncDir(filepath.Dir(db.cfg.Path)); err != nil {
		return err
	}
	fresh, err := openBolt(db.cfg)
	if err != nil {
		return err
	}
	return db.bolt.Swap(fresh).Close()
}

// Close syncs and closes the file. It waits for open views.
func (db *DB) Close() error {
	if db.closed.Swap(true) {
		return nil
	}
	inner := db.bolt.Load()
	return errors.Join(inner.Sync(), inner.Close())
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
