package dispatch

import (
	"maps"
	"time"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// The times in records are for people: the wall clock that wrote them may have
// been set since, or have been another node's. What is waited for is measured by
// this process's clock, which does not jump, from when a leader run of this process
// first saw what is recorded. A recorded time only tells one state from the next.
// So a change of leader can make a wait longer and never shorter, and costs no
// write; and a leader that comes back goes on from what it saw before.

// sighting is a recorded state and when it was first seen.
type sighting struct {
	// recorded is when it began, by the clock of whoever recorded it.
	recorded time.Time
	seen     time.Time
}

// of tells whether the sighting is of the state that began then.
func (s sighting) of(recorded time.Time) bool {
	return !s.seen.IsZero() && s.recorded.Equal(recorded)
}

// standing is the sighting of a rollout that goes on.
type standing struct {
	generation, revision uint64
	sighting
}

func (s standing) of(status model.RolloutStatus) bool {
	return s.generation == status.Generation && s.revision == status.Revision && s.sighting.of(status.Since)
}

// insight is what a run knows of a deployment beyond the records when it decides.
type insight struct {
	// stood is how long the rollout has not got on.
	stood time.Duration
	// ran is how long units run; only of a deployment whose waves soak.
	ran map[storage.UnitRef]time.Duration
	// heard is what clusters last said of units that do not run; only while the
	// deployment is rolled out.
	heard map[storage.UnitRef]string
}

// insight collects what a decision about a deployment goes by. units are its
// records, moved by what was learnt.
func (r *run) insight(d model.Deployment, units []model.UnitStatus) insight {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.knowledgeOf(d.Key)
	r.sight(k, d.Key, d.RolloutStatus, now)
	var known insight
	if !k.rollout.seen.IsZero() {
		known.stood, known.heard = now.Sub(k.rollout.seen), k.heard()
	}
	if d.Rollout == nil || d.Rollout.Soak.Value() <= 0 {
		return known
	}
	known.ran = map[storage.UnitRef]time.Duration{}
	for _, unit := range units {
		if unit.Phase == model.UnitRunning {
			known.ran[refOf(unit)] = now.Sub(r.firstSeen(k, d.Key, unit, now).seen)
		}
	}
	return known
}

// sight notes the rollout that is recorded, if one goes on. The caller holds mu.
func (r *run) sight(k *knowledge, key string, status *model.RolloutStatus, now time.Time) {
	k.looked = true
	switch {
	case status == nil || status.Phase != model.RolloutProgressing:
		k.rollout = standing{}
		return
	case k.rollout.of(*status):
		return
	}
	if before := r.remembered[key].rollout; before.of(*status) {
		k.rollout = before
		return
	}
	k.rollout = standing{status.Generation, status.Revision, sighting{status.Since, now}}
}

// recorded takes in that a decision was recorded: what it began begins now.
func (r *run) recorded(key string, d decision) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sight(r.knowledgeOf(key), key, d.observed.RolloutStatus, time.Now())
}

// firstSeen is the sighting of a unit in the phase that is recorded. The caller
// holds mu.
func (r *run) firstSeen(k *knowledge, key string, unit model.UnitStatus, now time.Time) sighting {
	if t, known := k.units[refOf(unit)]; known && t.began.of(unit.LastTransitionTime) {
		return t.began
	}
	if before := r.remembered[key].units[refOf(unit)]; before.of(unit.LastTransitionTime) {
		return before
	}
	return sighting{unit.LastTransitionTime, now}
}

// recollection is what outlives a run of the sightings of a deployment: as long as the
// deployment is rolled out.
type recollection struct {
	rollout standing
	units   map[storage.UnitRef]sighting
	// looked is when the run ended that looked at the deployment last.
	looked time.Time
}

// rememberedFor is how long sightings are kept that no run of this process could look
// at again.
const rememberedFor = 24 * time.Hour

// remember returns what the next run of this process should know of the sightings
// of this one, which has ended.
func (r *run) remember() map[string]recollection {
	now := time.Now()
	r.mu.Lock() // somebody may have got hold of the run just before it ended
	defer r.mu.Unlock()
	kept := map[string]recollection{}
	maps.Copy(kept, r.remembered)
	maps.DeleteFunc(kept, func(_ string, m recollection) bool { return now.Sub(m.looked) > rememberedFor })
	for key, k := range r.deployments {
		if k.looked {
			delete(kept, key)
		}
		if k.rollout.seen.IsZero() {
			continue
		}
		m := recollection{rollout: k.rollout, units: map[storage.UnitRef]sighting{}, looked: now}
		for ref, t := range k.units {
			if t.phase == model.UnitRunning {
				m.units[ref] = t.began
			}
		}
		kept[key] = m
	}
	return kept
}
