// Package drift compares what CRMs hold with what is recorded. It lists the
// records of each cluster from time to time and finds units that are lost, units
// whose condition changed, and units that nobody recorded: orphans.
//
// It repairs nothing itself but orphans, and those only when the policy says so:
// findings about recorded units go to the dispatcher, as if it had asked. While
// all is as recorded, nothing is written.
//
// It must never touch a unit that is recorded, whatever the phase, nor one whose
// id is not of our form: a CRM may serve others as well.
//
// Why what is unknown is not ours to come: the dispatcher records an intent
// before it makes the call. A list is taken first, then the inventory catches up
// with all that was committed by then, and only what is in neither view of it
// counts. Still a list may be stale or shift between pages, so one look proves
// nothing: what a unit is called lost or orphan for was seen twice in a row, and
// of a lost one the CRM was asked by name.
//
// Run owns one goroutine per cluster and has joined them when it returns, so a
// CRM that hangs holds up nobody else. A cluster's findings belong to its
// goroutine. One mutex guards which clusters are to be looked at sooner; it is
// never held over I/O.
package drift
