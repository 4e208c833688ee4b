package dispatch

import (
	"testing"

	"github.com/oprc/oprc-pm/crm/plan"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// TestStandInOutlivesItsTarget: c stands in for b, whose cluster is removed. What
// runs in a and c stays as it is; the deployment runs, and can be changed.
func TestStandInOutlivesItsTarget(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withClusters("c"))
	w.lead(1)
	w.put(optedIn())
	w.settledIn("a", "b")
	w.leader().Evict("cart", "b", model.AvoidFailover, "lost")
	w.settledIn("a", "c")
	before := map[string]string{"a": w.onlyUnitIn("a"), "c": w.onlyUnitIn("c")}

	w.apply(storage.DeleteCluster{Name: "b", Force: true})
	until(t, "b is told of", func() bool {
		return condition(t, w.deployment(), ConditionPlanned).Reason == plan.ReasonUnknownEnvironment
	})
	d := w.deployment()
	contains(t, condition(t, d, ConditionPlanned).Message, "b")
	if got := condition(t, d, ConditionReady); d.Condition != model.DeploymentRunning || got.Message != "2 of 2 units run" {
		t.Errorf("got %s, %q, want it to run in both", d.Condition, got.Message)
	}
	for cluster, id := range before {
		if got := w.onlyUnitIn(cluster); got != id {
			t.Errorf("cluster %s: got unit %s, want it to stay %s", cluster, got, id)
		}
	}

	log := "debug"
	changed := optedIn()
	changed.ODGM = &model.ODGMDataSpec{Log: &log}
	w.put(changed)
	until(t, "the change is rolled out", func() bool {
		d := w.deployment()
		return d.ObservedGeneration == d.Generation && d.Condition == model.DeploymentRunning &&
			d.RolloutStatus.Generation == d.Generation && d.RolloutStatus.Phase == model.RolloutComplete
	})
	w.leader().Readmit("cart", "b")
	w.register("b")
	w.healthy("b")
	w.settledIn("a", "b")
}

// TestRemovedTargetLeavesTheOthersAlone: b runs itself when its cluster is
// removed, and nothing stands in for it.
func TestRemovedTargetLeavesTheOthersAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.lead(1)
	w.put(cart("a", "b"))
	w.settledIn("a", "b")
	a, b := w.onlyUnitIn("a"), w.onlyUnitIn("b")
	w.apply(storage.DeleteCluster{Name: "b", Force: true})
	until(t, "b is told of", func() bool { return w.deployment().Status.LastError == "not registered: b" })
	if d := w.deployment(); d.Condition != model.DeploymentDown || len(d.PlacedOn) != 2 {
		t.Errorf("got %s, places %+v, want DOWN, with b's place kept", d.Condition, d.PlacedOn)
	}
	if lost, err := w.sims["b"].Lose(b); !lost || err != nil {
		t.Fatalf("lose %s in cluster b: got %t, %v", b, lost, err)
	}
	w.register("b")
	w.healthy("b")
	w.settledIn("a", "b")
	if got := w.onlyUnitIn("a"); got != a {
		t.Errorf("cluster a: got unit %s, want it to stay %s", got, a)
	}
	if got := w.onlyUnitIn("b"); got != b {
		t.Errorf("cluster b: got unit %s, want %s again", got, b)
	}
}
