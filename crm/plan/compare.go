package plan

import (
	"cmp"
	"slices"
	"strings"

	"github.com/oprc/oprc-pm/model"
)

// Compare lists the steps from the recorded units of a deployment to those of a
// plan, sorted by cluster; what comes before what goes. It is pure. Without units
// there is no plan, and everything stays.
func Compare(p Plan, have []model.UnitStatus) []Change {
	changes := make([]Change, 0, len(p.Units)+len(have))
	wanted := make(map[string]*model.DeploymentUnit, len(p.Units)) // by cluster
	for n := range p.Units {
		wanted[p.Units[n].TargetCluster] = &p.Units[n]
	}
	for n := range p.Units {
		changes = append(changes, arrival(p, n, have))
	}
	for _, record := range have {
		if unit := wanted[record.Cluster]; unit == nil || unit.ID != record.ID {
			changes = append(changes, departure(p, unit, record))
		}
	}
	slices.SortStableFunc(changes, func(a, b Change) int {
		aGoes, bGoes := a.Action == ChangeRemove, b.Action == ChangeRemove
		switch {
		case a.Cluster != b.Cluster:
			return strings.Compare(a.Cluster, b.Cluster)
		case aGoes != bGoes:
			return cmp.Compare(b2i(aGoes), b2i(bGoes))
		}
		return strings.Compare(a.Unit, b.Unit)
	})
	return changes
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// arrival is what happens to a unit of the plan.
func arrival(p Plan, n int, have []model.UnitStatus) Change {
	unit, replaces := &p.Units[n], p.replaces(p.Units[n].TargetCluster)
	change := Change{Action: ChangeCreate, Cluster: unit.TargetCluster, Unit: unit.ID, Reason: "new in this cluster"}
	var old, moved string
	for _, record := range have {
		switch {
		case record.Cluster == unit.TargetCluster && record.ID == unit.ID:
			if record.Phase != model.UnitDeleting {
				return Change{Action: ChangeKeep, Cluster: record.Cluster, Unit: record.ID}
			}
			change.Reason = "wanted again, while being removed"
		case record.Phase == model.UnitDeleting:
		case record.Cluster == unit.TargetCluster && (old == "" || record.Phase == model.UnitRunning):
			old = record.ID
		case record.Cluster == replaces && (moved == "" || record.Phase == model.UnitRunning):
			moved = record.ID
		}
	}
	switch {
	case old != "":
		change.Action, change.Replaces, change.Reason = ChangeReplace, old, "changed"
	case moved != "":
		change.Replaces, change.Reason = moved, "moves here from cluster "+replaces
	}
	return change
}

// departure is what happens to a recorded unit that is not in the plan. unit is
// what is wanted in its cluster; nil: nothing.
func departure(p Plan, unit *model.DeploymentUnit, record model.UnitStatus) Change {
	change := Change{Action: ChangeRemove, Cluster: record.Cluster, Unit: record.ID}
	switch {
	case record.Phase == model.UnitDeleting:
		change.Reason = "being removed"
	case len(p.Units) == 0:
		change.Action, change.Reason = ChangeKeep, "there is no plan, so everything stays"
	case unit != nil:
		change.Reason = "replaced by " + unit.ID
	case slices.Contains(p.UnknownEnvs, record.Cluster):
		change.Action, change.Reason = ChangeKeep, "the cluster does not exist any more"
	default:
		change.Reason = "the cluster is no longer selected"
		if successor, moved := p.SuccessorOf(record.Cluster); moved {
			change.Reason = "moves to cluster " + successor.TargetCluster
		}
	}
	return change
}
