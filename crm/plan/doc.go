// Package plan decides where a deployment runs and what each cluster is asked
// for. It is pure: no I/O, no clock, no randomness, no goroutines, and it changes
// nothing that it is given. What is kept from one plan to the next is memory, never
// what was in it (scratch.go). The same input gives the same plan on every
// node, so what a dry run shows is what the dispatcher then does.
//
// Make does the work, in this order: requirements (demand.go, availability.go), the
// state of every cluster (candidates.go, affinity.go, score.go, spread.go), what the
// deployment chooses from (targets.go, absent.go), the selection (select.go, named.go,
// groups.go), node ids, units and their ids (nodeids.go, shards.go, functions.go,
// units.go, identity.go), and the reasons (explain.go, shortfall.go). Compare tells
// a plan from what is recorded. The rules are in DESIGN.md.
package plan
