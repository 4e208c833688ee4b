package dispatch

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/crm/sim"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// cartOf is cart with an image of its own.
func cartOf(image string, envs ...string) model.Deployment {
	d := cart(envs...)
	d.Functions = []model.FunctionDeploymentSpec{{FunctionKey: "Cart.add", ProvisionConfig: &model.ProvisionConfig{ContainerImage: &image}}}
	return d
}

// images returns the images that run in a cluster.
func (w *world) images(cluster string) (images []string) {
	for _, unit := range w.sims[cluster].Units() {
		images = append(images, *unit.Unit.Functions[0].ProvisionConfig.ContainerImage)
	}
	return images
}

// bad are faults of a cluster in which units of an image do not come up.
func bad(condition string) sim.Faults {
	return sim.Faults{Units: []sim.UnitFault{{Image: "img:bad", Condition: condition}}}
}

var refusesBad = sim.Faults{Units: []sim.UnitFault{{Image: "img:bad", Refuse: 422}}}

func TestWavesOneAfterTheOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withClusters("c"))
	for _, s := range w.sims {
		s.SetFaults(sim.Faults{Units: []sim.UnitFault{{Image: "img:2", TimeToRunning: sim.Duration(30 * time.Millisecond)}}})
	}
	w.lead(1)
	d := cartOf("img:1", "a", "b", "c")
	d.Rollout = &model.Rollout{Strategy: model.RolloutWaves}
	w.put(d)
	w.phase(model.RolloutComplete)
	next := cartOf("img:2", "a", "b", "c")
	next.Rollout = d.Rollout
	w.put(next)
	w.phase(model.RolloutComplete)
	w.settledIn("a", "b", "c")
	created := func(cluster string) time.Time {
		calls := slices.DeleteFunc(w.sims[cluster].Calls(0), func(c sim.Call) bool { return c.Effect != sim.EffectCreated })
		return calls[1].At
	}
	for _, pair := range [][2]string{{"a", "b"}, {"b", "c"}} {
		if gap := created(pair[1]).Sub(created(pair[0])); gap < 30*time.Millisecond {
			t.Errorf("%s followed %s after %s, want it to wait until that one ran", pair[1], pair[0], gap)
		}
	}
	for _, want := range []string{"RolloutStarted", "RolloutComplete"} {
		if got := w.events("cart"); count(got, want) != 1 {
			t.Errorf("events: got %v, want one %s: the first revision is no rollout", got, want)
		}
	}
}

func TestWaveSoaks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.lead(1)
	w.put(cartOf("img:1", "a", "b"))
	w.phase(model.RolloutComplete)
	next := cartOf("img:2", "a", "b")
	next.Rollout = &model.Rollout{Soak: length("1h")}
	w.put(next)
	until(t, "the first wave soaks", func() bool {
		d := w.deployment()
		return d.RolloutStatus.Generation == 2 && d.RolloutStatus.Updated == 1 && len(w.unitsIn("a")) == 1
	})
	if got := w.images("b"); !slices.Equal(got, []string{"img:1"}) {
		t.Errorf("cluster b: got %v, want the old image while a soaks", got)
	}
	contains(t, condition(t, w.deployment(), ConditionProgressing).Message, "soaks for 1h")
	next.Rollout.Soak = length("20ms")
	w.put(next)
	w.phase(model.RolloutComplete)
	w.settledIn("a", "b")
}

func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withClusters("c"))
	w.sims["a"].SetFaults(bad("Pending"))
	w.lead(1)
	w.put(cartOf("img:1", "a", "b", "c"))
	w.phase(model.RolloutComplete)
	next := cartOf("img:bad", "a", "b", "c")
	next.Rollout = &model.Rollout{Strategy: model.RolloutWaves}
	w.put(next)
	until(t, "the first wave is on its way", func() bool { return len(w.unitsIn("a")) == 2 })
	next.Rollout = &model.Rollout{Strategy: model.RolloutWaves, Paused: true}
	w.put(next)
	w.phase(model.RolloutPaused)
	w.sims["a"].SetFaults(sim.Faults{})
	until(t, "what was begun settles", func() bool { return w.deployment().RolloutStatus.Updated == 1 && len(w.unitsIn("a")) == 1 })
	if b, c := w.images("b"), w.images("c"); !slices.Equal(slices.Concat(b, c), []string{"img:1", "img:1"}) {
		t.Errorf("got %v and %v, want nothing begun while paused", b, c)
	}
	if c := condition(t, w.deployment(), ConditionProgressing); c.Reason != "Paused" || c.Status != model.ConditionFalse {
		t.Errorf("condition Progressing: got %+v, want False, Paused", c)
	}
	next.Rollout = &model.Rollout{Strategy: model.RolloutWaves}
	w.put(next)
	w.phase(model.RolloutComplete)
	w.settledIn("a", "b", "c")
	got := w.events("cart")
	for _, want := range []string{"RolloutPaused", "RolloutResumed"} {
		if count(got, want) != 1 {
			t.Errorf("events: got %v, want one %s", got, want)
		}
	}
}

// TestFailoverGoesOnWhilePaused: a pause is about what changes, not about where
// things run.
func TestFailoverGoesOnWhilePaused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withClusters("c"))
	w.lead(1)
	d := optedIn()
	d.Rollout = &model.Rollout{Paused: false}
	w.put(d)
	w.phase(model.RolloutComplete)
	d.Rollout = &model.Rollout{Paused: true}
	w.put(d)
	w.phase(model.RolloutComplete)
	w.leader().Evict("cart", "a", model.AvoidFailover, "lost")
	w.settledIn("b", "c")
}

func TestFailedRolloutWaitsForAPerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sims["a"].SetFaults(bad("Pending"))
	w.lead(1)
	w.put(cartOf("img:1", "a", "b"))
	w.phase(model.RolloutComplete)
	next := cartOf("img:bad", "a", "b")
	next.Rollout = &model.Rollout{Strategy: model.RolloutWaves, ProgressDeadline: length("100ms")}
	w.put(next)
	w.phase(model.RolloutFailed)
	if got := w.images("b"); !slices.Equal(got, []string{"img:1"}) {
		t.Errorf("cluster b: got %v, want it untouched", got)
	}
	if got := len(w.unitsIn("a")); got != 2 {
		t.Errorf("cluster a: got %d units, want the old one beside the new", got)
	}
	d := w.deployment()
	if c := condition(t, d, ConditionProgressing); c.Reason != "Failed" {
		t.Errorf("condition Progressing: got %+v, want Failed", c)
	}
	contains(t, d.Status.LastError, "not running within 100ms in a")
	// The person corrects it.
	w.put(cartOf("img:3", "a", "b"))
	w.phase(model.RolloutComplete)
	w.settledIn("a", "b")
	if got := w.events("cart"); count(got, "RolloutFailed") != 1 || slices.Contains(got, "RolledBack") {
		t.Errorf("events: got %v, want one RolloutFailed and no RolledBack", got)
	}
}

func TestAutomaticReturn(t *testing.T) {
	t.Parallel()
	yes := true
	cases := map[string]struct {
		fault  sim.Faults
		change func(d *model.Deployment)
	}{
		"refused, on_failure rollback": {refusesBad, func(d *model.Deployment) { d.Rollout = &model.Rollout{OnFailure: model.OnFailureRollback} }},
		"deadline, on_failure rollback": {bad("Pending"), func(d *model.Deployment) {
			d.Rollout = &model.Rollout{OnFailure: model.OnFailureRollback, ProgressDeadline: length("100ms")}
		}},
		"down, in waves": {bad("Down"), func(d *model.Deployment) {
			d.Rollout = &model.Rollout{Strategy: model.RolloutWaves, OnFailure: model.OnFailureRollback, ProgressDeadline: length("100ms")}
		}},
		"refused, rollback_on_partial": {refusesBad, func(d *model.Deployment) { d.RollbackOnPartial = &yes }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.sims["b"].SetFaults(c.fault)
			w.lead(1)
			w.put(cartOf("img:1", "a", "b"))
			w.phase(model.RolloutComplete)
			next := cartOf("img:bad", "a", "b")
			c.change(&next)
			w.put(next)
			until(t, "an earlier document is put back", func() bool { return w.deployment().Generation == 3 })
			w.phase(model.RolloutComplete)
			w.settledIn("a", "b")
			d := w.deployment()
			if got := *d.Functions[0].ProvisionConfig.ContainerImage; got != "img:1" {
				t.Errorf("image: got %s, want img:1", got)
			}
			if got := w.events("cart"); count(got, "RolledBack") != 1 {
				t.Errorf("events: got %v, want one RolledBack", got)
			}
			revisions := w.revisions()
			if len(revisions) != 3 || revisions[1].GoodSince != nil || revisions[2].GoodSince == nil || revisions[2].Cause != "return to revision 1" {
				t.Errorf("revisions: got %+v, want a good third that tells it returns to the first", revisions)
			}
			if got := w.effects("b"); !slices.Equal(got[:1], []string{"created " + w.onlyUnitIn("b")}) || slices.Contains(got, "deleted "+w.onlyUnitIn("b")) {
				t.Errorf("cluster b: got %v, want the good unit never touched", got)
			}
		})
	}
}

// TestReturnFromAChangeOfThePackage: the package stays as it is; the deployment
// goes back to the functions that it ran with.
func TestReturnFromAChangeOfThePackage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sims["b"].SetFaults(refusesBad)
	w.lead(1)
	d, yes := cart("a", "b"), true
	d.RollbackOnPartial = &yes
	w.put(d)
	w.phase(model.RolloutComplete)
	w.putPackage(shop("img:bad"))
	until(t, "an earlier document is put back", func() bool { return w.deployment().Generation == 2 })
	w.phase(model.RolloutComplete)
	w.settledIn("a", "b")
	if got := slices.Concat(w.images("a"), w.images("b")); !slices.Equal(got, []string{"img:1", "img:1"}) {
		t.Errorf("images: got %v, want the old one", got)
	}
}

// TestReturnAfterAChangeOfTargets: what is returned to is where the revision last
// ran, not where it first did.
func TestReturnAfterAChangeOfTargets(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withClusters("c"))
	w.sims["c"].SetFaults(sim.Faults{Calls: []string{"deploy"}, Status: 422})
	w.lead(1)
	yes := true
	put := func(envs ...string) {
		d := cart(envs...)
		d.RollbackOnPartial = &yes
		w.put(d)
	}
	put("a")
	w.phase(model.RolloutComplete)
	put("a", "b")
	w.phase(model.RolloutComplete)
	put("a", "b", "c")
	until(t, "an earlier document is put back", func() bool { return w.deployment().Generation == 4 })
	w.phase(model.RolloutComplete)
	w.settledIn("a", "b")
}

// TestReturnThatFailsIsNotRepeated: when what ran before does not come up either,
// it stays, and a person has to look.
func TestReturnThatFailsIsNotRepeated(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.lead(1)
	good := cartOf("img:1", "a", "b")
	good.Rollout = &model.Rollout{OnFailure: model.OnFailureRollback}
	w.put(good)
	w.phase(model.RolloutComplete)
	// The new one replaces the old one in a, where that is then refused.
	w.sims["a"].SetFaults(sim.Faults{Units: []sim.UnitFault{{Image: "img:1", Refuse: 422}}})
	w.sims["b"].SetFaults(bad("Pending"))
	next := cartOf("img:bad", "a", "b")
	next.Rollout = &model.Rollout{OnFailure: model.OnFailureRollback, ProgressDeadline: length("1h")}
	w.put(next)
	until(t, "a has changed", func() bool { return slices.Equal(w.images("a"), []string{"img:bad"}) })
	next.Rollout = &model.Rollout{OnFailure: model.OnFailureRollback, ProgressDeadline: length("20ms")}
	w.put(next)
	until(t, "an earlier document is put back", func() bool { return w.deployment().Generation == 4 })
	w.phase(model.RolloutFailed)
	if got := w.deployment(); got.Generation != 4 {
		t.Errorf("generation: got %d, want 4", got.Generation)
	}
	if got := w.events("cart"); count(got, "RolledBack") != 1 || count(got, "RolloutFailed") != 1 {
		t.Errorf("events: got %v, want one RolledBack and one RolloutFailed", got)
	}
	if a, b := len(w.unitsIn("a")), len(w.unitsIn("b")); a == 0 || b == 0 {
		t.Errorf("got %d and %d units, want none removed", a, b)
	}
}

func TestFirstGenerationIsGivenUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withConfig(func(c *Config) { c.RollbackOnPartial = true }))
	w.sims["b"].SetFaults(refusesBad)
	w.lead(1)
	w.put(cartOf("img:bad", "a", "b"))
	empty := func() bool {
		s, exists := w.situation("cart")
		return exists && len(s.units) == 0 && len(w.unitsIn("a"))+len(w.unitsIn("b")) == 0
	}
	until(t, "all its units are removed", func() bool { return w.deployment().Revision == 1 && empty() })
	d := w.deployment()
	if d.Condition != model.DeploymentDown || d.RolloutStatus.Phase != model.RolloutRolledBack {
		t.Errorf("got %s, %s, want DOWN, RolledBack", d.Condition, d.RolloutStatus.Phase)
	}
	contains(t, d.Status.LastError, "refused by b")

	// It stays so, under another leader too.
	calls := w.allCalls()
	w.lead(2)
	r := w.leader().running()
	until(t, "the new leader has looked", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.deployments["cart"] != nil && r.queue.depth() == 0
	})
	if got := w.allCalls(); got != calls || !empty() {
		t.Errorf("calls: got %d, want still %d, and no units", got, calls)
	}
	// Another wish is another try.
	w.put(cartOf("img:2", "a", "b"))
	w.phase(model.RolloutComplete)
	w.settledIn("a", "b")
}

// TestGivenUpIsTriedAgainWithAnotherPackage: what was given up is the content, so a
// change of the package is another try.
func TestGivenUpIsTriedAgainWithAnotherPackage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withConfig(func(c *Config) { c.RollbackOnPartial = true }))
	w.sims["b"].SetFaults(refusesBad)
	w.putPackage(shop("img:bad"))
	w.lead(1)
	w.put(cart("a", "b"))
	w.phase(model.RolloutRolledBack)
	w.putPackage(shop("img:2"))
	w.phase(model.RolloutComplete)
	w.settledIn("a", "b")
}

func TestPartialFailureIsVisibleAndLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sims["b"].SetFaults(refusesBad)
	w.lead(1)
	w.put(cartOf("img:bad", "a", "b"))
	until(t, "a runs, b has refused twice", func() bool {
		s, _ := w.situation("cart")
		return len(s.units) == 2 && s.units[0].Phase == model.UnitRunning && s.units[1].Attempts >= 2
	})
	s, _ := w.situation("cart")
	if s.units[1].NextRetryAt == nil || s.units[1].LastError == "" || s.deployment.Condition != model.DeploymentDown {
		t.Errorf("got %+v and %s, want the next retry, the error and DOWN", s.units[1], s.deployment.Condition)
	}
	if got := len(w.unitsIn("a")); got != 1 {
		t.Errorf("cluster a: got %d units, want 1", got)
	}
	if got := w.events("cart"); count(got, "UnitRefused") != 1 {
		t.Errorf("events: got %v, want one UnitRefused however often it is tried", got)
	}
}

func TestRevisions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.lead(1)
	const n = keptRevisions + 3
	for i := range n {
		w.put(cartOf(fmt.Sprintf("img:%d", i), "a"))
		w.phase(model.RolloutComplete)
	}
	revisions := w.revisions()
	if len(revisions) != keptRevisions || revisions[0].Revision != n-keptRevisions+1 {
		t.Fatalf("got %d revisions from %d on, want the newest %d", len(revisions), revisions[0].Revision, keptRevisions)
	}
	last := revisions[len(revisions)-1]
	if last.GoodSince == nil || last.Generation != n || *last.Deployment.Functions[0].ProvisionConfig.ContainerImage != fmt.Sprintf("img:%d", n-1) {
		t.Errorf("newest: got %+v, want it good, with its document", last)
	}
	// Only placement changes: no new revision, but the document is the newest.
	w.put(cartOf(fmt.Sprintf("img:%d", n-1), "a", "b"))
	w.phase(model.RolloutComplete)
	revisions = w.revisions()
	newest := revisions[len(revisions)-1]
	if newest.Revision != n || !slices.Equal(newest.Deployment.TargetEnvs, []string{"a", "b"}) || !newest.GoodSince.Equal(*last.GoodSince) {
		t.Errorf("newest: got %+v, want revision %d with both targets, good since before", newest, n)
	}
	if got := w.deployment().Revision; got != n {
		t.Errorf("revision of the deployment: got %d, want %d", got, n)
	}
}

// TestLastGoodRevisionIsKept: however many bad ones follow it.
func TestLastGoodRevisionIsKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.lead(1)
	w.put(cartOf("img:good", "a"))
	w.phase(model.RolloutComplete)
	w.sims["a"].SetFaults(sim.Faults{Units: []sim.UnitFault{{Image: "img:[0-9]*", Refuse: 422}}})
	for i := range keptRevisions + 2 {
		w.put(cartOf(fmt.Sprintf("img:%d", i), "a"))
		w.phase(model.RolloutFailed)
	}
	revisions := w.revisions()
	if revisions[0].Revision != 1 || revisions[0].GoodSince == nil || len(revisions) != keptRevisions+1 {
		t.Errorf("got %d revisions, the oldest %d; want the good first one besides the newest %d", len(revisions), revisions[0].Revision, keptRevisions)
	}
}

// TestVanishedClass: what runs is left alone, and the deployment says so.
func TestVanishedClass(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.lead(1)
	w.put(cart("a"))
	w.running()
	id := w.onlyUnitIn("a")
	p := shop("img:1")
	p.Classes[0].Key = "Basket"
	document, err := model.EncodePackage(p)
	if err != nil {
		t.Fatal(err)
	}
	w.apply(storage.PutPackage{Name: p.Name, Document: document, Classes: []string{"Basket"}, Force: true})
	until(t, "the deployment says so", func() bool {
		return condition(t, w.deployment(), ConditionPlanned).Reason == "ClassNotFound"
	})
	if got := w.onlyUnitIn("a"); got != id {
		t.Errorf("unit: got %s, want still %s", got, id)
	}
	w.putPackage(shop("img:1"))
	w.running()
	w.settledIn("a")
}

func TestPackageChangeRollsInWaves(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sims["a"].SetFaults(sim.Faults{Units: []sim.UnitFault{{Image: "img:2", Condition: "Pending"}}})
	w.lead(1)
	d := cart("a", "b")
	d.Rollout = &model.Rollout{Strategy: model.RolloutWaves}
	w.put(d)
	w.phase(model.RolloutComplete)
	w.putPackage(shop("img:2"))
	until(t, "the first wave is on its way", func() bool { return len(w.unitsIn("a")) == 2 })
	if got := w.images("b"); !slices.Equal(got, []string{"img:1"}) {
		t.Errorf("cluster b: got %v, want it to wait for a", got)
	}
	w.sims["a"].SetFaults(sim.Faults{})
	until(t, "the new revision runs", func() bool {
		d := w.deployment()
		return d.RolloutStatus.Revision == 2 && d.RolloutStatus.Phase == model.RolloutComplete
	})
	w.settledIn("a", "b")
}
