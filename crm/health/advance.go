package health

import (
	"fmt"
	"time"

	"github.com/oprc/oprc-pm/model"
)

// advance is what becomes of a cluster when something is observed. It tells
// whether the result differs from what is recorded in something that counts, and
// what people are to be told. It is pure: the same arguments, the same results. now
// is what durations are measured by and does not jump, wall what is recorded.
func advance(cfg Config, s state, o observation, now, wall time.Time) (next state, changed bool, events []model.Event) {
	before := s.health
	switch {
	case o.outcome == unusable:
		s.becomeUnusable(o, now)
	case o.call:
		s.takeCall(cfg, o, now, wall)
	case o.outcome == answered:
		s.takeReport(cfg, o, now, wall)
	default:
		s.takeMiss(cfg, o, now)
	}
	s.settle(cfg, now, wall)
	if s.health.Status != before.Status {
		events = append(events, transition(before, s.health, s.name, !s.known, wall))
		s.known = s.known || !s.health.LastSeen.IsZero()
	}
	return s, significant(s.recorded, s.health), events
}

// becomeUnusable: that it cannot be called says nothing about the cluster, so
// nothing is counted, and no circuit is needed.
func (s *state) becomeUnusable(o observation, now time.Time) {
	s.probes, s.calls, s.good = row{}, row{}, 0
	s.circuit = ""
	s.take(verdict{model.ClusterUnknown, o.reason, o.message}, now)
}

// takeReport: the CRM answered a probe.
func (s *state) takeReport(cfg Config, o observation, now, wall time.Time) {
	lost := s.raw.reason == ReasonProbeFailed
	s.probes = row{}
	s.good++
	s.takeFigures(o.report)
	s.health.LastSeen = wall
	switch {
	case s.allowed():
		s.circuit = model.CircuitClosed
	case s.good < confirmations:
		s.circuit = model.CircuitHalfOpen
	default:
		s.circuit, s.closedAt, s.calls = model.CircuitClosed, now, row{}
	}
	target := assess(cfg, o.report, o.took)
	if target.same(s.raw) {
		s.raw.message, s.seen = target.message, 0
		return
	}
	if !target.same(s.candidate) {
		s.seen = 0
	}
	s.candidate = target
	s.seen++
	// Taken at once: the first word of a cluster, bad news that cannot be a
	// hiccup, and whatever a cluster says that was lost and is back.
	atOnce := s.raw.uncertain() || target.reason == ReasonNoReadyNodes || lost && s.good >= confirmations
	if atOnce || s.seen >= confirmations {
		s.take(target, now)
	}
}

// takeMiss: a probe went unanswered.
func (s *state) takeMiss(cfg Config, o observation, now time.Time) {
	s.probes.add(o.outcome.weight())
	s.good, s.seen = 0, 0
	s.forgetOldCalls(cfg, now)
	lost := verdict{model.ClusterUnhealthy, ReasonProbeFailed, o.message}
	switch {
	case s.overThreshold(cfg):
		s.open(cfg, now)
		s.take(lost, now)
	case !s.allowed():
		// It was the dispatcher's calls that opened it.
		s.open(cfg, now)
	case s.raw.uncertain():
		s.take(verdict{model.ClusterUnknown, ReasonProbeFailed, o.message}, now)
	case s.probes.count >= confirmations && s.raw.status != model.ClusterUnhealthy:
		s.take(verdict{model.ClusterDegraded, ReasonProbeFailed, o.message}, now)
	}
	if s.circuit == "" {
		s.circuit = model.CircuitClosed
	}
}

// takeCall: a call of the dispatcher came back, or did not. One that was
// answered shows that the CRM is there, so failed probes alone do not open the
// circuit; but only probes close it.
func (s *state) takeCall(cfg Config, o observation, now, wall time.Time) {
	if o.outcome == answered {
		s.health.LastSeen = wall
		if s.allowed() {
			s.calls, s.probes.score = row{}, 0
		}
		return
	}
	s.forgetOldCalls(cfg, now)
	s.calls.add(o.outcome.weight())
	s.callFailedAt = now
	if !s.allowed() || !s.overThreshold(cfg) {
		return
	}
	s.open(cfg, now)
	switch {
	case s.probes.count > 0:
		s.take(verdict{model.ClusterUnhealthy, ReasonProbeFailed, o.message}, now)
	case s.raw.status == model.ClusterHealthy:
		s.take(verdict{model.ClusterDegraded, ReasonCallsFailed, o.message}, now)
	}
}

// forgetOldCalls drops failed calls that are so old that they are not in a row
// with what fails now. While the circuit is open there are no calls, so none can
// get old.
func (s *state) forgetOldCalls(cfg Config, now time.Time) {
	if s.allowed() && now.Sub(s.callFailedAt) > 2*cfg.Interval+cfg.Timeout {
		s.calls = row{}
	}
}

// overThreshold tells whether so much failed in a row that the cluster is taken
// for lost. One failure is never enough, unless the threshold is 1.
func (s *state) overThreshold(cfg Config) bool {
	count, score := s.probes.count+s.calls.count, s.probes.score+s.calls.score
	return score >= cfg.FailureThreshold && count >= min(confirmations, cfg.FailureThreshold)
}

// open opens the circuit, or keeps it open for another while.
func (s *state) open(cfg Config, now time.Time) {
	again := !s.allowed() || !s.closedAt.IsZero() && now.Sub(s.closedAt) < cfg.RetryTimeout
	if again {
		s.tries++
	} else {
		s.tries = 0
	}
	s.circuit, s.openedAt, s.good, s.seen = model.CircuitOpen, now, 0, 0
}

// take makes v the verdict.
func (s *state) take(v verdict, now time.Time) {
	if v.status != s.raw.status && !s.raw.uncertain() && !v.uncertain() {
		s.noteChange(v.status, now)
	}
	s.raw, s.seen = v, 0
}

// noteChange remembers a change of the verdict's status. One that goes on in the
// direction of the one before is a part of it: a cluster that is lost is Degraded on
// its way, and that is no turn.
func (s *state) noteChange(status string, now time.Time) {
	last := &s.changes[flapChanges-1]
	better := severity[status] < severity[s.raw.status]
	worst := worse(s.raw.status, status)
	if !last.at.IsZero() && last.better == better {
		last.at, last.worst = now, worse(last.worst, worst)
		return
	}
	copy(s.changes[:], s.changes[1:])
	*last = change{now, better, worst}
}

// settle works out what readers see: the verdict, unless it flaps.
func (s *state) settle(cfg Config, now, wall time.Time) {
	last, first := s.changes[flapChanges-1].at, s.changes[0].at
	flapping := s.held != "" || !first.IsZero() && now.Sub(first) <= flapWindow*cfg.Interval
	if flapping && (now.Sub(last) >= calmAfter*cfg.Interval || s.raw.uncertain()) {
		flapping = false
		s.changes = [flapChanges]change{}
	}
	shown := s.raw
	if flapping {
		for _, c := range s.changes {
			s.held = worse(s.held, c.worst)
		}
		shown = verdict{s.held, ReasonFlapping, fmt.Sprintf("the status changes often; it was last found %s", s.raw.status)}
	} else {
		s.held = ""
	}
	if shown.status != s.health.Status || s.health.Since == nil {
		s.health.Since = &wall
	}
	s.health.Status, s.health.Reason, s.health.Message = shown.status, shown.reason, shown.message
	s.health.Circuit = s.circuit
}
