// Package sim is a simulated CRM: it speaks the HTTP contract of a real one and
// keeps units, but runs nothing. It backs `oprc-pm crm-sim`, `oprc-pm dev` and
// the tests of the dispatcher.
//
// It keeps the promises that a dispatcher relies on (create-only and repeatable
// deploys, refusal of deposed leaders, state that survives a restart when told
// to) and breaks the others on request (Faults). It must never know the control
// plane beyond its model.
//
// States follow from the clock: nothing ticks, so a simulator has no goroutines
// except its server's. Two mutexes: commitMu serialises changes and is held
// while one is written to disk; mu guards what is in memory and never is.
package sim
