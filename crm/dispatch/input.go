package dispatch

import (
	"github.com/oprc/oprc-pm/crm/plan"
	"github.com/oprc/oprc-pm/model"
)

// PlanInput is what the dispatcher would plan a deployment from now: who plans
// from it sees what will be. It may be called on any node.
func (d *Dispatcher) PlanInput(deployment model.Deployment, pkg model.Package) plan.Input {
	return plan.Input{
		Deployment: deployment, Package: pkg,
		Clusters:   planClusters(d.deps.Inventory.PlanClusters(deployment.Key), deployment),
		Neighbours: d.deps.Inventory, Policy: d.deps.Policy,
	}
}
