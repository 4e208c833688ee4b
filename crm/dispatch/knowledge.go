package dispatch

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/oprc/oprc-pm/crm/plan"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// knowledge is what a leader run knows of a deployment beyond what is recorded:
// calls in flight, their outcomes, when to try again, what was asked for. Losing
// it costs nothing but a repeated call or question. It is guarded by run.mu.
type knowledge struct {
	units  map[storage.UnitRef]*track
	phases map[model.UnitPhase]int
	// failures to read or record in a row.
	failures int
	// rollout that goes on, as it was first seen; looked: that is known.
	rollout standing
	looked  bool
	// reports are what others saw of units, until it is recorded.
	reports map[storage.UnitRef]outcome
	// asked are clusters to be left, or, where nil, to be allowed again.
	asked map[string]*request
	// stuck are clusters that were to be left when no other one fitted.
	stuck []string
	// written is the index of the last command about the deployment, generation
	// what it was about.
	written, generation uint64
	// plan is kept while units are on their way, since every outcome is a reason
	// to look again and none is one to plan again.
	plan *keptPlan
}

// keptPlan is a plan with what it depended on.
type keptPlan struct {
	generation, pkg uint64
	placed          []model.PlacedCluster
	avoided         []model.AvoidedCluster
	epoch           uint64
	plan            plan.Plan
}

// holds tells whether the plan would be made again.
func (k *keptPlan) holds(s situation, avoided []model.AvoidedCluster, epoch uint64) bool {
	return k != nil && k.epoch == epoch && k.generation == s.deployment.Generation && k.pkg == s.pkg.ResourceVersion &&
		plan.SamePlaces(k.placed, s.deployment.PlacedOn) && slices.EqualFunc(k.avoided, avoided, sameAvoided)
}

// track is one unit's part of a knowledge.
type track struct {
	// busy: a call waits or is in flight. There is never a second one, so calls
	// for one unit cannot overtake each other.
	busy bool
	// outcome of the last call, until it is recorded; no call begins before.
	outcome *outcome
	// phase in which the record was when last seen, and since when; due is the
	// time before which no call is made.
	phase model.UnitPhase
	began sighting
	due   time.Time
	// failures of calls in a row; polls since the unit was accepted; lost is how
	// often the cluster lost the unit since it was last seen there.
	failures, polls, lost int
	// failed names the last failure that was seen, "" after a success.
	failed string
	// heard is what the cluster said of the unit last; told is when a text was
	// recorded last, or its phase began, retold how often one took another's place.
	heard  string
	told   time.Time
	retold int
	// uncertainUntil is set by a deploy call without an answer, of this run or
	// an earlier one: the CRM may still act on it until then.
	uncertainUntil time.Time
}

// knowledgeOf returns what is known of a deployment. The caller holds mu.
func (r *run) knowledgeOf(key string) *knowledge {
	k, exists := r.deployments[key]
	if !exists {
		k = &knowledge{units: map[storage.UnitRef]*track{}}
		r.deployments[key] = k
	}
	return k
}

// heard is what clusters last said of units that do not run. The caller holds mu.
func (k *knowledge) heard() map[storage.UnitRef]string {
	var texts map[storage.UnitRef]string
	for ref, t := range k.units {
		if t.heard == "" || t.phase != model.UnitDeploying && t.phase != model.UnitDown {
			continue
		}
		if texts == nil {
			texts = map[storage.UnitRef]string{}
		}
		texts[ref] = t.heard
	}
	return texts
}

// forget drops what is known of a deployment that no longer exists.
func (r *run) forget(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k, exists := r.deployments[key]; exists {
		r.count(k, nil)
	}
	delete(r.deployments, key)
	delete(r.wanting, key)
}

// count replaces a deployment's share of the figures. The caller holds mu.
func (r *run) count(k *knowledge, phases map[model.UnitPhase]int) {
	for phase, n := range k.phases {
		r.phases[phase] -= n
	}
	for phase, n := range phases {
		r.phases[phase] += n
	}
	k.phases = phases
}

// lesson is what was learnt of a deployment and is not yet recorded.
type lesson struct {
	r         *run
	knowledge *knowledge
	outcomes  map[storage.UnitRef]outcome
	reports   map[storage.UnitRef]outcome
	asked     map[string]*request
	stuck     []string
}

// take copies what was learnt; settle drops it once it is recorded.
func (r *run) take(key string) lesson {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.knowledgeOf(key)
	l := lesson{
		r: r, knowledge: k, outcomes: map[storage.UnitRef]outcome{},
		reports: map[storage.UnitRef]outcome{}, asked: map[string]*request{}, stuck: k.stuck,
	}
	for ref, t := range k.units {
		if t.outcome != nil {
			l.outcomes[ref] = *t.outcome
		}
	}
	for ref, o := range k.reports {
		l.reports[ref] = o
	}
	for cluster, wanted := range k.asked {
		l.asked[cluster] = wanted
	}
	return l
}

// apply moves the records by what was learnt. A call's own outcome is fresher than
// what others saw.
func (l lesson) apply(units []model.UnitStatus, now time.Time) []model.UnitStatus {
	moved := make([]model.UnitStatus, 0, len(units))
	for _, unit := range units {
		ref, gone := refOf(unit), false
		if o, seen := l.reports[ref]; seen {
			unit, gone = applyOutcome(unit, o, now)
		}
		if o, learnt := l.outcomes[ref]; learnt {
			unit, gone = applyOutcome(unit, o, now)
		}
		if !gone {
			moved = append(moved, unit)
		}
	}
	return moved
}

// settle drops what was used. No outcome can have been replaced: no call begins
// while one waits. Reports and requests may have been.
func (l lesson) settle(w wish) {
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	k := l.knowledge
	k.failures = 0
	for ref := range l.outcomes {
		k.units[ref].outcome = nil
	}
	for ref, o := range l.reports {
		if k.reports[ref] == o {
			delete(k.reports, ref)
		}
		if t, exists := k.units[ref]; exists && !t.busy && o.err != nil {
			t.due = time.Time{} // what is lost is not waited for
		}
	}
	for cluster, wanted := range l.asked {
		if k.asked[cluster] == wanted {
			delete(k.asked, cluster)
		}
	}
	k.stuck = w.stuck
}

// see brings what is known of a deployment in line with its records and returns
// the track of each. loaded are the records as they were before this reconcile
// changed them. The caller holds mu.
func (r *run) see(key string, loaded, units []model.UnitStatus, now time.Time) []*track {
	k := r.knowledgeOf(key)
	tracks := make([]*track, len(units))
	phases := map[model.UnitPhase]int{}
	present := make(map[storage.UnitRef]bool, len(units))
	for i, unit := range units {
		ref := refOf(unit)
		present[ref] = true
		phases[unit.Phase]++
		t, exists := k.units[ref]
		if !exists {
			t = &track{phase: unit.Phase}
			if _, inherited := findUnit(loaded, ref); inherited {
				r.inherit(t, unit, now)
			}
			k.units[ref] = t
		}
		if t.phase != unit.Phase {
			t.enter(unit.Phase)
		}
		if !t.began.of(unit.LastTransitionTime) {
			t.began = r.firstSeen(k, key, unit, now)
			t.heard, t.told, t.retold = "", now, 0
		}
		tracks[i] = t
	}
	r.count(k, phases)
	for ref, t := range k.units {
		if !present[ref] && !t.busy {
			delete(k.units, ref)
		}
	}
	return tracks
}

// inherit prepares the track of a unit that an earlier run has left.
func (r *run) inherit(t *track, unit model.UnitStatus, now time.Time) {
	if unit.NextRetryAt != nil {
		// Not later than we would ourselves, whatever the other's clock said.
		t.failures = int(unit.Attempts)
		latest := r.growing(max(1, t.failures))
		if isRefused(unit) {
			latest = r.cfg.RefusedRetryInterval
		}
		t.due = now.Add(min(unit.NextRetryAt.Sub(r.now()), latest))
	}
	switch {
	case settled(unit):
		// A new leader must not ask after everything at once.
		t.due = now.Add(rand.N(r.cfg.SettledPollInterval))
	case unit.CRMID == "":
		// The last call of that run may have been a deploy that still arrives.
		t.uncertainUntil = now.Add(r.cfg.UncertainPeriod)
	}
}

// enter notes a new phase. A unit that is to go, or is wanted again, does not
// wait out the delays of what it was before.
func (t *track) enter(phase model.UnitPhase) {
	if phase == model.UnitDeleting || t.phase == model.UnitDeleting {
		t.due, t.failures, t.lost, t.failed = time.Time{}, 0, 0, ""
	}
	t.phase = phase
}
