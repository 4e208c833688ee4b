package fsm

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"

	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/bolt"
)

// A snapshot is a header, the bbolt file and a checksum of both:
//
//	"OPRCSNAP" version(1) index(8) term(8) digest(16) length(8) file sha256(32)
//
// The index is that of the content. Raft's own index of a snapshot can be
// higher: it counts entries that never reach the state machine. The checksum is
// verified before anybody looks into the file, because a bbolt file with missing
// or damaged pages does not fail, it crashes its reader.
const (
	snapshotMagic   = "OPRCSNAP"
	snapshotVersion = storage.SnapshotFormat
	snapshotHeader  = len(snapshotMagic) + 1 + 40
)

// Snapshot pins the present state. Raft calls it on the applying goroutine; the
// copy itself is made by Persist, beside further applies.
func (f *FSM) Snapshot() (raft.FSMSnapshot, error) {
	if err := f.faulted(); err != nil {
		return nil, err
	}
	snapshot, err := f.db.Snapshot()
	if err != nil {
		return nil, err
	}
	return &fsmSnapshot{snapshot: snapshot}, nil
}

type fsmSnapshot struct{ snapshot *bolt.Snapshot }

// Persist streams the snapshot into sink. It closes the sink, or cancels it when
// it fails.
func (s *fsmSnapshot) Persist(sink raft.SnapshotSink) error {
	if err := WriteSnapshot(sink, s.snapshot); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	if err := sink.Close(); err != nil {
		return fmt.Errorf("close snapshot: %w", err)
	}
	return nil
}

// Release ends the snapshot.
func (s *fsmSnapshot) Release() { s.snapshot.Close() }

// WriteSnapshot writes header, file and checksum.
func WriteSnapshot(w io.Writer, s *bolt.Snapshot) error {
	sum := sha256.New()
	out := io.MultiWriter(w, sum)
	if _, err := out.Write(appendSnapshotHeader(nil, s.Meta(), s.Size())); err != nil {
		return fmt.Errorf("write snapshot header: %w", err)
	}
	if _, err := s.WriteTo(out); err != nil {
		return err
	}
	if _, err := w.Write(sum.Sum(nil)); err != nil {
		return fmt.Errorf("write snapshot checksum: %w", err)
	}
	return nil
}

func appendSnapshotHeader(b []byte, m bolt.Meta, length int64) []byte {
	b = append(b, snapshotMagic...)
	b = append(b, snapshotVersion)
	for _, v := range []uint64{m.Index, m.Term, m.Digest[0], m.Digest[1], uint64(length)} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return b
}

// readSnapshotHeader reads what WriteSnapshot wrote first, and the length of the
// file that follows.
func readSnapshotHeader(r io.Reader) (m bolt.Meta, length int64, err error) {
	header := make([]byte, snapshotHeader)
	if _, err := io.ReadFull(r, header); err != nil {
		return m, 0, fmt.Errorf("read snapshot header: %w", err)
	}
	if string(header[:len(snapshotMagic)]) != snapshotMagic {
		return m, 0, errors.New("read snapshot header: this is not a snapshot")
	}
	if version := header[len(snapshotMagic)]; version != snapshotVersion {
		return m, 0, fmt.Errorf("read snapshot header: version %d is not understood by this program (%d)", version, snapshotVersion)
	}
	d := decoder{rest: header[len(snapshotMagic)+1:]}
	m.Index, m.Term, m.Digest = d.uint64(), d.uint64(), [2]uint64{d.uint64(), d.uint64()}
	size := d.uint64()
	if size > math.MaxInt64 {
		return m, 0, fmt.Errorf("read snapshot header: impossible length %d", size)
	}
	return m, int64(size), nil
}

// Restore replaces the state by a snapshot: it is written to a file of its own,
// checked, and only then put in place. A failure before that leaves the old
// state as it was. Restore does not wait for views or snapshots that are open.
func (f *FSM) Restore(source io.ReadCloser) (err error) {
	defer func() { err = errors.Join(err, source.Close()) }()
	if err := f.faulted(); err != nil {
		return err
	}
	fresh := filepath.Join(f.cfg.Dir, stateFile+".restore")
	if err := receiveSnapshot(source, fresh, f.cfg.Fault); err != nil {
		return errors.Join(err, removeIfThere(fresh))
	}
	if err := f.db.Replace(fresh); err != nil {
		return f.fail(fmt.Errorf("restore snapshot: %w", err))
	}
	index, err := f.reload()
	if err != nil {
		return f.fail(fmt.Errorf("restore snapshot: %w", err))
	}
	// Waiters last, as in ApplyBatch.
	f.history.Reset(index)
	f.applied.advance(index)
	f.cfg.Logger.Info("restored snapshot", "index", index)
	return nil
}

// receiveSnapshot writes a snapshot's file to path and checks it.
func receiveSnapshot(source io.Reader, path string, fault bolt.Fault) error {
	sum := sha256.New()
	summed := io.TeeReader(source, sum)
	want, length, err := readSnapshotHeader(summed)
	if err != nil {
		return err
	}
	written, err := writeFile(path, io.LimitReader(summed, length), fault)
	if err != nil {
		return err
	}
	if written < length {
		return fmt.Errorf("check snapshot: it ends after %d bytes of %d", written, length)
	}
	// One byte more than the checksum shows whether something follows it.
	trailer, err := io.ReadAll(io.LimitReader(source, sha256.Size+1))
	if err != nil {
		return fmt.Errorf("read snapshot checksum: %w", err)
	}
	if !bytes.Equal(trailer, sum.Sum(nil)) {
		return errors.New("check snapshot: it is damaged, the checksum differs")
	}
	return checkState(path, want)
}

// checkState checks that the file at path is whole and holds what want says.
// Whoever wrote the file may have had a damaged one himself.
func checkState(path string, want bolt.Meta) error {
	m, err := bolt.CheckFile(path)
	if err != nil {
		return fmt.Errorf("check snapshot: %w", err)
	}
	if m.Index != want.Index || m.Term != want.Term || m.Digest != want.Digest {
		return errors.New("check snapshot: the content is not what the header says")
	}
	return nil
}

// CheckSnapshot verifies all of a snapshot, with a file at scratch that it removes.
// It returns what the snapshot says of its content.
func CheckSnapshot(source io.Reader, scratch string) (m bolt.Meta, err error) {
	var head bytes.Buffer
	if m, _, err = readSnapshotHeader(io.TeeReader(source, &head)); err != nil {
		return m, err
	}
	err = receiveSnapshot(io.MultiReader(&head, source), scratch, nil)
	return m, errors.Join(err, removeIfThere(scratch))
}

// PrepareForStart makes the state at least as new as the newest snapshot, as
// Raft assumes of it when it is started with NoSnapshotRestoreOnStart. Call it
// once, before Raft starts.
func (f *FSM) PrepareForStart(snapshots raft.SnapshotStore) error {
	list, err := snapshots.List()
	if err != nil {
		return fmt.Errorf("list snapshots: %w", err)
	}
	if len(list) == 0 {
		return nil
	}
	// Only the newest will do: Raft hands over the log from there on.
	newest := list[0]
	if f.AppliedIndex() >= newest.Index {
		return nil
	}
	if err := f.catchUp(snapshots, newest.ID); err != nil {
		return fmt.Errorf("the state ends at index %d and the newest snapshot (%s, index %d), which it needs, is not usable: %w",
			f.AppliedIndex(), newest.ID, newest.Index, err)
	}
	return nil
}

// catchUp restores the snapshot unless the state is as new already.
func (f *FSM) catchUp(snapshots raft.SnapshotStore, id string) error {
	_, source, err := snapshots.Open(id)
	if err != nil {
		return err
	}
	buffered := bufio.NewReaderSize(source, 1<<16)
	head, err := buffered.Peek(snapshotHeader)
	if err != nil {
		return errors.Join(fmt.Errorf("read snapshot header: %w", err), source.Close())
	}
	m, _, err := readSnapshotHeader(bytes.NewReader(head))
	if err != nil {
		return errors.Join(err, source.Close())
	}
	if f.AppliedIndex() >= m.Index {
		return source.Close()
	}
	return f.Restore(readCloser{buffered, source})
}

type readCloser struct {
	io.Reader
	io.Closer
}

// writeFile writes what source gives to the file at path, durably.
func writeFile(path string, source io.Reader, fault bolt.Fault) (int64, error) {
	if err := fault.Before("write", path); err != nil {
		return 0, fmt.Errorf("write file: %w", err)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, fmt.Errorf("write file: %w", err)
	}
	n, err := io.Copy(file, source)
	if err = errors.Join(err, fault.Before("sync", path), file.Sync(), file.Close()); err != nil {
		return n, fmt.Errorf("write file: %w", err)
	}
	return n, nil
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
