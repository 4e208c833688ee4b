package crm

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
)

// maxSecretFileBytes bounds a file of credentials: a bundle of authorities is
// the largest that makes sense.
const maxSecretFileBytes = 4 << 20

// watchedFile is a file whose content is wanted as it is now. It is read again
// when it has changed, which is found out by asking for its size, time and
// identity: a replaced file is noticed even within the clock's grain. Safe for
// concurrent use; no lock is held while it reads.
type watchedFile struct {
	path  string
	known atomic.Pointer[fileContent]
}

// fileContent is a file's content at one time. Its identity is its version: a
// changed file gives another *fileContent, an unchanged one the same.
type fileContent struct {
	info os.FileInfo
	data []byte
}

// newWatchedFile returns nil for an empty path.
func newWatchedFile(path string) *watchedFile {
	if path == "" {
		return nil
	}
	return &watchedFile{path: path}
}

// read returns the present content.
func (f *watchedFile) read() (*fileContent, error) {
	info, err := os.Stat(f.path)
	if err != nil {
		return nil, err
	}
	known := f.known.Load()
	if known != nil && known.info.ModTime().Equal(info.ModTime()) && known.info.Size() == info.Size() && os.SameFile(known.info, info) {
		return known, nil
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s: not a regular file", f.path) // opening a pipe would wait for its other end
	}
	fresh, err := readFile(f.path)
	if err != nil {
		return nil, err
	}
	if !f.known.CompareAndSwap(known, fresh) {
		return f.known.Load(), nil // somebody was faster; one content, not two
	}
	return fresh, nil
}

// readOptional returns nil where there is no file.
func (f *watchedFile) readOptional() (*fileContent, error) {
	if f == nil {
		return nil, nil
	}
	content, err := f.read()
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return content, err
}

// readFile takes what it compares later from the open file, so that content and
// version belong together.
func readFile(path string) (*fileContent, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // it was only read
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s: not a regular file", path)
	}
	data, err := io.ReadAll(io.LimitReader(file, maxSecretFileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if len(data) > maxSecretFileBytes {
		return nil, fmt.Errorf("read %s: larger than %d bytes", path, maxSecretFileBytes)
	}
	return &fileContent{info: info, data: data}, nil
}
