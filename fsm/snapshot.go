package fsm

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"

	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/bolt"
)

// A snapshot is a header and then the bbolt file:
//
//	"OPRCSNAP" version(1) index(8) term(8) digest(16)
//
// The index is that of the content. Raft's own index of a snapshot can be
// higher: it counts entries that never reach the state machine.
const (
	snapshotMagic   = "OPRCSNAP"
	snapshotVersion = 1
	snapshotHeader  = len(snapshotMagic) + 1 + 32
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

// WriteSnapshot writes header and file.
func WriteSnapshot(w io.Writer, s *bolt.Snapshot) error {
	m := s.Meta()
	header := append(make([]byte, 0, snapshotHeader), snapshotMagic...)
	header = append(header, snapshotVersion)
	for _, v := range []uint64{m.Index, m.Term, m.Digest[0], m.Digest[1]} {
		header = binary.BigEndian.AppendUint64(header, v)
	}
	if _, err := w.Write(header); err != nil {
		return fmt.Errorf("write snapshot header: %w", err)
	}
	_, err := s.WriteTo(w)
	return err
}

// readSnapshotHeader reads what WriteSnapshot wrote first.
func readSnapshotHeader(r io.Reader) (bolt.Meta, error) {
	header := make([]byte, snapshotHeader)
	if _, err := io.ReadFull(r, header); err != nil {
		return bolt.Meta{}, fmt.Errorf("read snapshot header: %w", err)
	}
	if string(header[:len(snapshotMagic)]) != snapshotMagic {
		return bolt.Meta{}, errors.New("read snapshot header: this is not a snapshot")
	}
	if version := header[len(snapshotMagic)]; version != snapshotVersion {
		return bolt.Meta{}, fmt.Errorf("read snapshot header: version %d is not understood by this program (%d)", version, snapshotVersion)
	}
	rest := header[len(snapshotMagic)+1:]
	return bolt.Meta{
		Index:  binary.BigEndian.Uint64(rest[0:]),
		Term:   binary.BigEndian.Uint64(rest[8:]),
		Digest: [2]uint64{binary.BigEndian.Uint64(rest[16:]), binary.BigEndian.Uint64(rest[24:])},
	}, nil
}

// Restore replaces the state by a snapshot: it is written to a file of its own,
// checked, and only then put in place. A failure before that leaves the old
// state as it was.
func (f *FSM) Restore(source io.ReadCloser) (err error) {
	defer func() { err = errors.Join(err, source.Close()) }()
	if err := f.faulted(); err != nil {
		return err
	}
	fresh := filepath.Join(f.cfg.Dir, stateFile+".restore")
	if err := f.receive(source, fresh); err != nil {
		return errors.Join(err, removeIfThere(fresh))
	}
	if err := f.db.Replace(fresh); err != nil {
		return f.fail(fmt.Errorf("restore snapshot: %w", err))
	}
	if err := f.reload(); err != nil {
		return f.fail(fmt.Errorf("restore snapshot: %w", err))
	}
	f.history.Reset(f.AppliedIndex())
	f.cfg.Logger.Info("restored snapshot", "index", f.AppliedIndex())
	return nil
}

// receive writes a snapshot's file to path and checks it against its header.
func (f *FSM) receive(source io.Reader, path string) error {
	want, err := readSnapshotHeader(source)
	if err != nil {
		return err
	}
	if err := writeFile(path, source); err != nil {
		return err
	}
	db, err := bolt.Open(bolt.Config{Path: path})
	if err != nil {
		return err
	}
	err = db.View(func(r storage.Reader, m bolt.Meta) error {
		if m.Index != want.Index || m.Term != want.Term || m.Digest != want.Digest {
			return errors.New("check snapshot: the content is not what the header says")
		}
		digest, err := ComputeDigest(r)
		if err != nil {
			return fmt.Errorf("check snapshot: %w", err)
		}
		if digest != m.Digest {
			return fmt.Errorf("check snapshot: digest is %s, want %s", digest, Digest(m.Digest))
		}
		return nil
	})
	return errors.Join(err, db.Close())
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
	m, err := readSnapshotHeader(bytes.NewReader(head))
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

func writeFile(path string, source io.Reader) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	_, err = io.Copy(file, source)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	return nil
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
