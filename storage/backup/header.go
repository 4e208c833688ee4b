package backup

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/oprc/oprc-pm/storage"
)

const (
	magic = "OPRCBKUP"
	// Version is that of the files that this release writes.
	Version = storage.BackupFormat
	// maxHeader bounds the header, in bytes.
	maxHeader = 64 << 10
	// maxKey and maxValue bound a pair, in bytes: far more than any rule lets in.
	maxKey, maxValue = 64 << 10, 64 << 20
)

// Header says what a backup holds.
type Header struct {
	// Format is Version.
	Format    int       `json:"format"`
	CreatedAt time.Time `json:"created_at"`
	// ClusterID is that of the cluster that was backed up.
	ClusterID string `json:"cluster_id"`
	// Node, Release and Driver say who made the backup.
	Node    string `json:"node"`
	Release string `json:"release"`
	Driver  string `json:"driver"`
	// Index of the state, and the term of the newest leader then.
	Index uint64 `json:"index"`
	Term  uint64 `json:"term"`
	// TermBase is what that cluster adds to terms for CRMs (storage.Fence).
	TermBase uint64 `json:"term_base"`
	// Digest of all pairs; ContentDigest leaves out those that are the cluster's own.
	Digest        string `json:"digest"`
	ContentDigest string `json:"content_digest"`
	// Keys is the number of pairs, Bytes that of their keys and values.
	Keys  uint64 `json:"keys"`
	Bytes uint64 `json:"bytes"`
	// Documents counts what people see, by kind.
	Documents map[string]uint64 `json:"documents"`
}

// DamagedError says why a file is no backup, or a damaged one.
type DamagedError struct{ Reason string }

func (e *DamagedError) Error() string { return "the backup is damaged: " + e.Reason }

// VersionError says that a backup is of a newer release.
type VersionError struct{ Version int }

func (e *VersionError) Error() string {
	return fmt.Sprintf("the backup has version %d, this release reads version %d", e.Version, Version)
}

// Refused tells whether an error is about the backup itself: it is damaged, or of a
// newer release. Any other is about reading it.
func Refused(err error) bool {
	var damage *DamagedError
	var version *VersionError
	return errors.As(err, &damage) || errors.As(err, &version)
}

func damaged(format string, args ...any) error {
	return &DamagedError{Reason: fmt.Sprintf(format, args...)}
}

func writeHeader(w io.Writer, h Header) error {
	b, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("encode header: %w", err)
	}
	head := append([]byte(magic), Version)
	head = binary.BigEndian.AppendUint32(head, uint32(len(b)))
	if _, err := w.Write(append(head, b...)); err != nil {
		return fmt.Errorf("write header: %w", err)
	}
	return nil
}

func readHeader(r io.Reader) (Header, error) {
	head := make([]byte, len(magic)+1+4)
	if _, err := io.ReadFull(r, head); err != nil {
		return Header{}, cut(err, "the header")
	}
	if string(head[:len(magic)]) != magic {
		return Header{}, damaged("it does not begin as a backup does")
	}
	if version := head[len(magic)]; version != Version {
		return Header{}, &VersionError{Version: int(version)}
	}
	size := binary.BigEndian.Uint32(head[len(magic)+1:])
	if size > maxHeader {
		return Header{}, damaged("a header of %d bytes", size)
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(r, text); err != nil {
		return Header{}, cut(err, "the header")
	}
	var h Header
	if err := json.Unmarshal(text, &h); err != nil {
		return Header{}, damaged("its header cannot be read: %v", err)
	}
	return h, nil
}

// cut tells a file that ends too early from one that cannot be read.
func cut(err error, where string) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return damaged("it ends within %s", where)
	}
	return fmt.Errorf("read %s: %w", where, err)
}
