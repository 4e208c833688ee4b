package dispatch

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/oprc/oprc-pm/crm/plan"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// Types of a deployment's conditions.
const (
	ConditionPlanned    = "Planned"
	ConditionDispatched = "Dispatched"
	ConditionReady      = "Ready"
	// ConditionProgressing tells how the rollout of the newest revision goes.
	ConditionProgressing = "Progressing"
	// ConditionReachable tells whether the clusters with units can be asked, that
	// is, whether the others say how things are or how they last were.
	ConditionReachable = "Reachable"
)

// ReasonStranded is the reason of ConditionPlanned when the deployment should
// leave a cluster and has nowhere to go.
const ReasonStranded = "Stranded"

// ReasonAwaitingProbes is the reason of ConditionPlanned when no cluster fits, or
// too few do, and others were not looked at yet.
const ReasonAwaitingProbes = "AwaitingProbes"

// view is what there is to report of a deployment, besides the wish.
type view struct {
	records  []model.UnitStatus
	places   []model.PlacedCluster
	progress *model.RolloutStatus
	revision uint64
}

// observe works out what a deployment reports of itself. It is pure, and stable:
// while nothing changes it returns what the deployment holds already.
func (q question) observe(v view) model.DeploymentObserved {
	o := observer{question: q, view: v, wanted: wantedRecords(q.w, v.records)}
	d := q.s.deployment
	verdicts := []model.Condition{o.planned(), o.dispatched(), o.ready(), o.progressing(), o.reachable()}
	for i := range verdicts {
		verdicts[i].LastTransitionTime = transitionTime(d.Conditions, verdicts[i], q.now)
	}
	return model.DeploymentObserved{
		ObservedGeneration: d.Generation,
		Condition:          o.condition(),
		Conditions:         verdicts,
		Status:             o.summary(),
		Revision:           v.revision,
		RolloutStatus:      v.progress,
		PlacedOn:           v.places,
		AvoidedClusters:    q.w.avoided,
	}
}

// transitionTime keeps the time of a condition whose status did not change.
func transitionTime(old []model.Condition, c model.Condition, now time.Time) time.Time {
	for _, before := range old {
		if before.Type == c.Type && before.Status == c.Status {
			return before.LastTransitionTime
		}
	}
	return now
}

// wantedRecords returns the records of the plan's units, in the plan's order.
func wantedRecords(w wish, units []model.UnitStatus) []model.UnitStatus {
	records := make([]model.UnitStatus, 0, len(w.plan.Units))
	for _, unit := range w.plan.Units {
		if record, exists := findUnit(units, storage.UnitRef{Cluster: unit.TargetCluster, Unit: unit.ID}); exists {
			records = append(records, record)
		}
	}
	return records
}

type observer struct {
	question
	view
	// wanted are the records of the plan's units; those that are not begun have
	// none.
	wanted []model.UnitStatus
}

func verdict(kind string, status model.ConditionStatus, reason, format string, args ...any) model.Condition {
	return model.Condition{Type: kind, Status: status, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

func (o observer) planned() model.Condition {
	kind, p := ConditionPlanned, o.w.plan
	switch {
	case o.w.deleting:
		return verdict(kind, model.ConditionTrue, "Deleting", "all units are to be removed")
	case o.w.planErr != nil:
		return verdict(kind, model.ConditionFalse, o.w.planErr.Reason, "%s", o.w.planErr.Message)
	case len(p.UnknownEnvs) > 0:
		return verdict(kind, model.ConditionFalse, plan.ReasonUnknownEnvironment, "%s", unknownMessage(p.UnknownEnvs))
	case p.Shortfall != "" && len(o.w.unprobed) > 0:
		return verdict(kind, model.ConditionFalse, ReasonAwaitingProbes, "%s; %s", p.Shortfall, awaitingText(o.w.unprobed))
	case p.Shortfall != "":
		return verdict(kind, model.ConditionFalse, plan.ReasonNoFit, "%s", p.Shortfall)
	case len(p.Stranded)+len(o.w.stuck) > 0:
		return verdict(kind, model.ConditionTrue, ReasonStranded, "should leave %s, but no other cluster fits", model.NameList(o.w.staying()))
	}
	return verdict(kind, model.ConditionTrue, "Planned", "one unit in each of %s", model.NameList(o.w.selected()))
}

// staying are the clusters that the deployment should leave and cannot.
func (w wish) staying() []string {
	clusters := slices.Concat(w.plan.Stranded, w.stuck)
	slices.Sort(clusters)
	return slices.Compact(clusters)
}

func (o observer) dispatched() model.Condition {
	kind := ConditionDispatched
	switch {
	case o.w.deleting:
		return verdict(kind, model.ConditionFalse, "Deleting", "units left in %s", model.NameList(clustersOf(o.records)))
	case o.w.unplanned:
		return verdict(kind, model.ConditionFalse, "NotPlanned", "there is no plan to carry out")
	case o.givenUp():
		return verdict(kind, model.ConditionFalse, "RolledBack", "%s", o.progress.Message)
	}
	var waiting, refused, held []string
	for _, unit := range o.wanted {
		switch {
		case isRefused(unit):
			refused = append(refused, unit.Cluster)
		case unit.Phase == model.UnitPending && unit.Message == waitingText:
			held = append(held, unit.Cluster)
		case unit.Phase == model.UnitPending:
			waiting = append(waiting, unit.Cluster)
		}
	}
	switch {
	case len(refused) > 0:
		return verdict(kind, model.ConditionFalse, "Refused", "refused by %s", model.NameList(refused))
	case len(waiting) > 0:
		return verdict(kind, model.ConditionFalse, "Dispatching", "not yet accepted by %s", model.NameList(append(waiting, held...)))
	case len(held) > 0:
		return verdict(kind, model.ConditionFalse, "WaitingForCluster", "waiting for %s", model.NameList(held))
	case len(o.wanted) < len(o.w.plan.Units):
		return verdict(kind, model.ConditionFalse, "RollingOut", "not yet begun in %s", model.NameList(o.notBegun()))
	}
	return verdict(kind, model.ConditionTrue, "Accepted", "accepted by %s", model.NameList(o.w.selected()))
}

// notBegun are the clusters of the plan that the rollout has not come to.
func (o observer) notBegun() []string {
	return slices.DeleteFunc(o.w.selected(), func(cluster string) bool {
		return slices.ContainsFunc(o.wanted, func(u model.UnitStatus) bool { return u.Cluster == cluster })
	})
}

func (o observer) givenUp() bool {
	return o.progress != nil && o.progress.Phase == model.RolloutRolledBack && o.progress.Generation == o.s.deployment.Generation
}

func (o observer) progressing() model.Condition {
	kind := ConditionProgressing
	switch {
	case o.w.deleting:
		return verdict(kind, model.ConditionFalse, "Deleting", "the deployment is deleted")
	case o.w.unplanned:
		return verdict(kind, model.ConditionFalse, "NotPlanned", "there is no plan to carry out")
	}
	switch o.progress.Phase {
	case model.RolloutComplete:
		return verdict(kind, model.ConditionTrue, "Complete", "revision %d is rolled out", o.progress.Revision)
	case model.RolloutProgressing:
		return verdict(kind, model.ConditionTrue, "RollingOut", "%s", o.progress.Message)
	}
	return verdict(kind, model.ConditionFalse, string(o.progress.Phase), "%s", o.progress.Message)
}

func (o observer) summary() *model.DeploymentStatusSummary {
	selected := o.w.selected()
	if o.w.deleting || o.w.unplanned || o.givenUp() {
		selected = clustersOf(o.records)
	}
	return &model.DeploymentStatusSummary{
		ReplicationFactor:          uint32(len(selected)),
		SelectedEnvs:               selected,
		AchievedQuorumAvailability: o.availability(),
		LastError:                  o.lastError(),
	}
}

// availability is what the plan reaches. A figure that moved a little is not
// worth a write in every deployment each time a cluster's own figure wavers.
func (o observer) availability() *float64 {
	if o.w.deleting || o.w.unplanned || len(o.w.plan.Units) == 0 {
		return nil
	}
	now := math.Round(o.w.plan.Requirements.AchievedAvailability*1e6) / 1e6
	if old := o.s.deployment.Status; old != nil && old.AchievedQuorumAvailability != nil {
		before := *old.AchievedQuorumAvailability
		if ratio := (1 - now) / (1 - before); now == before || ratio > 0.8 && ratio < 1.25 {
			return &before
		}
	}
	return &now
}

// lastError names the first thing that is wrong: the plan, the units, the
// rollout.
func (o observer) lastError() string {
	if !o.w.deleting {
		if o.w.planErr != nil && !o.w.awaits() {
			return o.w.planErr.Message
		}
		if len(o.w.plan.UnknownEnvs) > 0 {
			return unknownMessage(o.w.plan.UnknownEnvs)
		}
	}
	for _, unit := range slices.Concat(o.wanted, o.records) {
		if unit.LastError != "" {
			return unit.Cluster + ": " + unit.LastError
		}
	}
	if !o.w.deleting && !o.w.unplanned && (o.givenUp() || o.progress.Phase == model.RolloutFailed) {
		return o.progress.Message
	}
	return ""
}

// clustersOf returns the clusters of records that are sorted by cluster.
func clustersOf(units []model.UnitStatus) []string {
	clusters := make([]string, 0, len(units))
	for _, unit := range units {
		clusters = append(clusters, unit.Cluster)
	}
	return slices.Compact(clusters)
}
