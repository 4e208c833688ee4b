package cluster

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/metadb"
	"go.etcd.io/bbolt"
	"golang.org/x/sync/errgroup"
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
	// disk watches what is written through stable and log.
	disk *diskWatch
	// sizes are for the metrics.
	sizes []func() boltSize
}

// openRaftStores opens everything under DIR/raft.
func openRaftStores(d *dataDir, cfg Config, logger *slog.Logger) (_ *raftStores, err error) {
	s := &raftStores{disk: &diskWatch{fault: d.fault}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if err := s.openStable(d); err != nil {
		return nil, err
	}

	switch cfg.LogStore {
	case LogStoreWAL:
		err = s.openWAL(d, logger)
	default:
		err = s.openBoltLog(d)
	}
	if err != nil {
		return nil, d.damaged(d.logName(), fmt.Errorf("open log store: %w", err), d.rejoinRemedy())
	}
	s.snaps, err = raft.NewFileSnapshotStoreWithLogger(d.file("raft"), cfg.SnapshotRetain, newHCLog(logger, "raft-snapshot"))
	if err != nil {
		return nil, fmt.Errorf("open snapshot store: %w", err)
	}
	if d.fault != nil {
		s.snaps = &faultySnapshots{s.snaps, d.fault, d.file(snapsDir)}
	}
	if err := errors.Join(s.checkContinuity(), s.checkEntries()); err != nil {
		return nil, d.damaged(d.logName(), err, d.rejoinRemedy())
	}
	return s, nil
}

// ownerKey says in the stable store whose it is.
var ownerKey = []byte("OprcServerID")

// openStable opens the store of term and vote, which verify has looked at, and
// marks a new one as this node's.
func (s *raftStores) openStable(d *dataDir) error {
	store, err := openBolt(d.file(stableFile))
	if err != nil {
		return d.damaged(stableFile, fmt.Errorf("open stable store: %w", err), d.rejoinRemedy())
	}
	s.closers = append(s.closers, store)
	s.sizes = append(s.sizes, sizeOfBolt("stable", d.file(stableFile), store))
	s.stable = &sealedStable{inner: store, file: d.file(stableFile), disk: s.disk}
	if _, err = s.stable.Get(ownerKey); errors.Is(err, raftboltdb.ErrKeyNotFound) {
		return s.stable.Set(ownerKey, []byte(d.serverID()))
	}
	return err
}

// checkBytes bounds how much of the log is read at a start.
const checkBytes = 128 << 20

// checkEntries reads the log from its end, as far as the newest entries go that
// make checkBytes together: each must be there and be what was written. A start
// waits for it, so all processors take part, each with a run of entries at a time.
// Up to the newest snapshot entries may be missing, or be left over from before it
// came: a store that is not monotonic goes on behind a snapshot that was installed.
func (s *raftStores) checkEntries() error {
	first, ferr := s.log.FirstIndex()
	last, lerr := s.log.LastIndex()
	snapshot, serr := s.newestSnapshot()
	if err := errors.Join(ferr, lerr, serr); err != nil {
		return fmt.Errorf("read the log's bounds: %w", err)
	}
	if last == 0 {
		return nil
	}
	first = max(first, snapshot+1)
	var read atomic.Int64
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for to := last; to >= first && to > 0 && read.Load() < checkBytes; {
		from := max(first, 1)
		if to-from >= entriesOfRun {
			from = to - entriesOfRun + 1
		}
		// The entry after the run, which the next one began with, is read again:
		// terms must not run backwards between runs either.
		through := min(to+1, last)
		group.Go(func() error { return s.checkRun(from, through, &read) })
		to = from - 1
	}
	return group.Wait()
}

// entriesOfRun is how many entries one goroutine checks at a time.
const entriesOfRun = 1024

// checkRun checks the entries from one to another, both included.
func (s *raftStores) checkRun(from, through uint64, read *atomic.Int64) error {
	term, size := uint64(0), 0
	for index := from; index <= through; index++ {
		var entry raft.Log
		if err := s.log.GetLog(index, &entry); err != nil {
			return fmt.Errorf("read log entry %d: %w", index, err)
		}
		if entry.Term < term {
			return fmt.Errorf("log entry %d is of term %d, and the one before of term %d", index, entry.Term, term)
		}
		term, size = entry.Term, size+len(entry.Data)
	}
	read.Add(int64(size))
	return nil
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
			"put the snapshots back if there is a copy of them",
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
	store, err := openBolt(d.file(logFile))
	if err != nil {
		return err
	}
	s.closers = append(s.closers, store)
	s.sizes = append(s.sizes, sizeOfBolt("log", d.file(logFile), store))
	s.log, err = raft.NewLogCache(logCacheEntries, &sealedLog{inner: store, file: d.file(logFile), disk: s.disk})
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
	s.sizes = append(s.sizes, sizeOfDir("log", dir))
	s.log = &sealedLog{inner: store, file: dir, disk: s.disk}
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
