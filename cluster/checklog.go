package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/metadb"
	"go.etcd.io/bbolt"

	"github.com/oprc/oprc-pm/fsm"
)

// openBoltReadOnly opens a file of raft-boltdb after its pages were verified.
func (d *dataDir) openBoltReadOnly(name string) (*raftboltdb.BoltStore, error) {
	if err := d.verifyFile(name); err != nil {
		return nil, err
	}
	return raftboltdb.New(raftboltdb.Options{
		Path:        d.file(name),
		BoltOptions: &bbolt.Options{ReadOnly: true, Timeout: time.Second},
	})
}

func (d *dataDir) exists(name string) bool {
	_, err := os.Stat(d.file(name))
	return err == nil
}

func (c *checker) checkStableStore() {
	if !c.exists(stableFile) {
		c.missing(stableFile)
		return
	}
	c.try(stableFile, c.rejoinRemedy(), func() (err error) {
		c.report.Term, err = c.readStable()
		return err
	})
}

// missing is a problem of a node that belongs to a cluster, and none of a fresh one.
func (c *checker) missing(name string) {
	if c.record.ClusterID != "" {
		c.problem(name, errors.New("it is missing"), c.rejoinRemedy())
		return
	}
	c.note("%s is not there yet: the node belongs to no cluster", c.file(name))
}

// checkLog reads every entry.
func (c *checker) checkLog() {
	if !c.exists(c.logName()) {
		c.missing(c.logName())
		return
	}
	c.try(c.logName(), c.rejoinRemedy(), func() (err error) {
		log, closeLog, err := c.openLog()
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, closeLog()) }()
		return c.readLog(&sealedLog{inner: log, file: c.file(c.logName()), disk: &diskWatch{}})
	})
	if c.report.Term < c.report.LastTerm && c.exists(stableFile) && c.stableRead() {
		c.problem(stableFile, fmt.Errorf("it says term %d, but the log holds entries of term %d", c.report.Term, c.report.LastTerm), c.rejoinRemedy())
	}
}

func (c *checker) stableRead() bool {
	return !slices.ContainsFunc(c.report.Problems, func(p CheckProblem) bool { return p.File == c.file(stableFile) })
}

// openLog opens the log so that it is not changed. raft-wal mends what it opens, so
// it gets a copy.
func (d *dataDir) openLog() (log raft.LogStore, closeLog func() error, err error) {
	if d.record.LogStore != LogStoreWAL {
		store, err := d.openBoltReadOnly(logFile)
		if err != nil {
			return nil, nil, err
		}
		return store, store.Close, nil
	}
	if err := d.verifyFile(walMeta); err != nil {
		return nil, nil, err
	}
	dir, remove, err := scratch()
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			remove()
		}
	}()
	target := filepath.Join(dir, "wal")
	if err := copyTree(d.file(walDir), target); err != nil {
		return nil, nil, fmt.Errorf("copy the log to %s: %w", dir, err)
	}
	meta := &metadb.BoltMetaDB{}
	store, err := wal.Open(target, wal.WithMetaStore(meta))
	if err != nil {
		return nil, nil, errors.Join(err, meta.Close())
	}
	return store, func() error {
		defer remove()
		return errors.Join(store.Close(), meta.Close())
	}, nil
}

// readLog checks that the log begins where a snapshot ends or before, that every
// entry can be read and understood, and, from the snapshot on, that none is missing
// and that terms grow.
func (c *checker) readLog(log raft.LogStore) error {
	first, ferr := log.FirstIndex()
	last, lerr := log.LastIndex()
	if err := errors.Join(ferr, lerr); err != nil {
		return err
	}
	if last == 0 {
		return nil
	}
	c.report.FirstIndex = first
	covered := c.report.LastIndex // by snapshots
	if first > covered+1 {
		return fmt.Errorf("it begins at index %d and the newest whole snapshot ends at index %d: the entries between are missing", first, covered)
	}
	term := uint64(0)
	for index := first; index <= last; index++ {
		var entry raft.Log
		err := log.GetLog(index, &entry)
		if errors.Is(err, raft.ErrLogNotFound) && index <= covered {
			continue // a snapshot was installed over it
		}
		if err != nil {
			return err
		}
		if entry.Term < term && index > covered+1 || entry.Term == 0 {
			return fmt.Errorf("entry %d is of term %d and the one before of term %d", index, entry.Term, term)
		}
		term = entry.Term
		switch entry.Type {
		case raft.LogCommand:
			if _, err := fsm.UnpackEntry(entry.Data); err != nil {
				return fmt.Errorf("entry %d cannot be read: %w", index, err)
			}
		case raft.LogConfiguration:
			if index > covered {
				c.report.Configuration = peersOf(raft.DecodeConfiguration(entry.Data).Servers)
			}
		}
		if index > c.report.LastIndex {
			c.report.LastIndex, c.report.LastTerm = entry.Index, entry.Term
		}
	}
	return nil
}

// storedSnapshot is meta.json of raft's file snapshot store.
type storedSnapshot struct {
	raft.SnapshotMeta
	CRC []byte
}

// checkSnapshots verifies every snapshot: the library uses the newest that it can
// list, so one that is damaged is one less to fall back on.
func (c *checker) checkSnapshots() {
	names, err := pathsBelow(c.file(snapsDir))
	if err != nil {
		c.problem(snapsDir, err, c.rejoinRemedy())
	}
	for _, name := range names {
		rel := snapsDir + "/" + name
		found := CheckedSnapshot{ID: name}
		err := c.guard(rel, c.snapshotRemedy(), func() error {
			meta, err := c.checkSnapshot(rel)
			found.Index, found.Term, found.Bytes = meta.Index, meta.Term, meta.Size
			if err == nil && meta.Index >= c.report.LastIndex {
				c.report.LastIndex, c.report.LastTerm = meta.Index, meta.Term
				c.report.Configuration = peersOf(meta.Configuration.Servers)
			}
			return err
		})
		if err != nil {
			c.problem(rel, err, c.snapshotRemedy())
		}
		found.Whole = err == nil
		c.report.Snapshots = append(c.report.Snapshots, found)
	}
}

func (d *dataDir) snapshotRemedy() string {
	return "while the node starts without it, have it make another: oprc-pm cluster compact; otherwise " + d.rejoinRemedy()
}

func (d *dataDir) checkSnapshot(rel string) (meta storedSnapshot, err error) {
	found, err := readJSON(d.file(rel, "meta.json"), &meta)
	if err == nil && !found {
		err = fmt.Errorf("meta.json: %w", fs.ErrNotExist)
	}
	if err != nil {
		return meta, err
	}
	file, err := os.Open(d.file(rel, "state.bin"))
	if err != nil {
		return meta, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	dir, remove, err := scratch()
	if err != nil {
		return meta, err
	}
	defer remove()
	sum := crc64.New(crc64.MakeTable(crc64.ECMA))
	content, err := fsm.CheckSnapshot(io.TeeReader(file, sum), filepath.Join(dir, "state.db"))
	if err != nil {
		return meta, err
	}
	switch {
	case !bytes.Equal(sum.Sum(nil), meta.CRC):
		return meta, errors.New("its checksum differs from that in meta.json")
	case content.Index > meta.Index || meta.Index == 0 || meta.Term == 0 || content.Term > meta.Term:
		return meta, fmt.Errorf("meta.json says index %d of term %d, and the content index %d of term %d", meta.Index, meta.Term, content.Index, content.Term)
	}
	return meta, nil
}
