package cluster

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/bolt"
)

// The log and the vote are what a cluster's promises rest on, and neither bbolt nor
// raft-wal keeps a checksum of what it hands out again. So everything that Raft
// stores passes here and is sealed with one, and a write that fails ends the node:
// after a failed sync nobody knows what is on the disk, and a node that goes on
// could acknowledge what it does not have.
//
// Entries and votes of releases that sealed nothing are read as they are, and
// those releases read sealed ones.

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errSeal is a checksum that differs.
var errSeal = errors.New("its checksum differs, the disk changed it")

// diskWatch is what the stores tell of their disk.
type diskWatch struct {
	// fault, if not nil, is asked before operations on files: for tests.
	fault bolt.Fault
	// busy is when the write began that is going on, in nanoseconds; 0: none is.
	busy atomic.Int64
	// failed is told of the first write that fails, and of damage that is found.
	// It is nil while nobody but Open uses the stores.
	failed atomic.Pointer[func(error)]
}

// begin marks a write; done ends it.
func (w *diskWatch) begin() { w.busy.Store(time.Now().UnixNano()) }
func (w *diskWatch) done()  { w.busy.Store(0) }

// stalledFor is how long the write has taken that is going on.
func (w *diskWatch) stalledFor() time.Duration {
	since := w.busy.Load()
	if since == 0 {
		return 0
	}
	return time.Since(time.Unix(0, since))
}

// fail ends the node. It reports whether there is one.
func (w *diskWatch) fail(err error) bool {
	failed := w.failed.Load()
	if failed == nil {
		return false
	}
	(*failed)(err)
	return true
}

// sealedLog is a log store with a checksum on each entry.
type sealedLog struct {
	inner raft.LogStore
	file  string
	disk  *diskWatch
}

var _ raft.MonotonicLogStore = (*sealedLog)(nil)

// IsMonotonic implements raft.MonotonicLogStore.
func (l *sealedLog) IsMonotonic() bool {
	m, ok := l.inner.(raft.MonotonicLogStore)
	return ok && m.IsMonotonic()
}

// FirstIndex implements raft.LogStore.
func (l *sealedLog) FirstIndex() (uint64, error) { return l.inner.FirstIndex() }

// LastIndex implements raft.LogStore.
func (l *sealedLog) LastIndex() (uint64, error) { return l.inner.LastIndex() }

// GetLog implements raft.LogStore. The library answers damage with a panic that
// says nothing of the file; here it is a fault of the node.
func (l *sealedLog) GetLog(index uint64, entry *raft.Log) error {
	err := l.inner.GetLog(index, entry)
	if errors.Is(err, raft.ErrLogNotFound) {
		return err
	}
	if err == nil {
		err = checkSeal(index, entry)
	}
	if err == nil {
		return nil
	}
	err = fmt.Errorf("read log entry %d from %s: %w", index, l.file, err)
	if l.disk.fail(err) {
		runtime.Goexit() // one of the library's goroutines, which are waited for
	}
	return err
}

// StoreLog implements raft.LogStore.
func (l *sealedLog) StoreLog(entry *raft.Log) error { return l.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements raft.LogStore.
func (l *sealedLog) StoreLogs(entries []*raft.Log) error {
	l.disk.begin()
	defer l.disk.done()
	copies := make([]raft.Log, len(entries))
	sealed := make([]*raft.Log, len(entries))
	for i, entry := range entries {
		copies[i] = *entry // the caller shares it with others
		copies[i].Extensions = sealOf(entry)
		sealed[i] = &copies[i]
	}
	err := l.disk.fault.Before("write", l.file)
	if err == nil {
		err = l.inner.StoreLogs(sealed)
	}
	if err == nil {
		err = l.disk.fault.Before("sync", l.file)
	}
	return l.written(err)
}

// DeleteRange implements raft.LogStore.
func (l *sealedLog) DeleteRange(first, last uint64) error {
	err := l.disk.fault.Before("write", l.file)
	if err == nil {
		err = l.inner.DeleteRange(first, last)
	}
	return l.written(err)
}

func (l *sealedLog) written(err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("write %s: %w", l.file, err)
	l.disk.fail(err)
	return err
}

// A seal is a version and the CRC-32C of index, term, type and data.
const sealVersion = storage.SealFormat

func sealOf(entry *raft.Log) []byte {
	return binary.BigEndian.AppendUint32([]byte{sealVersion}, entrySum(entry))
}

func entrySum(entry *raft.Log) uint32 {
	head := make([]byte, 0, 17)
	head = binary.BigEndian.AppendUint64(head, entry.Index)
	head = binary.BigEndian.AppendUint64(head, entry.Term)
	head = append(head, byte(entry.Type))
	return crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, entry.Data)
}

// checkSeal verifies an entry that was read and takes the seal off.
func checkSeal(index uint64, entry *raft.Log) error {
	seal := entry.Extensions
	entry.Extensions = nil
	switch {
	case entry.Index != index:
		return fmt.Errorf("it says that it is entry %d", entry.Index)
	case len(seal) == 0:
		return nil // of a release that sealed nothing
	case len(seal) != 5 || seal[0] != sealVersion || binary.BigEndian.Uint32(seal[1:]) != entrySum(entry):
		return errSeal
	}
	return nil
}

// sealedStable is the store of term and vote with a checksum on each value.
type sealedStable struct {
	inner raft.StableStore
	file  string
	disk  *diskWatch
}

var _ raft.StableStore = (*sealedStable)(nil)

// voteMark separates a value from its checksum. What Raft stores here as text has
// no zero byte; of two one is left when the disk changes the other.
var voteMark = []byte{0, 'c', 'r', 'c', 0}

func stableSum(key, value []byte) []byte {
	return binary.BigEndian.AppendUint32(nil, crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value))
}

// Get implements raft.StableStore.
func (s *sealedStable) Get(key []byte) ([]byte, error) {
	stored, err := s.inner.Get(key)
	if err != nil {
		return nil, err
	}
	at := len(stored) - len(voteMark) - crc32.Size
	if at < 0 || !bytes.Equal(stored[at:at+len(voteMark)], voteMark) {
		if bytes.IndexByte(stored, 0) >= 0 {
			return nil, s.damaged(key)
		}
		return stored, nil // of a release that sealed nothing
	}
	value := stored[:at]
	if !bytes.Equal(stored[at+len(voteMark):], stableSum(key, value)) {
		return nil, s.damaged(key)
	}
	return value, nil
}

// Set implements raft.StableStore.
func (s *sealedStable) Set(key, value []byte) error {
	return s.set(key, append(append(bytes.Clone(value), voteMark...), stableSum(key, value)...))
}

// GetUint64 implements raft.StableStore.
func (s *sealedStable) GetUint64(key []byte) (uint64, error) {
	stored, err := s.inner.Get(key)
	if err != nil {
		return 0, err
	}
	switch {
	case len(stored) == 8: // of a release that sealed nothing
	case len(stored) == 8+crc32.Size && bytes.Equal(stored[8:], stableSum(key, stored[:8])):
	default:
		return 0, s.damaged(key)
	}
	return binary.BigEndian.Uint64(stored), nil
}

// termOfBootstrap is what the library sets while it founds a cluster, where it
// takes a failure for an answer. Elsewhere it panics when the term cannot be kept.
const termOfBootstrap = 1

// SetUint64 implements raft.StableStore. Releases that sealed nothing read the
// first eight bytes.
func (s *sealedStable) SetUint64(key []byte, value uint64) error {
	number := binary.BigEndian.AppendUint64(nil, value)
	err := s.set(key, append(number, stableSum(key, number)...))
	if err != nil && s.disk.failed.Load() != nil && string(key) == "CurrentTerm" && value != termOfBootstrap {
		runtime.Goexit() // the library's main goroutine, which is waited for
	}
	return err
}

func (s *sealedStable) set(key, stored []byte) error {
	s.disk.begin()
	defer s.disk.done()
	err := s.disk.fault.Before("write", s.file)
	if err == nil {
		err = s.inner.Set(key, stored)
	}
	if err == nil {
		err = s.disk.fault.Before("sync", s.file)
	}
	if err != nil {
		err = fmt.Errorf("write %s: %w", s.file, err)
		s.disk.fail(err)
	}
	return err
}

func (s *sealedStable) damaged(key []byte) error {
	return fmt.Errorf("read %s from %s: %w", key, s.file, errSeal)
}
