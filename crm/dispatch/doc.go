// Package dispatch makes the clusters run what the deployments ask for: it is the
// leader's reconcile loop, with rollouts in waves, revisions and rollback.
//
// What it promises: intent is in the store before a CRM is called and the outcome
// after it, so no unit is lost or orphaned by a crash; a wanted unit is never
// deleted, and one that is replaced goes only when its replacement runs; a steady
// state writes nothing and calls nothing; a slow or dead cluster delays only
// itself; every call of a leader run carries its term and ends with it.
//
// What must not come in: how a CRM is spoken to (crm), where a deployment belongs
// (crm/plan), whether a cluster is lost (crm/health, crm/failover).
//
// A look at a deployment is one view of the store, pure decisions over it
// (wish, rollout.advance, diff, observe), one command, and then the calls. The
// pure part is in decide.go and what it calls; it has no clock and no locks.
//
// Goroutines: Dispatcher.Run owns all of them, calls included, and joins them
// before it returns. Mutexes are named mu, stand above the fields they guard, and
// are never held over I/O or a channel send.
//
// DESIGN.md explains the loop and the decisions behind it.
package dispatch
