package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// Compact makes a snapshot, which lets old log entries go, and rewrites the state
// file without the room that deleted data left in it, while this node goes on.
func (n *Node) Compact(ctx context.Context) (storage.Compaction, error) {
	if !n.serving.Load() {
		return storage.Compaction{}, unavailable(ErrClosed, "this node is not running")
	}
	if !n.compacting.TryLock() {
		return storage.Compaction{}, model.Errorf(model.CodeConflict, "this node is compacting already")
	}
	type outcome struct {
		storage.Compaction
		err error
	}
	answer := make(chan outcome, 1)
	if !n.whileOpen(func() {
		// It goes on when the caller leaves; Close waits for it.
		n.wg.Go(func() {
			defer n.compacting.Unlock()
			result := storage.Compaction{Node: n.cfg.NodeName}
			err := n.compact(&result)
			answer <- outcome{result, err}
		})
	}) {
		n.compacting.Unlock()
		return storage.Compaction{}, unavailable(ErrClosed, "this node is not running")
	}
	select {
	case o := <-answer:
		return o.Compaction, o.err
	case <-ctx.Done():
		return storage.Compaction{}, unavailable(context.Cause(ctx), "the compaction goes on, and had not ended in time")
	}
}

// whileOpen calls fn unless the node is closed, or about to be.
func (n *Node) whileOpen(fn func()) bool {
	n.openMu.Lock()
	defer n.openMu.Unlock()
	if n.closed {
		return false
	}
	fn()
	return true
}

func (n *Node) compact(result *storage.Compaction) error {
	begun := time.Now()
	err := n.raft.Snapshot().Error()
	if err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return unavailable(err, "no snapshot was made")
	}
	result.Snapshot = err == nil
	result.Before, result.After, err = n.fsm.Compact()
	if err != nil {
		return unavailable(err, "the state file was not compacted")
	}
	n.disk.check()
	n.logger.Info("compacted", "before_bytes", result.Before, "after_bytes", result.After, "dur", time.Since(begun))
	return nil
}

// CompactLog rewrites the log of a stopped node without the room that deleted
// entries left in it. A log of raft-wal needs none of it.
func CompactLog(dir string) (before, after int64, err error) {
	d, err := openStopped(dir)
	if err != nil {
		return 0, 0, err
	}
	defer d.close()
	return d.compactLog()
}

// compactLog is CompactLog of a directory that is locked.
func (d *dataDir) compactLog() (before, after int64, err error) {
	path := d.file(logFile)
	before = fileSize(path)
	if d.record.LogStore == LogStoreWAL || before == 0 {
		return before, before, nil
	}
	if err := d.verifyFile(logFile); err != nil {
		return before, before, d.damaged(logFile, err, d.rejoinRemedy())
	}
	fresh := path + ".compact"
	if err := compactBolt(path, fresh); err != nil {
		return before, before, errors.Join(fmt.Errorf("compact %s: %w", path, err), os.Remove(fresh))
	}
	if err := os.Rename(fresh, path); err != nil {
		return before, before, fmt.Errorf("compact %s: %w", path, err)
	}
	return before, fileSize(path), d.syncDir(d.file("raft"))
}

// compactBolt copies a file of bbolt, durably.
func compactBolt(from, to string) (err error) {
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	options := bbolt.Options{Timeout: time.Second, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType}
	readOnly := options
	readOnly.ReadOnly = true
	source, err := bbolt.Open(from, 0o600, &readOnly)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	target, err := bbolt.Open(to, 0o600, &options)
	if err != nil {
		return err
	}
	const step = 4 << 20
	return errors.Join(bbolt.Compact(target, source, step), target.Sync(), target.Close())
}
