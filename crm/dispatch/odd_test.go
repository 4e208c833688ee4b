package dispatch

import (
	"testing"

	"github.com/oprc/oprc-pm/crm/sim"
	"github.com/oprc/oprc-pm/model"
)

// TestOddStateOverGRPCIsNoSuccess: CRMs that speak gRPC answer OK for a unit that
// they have not begun with. What counts is its record; the rollout fails with what
// the CRM says.
func TestOddStateOverGRPCIsNoSuccess(t *testing.T) {
	t.Parallel()
	w := newWorld(t, overGRPC)
	for _, s := range w.sims {
		s.SetFaults(sim.Faults{Units: []sim.UnitFault{{Image: "img:bad", Condition: "Pending", Message: "odd"}}})
	}
	w.lead(1)
	w.put(cartOf("img:1", "a", "b"))
	w.phase(model.RolloutComplete)
	next := cartOf("img:bad", "a", "b")
	next.Rollout = &model.Rollout{Strategy: model.RolloutWaves, ProgressDeadline: length("300ms")}
	w.put(next)
	w.phase(model.RolloutFailed)
	var failed []string
	completed := 0
	for _, event := range w.eventList("cart") {
		switch event.Reason {
		case "RolloutFailed":
			failed = append(failed, event.Message)
		case "RolloutComplete":
			completed++
		}
	}
	if len(failed) != 1 || completed != 0 {
		t.Fatalf("got %d RolloutFailed and %d RolloutComplete, want one and none", len(failed), completed)
	}
	contains(t, failed[0], "a says odd")
	d := w.deployment()
	contains(t, d.RolloutStatus.Message, "a says odd")
	if d.Condition != model.DeploymentDeploying || d.RolloutStatus.Updated != 0 {
		t.Errorf("got %s with %d updated, want DEPLOYING with none", d.Condition, d.RolloutStatus.Updated)
	}
	if got := w.images("b"); len(got) != 1 || got[0] != "img:1" {
		t.Errorf("cluster b: got %v, want it untouched", got)
	}
}
