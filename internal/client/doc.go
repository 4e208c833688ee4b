// Package client speaks a node's HTTP API: requests that are safe to repeat,
// typed reads and writes, and a watch stream that reconnects and resumes.
//
// It is what the command line and the tests drive a cluster with, so it behaves
// as a good client should: every write carries an Idempotency-Key and is sent
// again with the same key until its outcome is known or the time is up; several
// servers are tried in turn and the one that answered is kept; an error keeps
// the code, the field problems and the request id that the server gave.
//
// It imports model and storage for their types only and never touches a store.
// It starts no goroutine of its own. A Client may be used by many goroutines; a
// Watch by one.
package client
