// Package inventory is a node's view of the clusters, their recorded health and
// their units, as the store holds them: loaded once, then kept up by a watch. It
// answers in microseconds what would otherwise be scans of the store: who is
// where, how full a cluster is, which cluster holds a unit.
//
// It must never write, call a CRM or decide anything. What it tells is as old as
// what this node has applied; WaitFor brings it up to an index.
//
// Run is the only goroutine and the only writer. It changes copy-on-write trees
// and publishes them as one snapshot through an atomic pointer, so readers hold no
// lock, and what they got stays as it was. Memory is bounded by what is stored:
// one reference for each unit and one class name for each deployment.
package inventory
