package dispatch

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// knowledge is what a leader run knows of a deployment beyond what is recorded:
// calls in flight, their outcomes, when to try again. Losing it costs nothing
// but a repeated call. It is guarded by run.mu.
type knowledge struct {
	units  map[storage.UnitRef]*track
	phases map[model.UnitPhase]int
	// failures to read or record in a row.
	failures int
}

// track is one unit's part of a knowledge.
type track struct {
	// busy: a call waits or is in flight. There is never a second one, so calls
	// for one unit cannot overtake each other.
	busy bool
	// outcome of the last call, until it is recorded; no call begins before.
	outcome *outcome
	// phase in which the record was when last seen, due the time before which
	// no call is made.
	phase model.UnitPhase
	due   time.Time
	// failures of calls in a row; polls since the unit was accepted.
	failures, polls int
	attempts        uint32
	// failed names the last failure that was seen, "" after a success.
	failed string
	// uncertainUntil is set by a deploy call without an answer, of this run or
	// an earlier one: the CRM may still act on it until then.
	uncertainUntil time.Time
}

// knowledgeOf returns what is known of a deployment. The caller holds mu.
func (r *run) knowledgeOf(key string) *knowledge {
	m, exists := r.deployments[key]
	if !exists {
		m = &knowledge{units: map[storage.UnitRef]*track{}}
		r.deployments[key] = m
	}
	return m
}

// forget drops what is known of a deployment that no longer exists.
func (r *run) forget(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.deployments, key)
}

// backoff returns the time after which to try again to read or record.
func (r *run) backoff(key string) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.knowledgeOf(key)
	m.failures++
	return r.growing(m.failures)
}

// growing is the time before a repetition: doubling, bounded, with jitter so
// that what failed together does not come back together.
func (r *run) growing(failures int) time.Duration {
	return jitter(doubled(r.cfg.BackoffMin, r.cfg.BackoffMax, failures-1), 0.3)
}

// doubled is low doubled times times, at most high.
func doubled(low, high time.Duration, times int) time.Duration {
	for range times {
		if low >= high/2 {
			return high
		}
		low *= 2
	}
	return low
}

// lesson is the outcomes of a deployment's calls that are not yet recorded.
type lesson struct {
	r         *run
	knowledge *knowledge
	outcomes  map[storage.UnitRef]outcome
}

// takeOutcomes copies the outcomes; settle drops them once they are recorded.
func (r *run) takeOutcomes(key string) lesson {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := lesson{r: r, knowledge: r.knowledgeOf(key), outcomes: map[storage.UnitRef]outcome{}}
	for ref, t := range l.knowledge.units {
		if t.outcome != nil {
			l.outcomes[ref] = *t.outcome
		}
	}
	return l
}

// apply moves the records by the outcomes.
func (l lesson) apply(units []model.UnitStatus, now time.Time) []model.UnitStatus {
	moved := make([]model.UnitStatus, 0, len(units))
	for _, unit := range units {
		if o, learnt := l.outcomes[refOf(unit)]; learnt {
			next, gone := applyOutcome(unit, o, now)
			if gone {
				continue
			}
			unit = next
		}
		moved = append(moved, unit)
	}
	return moved
}

// settle drops the outcomes that apply used. None can have been replaced: no
// call begins while an outcome waits.
func (l lesson) settle() {
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	l.knowledge.failures = 0
	for ref := range l.outcomes {
		l.knowledge.units[ref].outcome = nil
	}
}

// see brings a knowledge in line with the records and returns the track of each.
// loaded are the records as they were before this reconcile changed them. The
// caller holds mu.
func (r *run) see(m *knowledge, loaded, units []model.UnitStatus, now time.Time) []*track {
	tracks := make([]*track, len(units))
	m.phases = map[model.UnitPhase]int{}
	present := make(map[storage.UnitRef]bool, len(units))
	for i, unit := range units {
		ref := refOf(unit)
		present[ref] = true
		m.phases[unit.Phase]++
		t, exists := m.units[ref]
		if !exists {
			t = &track{phase: unit.Phase}
			if _, inherited := findUnit(loaded, ref); inherited {
				r.inherit(t, unit, now)
			}
			m.units[ref] = t
		}
		if t.phase != unit.Phase {
			t.enter(unit.Phase)
		}
		tracks[i] = t
	}
	for ref, t := range m.units {
		if !present[ref] && !t.busy {
			delete(m.units, ref)
		}
	}
	return tracks
}

// inherit prepares the track of a unit that an earlier run has left.
func (r *run) inherit(t *track, unit model.UnitStatus, now time.Time) {
	switch {
	case unit.Phase == model.UnitRunning:
		// A new leader must not ask after everything at once.
		t.due = now.Add(rand.N(r.cfg.RunningPollInterval))
	case unit.CRMID == "":
		// The last call of that run may have been a deploy that still arrives.
		t.uncertainUntil = now.Add(r.cfg.UncertainPeriod)
	}
}

// enter notes a new phase. A unit that is to go, or is wanted again, does not
// wait out the delays of what it was before.
func (t *track) enter(phase model.UnitPhase) {
	if phase == model.UnitDeleting || t.phase == model.UnitDeleting {
		t.due, t.failures, t.failed = time.Time{}, 0, ""
	}
	t.phase = phase
}

// learn takes in the outcome of a call for a record and returns the time until
// the next one is due. news tells that the outcome must be recorded. The caller
// holds mu.
func (r *run) learn(t *track, record model.UnitStatus, o *outcome, now time.Time) (wait time.Duration, news bool) {
	t.busy = false
	if o.call == callDeploy {
		t.attempts++
		o.attempt = t.attempts
	}
	wait = r.delay(t, o, now)
	if t.phase != record.Phase {
		wait = 0 // the wish changed during the call: no delay of the old one holds
	}
	t.due = now.Add(wait)
	if o.err != nil {
		failed := failureKind(o)
		o.repeated, t.failed = failed == t.failed, failed
	} else {
		t.failed = ""
	}
	next, gone := applyOutcome(record, *o, now)
	return wait, gone || !sameUnit(record, next)
}

// delay is the time until the next call, by how the last one went.
func (r *run) delay(t *track, o *outcome, now time.Time) time.Duration {
	switch class := ClassOf(o.err); {
	case class == ClassTerminal, class == ClassFenced:
		t.failures++
		return jitter(r.cfg.RefusedRetryInterval, 0.1)
	case class == ClassNotFound:
		// The first time the unit is simply deployed again; a CRM that keeps
		// losing it is treated as one that fails.
		t.failures++
		if t.failures == 1 {
			return 0
		}
		return r.growing(t.failures)
	case class != ClassOK:
		t.failures++
		if o.call == callDeploy && mayArrive(o.err) {
			t.uncertainUntil = now.Add(r.cfg.UncertainPeriod)
		}
		return r.growing(t.failures)
	}
	return r.delayAfterSuccess(t, o, now)
}

func (r *run) delayAfterSuccess(t *track, o *outcome, now time.Time) time.Duration {
	switch o.call {
	case callDeploy:
		t.polls, t.attempts = 0, 0
		if t.failures > 0 {
			return r.cfg.PollMin + r.growing(t.failures)/2
		}
		return r.cfg.PollMin
	case callDelete:
		t.failures = 0
		o.uncertain = now.Before(t.uncertainUntil)
		return max(0, t.uncertainUntil.Sub(now))
	}
	t.failures = 0
	t.polls++
	if phaseOf(o.condition) == model.UnitRunning {
		return jitter(r.cfg.RunningPollInterval, 0.2)
	}
	return jitter(doubled(r.cfg.PollMin, r.cfg.PollMax, t.polls), 0.1)
}

// failureKind tells failures apart as far as it is worth recording anew.
func failureKind(o *outcome) string {
	var call *CallError
	if errors.As(o.err, &call) {
		return fmt.Sprintf("%s %s %d", o.call, call.Class, call.Status)
	}
	return o.call
}
