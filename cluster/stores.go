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
	return s, nil
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
