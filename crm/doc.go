// Package crm is the way to the Class Runtime Managers: the contract of a client,
// the clients for HTTP and gRPC, how they prove who calls and whom they trust,
// and the fleet that has one for every cluster that exists. What is asked of CRMs
// and when is the business of the packages below.
//
// What it promises: a call ends with its timeout or its caller; a change is sent
// once and only reads are repeated; a failed call says what it means for its
// caller and whether it may still have its effect; a slow or dead cluster, or one
// with settings that cannot be used, delays and breaks only itself; credentials
// go to the server that they are for and into no log, document or error.
//
// What must not come in: the store, decisions about units, HTTP of our own
// clients. crmpb is generated and is converted here, nowhere else but in the
// simulator.
//
// Goroutines: a client starts none of its own; those of the libraries end with
// its connections. Mutexes are named mu, stand above the fields they guard, and
// are never held over I/O or a channel send; credentials are read from files
// without a lock.
//
// DESIGN.md explains the decisions.
package crm
