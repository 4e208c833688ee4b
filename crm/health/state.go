package health

import (
	"time"

	"github.com/oprc/oprc-pm/model"
)

// Reasons of a status, besides inventory.ReasonNotProbed.
const (
	// ReasonNotConfigured: this node has no settings for the cluster.
	ReasonNotConfigured = "NotConfigured"
	// ReasonCallerRefused: the CRM does not accept this node's credentials.
	ReasonCallerRefused = "CallerRefused"
	// ReasonNoClient: the cluster's settings cannot be used, see the message.
	ReasonNoClient = "NoClient"
	// ReasonProbeFailed: the CRM did not answer, or not with health.
	ReasonProbeFailed = "ProbeFailed"
	// ReasonCallsFailed: it answers probes, but not the dispatcher's calls.
	ReasonCallsFailed = "CallsFailed"
	// ReasonSlow: its answers take long.
	ReasonSlow = "Slow"
	// ReasonNoReadyNodes: it reports that no node is ready.
	ReasonNoReadyNodes = "NoReadyNodes"
	// The CRM says so itself.
	ReasonReportedDegraded  = "ReportedDegraded"
	ReasonReportedUnhealthy = "ReportedUnhealthy"
	ReasonReportedUnknown   = "ReportedUnknown"
	// ReasonFlapping: the status changes so often that the worse one is held.
	ReasonFlapping = "Flapping"
)

// Numbers behind the hysteresis. Those of intervals are in Config.Interval.
const (
	// confirmations is how many probes in a row must say the same before a
	// status is taken, and how many must fail before anything is thought of it.
	confirmations = 2
	// flapChanges within flapWindow intervals are flapping, which ends after
	// calmAfter intervals without one.
	flapChanges = 4
	flapWindow  = 30
	calmAfter   = 15
)

// state is all that a run knows of one cluster. It is a value: advance makes the
// next one.
type state struct {
	name string
	// health is what readers see, recorded what the store holds of it.
	health, recorded model.ClusterHealth

	// known: it was told what the cluster says, by this leader or one before.
	known bool

	// raw is the verdict before flapping is damped; candidate is the one that
	// probes speak for meanwhile, seen times in a row.
	raw, candidate verdict
	seen           int

	// probes and calls are the failures in a row; good the answered probes.
	probes, calls row
	callFailedAt  time.Time
	good          int

	circuit string
	// tries counts probes that failed while the circuit was open.
	tries              int
	openedAt, closedAt time.Time

	// changes are the times of the newest changes of raw.status, the oldest
	// first; held is the status that is held while it flaps, else empty.
	changes [flapChanges]change
	held    string
}

// change is one change of the verdict's status, in one direction, and the worst
// status of it.
type change struct {
	at     time.Time
	better bool
	worst  string
}

// verdict is a status with its explanation.
type verdict struct{ status, reason, message string }

// same compares what counts: the message may vary from probe to probe.
func (v verdict) same(other verdict) bool {
	return v.status == other.status && v.reason == other.reason
}

// uncertain tells that nothing was ever learnt from the cluster itself.
func (v verdict) uncertain() bool {
	return v.status == model.ClusterUnknown && v.reason != ReasonReportedUnknown
}

// row is failures in a row. score is their weight.
type row struct{ count, score int }

func (r *row) add(weight int) {
	r.count++
	r.score += weight
}

// observation is one thing that happened between us and a CRM.
type observation struct {
	// call: one of the dispatcher's calls; else a probe.
	call    bool
	outcome outcome
	// reason and message explain an outcome other than answered.
	reason, message string
	// report is the answer to a probe, and took how long it was in coming.
	report model.ClusterHealth
	took   time.Duration
	// absent: unusable because no client was found.
	absent bool
}

// outcome of a probe or a call.
type outcome uint8

const (
	// answered, whatever the answer says.
	answered outcome = iota
	// missed: no answer, too late, a server error, or garbage.
	missed
	// refused: nobody listens. It counts double: it is not an overload.
	refused
	// unusable: this node cannot call the cluster at all.
	unusable
)

func (o outcome) weight() int {
	if o == refused {
		return 2
	}
	return 1
}

// seed is the state of a cluster of which only the recorded health is known.
// What a leader before had concluded goes on: Since stays, an open circuit is
// open, failures that were counted are not forgotten.
func seed(cfg Config, name string, recorded model.ClusterHealth, now time.Time) state {
	s := state{name: name, health: recorded, recorded: recorded, circuit: recorded.Circuit}
	s.known = !recorded.LastSeen.IsZero()
	s.raw = verdict{recorded.Status, recorded.Reason, recorded.Message}
	if s.circuit == model.CircuitHalfOpen {
		s.circuit = model.CircuitOpen
	}
	s.openedAt = now
	switch {
	case recorded.Reason == ReasonProbeFailed && recorded.Status == model.ClusterUnhealthy:
		s.probes = row{count: cfg.FailureThreshold, score: cfg.FailureThreshold}
	case recorded.Reason == ReasonProbeFailed && recorded.Status == model.ClusterDegraded:
		s.probes = row{count: confirmations, score: confirmations}
	case recorded.Reason == ReasonFlapping:
		s.held = recorded.Status
		s.changes[flapChanges-1] = change{now, false, recorded.Status}
	}
	return s
}

// allowed tells whether calls may be made.
func (s *state) allowed() bool {
	return s.circuit != model.CircuitOpen && s.circuit != model.CircuitHalfOpen
}

// suspect tells whether the next probe may well go unanswered.
func (s *state) suspect() bool { return s.probes.count > 0 || !s.allowed() }
