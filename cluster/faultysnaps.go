package cluster

import (
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/oprc/oprc-pm/storage/bolt"
)

// faultySnapshots are snapshots on a disk that fails when a test wants it to. They
// are there only where a fault was given.
type faultySnapshots struct {
	raft.SnapshotStore
	fault bolt.Fault
	path  string
}

// Create implements raft.SnapshotStore.
func (s *faultySnapshots) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configurationIndex uint64, trans raft.Transport,
) (raft.SnapshotSink, error) {
	if err := s.fault.Before("create", s.path); err != nil {
		return nil, fmt.Errorf("create snapshot: %w", err)
	}
	sink, err := s.SnapshotStore.Create(version, index, term, configuration, configurationIndex, trans)
	if err != nil {
		return nil, err
	}
	return &faultySink{sink, s}, nil
}

type faultySink struct {
	raft.SnapshotSink
	of *faultySnapshots
}

// Write implements raft.SnapshotSink.
func (s *faultySink) Write(b []byte) (int, error) {
	if err := s.of.fault.Before("write", s.of.path); err != nil {
		return 0, err
	}
	return s.SnapshotSink.Write(b)
}

// Close implements raft.SnapshotSink.
func (s *faultySink) Close() error {
	for _, op := range []string{"sync", "rename"} {
		if err := s.of.fault.Before(op, s.of.path); err != nil {
			_ = s.Cancel() // the fault is the news
			return err
		}
	}
	return s.SnapshotSink.Close()
}
