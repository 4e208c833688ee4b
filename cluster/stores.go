package cluster

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/metadb"
	"go.etcd.io/bbolt"
)

// logCacheEntries keeps the newest entries in memory, so that replication does
// not read back from disk what was just written.
const logCacheEntries = 512

// raftStores are the files that Raft itself writes.
type raftStores struct {
	stable  raft.StableStore
	log     raft.LogStore
	snaps   raft.SnapshotStore
	closers []io.Closer
}

// openRaftStores opens everything under DIR/raft.
func openRaftStores(d *dataDir, cfg Config, logger *slog.Logger) (_ *raftStores, err error) {
	s := &raftStores{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	stable, err := openBolt(d.file("raft", "stable.db"))
	if err != nil {
		return nil, fmt.Errorf("open stable store: %w", err)
	}
	s.stable, s.closers = stable, append(s.closers, stable)

	switch cfg.LogStore {
	case LogStoreWAL:
		err = s.openWAL(d, logger)
	default:
		err = s.openBoltLog(d)
	}
	if err != nil {
		return nil, fmt.Errorf("open log store: %w", err)
	}
	s.snaps, err = raft.NewFileSnapshotStoreWithLogger(d.file("raft"), cfg.SnapshotRetain, newHCLog(logger, "raft-snapshot"))
	if err != nil {
		return nil, fmt.Errorf("open snapshot store: %w", err)
	}
	return s, s.checkContinuity()
}

// newestSnapshot is the index of the newest snapshot, 0 without one.
func (s *raftStores) newestSnapshot() (uint64, error) {
	list, err := s.snaps.List()
	if err != nil || len(list) == 0 {
		return 0, err
	}
	return list[0].Index, nil
}

// checkContinuity refuses a log that does not begin where the newest snapshot
// ends, or before: the entries between would be missing. The state file cannot
// stand in for them, because the log also holds the configuration, and a state
// file that is not trusted is rebuilt from the snapshot and the log.
func (s *raftStores) checkContinuity() error {
	first, err := s.log.FirstIndex()
	if err != nil {
		return fmt.Errorf("read the log's first index: %w", err)
	}
	snapshot, err := s.newestSnapshot()
	if err != nil {
		return fmt.Errorf("list snapshots: %w", err)
	}
	if first > snapshot+1 {
		return fmt.Errorf("the log begins at index %d and the newest readable snapshot ends at index %d: the entries between are missing; "+
			"put the snapshots back, or let this node rejoin with an empty data directory after it was removed from the cluster",
			first, snapshot)
	}
	return nil
}

// dropCovered removes a log that ends before the newest snapshot. It is there
// when the node stopped while it installed that snapshot, and a log store that
// only takes the next index would refuse every entry from then on. Call it once
// the state is known to be as new as the snapshot.
func (s *raftStores) dropCovered() error {
	if monotonic, ok := s.log.(raft.MonotonicLogStore); !ok || !monotonic.IsMonotonic() {
		return nil
	}
	first, ferr := s.log.FirstIndex()
	last, lerr := s.log.LastIndex()
	snapshot, serr := s.newestSnapshot()
	if err := errors.Join(ferr, lerr, serr); err != nil {
		return fmt.Errorf("compare log and snapshot: %w", err)
	}
	if last == 0 || last >= snapshot {
		return nil
	}
	if err := s.log.DeleteRange(first, last); err != nil {
		return fmt.Errorf("drop log entries before snapshot: %w", err)
	}
	return nil
}

func openBolt(path string) (*raftboltdb.BoltStore, error) {
	return raftboltdb.New(raftboltdb.Options{
		Path: path,
		BoltOptions: &bbolt.Options{
			Timeout:        time.Second,
			NoFreelistSync: true,
			FreelistType:   bbolt.FreelistMapType,
		},
		MsgpackUseNewTimeFormat: true,
	})
}

func (s *raftStores) openBoltLog(d *dataDir) error {
	store, err := openBolt(d.file("raft", "log.db"))
	if err != nil {
		return err
	}
	s.closers = append(s.closers, store)
	s.log, err = raft.NewLogCache(logCacheEntries, store)
	return err
}

// openWAL does not wrap the log in the library's cache: the cache hides that the
// log is monotonic, and then a snapshot that is installed leaves a gap in it.
func (s *raftStores) openWAL(d *dataDir, logger *slog.Logger) error {
	dir := d.file("raft", "wal")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	// The library does not close its metadata store, and bbolt's lock on it would
	// keep this process from opening the log again.
	meta := &metadb.BoltMetaDB{}
	s.closers = append(s.closers, meta)
	store, err := wal.Open(dir, wal.WithLogger(newHCLog(logger, "raft-wal")), wal.WithMetaStore(meta))
	if err != nil {
		return err
	}
	s.closers = append(s.closers, store)
	s.log = store
	return nil
}

func (s *raftStores) close() error {
	var errs []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		errs = append(errs, s.closers[i].Close())
	}
	s.closers = nil
	return errors.Join(errs...)
}
