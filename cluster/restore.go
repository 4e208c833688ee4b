package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"

	"github.com/oprc/oprc-pm/fsm"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

const (
	// restoreTimeout bounds a restore on the leader.
	restoreTimeout = 10 * time.Minute
	// raiseShare of IOTimeout is how long voters get to catch up before their index is
	// raised, and to follow afterwards: less than whoever forwarded the restore waits
	// on a silent connection.
	raiseShare = 3
	raisePause = 20 * time.Millisecond
	// raiseFile is there while the index is being raised.
	raiseFile = "raise.json"
	// tempDir holds what a crash may lose.
	tempDir = "tmp"
)

// errRestored ends a leader run: the state that it began with is gone.
var errRestored = errors.New("the state was restored from a backup")

// TempDir is a directory of this node for files that need not survive it. It is
// emptied when the node opens.
func (n *Node) TempDir() (string, error) {
	dir := n.dir.file(tempDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make directory: %w", err)
	}
	return dir, nil
}

// cleanRestore is the part of opening that concerns restores: what a crash left.
func (n *Node) cleanRestore() error {
	if err := os.RemoveAll(n.dir.file(tempDir)); err != nil {
		return fmt.Errorf("empty directory: %w", err)
	}
	var r raising
	found, err := readJSON(n.dir.file(raiseFile), &r)
	if err == nil && found {
		err = fmt.Errorf("this node ended while it led the cluster from index %d to %d for a restore, and cannot know whether the others followed: "+
			"let it rejoin with its data moved aside (oprc-pm cluster rejoin --data-dir %s)", r.From, r.To, n.cfg.DataDir)
	}
	return err
}

// applyRestore is Apply for a CommitRestore: the leader prepares itself. One that takes
// longer than a connection may be silent is asked again, and answers as it did: the
// state tells which restore it holds.
func (n *Node) applyRestore(ctx context.Context, data []byte) (storage.Result, error) {
	return n.proposeBy(ctx, data, func(ctx context.Context, data []byte, hint string) (storage.Result, error) {
		if n.raft.State() == raft.Leader {
			return n.restoreHere(ctx, data)
		}
		return n.tryLeader(ctx, frameRestore, data, hint)
	})
}

// serveRestore takes a forwarded CommitRestore: here or not at all.
func (n *Node) serveRestore(_ context.Context, _ string, payload []byte, respond respond) {
	if n.raft.State() != raft.Leader {
		respond(nil, &remoteError{code: remoteNotLeader, leader: n.leaderID(), message: "this node is not the leader"})
		return
	}
	n.lateWG.Go(func() {
		ctx, cancel := context.WithTimeout(n.ctx, restoreTimeout)
		defer cancel()
		result, err := n.restoreHere(ctx, payload)
		if err != nil {
			respond(nil, n.withHint(err))
			return
		}
		respond(fsm.AppendResult(nil, result), nil)
	})
}

// restoreHere commits a restore through this node. Its leader run ends before, and the
// next one begins with the state that was restored.
func (n *Node) restoreHere(ctx context.Context, data []byte) (storage.Result, error) {
	p, err := fsm.DecodeProposal(data)
	if err != nil {
		return storage.Result{}, remoteErrorf(remoteInvalid, "undecodable proposal: %v", err)
	}
	if err := n.admissible(data); err != nil {
		return storage.Result{}, err
	}
	if !n.transferMu.TryLock() { // Close waits for it
		return storage.Result{}, notProposed(errBusy)
	}
	defer n.transferMu.Unlock()
	defer n.leader.resume()
	if err := n.leader.suspend(ctx); err != nil {
		return storage.Result{}, notProposed(fmt.Errorf("the leader's work did not stop in time: %w", err))
	}
	if first := storage.MinIndex([]storage.Proposal{p}); first > n.raft.LastIndex()+1 {
		if err := n.raise(ctx, first-1); err != nil {
			n.logger.Warn("index was not raised for a restore", "to", first-1, "err", err)
			// An answer, not a failure: trying again is for whoever restores.
			return storage.Result{Code: model.CodeUnavailable, Message: fmt.Sprintf(
				"the backup is of index %d and this cluster at %d, which must be raised first: %v", first-1, n.fsm.AppliedIndex(), err)}, nil
		}
	}
	return n.tryLocal(ctx, data)
}

// raising is what raiseFile says.
type raising struct {
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
}

// raise lets the cluster go on at an index not before index, with the state that it
// has: as a snapshot that every server has to take.
//
// The library does this on the leader first. A leader that dies between that and the
// moment when a majority has followed holds an index that the others may give out
// again, for something else. So all voters must be there and caught up, nothing is
// written meanwhile, and a file tells a leader that comes back that it must not go on
// with what it has.
func (n *Node) raise(ctx context.Context, index uint64) error {
	release, err := n.proposer.hold(ctx)
	if err != nil {
		return fmt.Errorf("hold writes back: %w", err)
	}
	defer release()
	if err := n.awaitVoters(ctx, n.fsm.AppliedIndex()); err != nil {
		return err
	}
	dir, err := n.TempDir()
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "raised")
	size, err := n.fsm.WriteRaised(path, index)
	if err != nil {
		return err
	}
	defer n.removeTemp(path)
	if err := n.markRaise(index); err != nil {
		return err
	}
	n.logger.Info("raising the index for a restore", "from", n.fsm.AppliedIndex(), "to", index)
	if err := n.restoreSnapshot(path, size, index-1); err != nil {
		if n.fsm.AppliedIndex() < index {
			return errors.Join(err, n.unmarkRaise())
		}
		n.onFault(fmt.Errorf("the index was raised here to %d and perhaps nowhere else: %w", index, err))
		return err
	}
	// A majority has it: no other history can come about.
	if err := n.unmarkRaise(); err != nil {
		return err
	}
	if err := n.awaitVoters(ctx, index); err != nil {
		n.logger.Warn("a voter has not followed to the raised index yet", "err", err)
	}
	return nil
}

// removeTemp removes a file of TempDir.
func (n *Node) removeTemp(path string) {
	if err := os.Remove(path); err != nil {
		n.logger.Warn("temporary file was not removed", "path", path, "err", err)
	}
}

func (n *Node) markRaise(index uint64) error {
	if n.otherVoters() == 0 {
		return nil
	}
	return writeJSON(n.dir.file(raiseFile), raising{From: n.fsm.AppliedIndex(), To: index})
}

func (n *Node) unmarkRaise() error { return removeSync(n.dir.file(raiseFile)) }

// restoreSnapshot hands the file at path to the library. Raft answers nothing once it
// was shut down by a fault.
func (n *Node) restoreSnapshot(path string, size int64, index uint64) error {
	file, err := os.Open(filepath.Clean(path))
	if err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	meta := &raft.SnapshotMeta{Version: raft.SnapshotVersionMax, Index: index, Size: size}
	answer := make(chan error, 1)
	go func() { // ends with the answer
		answer <- errors.Join(n.raft.Restore(meta, file, n.cfg.IOTimeout), file.Close())
	}()
	select {
	case err := <-answer:
		return err
	case <-n.done:
		return n.Err()
	}
}

// awaitVoters waits until every voter has applied index.
func (n *Node) awaitVoters(ctx context.Context, index uint64) error {
	ctx, cancel := context.WithTimeout(ctx, n.cfg.IOTimeout/raiseShare)
	defer cancel()
	for _, s := range n.raft.GetConfiguration().Configuration().Servers {
		if s.Suffrage != raft.Voter {
			continue
		}
		for {
			step, done := context.WithTimeout(ctx, memberTimeout)
			st, err := n.askStatus(step, string(s.ID))
			done()
			if err == nil && st.AppliedIndex >= index {
				break
			}
			select {
			case <-time.After(raisePause):
			case <-ctx.Done():
				return fmt.Errorf("every voter must be up and have applied index %d, %s has not: %w",
					index, cmp.Or(n.memberName(string(s.ID)), string(s.ID)), errors.Join(err, context.Cause(ctx)))
			}
		}
	}
	return nil
}
