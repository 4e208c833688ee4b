package dispatch

import (
	"testing"
	"time"

	"github.com/oprc/oprc-pm/crm/sim"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// says asserts what a deployment reports: its word, and Ready.
func (w *world) says(t *testing.T, when string, word model.DeploymentCondition, ready model.ConditionStatus, message string) {
	t.Helper()
	d := w.deployment()
	if d.Condition != word {
		t.Errorf("%s: got %s, want %s", when, d.Condition, word)
	}
	if c := condition(t, d, ConditionReady); c.Status != ready || c.Message != message {
		t.Errorf("%s: got Ready %s, %q, want %s, %q", when, c.Status, c.Message, ready, message)
	}
}

// wave has a rollout in waves that fails soon.
func wave(image string, envs ...string) model.Deployment {
	d := cartOf(image, envs...)
	d.Rollout = &model.Rollout{Strategy: model.RolloutWaves, ProgressDeadline: length("5m")}
	return d
}

// TestBadRolloutIsNoOutage: as long as the old units serve, a rollout that does
// not come up is not DOWN.
func TestBadRolloutIsNoOutage(t *testing.T) {
	t.Parallel()
	const old = "0 of 2 units run; the units of revision 1 run in a, b"
	for name, fault := range map[string]sim.Faults{"down": bad("Down"), "on its way": bad("Pending"), "refused": refusesBad} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, w *world) {
				w.sims["a"].SetFaults(fault)
				w.lead(1)
				w.put(wave("img:1", "a", "b"))
				w.pass(time.Minute)
				w.says(t, "at first", model.DeploymentRunning, model.ConditionTrue, "2 of 2 units run")
				first := w.onlyUnitIn("a")
				w.put(wave("img:bad", "a", "b"))
				w.pass(time.Minute)
				w.says(t, "in the first wave", model.DeploymentDeploying, model.ConditionFalse, old)
				w.pass(10 * time.Minute)
				w.says(t, "when it has failed", model.DeploymentDeploying, model.ConditionFalse, old)
				if c := condition(t, w.deployment(), ConditionProgressing); c.Status != model.ConditionFalse || c.Reason != "Failed" {
					t.Errorf("condition Progressing: got %+v, want False, Failed", c)
				}
				// When the old one ends, too, it is an outage.
				w.sims["a"].SetFaults(sim.Faults{Condition: "Down"})
				w.leader().Observe("a", Report{Unit: first, Deployment: "cart", Condition: "Down"})
				w.pass(10 * time.Minute)
				w.says(t, "when the old one is down", model.DeploymentDown, model.ConditionFalse, "0 of 2 units run; the units of revision 1 run in b")
			})
		})
	}
}

// TestRefusedEverywhereIsNoOutage: nor is it one when all clusters change at once.
func TestRefusedEverywhereIsNoOutage(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, w *world) {
		for _, s := range w.sims {
			s.SetFaults(refusesBad)
		}
		w.lead(1)
		w.put(cartOf("img:1", "a", "b"))
		w.pass(time.Minute)
		w.put(cartOf("img:bad", "a", "b"))
		w.pass(time.Minute)
		w.says(t, "refused", model.DeploymentDeploying, model.ConditionFalse, "0 of 2 units run; the units of revision 1 run in a, b")
		contains(t, w.deployment().Status.LastError, "deploy: answered 422")
	})
}

// TestHalfRolledOutCountsBoth: the new ones and the old ones are told apart.
func TestHalfRolledOutCountsBoth(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, w *world) {
		w.sims["b"].SetFaults(bad("Down"))
		w.lead(1)
		w.put(wave("img:1", "a", "b", "c"))
		w.pass(time.Minute)
		w.put(wave("img:bad", "a", "b", "c"))
		w.pass(10 * time.Minute)
		w.says(t, "stuck", model.DeploymentDeploying, model.ConditionFalse, "1 of 3 units run; the units of revision 1 run in b, c")
	}, withClusters("c"))
}

// vanish drops the class of cart from its package, as a forced update does.
func (w *world) vanish() {
	w.t.Helper()
	p := shop("img:1")
	p.Classes[0].Key = "Basket"
	document, err := model.EncodePackage(p)
	if err != nil {
		w.t.Fatal(err)
	}
	w.apply(storage.PutPackage{Name: p.Name, Document: document, Classes: []string{"Basket"}, Force: true})
}

// TestVanishedClassIsNoOutage: what runs goes on running, and is what the
// generation asked for.
func TestVanishedClassIsNoOutage(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, w *world) {
		w.lead(1)
		w.put(cart("a", "b"))
		w.pass(time.Minute)
		w.vanish()
		w.pass(time.Minute)
		w.says(t, "without its class", model.DeploymentRunning, model.ConditionTrue,
			"there is no plan to carry out; the units of revision 1 run in a, b")
		if c := condition(t, w.deployment(), ConditionPlanned); c.Status != model.ConditionFalse || c.Reason != "ClassNotFound" {
			t.Errorf("condition Planned: got %+v, want False, ClassNotFound", c)
		}
		written := w.written()
		w.pass(24 * time.Hour)
		if got := w.written(); got != written {
			t.Errorf("applied index: got %d, want still %d", got, written)
		}
		w.sims["a"].SetFaults(sim.Faults{Condition: "Down"})
		w.leader().Observe("a", Report{Unit: w.onlyUnitIn("a"), Deployment: "cart", Condition: "Down"})
		w.pass(time.Minute)
		w.says(t, "when a unit is down", model.DeploymentDown, model.ConditionFalse,
			"there is no plan to carry out; the units of revision 1 run in b")
	})
}

// TestUnplannedChangeIsNotRunning: what runs is not what the newest generation asks
// for, so whoever waits for that must not take it for that.
func TestUnplannedChangeIsNotRunning(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, w *world) {
		stop := w.lead(1)
		w.put(cart("a", "b"))
		w.pass(time.Minute)
		stop()
		w.put(cartOf("img:2", "a", "b"))
		w.vanish()
		w.lead(2)
		w.pass(time.Minute)
		w.says(t, "without a plan", model.DeploymentDeploying, model.ConditionFalse,
			"there is no plan to carry out; the units of revision 1 run in a, b")
	})
}

// TestStandInThatIsDown: the unit whose place it takes serves for it, unless that
// is in a cluster that cannot be asked.
func TestStandInThatIsDown(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, w *world) {
		w.sims["c"].SetFaults(sim.Faults{Condition: "Down"})
		w.lead(1)
		w.put(optedIn())
		w.pass(time.Minute)
		w.leader().Evict("cart", "a", model.AvoidDrain, "drained")
		w.pass(time.Minute)
		w.says(t, "while a serves", model.DeploymentDeploying, model.ConditionFalse, "1 of 2 units run; the units of revision 1 run in a")
		w.gate.set("a", true)
		w.unhealthy("a")
		w.pass(time.Minute)
		if got := w.deployment().Condition; got != model.DeploymentDown {
			t.Errorf("when a cannot be asked: got %s, want DOWN", got)
		}
	}, withClusters("c"))
}
