package fsm

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/backup"
)

func (a *applier) stageRestore(c storage.StageRestore) (storage.Result, error) {
	if len(c.Data) == 0 || len(c.Data) > storage.RestorePartBytes {
		return a.reject(model.CodeInvalid, "a part of a restore has 1 to %d bytes, this one %d", storage.RestorePartBytes, len(c.Data))
	}
	if c.Part == 0 {
		if err := a.dropParts(func(key []byte) bool { return !bytes.HasPrefix(key, storage.RestorePartsOf(c.ID)) }); err != nil {
			return storage.Result{}, err
		}
	}
	return storage.Result{Index: a.index, Outcome: storage.Created}, a.tx.Put(storage.RestorePartKey(c.ID, c.Part), c.Data)
}

func (a *applier) abortRestore(c storage.AbortRestore) (storage.Result, error) {
	return storage.Result{Index: a.index, Outcome: storage.Deleted},
		a.dropParts(func(key []byte) bool { return bytes.HasPrefix(key, storage.RestorePartsOf(c.ID)) })
}

// dropParts removes the staged parts that match.
func (a *applier) dropParts(match func(key []byte) bool) error {
	var keys [][]byte
	err := storage.ScanPrefix(a.tx, []byte(storage.RestorePrefix), func(key, _ []byte) (bool, error) {
		if match(key) {
			keys = append(keys, bytes.Clone(key))
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	for _, key := range keys {
		if err := a.tx.Delete(key); err != nil {
			return err
		}
	}
	return nil
}

func (a *applier) commitRestore(c storage.CommitRestore) (storage.Result, error) {
	last, restored, err := storage.ReadRestored(a.tx)
	if err != nil {
		return storage.Result{}, err
	}
	if restored && last.ID == c.ID {
		return storage.Result{Index: last.Index, Outcome: storage.Updated, Duplicate: true}, nil
	}
	header, rejected, err := a.checkRestore(c)
	if err != nil {
		return storage.Result{}, err
	}
	if rejected != nil {
		return *rejected, nil
	}
	base, err := storage.TermBase(a.tx)
	if err != nil {
		return storage.Result{}, err
	}
	if err := a.replaceState(c); err != nil {
		return storage.Result{}, err
	}
	note, err := json.Marshal(storage.Restored{ID: c.ID, Index: a.index, FromCluster: header.ClusterID, FromIndex: header.Index})
	if err != nil {
		return storage.Result{}, err
	}
	if err := a.tx.Put(storage.RestoredKey, note); err != nil {
		return storage.Result{}, err
	}
	base = storage.RestoredTermBase(base, header.TermBase, header.Term)
	if err := a.tx.Put(storage.TermBaseKey, strconv.AppendUint(nil, base, 10)); err != nil {
		return storage.Result{}, err
	}
	return storage.Result{Index: a.index, Outcome: storage.Updated}, a.dropParts(func([]byte) bool { return true })
}

// checkRestore is everything that must hold before the first write: the file is whole
// and the one that was meant, and it may take the place of what is here.
func (a *applier) checkRestore(c storage.CommitRestore) (backup.Header, *storage.Result, error) {
	for part := range c.Parts {
		data, err := a.tx.Get(storage.RestorePartKey(c.ID, part))
		if err != nil {
			return backup.Header{}, nil, err
		}
		if data == nil {
			return backup.Header{}, a.rejection(model.CodeConflict,
				"part %d of %d of the restore is not staged: another restore began, or this one was given up", part, c.Parts), nil
		}
	}
	sum := sha256.New()
	header, err := backup.Inspect(io.TeeReader(backup.StagedFile(a.tx, c.ID, c.Parts), sum))
	if backup.Refused(err) {
		return header, a.rejection(model.CodeInvalid, "%v", err), nil
	}
	if err != nil {
		return header, nil, err
	}
	if !bytes.Equal(sum.Sum(nil), c.Sha256[:]) {
		return header, a.rejection(model.CodeInvalid, "what is staged is another backup than the one that was to be restored"), nil
	}
	if a.index <= header.Index {
		return header, a.rejection(model.CodeFailedPrecondition,
			"the backup is of index %d and this cluster at %d: versions would run backwards", header.Index, a.index), nil
	}
	if c.Force {
		return header, nil, nil
	}
	what, err := storage.HoldsDocuments(a.tx)
	if err != nil || what == "" {
		return header, nil, err
	}
	return header, a.rejection(model.CodeConflict, "the cluster holds %s: force the restore to replace all that it holds", what), nil
}

// replaceState writes what differs between the state and the staged backup, which was
// checked. Both are walked in key order.
func (a *applier) replaceState(c storage.CommitRestore) error {
	old := &stateCursor{tx: a.tx}
	_, err := backup.Read(backup.StagedFile(a.tx, c.ID, c.Parts), func(key, value []byte) error {
		if clustersOwn(key) {
			return nil
		}
		if err := old.until(key, a.change); err != nil {
			return err
		}
		present, err := a.tx.Get(key)
		if err != nil || bytes.Equal(present, value) {
			return err
		}
		return a.change(bytes.Clone(key), present, bytes.Clone(value))
	})
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return old.until(nil, a.change)
}

// change makes one change of a restore and announces it.
func (a *applier) change(key, old, value []byte) error {
	if event, ok := storage.EventOf(a.index, storage.Change{Key: key, Old: old, Value: value}); ok {
		a.events = append(a.events, event)
	}
	if value == nil {
		return a.tx.Delete(key)
	}
	return a.tx.Put(key, value)
}

// clustersOwn tells what a restore leaves alone: what is the cluster's own, and the
// backup that it reads.
func clustersOwn(key []byte) bool {
	return bytes.HasPrefix(key, []byte(storage.RestorePrefix)) ||
		slices.ContainsFunc(storage.OwnKeys, func(own []byte) bool { return bytes.Equal(key, own) })
}

// stateCursor walks over the keys that a restore finds, some at a time, so that they
// can be changed meanwhile.
type stateCursor struct {
	tx   storage.Tx
	keys [][]byte
	// from is where the next look begins; done says that there is no more.
	from []byte
	done bool
}

// cursorStep is how many keys are read at once.
const cursorStep = 512

// until removes every key before end (nil: every key that is left) and moves past
// end itself.
func (c *stateCursor) until(end []byte, change func(key, old, value []byte) error) error {
	for {
		if len(c.keys) == 0 {
			if c.done {
				return nil
			}
			if err := c.fill(); err != nil {
				return err
			}
			continue
		}
		key := c.keys[0]
		order := -1
		if end != nil {
			order = bytes.Compare(key, end)
		}
		if order > 0 {
			return nil
		}
		c.keys = c.keys[1:]
		if order == 0 {
			return nil
		}
		old, err := c.tx.Get(key)
		if err != nil {
			return err
		}
		if err := change(key, old, nil); err != nil {
			return err
		}
	}
}

func (c *stateCursor) fill() error {
	start, seen := c.from, 0
	c.done = true
	return c.tx.Scan(start, nil, func(key, _ []byte) (bool, error) {
		if seen++; seen > cursorStep {
			c.done = false
			return false, nil
		}
		c.from = append(bytes.Clone(key), 0)
		if !clustersOwn(key) {
			c.keys = append(c.keys, bytes.Clone(key))
		}
		return true, nil
	})
}
