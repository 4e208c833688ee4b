package dispatch

import (
	"fmt"
	"slices"

	"github.com/oprc/oprc-pm/crm/plan"
	"github.com/oprc/oprc-pm/model"
)

func (q question) event(kind model.EventType, reason, format string, args ...any) model.Event {
	return model.Event{
		At: q.now, Type: kind, Kind: model.EventAboutDeployment, Name: q.s.deployment.Key,
		Reason: reason, Message: fmt.Sprintf(format, args...),
	}
}

// planEvents tells what a decision changes, as far as people want to know. It
// compares with what is recorded, so that each change is told exactly once: with
// the command that makes it.
func (q question) planEvents(d decision, moves []movement) []model.Event {
	var events []model.Event
	for _, left := range q.w.left {
		e := q.event(model.EventWarning, "Evicted", "leaves cluster %s: %s", left.Cluster, left.Message)
		if left.Reason == model.AvoidDrain {
			e.Type = model.EventNormal
		}
		e.Cluster = left.Cluster
		events = append(events, e)
	}
	events = append(events, q.placeEvents(d, moves)...)
	events = append(events, q.fitEvents(d)...)
	events = append(events, q.unitEvents(d)...)
	events = append(events, q.rolloutEvents(d.observed.RolloutStatus, d.name)...)
	if isTrue(d.observed.Conditions, ConditionReady) && !isTrue(q.s.deployment.Conditions, ConditionReady) {
		events = append(events, q.event(model.EventNormal, "DeploymentRunning", "runs in %s", model.NameList(q.w.selected())))
	}
	return events
}

// placeEvents tells where the deployment went.
func (q question) placeEvents(d decision, moves []movement) []model.Event {
	var events []model.Event
	for _, m := range moves {
		reason, text := "Moved", "moves from cluster %s to %s"
		if m.back {
			reason, text = "Failback", "goes back from cluster %s to %s"
		}
		e := q.event(model.EventNormal, reason, text, m.from, m.to)
		e.Cluster = m.to
		events = append(events, e)
	}
	var came []string
	for _, p := range d.observed.PlacedOn {
		if !isPlaced(q.s.deployment.PlacedOn, p.Cluster) && !moved(moves, p.Cluster) {
			came = append(came, p.Cluster)
		}
	}
	if len(came) > 0 {
		events = append(events, q.event(model.EventNormal, "Placed", "placed in %s", model.NameList(came)))
	}
	return events
}

// fitEvents tells when no cluster fits: for a place to go to, or for enough of
// them.
func (q question) fitEvents(d decision) []model.Event {
	at := slices.IndexFunc(d.observed.Conditions, func(c model.Condition) bool { return c.Type == ConditionPlanned })
	now := d.observed.Conditions[at]
	var before model.Condition
	if at := slices.IndexFunc(q.s.deployment.Conditions, func(c model.Condition) bool { return c.Type == ConditionPlanned }); at >= 0 {
		before = q.s.deployment.Conditions[at]
	}
	news := now.Reason != before.Reason
	switch now.Reason {
	case ReasonStranded:
		news = news || now.Message != before.Message // another cluster
	case plan.ReasonNoFit:
	default:
		return nil
	}
	if !news {
		return nil
	}
	return []model.Event{q.event(model.EventWarning, "NoFit", "%s", now.Message)}
}

// unitEvents tells what became of single units.
func (q question) unitEvents(d decision) []model.Event {
	var events []model.Event
	for _, unit := range d.units {
		old, exists := findUnit(q.s.units, refOf(unit))
		if !exists {
			continue
		}
		var reason, message string
		switch {
		case isRefused(unit) && !isRefused(old):
			reason, message = "UnitRefused", unit.LastError
		case couldServe(old) && unit.Phase == model.UnitPending:
			reason, message = "UnitLost", "the cluster no longer knows the unit, which is deployed again"
		case old.Phase == model.UnitRunning && unit.Phase == model.UnitDown:
			reason, message = "UnitDown", unit.Message
		default:
			continue
		}
		e := q.event(model.EventWarning, reason, "%s", message)
		e.Cluster, e.Unit = unit.Cluster, unit.ID
		events = append(events, e)
	}
	return events
}

// rolloutEvents tells of the steps of a rollout. The first revision of a
// deployment is no rollout as long as nothing goes wrong. name is what the revision
// is called.
func (q question) rolloutEvents(now *model.RolloutStatus, name string) []model.Event {
	before := q.s.deployment.RolloutStatus
	if now == nil {
		return nil
	}
	var was model.RolloutPhase
	if before != nil {
		was = before.Phase
	}
	var events []model.Event
	add := func(kind model.EventType, reason, format string, args ...any) {
		events = append(events, q.event(kind, reason, format, args...))
	}
	another := before == nil || before.Generation != now.Generation || before.Revision != now.Revision
	if now.Revision > 1 && (before == nil || before.Revision != now.Revision) {
		add(model.EventNormal, "RolloutStarted", "%s is rolled out to %d clusters", name, now.Total)
	}
	if now.Phase == was && !another {
		return events
	}
	if was == model.RolloutPaused && now.Phase != was {
		add(model.EventNormal, "RolloutResumed", "revision %d goes on", now.Revision)
	}
	switch now.Phase {
	case model.RolloutPaused:
		if was != model.RolloutPaused {
			add(model.EventNormal, "RolloutPaused", "%s", now.Message)
		}
	case model.RolloutFailed:
		add(model.EventWarning, "RolloutFailed", "%s: %s", name, now.Message)
	case model.RolloutRolledBack:
		add(model.EventWarning, "RolledBack", "%s", now.Message) // it begins with the name
	case model.RolloutComplete:
		if before != nil && was != model.RolloutComplete && (now.Revision > 1 || was != model.RolloutProgressing) {
			add(model.EventNormal, "RolloutComplete", "revision %d runs everywhere", now.Revision)
		}
	}
	return events
}

func isTrue(conditions []model.Condition, kind string) bool {
	return slices.ContainsFunc(conditions, func(c model.Condition) bool {
		return c.Type == kind && c.Status == model.ConditionTrue
	})
}
