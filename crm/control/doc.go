// Package control is what a leader run consists of. It registers the clusters of
// the leader's configuration and runs the health monitor, the dispatcher,
// failover and the search for drift together, each told of what concerns it. On
// every node it keeps the fleet of CRM clients in step with the clusters that
// exist.
//
// It decides nothing: what a cluster's status is, what runs where, when something
// moves and what is lost is for the parts to say. It must not grow logic of its
// own beyond who starts before whom.
//
// Run and Follow own the goroutines of the parts and have joined them when they
// return.
package control
