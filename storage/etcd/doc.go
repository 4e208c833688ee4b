// Package etcd is the storage driver over a shared etcd: any number of nodes
// without a disk of their own hold the same state, run the same commands by the
// same rules and give the same answers as the other drivers.
//
// Every node keeps a copy of the state in memory, fed by one watch, so reads and
// change streams cost etcd nothing. A write is an entry, as in a replicated log: the
// node runs the commands that wait on its copy, and commits everything that they
// changed as one etcd transaction under the condition that the head key is still
// the one that the copy shows. Whoever comes second waits for the watch and runs its
// commands again. See DESIGN.md.
//
// Goroutines: the committer (one transaction at a time), the follower (the watch),
// the reader (read indexes), the session (lease, registration of the node), leadership
// (the election, and adoption while this node leads), the observer (how etcd is).
// Close ends and joins all. Store.mu guards the copy and the machine and is never held
// over I/O.
package etcd
