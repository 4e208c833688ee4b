package dispatch

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

func (o observer) ready() model.Condition {
	kind := ConditionReady
	switch {
	case o.w.deleting:
		return verdict(kind, model.ConditionFalse, "Deleting", "the deployment is deleted")
	case o.w.unplanned && o.unplannedCondition() == model.DeploymentRunning:
		return verdict(kind, model.ConditionTrue, "Running", "%s", o.withServing("there is no plan to carry out"))
	case o.w.unplanned:
		return verdict(kind, model.ConditionFalse, "NotPlanned", "%s", o.withServing("there is no plan to carry out"))
	case o.givenUp():
		return verdict(kind, model.ConditionFalse, "RolledBack", "%s", o.withServing(fmt.Sprintf("revision %d was given up", o.progress.Revision)))
	}
	running := 0
	for _, unit := range o.wanted {
		if unit.Phase == model.UnitRunning {
			running++
		}
	}
	total := len(o.w.plan.Units) + len(o.w.plan.Missing())
	if running < total {
		return verdict(kind, model.ConditionFalse, "UnitsNotRunning", "%s", o.withServing(fmt.Sprintf("%d of %d units run", running, total)))
	}
	return verdict(kind, model.ConditionTrue, "Running", "%d of %d units run", running, total)
}

// withServing adds to a text which units run besides those of the plan, and where.
func (o observer) withServing(text string) string {
	if serving := o.serving(); serving != "" {
		return text + "; " + serving
	}
	return text
}

// serving names the units that run and are not what is wanted, by revision.
func (o observer) serving() string {
	if len(o.records) == len(o.wanted) {
		return "" // there are no others
	}
	wanted := map[storage.UnitRef]bool{}
	for _, unit := range o.wanted {
		wanted[refOf(unit)] = true
	}
	clusters := map[uint64][]string{}
	for _, unit := range o.records {
		if unit.Phase == model.UnitRunning && !wanted[refOf(unit)] {
			clusters[unit.Revision] = append(clusters[unit.Revision], unit.Cluster)
		}
	}
	var texts []string
	for _, revision := range slices.Sorted(maps.Keys(clusters)) {
		where := model.NameList(slices.Compact(clusters[revision])) // the records are sorted
		texts = append(texts, fmt.Sprintf("the units of revision %d run in %s", revision, where))
	}
	return strings.Join(texts, ", ")
}

// condition is the one word that existing clients read: the worst of the selected
// clusters'. DOWN is an alarm: somewhere nothing of the deployment runs. Where
// something older does while the wanted unit does not, the word is DEPLOYING.
func (o observer) condition() model.DeploymentCondition {
	switch {
	case o.w.deleting:
		return model.DeploymentDeleted
	case o.w.unplanned:
		return o.unplannedCondition()
	case len(o.w.plan.Missing()) > 0:
		return model.DeploymentDown
	}
	places := map[string]model.PlacedCluster{}
	for _, place := range o.places {
		places[place.Cluster] = place
	}
	wanted := map[string]model.UnitStatus{}
	for _, unit := range o.wanted {
		wanted[unit.Cluster] = unit
	}
	worst := model.DeploymentRunning
	for _, cluster := range o.w.selected() {
		unit, exists := wanted[cluster]
		c := o.conditionIn(unit, exists, o.serves(cluster, places[cluster].Replaces))
		if severity(c) > severity(worst) {
			worst = c
		}
	}
	return worst
}

// conditionIn is the word for one selected cluster; exists: the wanted unit is
// recorded there, served: something of the deployment runs there or in its stead.
func (o observer) conditionIn(unit model.UnitStatus, exists, served bool) model.DeploymentCondition {
	switch {
	case exists && unit.Phase == model.UnitRunning && !o.givenUp():
		return model.DeploymentRunning
	case served:
		return model.DeploymentDeploying
	case o.givenUp(), !exists && o.progress.Phase == model.RolloutFailed:
		return model.DeploymentDown // nothing runs, and nothing will come
	case !exists:
		return model.DeploymentDeploying
	}
	return conditionOf(unit.Phase)
}

// serves tells whether a unit runs in a cluster, or in the one whose place it
// takes. What is left in a cluster that cannot be asked may well be the reason of
// the move, so it does not count.
func (o observer) serves(cluster, replaced string) bool {
	return runsIn(o.records, cluster) || replaced != "" && o.silence(replaced) == nil && runsIn(o.records, replaced)
}

func runsIn(records []model.UnitStatus, cluster string) bool {
	return slices.ContainsFunc(unitsIn(records, cluster), func(u model.UnitStatus) bool { return u.Phase == model.UnitRunning })
}

// unplannedCondition is the word as long as there is no plan: nothing changes, so
// it is about the places there are. What runs in all of them is not DOWN; it is
// RUNNING when it is what this generation asks for.
func (o observer) unplannedCondition() model.DeploymentCondition {
	down := model.DeploymentDown
	if o.w.awaits() {
		down = model.DeploymentPending
	}
	unserved := func(p model.PlacedCluster) bool { return !o.serves(p.Cluster, p.Replaces) }
	if len(o.places) == 0 || slices.ContainsFunc(o.places, unserved) {
		return down
	}
	if p := o.progress; p != nil && p.Generation == o.s.deployment.Generation && p.Phase == model.RolloutComplete {
		return model.DeploymentRunning
	}
	return model.DeploymentDeploying
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
