package backup

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// Target is the part of a storage.Store that a backup is restored into.
type Target interface {
	Apply(ctx context.Context, req storage.Request) (storage.Result, error)
	View(ctx context.Context, opts storage.ReadOptions, fn func(storage.Reader) error) (storage.ReadInfo, error)
}

const (
	// stageTimeout bounds the staging of one part, commitTimeout the commit: every
	// node reads the whole backup twice and writes what differs.
	stageTimeout  = 30 * time.Second
	commitTimeout = 10 * time.Minute
	abortTimeout  = 10 * time.Second
)

// RestoreOptions of Restore.
type RestoreOptions struct {
	// Force restores over documents.
	Force bool
	// Staged, if not nil, hears how many bytes of the file are staged.
	Staged func(bytes int64)
}

// Restore replaces the state of the cluster behind store by that of the backup in
// file: whole or not at all. Nothing is changed by a file that is damaged.
func Restore(ctx context.Context, store Target, file io.ReadSeeker, opts RestoreOptions) (Header, storage.Result, error) {
	c := storage.CommitRestore{ID: rand.Text(), Force: opts.Force}
	h, err := check(ctx, store, file, &c)
	if err != nil {
		return h, storage.Result{}, err
	}
	result, err := stageAndCommit(ctx, store, file, c, opts)
	if err != nil && model.CodeOf(err) != model.CodeUnknownOutcome {
		// What stays behind takes room and means nothing; the next restore drops it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
		defer cancel()
		_, aborted := store.Apply(ctx, storage.Request{Command: storage.AbortRestore{ID: c.ID}})
		err = withAbort(err, aborted)
	}
	return h, result, err
}

// withAbort keeps the code of err.
func withAbort(err, aborted error) error {
	if aborted == nil {
		return err
	}
	return fmt.Errorf("%w (and what was staged stays until the next restore: %w)", err, aborted)
}

// check refuses a backup before anything is staged.
func check(ctx context.Context, store Target, file io.ReadSeeker, c *storage.CommitRestore) (Header, error) {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return Header{}, fmt.Errorf("read the backup: %w", err)
	}
	sum := sha256.New()
	h, err := Inspect(io.TeeReader(&contextReader{ctx, file}, sum))
	if Refused(err) {
		return h, &model.Error{Code: model.CodeInvalid, Message: err.Error(), Err: err}
	}
	if err != nil {
		return h, fmt.Errorf("read the backup: %w", err)
	}
	c.Sha256 = [sha256.Size]byte(sum.Sum(nil))
	c.MinIndex = h.Index + 1
	if c.Force {
		return h, nil
	}
	what := ""
	_, err = store.View(ctx, storage.ReadOptions{}, func(r storage.Reader) (err error) {
		what, err = storage.HoldsDocuments(r)
		return err
	})
	if err != nil {
		return h, fmt.Errorf("look what the cluster holds: %w", err)
	}
	if what != "" {
		return h, model.Errorf(model.CodeConflict, "the cluster holds %s: force the restore to replace all that it holds", what)
	}
	return h, nil
}

func stageAndCommit(ctx context.Context, store Target, file io.ReadSeeker, c storage.CommitRestore, opts RestoreOptions) (storage.Result, error) {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return storage.Result{}, fmt.Errorf("read the backup: %w", err)
	}
	var staged int64
	parts, err := eachPart(file, func(part uint32, data []byte) error {
		step, cancel := context.WithTimeout(ctx, stageTimeout)
		defer cancel()
		_, err := store.Apply(step, storage.Request{Command: storage.StageRestore{ID: c.ID, Part: part, Data: bytes.Clone(data)}})
		if err != nil {
			return fmt.Errorf("stage part %d of the backup: %w", part, outcomeOf(err))
		}
		if staged += int64(len(data)); opts.Staged != nil {
			opts.Staged(staged)
		}
		return nil
	})
	if err != nil {
		return storage.Result{}, err
	}
	c.Parts = parts
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	result, err := store.Apply(ctx, storage.Request{Command: c})
	if err != nil {
		return result, fmt.Errorf("commit the restore: %w", err)
	}
	return result, nil
}

// outcomeOf is an error of staging. That one part may or may not be there matters to
// nobody: nothing was restored.
func outcomeOf(err error) error {
	var known *model.Error
	if errors.As(err, &known) && known.Code == model.CodeUnknownOutcome {
		return &model.Error{Code: model.CodeUnavailable, Message: known.Message + "; nothing was restored", Err: known}
	}
	return err
}
