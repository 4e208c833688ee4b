// Package sim is a simulated CRM: it speaks the contracts of a real one, HTTP
// and gRPC, over one set of units, but runs nothing. It backs `oprc-pm crm-sim`,
// `oprc-pm dev`, the load harness and the tests of everything that talks to
// CRMs.
//
// It keeps the promises that a control plane relies on (create-only and
// repeatable deploys, refusal of deposed leaders, state that survives a restart
// when told to) and breaks the others on request: see Faults, Step, Vitals, and
// what happens behind the control plane's back (Inject, Lose, SetTerm). All of
// that can also be said over HTTP, below /sim/. It must never know the control
// plane beyond its model.
//
// States follow from the clock: nothing ticks, so a simulator has no goroutines
// except those that serve it, and a Farm serves thousands with those of one.
//
// Locks: commitMu serialises changes and is held while one is written to disk;
// mu guards what is in memory and never is. The fault box and the journal each
// have a mutex of their own, held for moments.
package sim
