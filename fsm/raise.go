package fsm

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/bolt"
)

// WriteRaised writes a snapshot of the present state to the file at path, as if it
// were that of a later index, and returns its size. A restore whose versions would
// otherwise run backwards begins with it.
func (f *FSM) WriteRaised(path string, index uint64) (size int64, err error) {
	if err := f.faulted(); err != nil {
		return 0, err
	}
	state := path + ".state"
	defer func() { err = errors.Join(err, removeIfThere(state)) }()
	if err := f.copyState(state); err != nil {
		return 0, err
	}
	db, err := bolt.Open(bolt.Config{Path: state})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	err = db.Update(func(_ storage.Tx, m *bolt.Meta) error {
		if index < m.Index {
			return fmt.Errorf("raise the index to %d: it is at %d", index, m.Index)
		}
		m.Index = index
		return nil
	})
	if err != nil {
		return 0, err
	}
	snapshot, err := db.Snapshot()
	if err != nil {
		return 0, err
	}
	defer snapshot.Close()
	return writeSnapshotFile(path, snapshot)
}

func (f *FSM) copyState(path string) error {
	snapshot, err := f.db.Snapshot()
	if err != nil {
		return err
	}
	defer snapshot.Close()
	file, err := os.OpenFile(filepath.Clean(path), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("copy state: %w", err)
	}
	_, err = snapshot.WriteTo(file)
	return errors.Join(err, file.Close())
}

func writeSnapshotFile(path string, snapshot *bolt.Snapshot) (size int64, err error) {
	file, err := os.OpenFile(filepath.Clean(path), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, fmt.Errorf("write snapshot: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	buffered := bufio.NewWriterSize(file, 1<<16)
	if err := WriteSnapshot(buffered, snapshot); err != nil {
		return 0, err
	}
	if err := buffered.Flush(); err != nil {
		return 0, fmt.Errorf("write snapshot: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		return 0, fmt.Errorf("write snapshot: %w", err)
	}
	return info.Size(), nil
}
