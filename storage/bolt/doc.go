// Package bolt keeps replicated keys in one bbolt file, together with the log
// index they are the state of: data and index change in the same transaction,
// so a file never tells of an entry that it does not hold (or the reverse).
//
// The file is not synced on every transaction: the Raft log is what makes a
// write durable, and the file can be rebuilt from it. Close syncs. Whether an
// unsynced file may be trusted after a crash is for the caller to decide (see
// package fsm).
//
// One goroutine writes. Readers never wait for it: each has its own view, and a
// file that is replaced under them (Replace) lives on until the last has ended;
// one goroutine per replaced file waits for that, and Close waits for it.
package bolt
