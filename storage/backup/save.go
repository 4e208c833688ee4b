package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/oprc/oprc-pm/storage"
)

// Source is the part of a storage.Store that is backed up.
type Source interface {
	View(ctx context.Context, opts storage.ReadOptions, fn func(storage.Reader) error) (storage.ReadInfo, error)
	Status() storage.Status
}

// SaveOptions say who makes a backup, and how.
type SaveOptions struct {
	Consistency storage.Consistency
	// Node, Release and Driver go into the header, At as CreatedAt.
	Node, Release, Driver string
	At                    time.Time
	// Dir is where the pairs wait until they are written, in a file that is removed.
	// Empty: the system's.
	Dir string
	// Begin, if not nil, gets the header before the first byte is written.
	Begin func(Header) error
}

// Save writes a backup of the store to w. The state is read at once, and not as slowly
// as w may take it.
func Save(ctx context.Context, store Source, w io.Writer, opts SaveOptions) (h Header, err error) {
	spool, err := os.CreateTemp(opts.Dir, "backup-*.tmp")
	if err != nil {
		return h, fmt.Errorf("make a file for the backup: %w", err)
	}
	// It has no name any more, so that a crash leaves nothing.
	defer func() { err = errors.Join(err, spool.Close()) }()
	if err := os.Remove(spool.Name()); err != nil {
		return h, fmt.Errorf("make a file for the backup: %w", err)
	}
	h = Header{
		Format: Version, CreatedAt: opts.At.UTC(), Node: opts.Node, Release: opts.Release, Driver: opts.Driver,
	}
	s := newSummary()
	info, err := store.View(ctx, storage.ReadOptions{Consistency: opts.Consistency}, func(r storage.Reader) error {
		// A view may be repeated.
		s = newSummary()
		if err := rewind(spool); err != nil {
			return err
		}
		return writePairs(ctx, spool, r, s)
	})
	if err != nil {
		return h, fmt.Errorf("read the state: %w", err)
	}
	// Not before the state was read: it may be too new, but never too old.
	h.Index, h.Term = info.Index, store.Status().Term
	if err := s.into(&h); err != nil {
		return h, err
	}
	if _, err := spool.Seek(0, io.SeekStart); err != nil {
		return h, fmt.Errorf("read the backup: %w", err)
	}
	if opts.Begin != nil {
		if err := opts.Begin(h); err != nil {
			return h, err
		}
	}
	return h, compose(w, h, func(w io.Writer) error {
		if _, err := io.Copy(w, &contextReader{ctx, spool}); err != nil {
			return fmt.Errorf("write pairs: %w", err)
		}
		return nil
	})
}

func rewind(file *os.File) error {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return file.Truncate(0)
}

// contextReader ends with its context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r *contextReader) Read(p []byte) (int, error) {
	if err := context.Cause(r.ctx); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
