package backup

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"reflect"

	"github.com/klauspost/compress/zstd"
)

// Inspect reads a whole backup, checks everything in it and returns its header.
func Inspect(r io.Reader) (Header, error) {
	return Read(r, func(_, _ []byte) error { return nil })
}

// Read calls pair for every pair of a backup, in key order; the slices are valid
// until pair returns. Nothing is proven before Read has returned without an error: a
// caller who acts on pairs must be able to take that back. Damage is a
// *DamagedError.
func Read(r io.Reader, pair func(key, value []byte) error) (Header, error) {
	body := &summedReader{source: bufio.NewReaderSize(r, 1<<16), sum: sha256.New()}
	h, err := readHeader(body)
	if err != nil {
		return h, err
	}
	s := newSummary()
	if err := readPairs(body, s, pair); err != nil {
		return h, err
	}
	if err := body.finish(); err != nil {
		return h, err
	}
	found := h
	if err := s.into(&found); err != nil {
		return h, damaged("%v", err)
	}
	if !reflect.DeepEqual(found, h) {
		return h, damaged("it holds %d pairs with digest %s, its header says %d and %s", found.Keys, found.Digest, h.Keys, h.Digest)
	}
	return h, nil
}

// summedReader reads the part that the sum covers, which ends 32 bytes before the
// end of the file.
type summedReader struct {
	source *bufio.Reader
	sum    hash.Hash
}

// Read implements io.Reader.
func (r *summedReader) Read(p []byte) (int, error) {
	// As long as more than a sum follows, what comes first is not the sum.
	ahead, err := r.source.Peek(min(len(p)+sha256.Size, 1<<15))
	n := min(len(ahead)-sha256.Size, len(p))
	if n <= 0 {
		if err == nil || errors.Is(err, io.EOF) {
			return 0, io.EOF
		}
		return 0, &fsError{err}
	}
	n = copy(p, ahead[:n])
	r.sum.Write(p[:n])
	if _, err := r.source.Discard(n); err != nil {
		return n, err
	}
	return n, nil
}

// finish compares the sum. Everything before it must have been read.
func (r *summedReader) finish() error {
	if n, err := io.Copy(io.Discard, r); err != nil {
		return fmt.Errorf("read checksum: %w", err)
	} else if n > 0 {
		return damaged("%d bytes follow its last pair", n)
	}
	trailer, err := io.ReadAll(io.LimitReader(r.source, sha256.Size+1))
	if err != nil {
		return fmt.Errorf("read checksum: %w", err)
	}
	if !bytes.Equal(trailer, r.sum.Sum(nil)) {
		return damaged("its checksum differs")
	}
	return nil
}

func readPairs(r io.Reader, s *summary, pair func(key, value []byte) error) error {
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(256<<20))
	if err != nil {
		return fmt.Errorf("decompress: %w", err)
	}
	defer z.Close()
	in := bufio.NewReaderSize(z, 1<<16)
	var key, value, last []byte
	for {
		if key, err = readField(in, key, maxKey); err != nil {
			return err
		}
		if len(key) == 0 {
			return atEnd(in)
		}
		if value, err = readField(in, value, maxValue); err != nil {
			return err
		}
		if bytes.Compare(key, last) <= 0 || len(value) == 0 {
			return damaged("its pairs are out of order after %q", last)
		}
		last = append(last[:0], key...)
		s.add(key, value)
		if err := pair(key, value); err != nil {
			return err
		}
	}
}

// readField reads a length and as many bytes into b, which it returns.
func readField(in *bufio.Reader, b []byte, limit uint64) ([]byte, error) {
	n, err := binary.ReadUvarint(in)
	if err != nil {
		return b, badPairs(err)
	}
	if n > limit {
		return b, damaged("a field of %d bytes", n)
	}
	if uint64(cap(b)) < n {
		b = make([]byte, n)
	}
	b = b[:n]
	if _, err := io.ReadFull(in, b); err != nil {
		return b, badPairs(err)
	}
	return b, nil
}

// atEnd makes sure that nothing follows the last pair in the compressed part.
func atEnd(in *bufio.Reader) error {
	switch _, err := in.ReadByte(); {
	case errors.Is(err, io.EOF):
		return nil
	case err == nil:
		return damaged("something follows its last pair")
	default:
		return badPairs(err)
	}
}

// badPairs tells damage from a file that cannot be read: the decompressor's own
// errors, and an end, are damage.
func badPairs(err error) error {
	var files *fsError
	if errors.As(err, &files) {
		return fmt.Errorf("read pairs: %w", files.err)
	}
	return damaged("its pairs cannot be read: %v", err)
}

// fsError marks an error of the file itself on its way through the decompressor.
type fsError struct{ err error }

func (e *fsError) Error() string { return e.err.Error() }

func (e *fsError) Unwrap() error { return e.err }
