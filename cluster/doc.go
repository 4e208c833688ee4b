// Package cluster is the Raft node: the replicated driver of storage.Store.
//
// It owns the Raft library and its stores, the one cluster port (Raft and
// node-to-node calls), gossip, bootstrap and membership, the forwarding of
// writes to the leader, and the read index. What a command means is fsm's
// business: this package moves encoded proposals and never looks into state.
//
// It must never compare addresses to decide who somebody is (only server ids),
// never bootstrap over existing state, never add or remove a voter because of
// gossip alone, and never report a write as failed that may have been
// committed. See DESIGN.md for the invariants and the tricky sequences.
//
// Goroutines: every loop is started in Open and joined in Close. Locks are
// small and leaf-like; none is held over I/O, a channel send or a call into
// Raft.
package cluster
