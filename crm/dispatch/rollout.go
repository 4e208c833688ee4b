package dispatch

import (
	"fmt"
	"strings"
	"time"

	"github.com/oprc/oprc-pm/model"
)

// rollout is all that decides how far a rollout may go.
type rollout struct {
	spec model.Rollout
	// before is what is recorded of the rollout that was seen last.
	before *model.RolloutStatus
	// generation and revision that are to run.
	generation, revision uint64
	// name is what the revision is called for people.
	name   string
	places []place
	// unknown are targets for which there is no place.
	unknown []string
	// partial: a revision that does not come up everywhere is given up.
	partial bool
	// deadline holds when the spec names none.
	deadline time.Duration
	// refuge is what a return would lead to.
	refuge refuge
	// stood is how long before has been so; now is the time to record.
	stood time.Duration
	now   time.Time
}

// refuge says whether there is a revision to return to.
type refuge int

const (
	// refugeUnknown: nobody has looked yet.
	refugeUnknown refuge = iota
	// refugeNone: no revision ever ran everywhere.
	refugeNone
	// refugeHere: the last good revision is what is being rolled out.
	refugeHere
	// refugeElsewhere: there is another one.
	refugeElsewhere
)

// progress is how far a rollout may go now.
type progress struct {
	status model.RolloutStatus
	// start are the clusters in which the wanted unit may be made.
	start map[string]bool
	// again is the time until something changes by itself; 0: never.
	again time.Duration
	// asksRefuge: the refuge has to be known to decide.
	asksRefuge bool
}

// advance decides how far the rollout may go. It is pure.
func (r rollout) advance() progress {
	p := progress{start: map[string]bool{}}
	p.status = model.RolloutStatus{
		Generation: r.generation, Revision: r.revision,
		Updated: uint32(r.count(placeFresh)), Total: uint32(len(r.places) + len(r.unknown)),
	}
	switch {
	case r.carried(model.RolloutRolledBack):
		p.status = *r.before
		return p
	case p.status.Updated == p.status.Total:
		p.status.Phase = model.RolloutComplete
	case r.carried(model.RolloutComplete) && (r.parallel() || r.count(placeStale) == 0):
		// Whatever is missing was lost or has moved, and comes back at once.
		p.status.Phase = model.RolloutComplete
		p.startAll(r.places)
	case r.spec.Paused:
		p.status.Phase = model.RolloutPaused
		p.status.Message = fmt.Sprintf("paused with %d of %d clusters done", p.status.Updated, p.status.Total)
	default:
		r.goOn(&p)
		if p.status.Phase == model.RolloutProgressing && len(p.started(r.places)) > 0 {
			p.sooner(r.limit()) // nothing may come of it, not even an answer
		}
	}
	r.date(&p)
	return p
}

// goOn decides about a rollout that is neither over nor paused.
func (r rollout) goOn(p *progress) {
	p.status.Phase = model.RolloutProgressing
	failure := r.failure(p)
	action := r.spec.OnFailure
	wasFailed := r.carried(model.RolloutFailed)
	if wasFailed {
		failure = r.before.Message
	}
	switch {
	case failure == "":
		r.nextWave(p)
	case !wasFailed && (r.partial || action == model.OnFailureRollback):
		r.giveUp(p, failure)
	case action == model.OnFailureContinue && !wasFailed:
		r.nextWave(p)
		if r.count(placeStale)+r.count(placeEmpty) == 0 && len(r.blocked()) == 0 {
			p.status.Phase, p.status.Message = model.RolloutFailed, failure
		}
	default:
		p.status.Phase, p.status.Message = model.RolloutFailed, failure
		if r.parallel() || action == model.OnFailureContinue {
			p.startAll(r.places)
		}
	}
}

// giveUp turns a failure into a return to what ran before. Returning to what
// failed just now leads nowhere, so that is a plain failure.
func (r rollout) giveUp(p *progress, failure string) {
	switch r.refuge {
	case refugeUnknown:
		p.asksRefuge = true
	case refugeHere:
		p.status.Phase, p.status.Message = model.RolloutFailed, failure
	default:
		p.status.Phase = model.RolloutRolledBack
		p.status.Message = fmt.Sprintf("%s was given up: %s", r.name, failure)
	}
}

// nextWave begins the next wave, when the last one runs and has soaked.
func (r rollout) nextWave(p *progress) {
	if r.parallel() || r.count(placeStale) == 0 {
		// With nothing old about there is nothing to spare.
		p.startAll(r.places)
		p.status.Message = waitsFor(r.blocked(), r.unknown)
		return
	}
	if blocked := r.blocked(); len(blocked) > 0 {
		p.status.Message = waitsFor(blocked, nil)
		return
	}
	soak := r.spec.Soak.Value()
	if left := soak - r.youngest(); soak > 0 && left > 0 {
		p.status.Message = fmt.Sprintf("the last wave runs and soaks for %s", span(soak))
		p.sooner(left)
		return
	}
	r.pick(p)
	switch {
	case len(p.start) > 0:
		p.status.Message = waitsFor(p.started(r.places), nil)
	case p.status.Message == "":
		p.status.Message = waitsFor(nil, r.unknown)
	}
}

// pick chooses the places of the next wave: those that can be reached and that
// serve first, in the order of the plan, then the others. One that serves is left
// alone while too many do not.
func (r rollout) pick(p *progress) {
	total := len(r.places)
	size := r.spec.Wave.Of(total, 1, 1)
	spare := r.spec.MaxUnavailable.Of(total, 1, 1)
	down := 0
	for _, place := range r.places {
		if !place.serves {
			down++
		}
	}
	for _, wanted := range []struct{ reachable, serves bool }{{true, true}, {true, false}, {false, true}, {false, false}} {
		for _, place := range r.places {
			open := place.state == placeStale || place.state == placeEmpty
			if !open || place.reachable != wanted.reachable || place.serves != wanted.serves || len(p.start) >= size {
				continue
			}
			if place.serves && down >= spare {
				p.status.Message = fmt.Sprintf("held: %d of %d clusters have no running unit", down, total)
				continue
			}
			p.start[place.cluster] = true
		}
	}
}

// date finds out since when the status is what it is.
func (r rollout) date(p *progress) {
	p.status.Since = r.now
	if r.before == nil || !r.carried(p.status.Phase) {
		return
	}
	gotOn := p.status.Phase == model.RolloutProgressing &&
		(p.status.Updated > r.before.Updated || len(p.started(r.places)) > 0)
	if !gotOn {
		p.status.Since = r.before.Since
	}
}

// carried tells whether the rollout was in a phase when last looked at.
func (r rollout) carried(phase model.RolloutPhase) bool {
	return r.before != nil && r.before.Generation == r.generation && r.before.Revision == r.revision && r.before.Phase == phase
}

// parallel tells whether all clusters change at once: what is said of waves asks
// for waves.
func (r rollout) parallel() bool {
	switch r.spec.Strategy {
	case model.RolloutWaves:
		return false
	case model.RolloutParallel:
		return true
	}
	return r.spec.Wave == nil && r.spec.MaxUnavailable == nil && r.spec.Soak == nil
}

func (r rollout) count(state placeState) (n int) {
	for _, place := range r.places {
		if place.state == state {
			n++
		}
	}
	return n
}

func (p *progress) startAll(places []place) {
	for _, place := range places {
		p.start[place.cluster] = true
	}
}

// started are the clusters that begin now.
func (p *progress) started(places []place) (clusters []string) {
	for _, place := range places {
		if p.start[place.cluster] && (place.state == placeEmpty || place.state == placeStale) {
			clusters = append(clusters, place.cluster)
		}
	}
	return clusters
}

func (p *progress) sooner(wait time.Duration) { p.again = sooner(p.again, wait) }

// sooner is the shorter of two waits, of which 0 means for ever.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

func waitsFor(clusters, unknown []string) string {
	var parts []string
	if len(clusters) > 0 {
		parts = append(parts, "waiting for "+model.NameList(clusters))
	}
	if len(unknown) > 0 {
		parts = append(parts, unknownMessage(unknown))
	}
	return strings.Join(parts, "; ")
}
