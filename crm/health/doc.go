// Package health watches the clusters: on the leader it probes every CRM on its
// own schedule, keeps a circuit breaker for each, makes a status of what it sees,
// and records changes of it. On every node it tells readers how old a recorded
// status is, and probes afresh when somebody asks for that.
//
// It must never write while nothing changes, move anything, or let one cluster
// delay another. What a status means for deployments is for others to decide.
//
// A run owns one goroutine that schedules, one that records, and one for each
// probe in flight, which are bounded; all have ended when Run returns. The state of
// a run is guarded by one mutex that is never held over a call. What becomes of a
// cluster when something is observed is a pure function, see advance. DESIGN.md
// draws it.
package health
