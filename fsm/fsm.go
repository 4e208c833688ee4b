package fsm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/VictoriaMetrics/metrics"
	"github.com/hashicorp/raft"

	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/bolt"
)

// Config of an FSM.
type Config struct {
	// Dir holds the state file; it is created when missing.
	Dir string
	// HistoryEntries and HistoryBytes bound the change events kept for
	// watchers.
	HistoryEntries, HistoryBytes int
	Logger                       *slog.Logger
	Metrics                      *metrics.Set
	// OnFault is called once when the state can no longer be trusted: the node
	// must stop. It must not block.
	OnFault func(error)
	// OnRestored is called when a backup took the place of the state: what was begun
	// with the state before must end. It must not block.
	OnRestored func()
	// BootID identifies the running kernel; empty: it is asked. Tests set it.
	BootID string
	// Fault is for tests: a disk that fails.
	Fault bolt.Fault
}

// DefaultConfig keeps some minutes of changes.
func DefaultConfig(dir string) Config {
	return Config{Dir: dir, HistoryEntries: 100_000, HistoryBytes: 64 << 20}
}

// stateFile is the name of the bbolt file in Config.Dir.
const stateFile = "state.db"

// FSM is the replicated state: a bbolt file, the machine that applies commands
// to it, and the history of its changes. It implements raft.FSM and
// raft.BatchingFSM; the response to a log entry is a []storage.Result, one per
// packed proposal, or an error after a fault.
type FSM struct {
	cfg     Config
	db      *bolt.DB
	machine *Machine
	history *storage.History
	applied appliedIndex
	mark    bootMark
	metrics fsmMetrics

	// published is what readers of the applier's state see.
	published atomic.Pointer[published]

	faultMu sync.Mutex
	fault   error

	closeOnce sync.Once
	closeErr  error
}

// published is the applier's state after a transaction.
type published struct {
	index, term uint64
	digest      storage.Digest
	clusterID   string
}

var _ raft.BatchingFSM = (*FSM)(nil)

// Open opens the state in cfg.Dir. A file that may have lost writes with the
// power is discarded: PrepareForStart and the log rebuild it.
func Open(cfg Config) (*FSM, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.OnFault == nil {
		cfg.OnFault = func(error) {}
	}
	if cfg.OnRestored == nil {
		cfg.OnRestored = func() {}
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open state: %w", err)
	}
	path := filepath.Join(cfg.Dir, stateFile)
	mark, err := openBootMark(cfg.Dir, cfg.BootID)
	if err != nil {
		return nil, err
	}
	mark.fault = cfg.Fault
	if err := discardUntrusted(path, mark, cfg.Logger); err != nil {
		return nil, err
	}
	if err := mark.setRunning(); err != nil {
		return nil, err
	}
	db, err := bolt.Open(bolt.Config{Path: path, InitialMmapSize: bolt.DefaultInitialMmapSize, Fault: cfg.Fault})
	if err != nil {
		return nil, err
	}
	f := &FSM{cfg: cfg, db: db, machine: NewMachine(), mark: mark}
	index, err := f.reload()
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	f.history = storage.NewHistory(cfg.HistoryEntries, cfg.HistoryBytes, index)
	f.applied.advance(index)
	f.metrics.register(cfg.Metrics, f)
	return f, nil
}

// reload derives what the applier has in memory from the file, and returns its
// index.
func (f *FSM) reload() (index uint64, err error) {
	err = f.db.View(func(r storage.Reader, m bolt.Meta) error {
		if err := f.machine.Load(r); err != nil {
			return err
		}
		clusterID, err := r.Get(storage.ClusterIDKey)
		if err != nil {
			return err
		}
		index = m.Index
		f.published.Store(&published{index: m.Index, term: m.Term, digest: m.Digest, clusterID: string(clusterID)})
		return nil
	})
	return index, err
}

// AppliedIndex is the index applied last.
func (f *FSM) AppliedIndex() uint64 { return f.applied.load() }

// WaitApplied blocks until index is applied. It fails with ctx's cause, or with
// storage.ErrClosed.
func (f *FSM) WaitApplied(ctx context.Context, index uint64) error {
	return f.applied.wait(ctx, index)
}

// Digest returns the digest of all replicated keys, and its index.
func (f *FSM) Digest() (digest string, index uint64) {
	p := f.published.Load()
	return p.digest.String(), p.index
}

// ClusterID is the id that the cluster's first entry minted; "" before.
func (f *FSM) ClusterID() string { return f.published.Load().clusterID }

// View calls fn with a consistent view and returns the index that it shows.
func (f *FSM) View(fn func(storage.Reader) error) (index uint64, err error) {
	err = f.db.View(func(r storage.Reader, m bolt.Meta) error {
		index = m.Index
		return fn(r)
	})
	return index, err
}

// Watch opens a stream of changes.
func (f *FSM) Watch(opts storage.WatchOptions) (storage.Watcher, error) {
	return f.history.Watch(opts)
}

// Close ends watchers and waiters, makes the file durable and says so, so that
// the next Open may trust it. After a fault, or when the file cannot be made
// durable, it says the opposite. Raft must have been shut down before.
func (f *FSM) Close() error {
	f.closeOnce.Do(func() {
		f.history.Close()
		f.applied.close()
		f.metrics.unregister()
		f.closeErr = f.db.Close()
		if f.closeErr == nil && f.faulted() == nil {
			f.closeErr = f.mark.setClean()
			return
		}
		f.closeErr = errors.Join(f.closeErr, f.mark.setSuspect())
	})
	return f.closeErr
}

// fail records the first fault and announces it.
func (f *FSM) fail(err error) error {
	f.faultMu.Lock()
	first := f.fault == nil
	if first {
		f.fault = err
	}
	f.faultMu.Unlock()
	if first {
		f.cfg.Logger.Error("state machine stopped", "err", err)
		f.cfg.OnFault(err)
	}
	return err
}

func (f *FSM) faulted() error {
	f.faultMu.Lock()
	defer f.faultMu.Unlock()
	return f.fault
}
