package dispatch

import (
	"time"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// question is all that a decision about a deployment depends on.
type question struct {
	s situation
	// units are s.units, moved by what was learnt since.
	units []model.UnitStatus
	w     wish
	cfg   Config
	// known tells whether a cluster exists, open whether it may be called, silence
	// whether it cannot be asked.
	known, open func(cluster string) bool
	silence     func(cluster string) *silence
	// now is the time to record; what is waited for is measured by the insight.
	now     time.Time
	insight insight
}

// decision is what is to be done about a deployment.
type decision struct {
	// units are the records as they are to be before any call is made.
	units []model.UnitStatus
	// observed is what the deployment reports.
	observed model.DeploymentObserved
	// revision is to be written, when not nil.
	revision *model.Revision
	// name is what the revision is called for people.
	name   string
	events []model.Event
	// forget: nothing is left of a deleted deployment.
	forget bool
	// returnTo is a document to be put in place of the deployment's.
	returnTo *model.Deployment
	// again is the time until something changes by itself; 0: never.
	again time.Duration
	// asksRevisions: the revisions have to be read to decide.
	asksRevisions bool
}

// decide works out what is to be done. It is pure.
func decide(q question, l lookup) decision {
	switch {
	case q.w.deleting:
		return q.decideDeletion()
	case q.w.unplanned:
		return q.decideWithoutPlan()
	}
	if s := q.s; !l.loaded && s.deployment.Revision > 0 && (s.revision == nil || s.revision.Template != q.w.plan.Template) {
		return decision{asksRevisions: true}
	}
	revision, isNew := nextRevision(q.s, q.w.plan, l, q.now)
	haven, target := refugeOf(q.s, q.w.plan, l)
	roll := q.rollout(revision, haven)
	p := roll.advance()
	rolledBack := p.status.Phase == model.RolloutRolledBack
	if p.asksRefuge || rolledBack && haven == refugeUnknown {
		return decision{asksRevisions: true}
	}
	places, moves := settlePlaces(q.s.deployment.PlacedOn, q.w.plan.Placed, q.units)
	d := decision{again: p.again, name: roll.name}
	d.units = diff(step{
		wish: q.w, start: p.start, places: places, known: q.known, open: q.open, revision: revision.Revision,
		hold: rolledBack && haven == refugeElsewhere, withdraw: rolledBack && haven != refugeElsewhere,
	}, q.units, q.now)
	if rolledBack && roll.carried(model.RolloutRolledBack) {
		d.returnTo = target // the decision to return is recorded
	}
	if p.status.Phase == model.RolloutComplete {
		var news bool
		revision, news = proven(revision, q.s, q.w.plan, q.now)
		isNew = isNew || news
	}
	if isNew {
		d.revision = &revision
	}
	d.observed = q.observe(view{records: d.units, places: places, progress: &p.status, revision: revision.Revision})
	d.events = q.planEvents(d, moves)
	return d
}

func (q question) decideDeletion() decision {
	d := decision{units: diff(step{wish: q.w, known: q.known, open: q.open}, q.units, q.now)}
	if len(d.units) == 0 {
		d.forget = true
		d.events = []model.Event{q.event(model.EventNormal, "DeploymentDeleted", "all units are gone")}
		return d
	}
	old := q.s.deployment
	d.observed = q.observe(view{records: d.units, places: old.PlacedOn, progress: old.RolloutStatus, revision: old.Revision})
	return d
}

func (q question) decideWithoutPlan() decision {
	old := q.s.deployment
	d := decision{units: diff(step{wish: q.w, known: q.known, open: q.open}, q.units, q.now)}
	d.observed = q.observe(view{records: d.units, places: old.PlacedOn, progress: old.RolloutStatus, revision: old.Revision})
	d.events = q.planEvents(d, nil)
	return d
}

// rollout is the deployment's rollout as it stands.
func (q question) rollout(revision model.Revision, haven refuge) rollout {
	d := q.s.deployment
	r := rollout{
		before: d.RolloutStatus, generation: d.Generation, revision: revision.Revision, name: nameOf(revision, d.PackageName),
		places: placesNow(q.w, q.units, q.open), unknown: q.w.plan.Missing(),
		partial: q.cfg.RollbackOnPartial, deadline: q.cfg.ProgressDeadline, refuge: haven,
		stood: q.insight.stood, now: q.now,
	}
	for i := range r.places {
		p := &r.places[i]
		p.ran, p.heard = q.insight.ran[refOf(p.unit)], q.insight.heard[refOf(p.unit)]
	}
	if d.Rollout != nil {
		r.spec = *d.Rollout
	}
	if d.RollbackOnPartial != nil {
		r.partial = *d.RollbackOnPartial
	}
	return r
}

// command says what to record, or nil when all of it is recorded.
func (q question) command(d decision) *storage.RecordUnitStatus {
	c := storage.RecordUnitStatus{
		Deployment: q.s.deployment.Key, Generation: q.s.deployment.Generation,
		Forget: d.forget, Revision: d.revision, Events: d.events,
	}
	c.Put, c.Remove = changes(q.s.units, d.units)
	if d.forget {
		return &c
	}
	if d.revision != nil && d.revision.Revision > keptRevisions {
		c.KeepRevisionsFrom = d.revision.Revision - keptRevisions + 1
	}
	if !sameObserved(d.observed, q.s.deployment.DeploymentObserved) {
		c.Observed = &d.observed
	}
	if len(c.Put) == 0 && len(c.Remove) == 0 && c.Observed == nil && c.Revision == nil && len(c.Events) == 0 {
		return nil
	}
	return &c
}
