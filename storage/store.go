package storage

import (
	"context"
	"time"
)

// Consistency says what a read may miss.
type Consistency uint8

const (
	// Linearizable reads see every write acknowledged before they began.
	Linearizable Consistency = iota
	// Lease reads are linearizable as long as clocks drift less than the
	// leader's lease margin; no round of messages is needed.
	Lease
	// Stale reads answer at once from what this node has applied.
	Stale
)

// ReadOptions says how fresh a view must be.
type ReadOptions struct {
	Consistency Consistency
	// MinIndex makes the read wait until this index is applied.
	MinIndex uint64
}

// ReadInfo tells how fresh a view was.
type ReadInfo struct {
	// Index applied when the view was opened.
	Index uint64
	// LastContact is the time since this node last heard from the leader; 0 on
	// the leader, negative when there has been no contact.
	LastContact time.Duration
}

// Store is replicated state as the rest of the program sees it. All methods may
// be called from many goroutines.
type Store interface {
	// Apply commits a command and returns once this node has applied it. A
	// rejection is returned as its *model.Error together with the Result. Other
	// errors: unavailable (nothing was proposed: no leader before ctx ended, or
	// closing), unknown_outcome (proposed, not known to be committed).
	Apply(ctx context.Context, req Request) (Result, error)
	// View calls fn with a consistent view. fn must be quick: it holds a read
	// transaction. Errors: unavailable, or fn's own.
	View(ctx context.Context, opts ReadOptions, fn func(Reader) error) (ReadInfo, error)
	// Watch opens a stream of changes as this node applies them. It fails with
	// *CompactedError when Since is too old.
	Watch(ctx context.Context, opts WatchOptions) (Watcher, error)
	// Lead calls run each time this node becomes the leader and has applied
	// everything committed before. run's ctx ends when leadership does; the
	// next run begins only after run has returned. term grows with every
	// election and fences what a run proposes (Request.LeaderTerm). Lead
	// returns when ctx ends.
	Lead(ctx context.Context, run func(ctx context.Context, term uint64)) error
	// Status describes this node, at once.
	Status() Status
}

// Role of a node.
type Role string

const (
	RoleLeader    Role = "leader"
	RoleFollower  Role = "follower"
	RoleCandidate Role = "candidate"
)

// Status describes one node's view of the store.
type Status struct {
	NodeID    string
	NodeName  string
	ClusterID string
	Role      Role
	Term      uint64
	// LeaderID and LeaderHTTPAddr are empty while no leader is known.
	LeaderID       string
	LeaderHTTPAddr string
	CommitIndex    uint64
	AppliedIndex   uint64
	// Digest of all replicated keys at DigestIndex, in hexadecimal.
	Digest      string
	DigestIndex uint64
	LastContact time.Duration
	// Ready: a leader is known and this node has applied all that was committed
	// when it started. Reason says what is missing.
	Ready  bool
	Reason string
}

// Member is one server of the cluster, as any node can tell.
type Member struct {
	Name         string `json:"name"`
	ID           string `json:"id"`
	Role         Role   `json:"role"`
	Voter        bool   `json:"voter"`
	Alive        bool   `json:"alive"`
	HTTPAddr     string `json:"http_addr"`
	ClusterAddr  string `json:"cluster_addr"`
	Version      string `json:"version"`
	Term         uint64 `json:"term"`
	AppliedIndex uint64 `json:"applied_index"`
	CommitIndex  uint64 `json:"commit_index"`
	Digest       string `json:"digest"`
	// DigestIndex is the index at which Digest was taken.
	DigestIndex   uint64 `json:"digest_index"`
	LastContactMS int64  `json:"last_contact_ms"`
	Error         string `json:"error,omitempty"`
}

// Machine applies proposals to a transaction: the rules of the commands. It is
// implemented by fsm and injected into drivers, so that drivers do not depend on
// commands.
type Machine interface {
	// Load prepares the machine for the state behind r. It must be called
	// before the first Apply and after the state was replaced.
	Load(r Reader) error
	// Apply runs the proposals of one log entry in order. len(results) equals
	// len(proposals). A returned error is a fault: the transaction must be
	// abandoned and the machine not used again before a Load.
	Apply(tx Tx, index, term uint64, proposals []Proposal) (results []Result, events []Event, err error)
}
