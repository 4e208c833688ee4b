// Package crm drives the Class Runtime Managers: it owns one client per cluster,
// their health as this node sees it, the planner (deployment and package to
// units) and the dispatcher, which acts until what runs in the clusters is what
// the deployments ask for.
//
// What it promises: the intent is in the store before a CRM is called and the
// outcome after it, so no unit is lost or orphaned by a crash; a steady state
// writes nothing; a slow or dead cluster delays only itself; every call of a
// leader run carries its term and ends with it.
//
// What must not come in: HTTP of our own clients, Raft, storage drivers. State
// is read and changed through storage.Store only.
//
// Goroutines: Dispatcher.Run and HealthPoller.Run own all of theirs and join
// them before they return; a client starts none. Mutexes are named mu, stand
// above the fields they guard, and are never held over I/O or a channel send.
//
// DESIGN.md explains the loop and the decisions behind it.
package crm
