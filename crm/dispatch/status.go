package dispatch

import (
	"fmt"
	"slices"
	"time"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// Types of a deployment's conditions.
const (
	ConditionPlanned    = "Planned"
	ConditionDispatched = "Dispatched"
	ConditionReady      = "Ready"
)

// observe works out what a deployment reports of itself. It is pure, and stable:
// while nothing changes it returns what d holds already.
func observe(d model.Deployment, w wish, planErr *PlanError, units []model.UnitStatus, now time.Time) model.DeploymentObserved {
	o := observer{d: d, w: w, planErr: planErr, units: units, wanted: wantedRecords(w, units)}
	verdicts := []model.Condition{o.planned(), o.dispatched(), o.ready()}
	for i := range verdicts {
		verdicts[i].LastTransitionTime = transitionTime(d.Conditions, verdicts[i], now)
	}
	return model.DeploymentObserved{
		ObservedGeneration: d.Generation,
		Condition:          o.condition(),
		Conditions:         verdicts,
		Status:             o.summary(),
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
	d       model.Deployment
	w       wish
	planErr *PlanError
	units   []model.UnitStatus
	wanted  []model.UnitStatus
}

func verdict(kind string, status model.ConditionStatus, reason, format string, args ...any) model.Condition {
	return model.Condition{Type: kind, Status: status, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

func (o observer) planned() model.Condition {
	switch {
	case o.w.deleting:
		return verdict(ConditionPlanned, model.ConditionTrue, "Deleting", "all units are to be removed")
	case o.planErr != nil:
		return verdict(ConditionPlanned, model.ConditionFalse, o.planErr.Reason, "%s", o.planErr.Message)
	case len(o.w.plan.UnknownEnvs) > 0:
		return verdict(ConditionPlanned, model.ConditionFalse, ReasonUnknownEnvironment, "%s", unknownMessage(o.w.plan.UnknownEnvs))
	}
	return verdict(ConditionPlanned, model.ConditionTrue, "Planned", "one unit in each of %s", nameList(o.w.plan.SelectedEnvs()))
}

func (o observer) dispatched() model.Condition {
	switch {
	case o.w.deleting:
		return verdict(ConditionDispatched, model.ConditionFalse, "Deleting", "units left in %s", nameList(clustersOf(o.units)))
	case o.w.unplanned:
		return verdict(ConditionDispatched, model.ConditionFalse, "NotPlanned", "there is no plan to carry out")
	}
	var waiting, refused []string
	for _, unit := range o.wanted {
		switch {
		case unit.Phase == model.UnitDown && unit.CRMID == "":
			refused = append(refused, unit.Cluster)
		case unit.Phase == model.UnitPending:
			waiting = append(waiting, unit.Cluster)
		}
	}
	switch {
	case len(refused) > 0:
		return verdict(ConditionDispatched, model.ConditionFalse, "Refused", "refused by %s", nameList(refused))
	case len(waiting) > 0:
		return verdict(ConditionDispatched, model.ConditionFalse, "Dispatching", "not yet accepted by %s", nameList(waiting))
	}
	return verdict(ConditionDispatched, model.ConditionTrue, "Accepted", "accepted by %s", nameList(o.w.plan.SelectedEnvs()))
}

func (o observer) ready() model.Condition {
	switch {
	case o.w.deleting:
		return verdict(ConditionReady, model.ConditionFalse, "Deleting", "the deployment is deleted")
	case o.w.unplanned:
		return verdict(ConditionReady, model.ConditionFalse, "NotPlanned", "there is no plan to carry out")
	}
	running := 0
	for _, unit := range o.wanted {
		if unit.Phase == model.UnitRunning {
			running++
		}
	}
	total := len(o.wanted) + len(o.w.plan.UnknownEnvs)
	if running < total {
		return verdict(ConditionReady, model.ConditionFalse, "UnitsNotRunning", "%d of %d units run", running, total)
	}
	return verdict(ConditionReady, model.ConditionTrue, "Running", "%d of %d units run", running, total)
}

// condition is the one word that existing clients read: the worst of the units'.
func (o observer) condition() model.DeploymentCondition {
	if o.w.deleting {
		return model.DeploymentDeleted
	}
	if o.planErr != nil || len(o.w.plan.UnknownEnvs) > 0 {
		return model.DeploymentDown
	}
	worst := model.DeploymentRunning
	for _, unit := range o.wanted {
		if c := conditionOf(unit.Phase); severity(c) > severity(worst) {
			worst = c
		}
	}
	return worst
}

func conditionOf(phase model.UnitPhase) model.DeploymentCondition {
	switch phase {
	case model.UnitRunning:
		return model.DeploymentRunning
	case model.UnitDeploying:
		return model.DeploymentDeploying
	case model.UnitDown:
		return model.DeploymentDown
	}
	return model.DeploymentPending
}

// severity orders conditions as existing clients expect the worst to win.
func severity(c model.DeploymentCondition) int {
	return slices.Index([]model.DeploymentCondition{
		model.DeploymentRunning, model.DeploymentPending, model.DeploymentDeploying, model.DeploymentDown,
	}, c)
}

func (o observer) summary() *model.DeploymentStatusSummary {
	selected := o.w.plan.SelectedEnvs()
	if o.w.deleting || o.w.unplanned {
		selected = clustersOf(o.units)
	}
	return &model.DeploymentStatusSummary{
		ReplicationFactor: uint32(len(selected)),
		SelectedEnvs:      selected,
		LastError:         o.lastError(),
	}
}

// lastError names the first thing that is wrong, the plan before the units.
func (o observer) lastError() string {
	if !o.w.deleting {
		if o.planErr != nil {
			return o.planErr.Message
		}
		if len(o.w.plan.UnknownEnvs) > 0 {
			return unknownMessage(o.w.plan.UnknownEnvs)
		}
	}
	for _, unit := range slices.Concat(o.wanted, o.units) {
		if unit.LastError != "" {
			return unit.Cluster + ": " + unit.LastError
		}
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

// sameObserved compares what is written; the deletion mark is the store's.
func sameObserved(a, b model.DeploymentObserved) bool {
	return a.ObservedGeneration == b.ObservedGeneration && a.Condition == b.Condition &&
		slices.EqualFunc(a.Conditions, b.Conditions, sameCondition) && sameSummary(a.Status, b.Status)
}

func sameCondition(a, b model.Condition) bool {
	same := a.LastTransitionTime.Equal(b.LastTransitionTime)
	a.LastTransitionTime, b.LastTransitionTime = time.Time{}, time.Time{}
	return same && a == b
}

func sameSummary(a, b *model.DeploymentStatusSummary) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.ReplicationFactor == b.ReplicationFactor && a.LastError == b.LastError &&
		slices.Equal(a.SelectedEnvs, b.SelectedEnvs)
}
