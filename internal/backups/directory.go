package backups

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// partialSuffix marks a file that is being written.
const partialSuffix = ".partial"

// stalePartial is how old a file must be that a crash left half written before it is
// removed.
const stalePartial = 24 * time.Hour

type directory struct{ path string }

// NewDirectory keeps backups in a directory, which is made when the first is written.
func NewDirectory(path string) Destination { return &directory{path: path} }

func (d *directory) String() string { return d.path }

func (d *directory) Close() {}

// Put writes beside, syncs and renames.
func (d *directory) Put(ctx context.Context, name string, write func(w io.Writer) error) (err error) {
	if err := os.MkdirAll(d.path, 0o700); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	path := filepath.Join(d.path, name)
	file, err := os.OpenFile(path+partialSuffix, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	buffered := bufio.NewWriterSize(file, 1<<16)
	err = write(&contextWriter{ctx, buffered})
	if err == nil {
		err = errors.Join(buffered.Flush(), file.Sync())
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(path+partialSuffix, path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write backup: %w", err), removeIfThere(path+partialSuffix))
	}
	return d.sync()
}

func (d *directory) sync() error {
	dir, err := os.Open(d.path)
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	return nil
}

func (d *directory) Open(_ context.Context, name string) (io.ReadCloser, error) {
	file, err := os.Open(filepath.Join(d.path, name))
	if err != nil {
		return nil, fmt.Errorf("open backup: %w", err)
	}
	return file, nil
}

// List also removes what a crash left half written long ago.
func (d *directory) List(context.Context) ([]File, error) {
	entries, err := os.ReadDir(d.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list backups: %w", err)
	}
	var files []File
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue // removed meanwhile, or nothing of ours
		}
		name, partial := strings.CutSuffix(entry.Name(), partialSuffix)
		file, ok := parseName(name, info.Size())
		switch {
		case !ok:
		case !partial:
			files = append(files, file)
		case time.Since(info.ModTime()) > stalePartial:
			if err := removeIfThere(filepath.Join(d.path, entry.Name())); err != nil {
				return nil, err
			}
		}
	}
	return files, nil
}

func (d *directory) Remove(_ context.Context, name string) error {
	return removeIfThere(filepath.Join(d.path, name))
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove backup: %w", err)
	}
	return nil
}

// contextWriter ends with its context.
type contextWriter struct {
	ctx context.Context
	w   io.Writer
}

func (w *contextWriter) Write(p []byte) (int, error) {
	if err := context.Cause(w.ctx); err != nil {
		return 0, err
	}
	return w.w.Write(p)
}
