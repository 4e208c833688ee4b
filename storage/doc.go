// Package storage holds the two contracts of replicated state and what they
// are made of: keys, documents, commands, results and change events.
//
//   - Tx is what a command runs on: get, put, delete, ordered scan.
//   - Store is what the rest of the program sees: apply a command, view at a
//     consistency, watch, lead.
//
// The drivers live below (bolt, memory, etcd); the suite that each of them must
// pass is storagetest. The rules of the commands live in fsm; only their data
// is declared here, so that who proposes (httpapi, crm) need not know who
// applies. The package imports model only and must never learn of HTTP, Raft or
// CRMs.
package storage
