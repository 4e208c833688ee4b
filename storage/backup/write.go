package backup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/oprc/oprc-pm/storage"
)

// counted are the kinds that Header.Documents tells of, by the prefix of their keys.
var counted = map[string]string{
	storage.PackagePrefix:      string(storage.KindPackage),
	storage.DeploymentPrefix:   string(storage.KindDeployment),
	storage.UnitPrefix:         string(storage.KindUnit),
	storage.RuntimeStatePrefix: string(storage.KindRuntimeState),
	storage.ClusterPrefix:      string(storage.KindCluster),
	storage.RevisionPrefix:     string(storage.KindRevision),
	storage.StoredEventPrefix:  string(storage.KindEvent),
}

// summary is what a header says of the pairs.
type summary struct {
	digest storage.Digest
	// own are the pairs of storage.OwnKeys.
	own       map[string][]byte
	keys      uint64
	bytes     uint64
	documents map[string]uint64
}

func (s *summary) add(key, value []byte) {
	s.digest.Add(key, value)
	s.keys++
	s.bytes += uint64(len(key) + len(value))
	for _, own := range storage.OwnKeys {
		if bytes.Equal(key, own) {
			s.own[string(key)] = bytes.Clone(value)
		}
	}
	if prefix, _, found := strings.Cut(string(key[:min(len(key), 32)]), "/"); found {
		if kind, ok := counted[prefix+"/"]; ok {
			s.documents[kind]++
		}
	}
}

func (s *summary) into(h *Header) error {
	h.ClusterID, h.Keys, h.Bytes, h.Documents = string(s.own[string(storage.ClusterIDKey)]), s.keys, s.bytes, s.documents
	h.Digest = s.digest.String()
	content := s.digest
	for key, value := range s.own {
		content.Remove([]byte(key), value)
	}
	h.ContentDigest = content.String()
	h.TermBase = 0
	if base := s.own[string(storage.TermBaseKey)]; base != nil {
		var err error
		if h.TermBase, err = strconv.ParseUint(string(base), 10, 64); err != nil {
			return fmt.Errorf("read %s: %w", storage.TermBaseKey, err)
		}
	}
	return nil
}

func newSummary() *summary { return &summary{own: map[string][]byte{}, documents: map[string]uint64{}} }

// scan calls fn for the pairs that a backup holds: all but what is staged for a
// restore.
func scan(ctx context.Context, r storage.Reader, fn func(key, value []byte) error) error {
	staged := []byte(storage.RestorePrefix)
	each := func(key, value []byte) (bool, error) {
		if err := fn(key, value); err != nil {
			return false, err
		}
		return true, ctx.Err()
	}
	if err := r.Scan(nil, staged, each); err != nil {
		return err
	}
	return r.Scan(storage.PrefixEnd(staged), nil, each)
}

// Write writes the state behind r, which it reads twice: the header comes first and
// tells of the rest. The caller fills in who and when; the header that it returns
// also tells what.
func Write(ctx context.Context, w io.Writer, h Header, r storage.Reader) (Header, error) {
	s := newSummary()
	err := scan(ctx, r, func(key, value []byte) error {
		s.add(key, value)
		return nil
	})
	if err != nil {
		return h, fmt.Errorf("read the state: %w", err)
	}
	h.Format = Version
	if err := s.into(&h); err != nil {
		return h, err
	}
	return h, compose(w, h, func(w io.Writer) error { return writePairs(ctx, w, r, nil) })
}

// compose writes the whole file around its pairs.
func compose(w io.Writer, h Header, pairs func(w io.Writer) error) error {
	sum := sha256.New()
	out := io.MultiWriter(w, sum)
	if err := writeHeader(out, h); err != nil {
		return err
	}
	if err := pairs(out); err != nil {
		return err
	}
	if _, err := w.Write(sum.Sum(nil)); err != nil {
		return fmt.Errorf("write checksum: %w", err)
	}
	return nil
}

// writePairs writes the compressed part. It notes what it writes in s, if that is not
// nil.
func writePairs(ctx context.Context, w io.Writer, r storage.Reader, s *summary) error {
	z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return fmt.Errorf("compress: %w", err)
	}
	var b []byte
	err = scan(ctx, r, func(key, value []byte) error {
		if s != nil {
			s.add(key, value)
		}
		b = binary.AppendUvarint(b[:0], uint64(len(key)))
		b = append(b, key...)
		b = binary.AppendUvarint(b, uint64(len(value)))
		b = append(b, value...)
		_, err := z.Write(b)
		return err
	})
	if err == nil {
		_, err = z.Write([]byte{0})
	}
	if err != nil {
		// The compressor's buffers go with it; what it wrote is no backup.
		z.Reset(nil)
		return fmt.Errorf("write pairs: %w", err)
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("write pairs: %w", err)
	}
	return nil
}
