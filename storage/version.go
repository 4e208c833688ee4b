package storage

// The versions of everything that a release leaves for another one to read: on a
// disk, in a log, on the wire. Each is written in front of what it describes, and
// one that is newer than the reader's is refused with words. docs/upgrades.md says
// what may change under a version and when it grows; testdata of fsm and cluster
// hold what earlier releases wrote.
const (
	// DataDirFormat is of node.json, and so of the layout of a data directory.
	DataDirFormat = 1
	// StateFormat is of the state file.
	StateFormat = 1
	// SnapshotFormat is of a Raft snapshot's frame around a state file.
	SnapshotFormat = 1
	// EntryFormat is of a log entry, a pack of proposals; ProposalFormat of one
	// proposal. What a kind of command means never changes; see cluster/features.go.
	EntryFormat    = 1
	ProposalFormat = 1
	// SealFormat is of the checksum on a log entry and on a vote.
	SealFormat = 1
	// WireFormat is of the preamble with which nodes begin a connection.
	WireFormat = 1
	// BackupFormat is of a backup's file.
	BackupFormat = 1
	// EtcdFormat is of the keys and values that the etcd driver keeps.
	EtcdFormat = 1
)
