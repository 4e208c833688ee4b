package dispatch

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/oprc/oprc-pm/crm/plan"
	"github.com/oprc/oprc-pm/crm/sim"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

func TestCreateRunsInBothClusters(t *testing.T) {
	t.Parallel()
	slow := func(c *sim.Config) { c.TimeToRunning = 30 * time.Millisecond }
	w := newWorld(t, withSim("a", slow), withSim("b", slow))
	w.lead(1)
	w.put(cart("a", "b"))
	w.running()
	w.converged()

	d := w.deployment()
	for kind, reason := range map[string]string{
		ConditionPlanned: "Planned", ConditionDispatched: "Accepted", ConditionReady: "Running",
	} {
		c := condition(t, d, kind)
		if c.Status != model.ConditionTrue || c.Reason != reason || c.LastTransitionTime.IsZero() {
			t.Errorf("condition %s: got %+v, want True with reason %s", kind, c, reason)
		}
	}
	if got, want := d.Status.SelectedEnvs, []string{"a", "b"}; !slices.Equal(got, want) {
		t.Errorf("selected envs: got %v, want %v", got, want)
	}
	unit := w.sims["a"].Units()[0].Unit
	if unit.DeploymentKey != "cart" || unit.Generation != 1 || len(unit.Functions) != 1 {
		t.Errorf("got unit %+v, want one of cart, generation 1, with one function", unit)
	}
	for _, call := range w.sims["a"].Calls(0) {
		if call.Term != 1 || call.Generation != 1 || call.CorrelationID == "" {
			t.Errorf("got call %+v, want term, generation and correlation id", call)
		}
	}
}

func TestEmptyTargetsUseAsManyClustersAsAreAskedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withClusters("c"))
	w.lead(1)
	d, two := cart(), uint32(2)
	d.Placement = &model.Placement{Clusters: &two}
	w.put(d)
	w.running()
	w.converged()
	if got := len(w.unitsIn("a")) + len(w.unitsIn("b")) + len(w.unitsIn("c")); got != 2 {
		t.Errorf("units: got %d, want 2", got)
	}
}

func TestUpdateReplacesOnlyWhatChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.lead(1)
	w.put(cart("a", "b"))
	w.running()
	oldA, oldB := w.onlyUnitIn("a"), w.onlyUnitIn("b")

	changed := cart("a", "b")
	changed.EnvTemplates = map[string]string{"a": "knative"}
	w.put(changed)
	w.running()
	w.converged()

	newA := w.onlyUnitIn("a")
	want := []string{"created " + oldA, "created " + newA, "deleted " + oldA}
	if got := w.effects("a"); !slices.Equal(got, want) {
		t.Errorf("cluster a: got %v, want %v", got, want)
	}
	if got, want := w.effects("b"), []string{"created " + oldB}; !slices.Equal(got, want) {
		t.Errorf("cluster b: got %v, want it untouched: %v", got, want)
	}
}

func TestOldUnitStaysUntilNewOneRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.lead(1)
	w.put(cart("a"))
	w.running()
	old := w.onlyUnitIn("a")

	w.sims["a"].SetFaults(sim.Faults{Condition: "Deploying"})
	changed := cart("a")
	changed.EnvTemplates = map[string]string{"a": "edge"}
	w.put(changed)
	until(t, "both units exist and the new one is deploying", func() bool {
		s, _ := w.situation("cart")
		return len(s.units) == 2 && len(w.unitsIn("a")) == 2 && slices.ContainsFunc(s.units, func(u model.UnitStatus) bool {
			return u.ID != old && u.Phase == model.UnitDeploying
		})
	})
	if got := w.effects("a"); slices.Contains(got, "deleted "+old) {
		t.Errorf("got %v, want the old unit kept", got)
	}
	w.sims["a"].SetFaults(sim.Faults{})
	w.running()
	w.converged()
}

func TestPackageUpdateReplacesUnits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.lead(1)
	w.put(cart("a"))
	w.running()
	old := w.onlyUnitIn("a")
	w.putPackage(shop("img:2"))
	until(t, "unit of the new image alone", func() bool {
		units := w.sims["a"].Units()
		return len(units) == 1 && units[0].Unit.ID != old
	})
	if got := *w.sims["a"].Units()[0].Unit.Functions[0].ProvisionConfig.ContainerImage; got != "img:2" {
		t.Errorf("image: got %s, want img:2", got)
	}
}

func TestRemovedTargetIsCleanedUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.lead(1)
	d := cart("a", "b")
	d.ODGM.EnvNodeIDs = map[string][]uint64{"a": {1}}
	w.put(d)
	w.running()
	d.TargetEnvs = []string{"a"}
	w.put(d)
	until(t, "cluster b is empty", func() bool { return len(w.unitsIn("b")) == 0 })
	w.running()
	w.converged()
}

func TestObservedConditionIsTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.lead(1)
	w.put(cart("a"))
	w.running()
	report := Report{Unit: w.onlyUnitIn("a"), Deployment: "cart", Condition: "Failed", Message: "out of\nmemory"}
	w.sims["a"].SetFaults(sim.Faults{Condition: "Failed"})
	w.leader().Observe("a", report)
	until(t, "down", func() bool { return w.deployment().Condition == model.DeploymentDown })
	s, _ := w.situation("cart")
	if s.units[0].Message != "out of memory" {
		t.Errorf("message: got %q, want it on one line", s.units[0].Message)
	}
	if got := w.events("cart"); count(got, "UnitDown") != 1 {
		t.Errorf("events: got %v, want one UnitDown", got)
	}
	w.sims["a"].SetFaults(sim.Faults{})
	w.running()
	// Who is asked about something unknown does nothing.
	before := w.store.Status().AppliedIndex
	w.leader().Observe("a", Report{Unit: "nobody", Deployment: "cart", Lost: true})
	w.leader().Observe("a", Report{Unit: "nobody", Deployment: "nobody", Lost: true})
	r := w.leader().running()
	until(t, "the reports were looked at", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.deployments) == 1 && len(r.deployments["cart"].reports) == 0
	})
	if after := w.store.Status().AppliedIndex; after != before {
		t.Errorf("applied index: got %d, want still %d", after, before)
	}
}

func TestDeleteRemovesUnitsThenForgets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.lead(1)
	w.put(cart("a", "b"))
	w.running()

	w.sims["b"].SetFaults(sim.Faults{Calls: []string{"delete"}, Status: 503})
	w.apply(storage.DeleteDeployment{Key: "cart"})
	until(t, "cluster a is clean while b still refuses", func() bool {
		s, exists := w.situation("cart")
		return exists && len(s.units) == 1 && s.units[0].Cluster == "b" && s.units[0].LastError != ""
	})
	d := w.deployment()
	if d.Condition != model.DeploymentDeleted {
		t.Errorf("condition: got %s, want DELETED", d.Condition)
	}
	contains(t, d.Status.LastError, "b: delete: answered 503")

	w.sims["b"].SetFaults(sim.Faults{})
	w.gone()
	if a, b := w.unitsIn("a"), w.unitsIn("b"); len(a)+len(b) != 0 {
		t.Errorf("got units %v and %v, want none", a, b)
	}
}

func TestPutTakesBackDelete(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.lead(1)
	w.put(cart("a"))
	w.running()
	w.sims["a"].SetFaults(sim.Faults{Calls: []string{"delete"}, Hang: true})
	w.apply(storage.DeleteDeployment{Key: "cart"})
	until(t, "unit is being deleted", func() bool {
		s, _ := w.situation("cart")
		return len(s.units) == 1 && s.units[0].Phase == model.UnitDeleting
	})
	w.put(cart("a"))
	until(t, "unit is wanted again", func() bool {
		s, _ := w.situation("cart")
		return len(s.units) == 1 && s.units[0].Phase == model.UnitPending
	})
	w.sims["a"].SetFaults(sim.Faults{})
	w.running()
	w.converged()
}

func TestHungClusterDelaysNobodyElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sims["b"].SetFaults(sim.Faults{Hang: true})
	w.lead(1)
	w.put(cart("a", "b"))
	// More deployments than there are workers or slots for b.
	for _, key := range []string{"d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7", "d8", "d9", "d10", "d11"} {
		d := cart("a", "b")
		d.Key = key
		w.put(d)
	}
	until(t, "all units of a run while b hangs", func() bool {
		s, _ := w.situation("cart")
		running := 0
		for _, unit := range s.units {
			if unit.Cluster == "a" && unit.Phase == model.UnitRunning {
				running++
			}
		}
		return running == 1 && len(w.unitsIn("a")) == 13
	})
	d := w.deployment()
	if d.Condition != model.DeploymentPending {
		t.Errorf("condition: got %s, want PENDING", d.Condition)
	}
	contains(t, condition(t, d, ConditionDispatched).Message, "b")
	if len(w.unitsIn("b")) != 0 {
		t.Errorf("cluster b: got %v, want nothing yet", w.unitsIn("b"))
	}
	w.sims["b"].SetFaults(sim.Faults{})
	w.running()
	until(t, "b has caught up", func() bool { return len(w.unitsIn("b")) == 13 })
}

func TestOutdatedCallIsNotMade(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withConcurrency("a", 1))
	w.sims["a"].SetFaults(sim.Faults{Hang: true})
	d := w.dispatcher(metrics.NewSet())
	w.start(d, 1)
	w.put(cart("a"))
	other := cart("a")
	other.Key = "other"
	phase := func(key string, want model.UnitPhase) func() bool {
		return func() bool {
			s, _ := w.situation(key)
			return len(s.units) == 1 && s.units[0].Phase == want
		}
	}
	until(t, "cart has the only slot", phase("cart", model.UnitPending))
	w.put(other)
	until(t, "other waits", phase("other", model.UnitPending))
	w.apply(storage.DeleteDeployment{Key: "other"})
	until(t, "other is to be deleted, and the run knows", func() bool { return d.phases(model.UnitDeleting) == 1 })
	w.sims["a"].SetFaults(sim.Faults{})
	w.running()
	until(t, "other is forgotten", func() bool { _, exists := w.situation("other"); return !exists })
	if got := w.effects("a"); len(got) != 1 {
		t.Errorf("got %v, want only cart's creation", got)
	}
}

func TestUncertainDeployIsDeletedTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withTimeout("a", "50ms"), withConfig(func(c *Config) { c.UncertainPeriod = 1500 * time.Millisecond }))
	// There is no answer, so the unit may come into being at any time.
	w.sims["a"].SetFaults(sim.Faults{Calls: []string{"deploy"}, Hang: true})
	w.lead(1)
	w.put(cart("a"))
	until(t, "the error is shown", func() bool {
		s, _ := w.situation("cart")
		return len(s.units) == 1 && s.units[0].LastError != ""
	})
	w.apply(storage.DeleteDeployment{Key: "cart"})
	w.gone()
	if got := w.calls("a", "delete"); got < 2 {
		t.Errorf("delete calls: got %d, want it repeated when the uncertain time is over", got)
	}
}

func TestFailuresThenRecovery(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]sim.Faults{
		"unavailable":  {Status: 503},
		"throttled":    {Status: 429},
		"garbage":      {Garbage: true},
		"half of them": {ErrorRate: 0.5},
		"refused":      {Status: 422},
		"redirected":   {Status: 302},
		"wrong term":   {StaleTerm: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.sims["a"].SetFaults(fault)
			w.lead(1)
			w.put(cart("a", "b"))
			if fault.ErrorRate == 0 {
				until(t, "the error is shown", func() bool {
					d := w.deployment()
					return d.Status != nil && d.Status.LastError != ""
				})
				contains(t, w.deployment().Status.LastError, "a: deploy: answer")
			}
			w.sims["a"].SetFaults(sim.Faults{})
			w.running()
			w.converged()
			if got := w.deployment().Status.LastError; got != "" {
				t.Errorf("last error: got %q, want none", got)
			}
		})
	}
}

// TestLostAfterAccept: the cluster took the unit, and nobody heard of it.
func TestLostAfterAccept(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]sim.Faults{
		"connection cut":    {Calls: []string{"deploy"}, DropReply: true},
		"no answer in time": {Calls: []string{"deploy"}, HangReply: true},
		"garbage":           {Calls: []string{"deploy"}, Garbage: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, withTimeout("a", "100ms"))
			w.sims["a"].SetFaults(fault)
			w.lead(1)
			w.put(cart("a"))
			until(t, "it was tried twice", func() bool {
				s, _ := w.situation("cart")
				return len(s.units) == 1 && s.units[0].Attempts >= 2
			})
			s, _ := w.situation("cart")
			if s.units[0].Phase != model.UnitPending || s.units[0].NextRetryAt == nil || len(w.unitsIn("a")) != 1 {
				t.Errorf("got %+v and units %v, want it PENDING to be tried again, and one unit", s.units[0], w.unitsIn("a"))
			}
			w.sims["a"].SetFaults(sim.Faults{})
			w.running()
			w.converged()
			w.noDuplicates(t)
		})
	}
}

// TestOverGRPC: the same over the other protocol.
func TestOverGRPC(t *testing.T) {
	t.Parallel()
	w := newWorld(t, overGRPC)
	w.lead(1)
	w.put(cartOf("img:1", "a", "b"))
	w.settledIn("a", "b")
	old := w.onlyUnitIn("a")
	w.put(cartOf("img:2", "a"))
	w.settledIn("a")
	if got := w.onlyUnitIn("a"); got == old {
		t.Errorf("unit: got %s still, want another one", got)
	}
	lost := w.onlyUnitIn("a")
	if _, err := w.sims["a"].Lose(lost); err != nil {
		t.Fatal(err)
	}
	w.leader().PollUnits("a", true)
	until(t, "the lost unit is back", func() bool { return slices.Equal(w.unitsIn("a"), []string{lost}) })
	w.apply(storage.DeleteDeployment{Key: "cart"})
	w.gone()
	if got := len(w.unitsIn("a")) + len(w.unitsIn("b")); got != 0 {
		t.Errorf("got %d units, want none", got)
	}
}

func TestRefusedUnitIsDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withConfig(func(c *Config) { c.RefusedRetryInterval = time.Hour }))
	w.sims["a"].SetFaults(sim.Faults{Calls: []string{"deploy"}, Status: 422})
	w.lead(1)
	w.put(cart("a", "b"))
	until(t, "down", func() bool { return w.deployment().Condition == model.DeploymentDown })
	until(t, "the other one runs", func() bool {
		s, _ := w.situation("cart")
		return len(s.units) == 2 && s.units[1].Phase == model.UnitRunning
	})
	c := condition(t, w.deployment(), ConditionDispatched)
	if c.Reason != "Refused" || c.Status != model.ConditionFalse {
		t.Errorf("got %+v, want False, Refused", c)
	}
	deploys := 0
	for _, call := range w.sims["a"].Calls(0) {
		if call.Name == "deploy" {
			deploys++
		}
	}
	if deploys != 1 {
		t.Errorf("got %d deploy calls, want 1: a refusal is not repeated soon", deploys)
	}
}

// Credentials that have expired say nothing about what is deployed: nothing is
// given up for them, and all goes on when they are renewed.
func TestRefusedCallerIsNoRefusedUnit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withConfig(func(c *Config) { c.RefusedRetryInterval = time.Hour }))
	w.sims["a"].SetFaults(sim.Faults{Status: 401})
	w.lead(1)
	d := cart("a", "b")
	partial := true
	d.RollbackOnPartial = &partial
	w.put(d)
	until(t, "what is wrong is told", func() bool {
		s, _ := w.situation("cart")
		return len(s.units) == 2 && s.units[0].Attempts > 1 && strings.Contains(s.units[0].LastError, "401") && s.units[1].Phase == model.UnitRunning
	})
	if s, _ := w.situation("cart"); s.units[0].Phase != model.UnitPending {
		t.Errorf("unit: got %s, want PENDING", s.units[0].Phase)
	}
	w.sims["a"].SetFaults(sim.Faults{})
	until(t, "all run", func() bool { return w.deployment().Condition == model.DeploymentRunning })
}

func TestUnknownEnvironment(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.lead(1)
	w.put(cart("a", "mars"))
	until(t, "the known one runs", func() bool {
		s, _ := w.situation("cart")
		return len(s.units) == 1 && s.units[0].Phase == model.UnitRunning &&
			condition(t, s.deployment, ConditionReady).Message == "1 of 2 units run"
	})
	d := w.deployment()
	c := condition(t, d, ConditionPlanned)
	if c.Status != model.ConditionFalse || c.Reason != plan.ReasonUnknownEnvironment {
		t.Errorf("got %+v, want False, UnknownEnvironment", c)
	}
	contains(t, c.Message, "mars")
	contains(t, d.Status.LastError, "mars")
	if d.Condition != model.DeploymentDown {
		t.Errorf("condition: got %s, want DOWN", d.Condition)
	}
}

func TestLostUnitIsDeployedAgain(t *testing.T) {
	t.Parallel()
	for name, see := range map[string]func(*world, string){
		"told by drift": func(w *world, id string) {
			w.leader().Observe("a", Report{Unit: id, Deployment: "cart", Lost: true})
		},
		"found by a poll": func(w *world, _ string) { w.leader().PollUnits("a", true) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.lead(1)
			w.put(cart("a"))
			w.running()
			id := w.onlyUnitIn("a")
			if lost, err := w.sims["a"].Lose(id); !lost || err != nil {
				t.Fatalf("lose: got %v, %v, want true, nil", lost, err)
			}
			see(w, id)
			until(t, "unit is back", func() bool { return slices.Equal(w.unitsIn("a"), []string{id}) })
			w.running()
			// A CRM that answers by key would otherwise repeat its first answer and not
			// make the unit.
			if keys := w.keys("a", "deploy"); len(keys) != 2 {
				t.Errorf("idempotency keys: got %v, want two", keys)
			}
			if got := w.events("cart"); !slices.Contains(got, "UnitLost") {
				t.Errorf("events: got %v, want UnitLost", got)
			}
		})
	}
}

func TestUnitGoesDownAndComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.lead(1)
	w.put(cart("a"))
	w.running()
	w.leader().PollUnits("a", true)
	w.sims["a"].SetFaults(sim.Faults{Condition: "Failed"})
	until(t, "down", func() bool { return w.deployment().Condition == model.DeploymentDown })
	w.sims["a"].SetFaults(sim.Faults{})
	w.running()
	if got := len(w.effects("a")); got != 1 {
		t.Errorf("got effects %v, want only the first creation", w.effects("a"))
	}
}

func TestFullClusterThenRoom(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withSim("a", func(c *sim.Config) { c.Capacity = 1 }))
	w.lead(1)
	w.put(cart("a"))
	w.running()
	other := cart("a")
	other.Key = "other"
	w.put(other)
	until(t, "the error is shown", func() bool {
		s, _ := w.situation("other")
		return s.deployment.Status != nil && s.deployment.Status.LastError != ""
	})
	s, _ := w.situation("other")
	contains(t, s.deployment.Status.LastError, "no room")
	w.apply(storage.DeleteDeployment{Key: "cart"})
	until(t, "other runs", func() bool {
		s, _ := w.situation("other")
		return s.deployment.Condition == model.DeploymentRunning
	})
}

// TestSteadyStateWritesAndCallsNothing: nothing happens while nothing changes,
// however often everything is looked at.
func TestSteadyStateWritesAndCallsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(cart("a", "b"))
	d := w.dispatcher(metrics.NewSet())
	w.start(d, 1)
	w.running()
	r := w.leader().running()
	settled := func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, t := range r.deployments["cart"].units {
			if t.busy || t.outcome != nil {
				return false
			}
		}
		return r.queue.depth() == 0
	}
	until(t, "nothing is on its way", settled)
	before, calls := w.store.Status().AppliedIndex, w.allCalls()
	for range 5 {
		reconciles := d.metrics.reconciles.Get()
		if err := r.resync(t.Context()); err != nil {
			t.Fatal(err)
		}
		until(t, "resync is done", func() bool { return d.metrics.reconciles.Get() > reconciles })
	}
	until(t, "nothing is on its way", settled)
	if after := w.store.Status().AppliedIndex; after != before {
		t.Errorf("applied index: got %d, want still %d", after, before)
	}
	if got := w.allCalls(); got != calls {
		t.Errorf("calls: got %d, want still %d", got, calls)
	}
	if got := d.phases(model.UnitRunning); got != 2 {
		t.Errorf("running units: got %v, want 2", got)
	}
	until(t, "the plan of a settled deployment is not kept", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.deployments["cart"].plan == nil
	})
}

// TestPollsWriteNothing: units that have to be asked for one by one are, and
// nothing is recorded while the answers are the same.
func TestPollsWriteNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.lead(1)
	w.put(cart("a"))
	w.running()
	polls := w.calls("a", "status")
	w.leader().PollUnits("a", true)
	until(t, "a poll", func() bool { return w.calls("a", "status") > polls })
	before := w.store.Status().AppliedIndex
	until(t, "more polls", func() bool { return w.calls("a", "status") > polls+4 })
	if after := w.store.Status().AppliedIndex; after != before {
		t.Errorf("applied index: got %d, want still %d", after, before)
	}
}

// allCalls counts the calls to all clusters.
func (w *world) allCalls() (n int) {
	for _, s := range w.sims {
		n += len(s.Calls(0))
	}
	return n
}
