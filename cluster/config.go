package cluster

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

// Log stores that Config.LogStore may name.
const (
	LogStoreBolt = "boltdb"
	LogStoreWAL  = "wal"
)

// defaultGossipPort completes seeds that are given without a port.
const defaultGossipPort = "7946"

// Config describes one node. It is read once, by New.
type Config struct {
	// NodeName is for people; who a node is, is its server id, which is random
	// and kept in DataDir. 1 to 63 bytes.
	NodeName string
	// DataDir belongs to this node alone and is locked while it is open.
	DataDir string
	// ClusterAddr is the HOST:PORT that Raft and node-to-node calls listen on;
	// port 0 picks a free one.
	ClusterAddr string
	// GossipAddr is the HOST:PORT (TCP and UDP) of the gossip.
	GossipAddr string
	// AdvertiseHost is the name or address at which peers reach this node. A
	// name stays a name: it is resolved at each dial. Empty: the host of
	// ClusterAddr, or the first private address of this machine.
	AdvertiseHost string
	// HTTPAddr is what others are told of this node's API, HOST:PORT.
	HTTPAddr string
	// Join lists gossip seeds, HOST[:PORT]. A DNS name may stand for many.
	Join []string
	// BootstrapExpect is the number of fresh nodes that form a new cluster
	// together. 1 with Join set means: wait to be added to a living one.
	BootstrapExpect int
	// Version of the program, told to the other members.
	Version string
	// Features, when not 0, is told in place of what this program has (see
	// features.go): a node of an older release, for tests.
	Features int

	// LogStore is "boltdb" or "wal". It is fixed for the life of a data
	// directory.
	LogStore string
	// Raft's timers, see raft.Config. CommitTimeout is also the longest that a
	// follower lags behind an otherwise idle leader.
	HeartbeatTimeout   time.Duration
	ElectionTimeout    time.Duration
	LeaderLeaseTimeout time.Duration
	CommitTimeout      time.Duration
	SnapshotInterval   time.Duration
	SnapshotThreshold  uint64
	TrailingLogs       uint64
	// SnapshotRetain is how many snapshots are kept.
	SnapshotRetain int

	// MaxEntryBytes caps one log entry, and so one command.
	MaxEntryBytes int
	// MaxEntryCommands caps the commands packed into one log entry.
	MaxEntryCommands int
	// WriteQueue and WriteQueueBytes bound the commands that wait or are in
	// flight on the leader. Beyond them writers wait.
	WriteQueue      int
	WriteQueueBytes int64
	// DefaultTimeout applies to Apply and View when ctx has no deadline.
	DefaultTimeout time.Duration
	// IOTimeout bounds dials and single exchanges with a peer.
	IOTimeout time.Duration
	// MaxConnections bounds the connections accepted on the cluster port.
	MaxConnections int

	// HistoryEntries and HistoryBytes bound the change history for watchers.
	HistoryEntries int
	HistoryBytes   int

	// FastGossip shortens all gossip timers: for tests on loopback.
	FastGossip bool
	// MembershipInterval is how often the leader compares the Raft
	// configuration with what gossip knows, and how often a fresh node tries to
	// bootstrap.
	MembershipInterval time.Duration
	// DigestInterval is how often the leader compares its members' digests.
	DigestInterval time.Duration
	// Autopilot says when servers become voters and when dead ones go.
	Autopilot AutopilotConfig
	// CompactLog rewrites the log's file at the start, without the room that
	// deleted entries left in it.
	CompactLog bool
	// Disk says when the disk counts as short of space, and as stalled.
	Disk DiskConfig
}

// DefaultConfig returns the production settings. NodeName and DataDir must
// still be set.
func DefaultConfig() Config {
	return Config{
		ClusterAddr:        "0.0.0.0:7000",
		GossipAddr:         "0.0.0.0:7946",
		BootstrapExpect:    1,
		LogStore:           LogStoreBolt,
		HeartbeatTimeout:   500 * time.Millisecond,
		ElectionTimeout:    500 * time.Millisecond,
		LeaderLeaseTimeout: 400 * time.Millisecond,
		CommitTimeout:      10 * time.Millisecond,
		SnapshotInterval:   30 * time.Second,
		SnapshotThreshold:  8192,
		TrailingLogs:       10240,
		SnapshotRetain:     2,
		MaxEntryBytes:      1 << 20,
		MaxEntryCommands:   128,
		WriteQueue:         4096,
		WriteQueueBytes:    64 << 20,
		DefaultTimeout:     10 * time.Second,
		IOTimeout:          10 * time.Second,
		MaxConnections:     512,
		HistoryEntries:     65536,
		HistoryBytes:       64 << 20,
		MembershipInterval: time.Second,
		DigestInterval:     10 * time.Second,
		Autopilot:          DefaultAutopilotConfig(),
		Disk:               DefaultDiskConfig(),
	}
}

// Validate reports everything that is wrong, joined.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.NodeName != "" && len(c.NodeName) <= 63, "node name must have 1 to 63 bytes")
	check(c.DataDir != "", "data directory must be set")
	check(c.BootstrapExpect >= 1 && c.BootstrapExpect <= 99, "bootstrap expect must be between 1 and 99")
	check(c.LogStore == LogStoreBolt || c.LogStore == LogStoreWAL,
		"log store %q must be %s or %s", c.LogStore, LogStoreBolt, LogStoreWAL)
	for what, addr := range map[string]string{"cluster": c.ClusterAddr, "gossip": c.GossipAddr} {
		_, _, err := net.SplitHostPort(addr)
		check(err == nil, "%s address %q must be HOST:PORT", what, addr)
	}
	check(!strings.ContainsAny(c.AdvertiseHost, "@ /"), "advertise host %q must be a host name or an address", c.AdvertiseHost)
	for _, seed := range c.Join {
		check(strings.TrimSpace(seed) != "", "seeds must not be empty")
	}
	check(c.MaxEntryBytes >= 1<<10 && c.MaxEntryBytes <= 16<<20, "max entry bytes must be between 1 KiB and 16 MiB")
	check(c.MaxEntryCommands >= 1, "max entry commands must be positive")
	check(c.WriteQueue >= 1 && c.WriteQueueBytes >= int64(c.MaxEntryBytes), "write queue must hold at least one entry")
	check(c.DefaultTimeout > 0 && c.IOTimeout > 0, "timeouts must be positive")
	check(c.MaxConnections >= 8, "max connections must be at least 8")
	check(c.SnapshotRetain >= 1, "snapshot retain must be at least 1")
	check(c.MembershipInterval > 0 && c.DigestInterval > 0 && c.Autopilot.Interval > 0, "intervals must be positive")
	check(c.Autopilot.DeadServerThreshold > c.Autopilot.ServerStabilizationTime, "dead server threshold must be longer than the stabilization time")
	check(c.Autopilot.LastContactThreshold > 0 && c.Autopilot.ServerStabilizationTime >= 0, "autopilot thresholds must not be negative")
	c.Disk.validate(check)
	check(c.Autopilot.MinQuorum >= 0, "min quorum must not be negative")
	if err := raft.ValidateConfig(c.raftConfig("validate")); err != nil {
		errs = append(errs, fmt.Errorf("raft timers: %w", err))
	}
	return errors.Join(errs...)
}

// raftConfig is the part of c that the Raft library gets.
func (c Config) raftConfig(id raft.ServerID) *raft.Config {
	rc := raft.DefaultConfig()
	rc.LocalID = id
	rc.HeartbeatTimeout = c.HeartbeatTimeout
	rc.ElectionTimeout = c.ElectionTimeout
	rc.LeaderLeaseTimeout = c.LeaderLeaseTimeout
	rc.CommitTimeout = c.CommitTimeout
	rc.SnapshotInterval = c.SnapshotInterval
	rc.SnapshotThreshold = c.SnapshotThreshold
	rc.TrailingLogs = c.TrailingLogs
	rc.BatchApplyCh = true
	rc.NoSnapshotRestoreOnStart = true
	rc.ShutdownOnRemove = false
	rc.NoLegacyTelemetry = true
	return rc
}
