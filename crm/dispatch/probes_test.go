package dispatch

import (
	"slices"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/crm/plan"
	"github.com/oprc/oprc-pm/crm/sim"
	"github.com/oprc/oprc-pm/model"
)

func beforeProbes(w *world, _ map[string]*sim.Config) { w.unprobed = true }

// expectPlanned asserts what a deployment is and says of its plan.
func (w *world) expectPlanned(when string, want model.DeploymentCondition, reason string) {
	w.t.Helper()
	d := w.deployment()
	if c := condition(w.t, d, ConditionPlanned); d.Condition != want || c.Reason != reason {
		w.t.Errorf("%s: got %s, %s (%s), want %s, %s", when, d.Condition, c.Reason, c.Message, want, reason)
	}
}

// TestWaitsForTheFirstProbes: that no cluster fits can be said only when they were
// looked at.
func TestWaitsForTheFirstProbes(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, w *world) {
		w.lead(1)
		w.put(cart())
		w.pass(time.Second)
		w.expectPlanned("before the first probe", model.DeploymentPending, ReasonAwaitingProbes)
		d := w.deployment()
		contains(t, condition(t, d, ConditionPlanned).Message, "a, b")
		if d.Status.LastError != "" || len(w.events("cart")) != 0 {
			t.Errorf("got error %q and events %v, want none: nothing is wrong", d.Status.LastError, w.events("cart"))
		}
		written := w.written()
		w.pass(time.Hour)
		if got := w.written(); got != written {
			t.Errorf("applied index: got %d, want still %d", got, written)
		}
		w.unhealthy("a")
		w.pass(time.Second)
		w.expectPlanned("when one is known to be lost", model.DeploymentPending, ReasonAwaitingProbes)
		w.unhealthy("b")
		w.pass(time.Second)
		w.expectPlanned("when both are", model.DeploymentDown, plan.ReasonNoFit)
		w.healthy("a", "b")
		w.pass(time.Minute)
		w.expectPlanned("when both are back", model.DeploymentRunning, "Planned")
		if got := w.events("cart"); count(got, "NoFit") != 1 {
			t.Errorf("events: got %v, want one NoFit", got)
		}
	}, beforeProbes)
}

// TestFirstProbeIsNews: whatever it finds.
func TestFirstProbeIsNews(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, w *world) {
		w.lead(1)
		w.put(cart())
		w.pass(time.Second)
		w.health(model.ClusterDegraded, "a")
		w.pass(5 * time.Second)
		w.expectPlanned("a degraded cluster is better than none", model.DeploymentRunning, "Planned")
	}, beforeProbes)
}

func TestTooFewClustersAreProbed(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, w *world) {
		w.healthy("a")
		w.lead(1)
		d, two := cart(), uint32(2)
		d.Placement = &model.Placement{Clusters: &two}
		w.put(d)
		w.pass(5 * time.Second)
		w.expectPlanned("with one that was not looked at", model.DeploymentRunning, ReasonAwaitingProbes)
		if got := w.events("cart"); slices.Contains(got, "NoFit") {
			t.Errorf("events: got %v, want no NoFit yet", got)
		}
		w.unhealthy("b")
		w.pass(time.Second)
		w.expectPlanned("when it is lost", model.DeploymentRunning, plan.ReasonNoFit)
		if got := w.events("cart"); count(got, "NoFit") != 1 {
			t.Errorf("events: got %v, want one NoFit", got)
		}
	}, beforeProbes)
}
