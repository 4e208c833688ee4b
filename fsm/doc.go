// Package fsm holds the rules of the commands: pure, deterministic functions
// over a storage transaction (Machine), their encoding (codec.go), and the
// replicated state machine that hashicorp/raft drives (FSM): apply in batches,
// digest, snapshot, restore.
//
// Determinism is the whole point: applying must not read a clock, a random
// source, the environment or the order of a map. What a command needs of those
// its proposer has put into it. A command that breaks a rule is rejected, which
// is a value and the same on every replica; what must never happen (an entry
// that cannot be decoded, a disk error, a broken document) is a fault and stops
// the node.
//
// One goroutine, Raft's, applies; everything that reads may run at any time
// beside it. The package starts no goroutines of its own.
package fsm
