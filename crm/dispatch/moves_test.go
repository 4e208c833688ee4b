package dispatch

import (
	"slices"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/crm/sim"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// placedOn returns the clusters that cart is recorded to be placed in.
func (w *world) placedOn() (clusters []string) {
	for _, p := range w.deployment().PlacedOn {
		clusters = append(clusters, p.Cluster)
	}
	slices.Sort(clusters)
	return clusters
}

// settledIn waits until cart runs in exactly these clusters.
func (w *world) settledIn(clusters ...string) {
	w.t.Helper()
	w.running()
	until(w.t, "cart runs in these clusters alone", func() bool {
		s, _ := w.situation("cart")
		return len(s.units) == len(clusters) && slices.Equal(clustersOf(s.units), clusters) &&
			s.deployment.Condition == model.DeploymentRunning
	})
	if got := w.placedOn(); !slices.Equal(got, clusters) {
		w.t.Errorf("placed on: got %v, want %v", got, clusters)
	}
	w.converged()
}

func TestPlacementIsRecordedWithTheIntent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sims["a"].SetFaults(sim.Faults{Hang: true})
	w.lead(1)
	w.put(cart("a"))
	until(t, "intent is recorded", func() bool { s, _ := w.situation("cart"); return len(s.units) == 1 })
	if got := w.placedOn(); !slices.Equal(got, []string{"a"}) {
		t.Errorf("placed on: got %v, want a, before any call was answered", got)
	}
	if got := w.events("cart"); !slices.Equal(got, []string{"Placed"}) {
		t.Errorf("events: got %v, want Placed", got)
	}
}

func TestPlacementSticks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.lead(1)
	d, one := cart(), uint32(1)
	d.Placement = &model.Placement{Clusters: &one}
	w.put(d)
	w.running()
	was := w.placedOn()
	// Other clusters become more attractive, and the one in use fails.
	w.specs["z"] = model.Cluster{}
	w.startSim("z", sim.Config{Name: "z"})
	w.unhealthy(was...)
	w.leader().Wake("cart")
	changed := d
	changed.EnvTemplates = map[string]string{was[0]: "edge"}
	w.put(changed)
	w.running()
	if got := w.placedOn(); !slices.Equal(got, was) {
		t.Errorf("placed on: got %v, want still %v", got, was)
	}
}

func TestEvictionMovesAndMakesBeforeItBreaks(t *testing.T) {
	t.Parallel()
	for _, reason := range []string{model.AvoidFailover, model.AvoidDrain} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, withClusters("c"), withSim("c", func(c *sim.Config) { c.TimeToRunning = 100 * time.Millisecond }))
			w.lead(1)
			w.put(optedIn())
			w.settledIn("a", "b")
			untouched := w.onlyUnitIn("b")
			w.leader().Evict("cart", "a", reason, "because")
			until(t, "the stand-in is on its way", func() bool { return len(w.unitsIn("c")) == 1 })
			if got := len(w.unitsIn("a")); got != 1 {
				t.Errorf("cluster a: got %d units, want the old one while the new one comes up", got)
			}
			w.settledIn("b", "c")
			w.madeBeforeBroken(t, "c", "a")
			if got := w.onlyUnitIn("b"); got != untouched {
				t.Errorf("cluster b: got unit %s, want it untouched: %s", got, untouched)
			}
			d := w.deployment()
			if len(d.AvoidedClusters) != 1 || d.AvoidedClusters[0].Cluster != "a" || d.AvoidedClusters[0].Reason != reason {
				t.Errorf("avoided: got %+v, want a, %s", d.AvoidedClusters, reason)
			}
			for _, want := range []string{"Evicted", "Moved"} {
				if got := w.events("cart"); count(got, want) != 1 {
					t.Errorf("events: got %v, want one %s", got, want)
				}
			}
			if got := w.events("cart"); slices.Contains(got, "RolloutStarted") {
				t.Errorf("events: got %v, want no rollout: a move is none", got)
			}
		})
	}
}

func count(list []string, what string) (n int) {
	for _, text := range list {
		if text == what {
			n++
		}
	}
	return n
}

// TestEvictionOfALostCluster: its unit cannot be deleted until it is back, and the
// record stays until then.
func TestEvictionOfALostCluster(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withClusters("c"))
	w.lead(1)
	w.put(optedIn())
	w.settledIn("a", "b")
	w.gate.set("a", true)
	w.unhealthy("a")
	w.leader().Evict("cart", "a", model.AvoidFailover, "lost")
	until(t, "the stand-in runs, and the old unit waits", func() bool {
		s, _ := w.situation("cart")
		return slices.Equal(clustersOf(s.units), []string{"a", "b", "c"}) &&
			s.units[0].Phase == model.UnitDeleting && s.units[0].Message == waitingText && s.units[2].Phase == model.UnitRunning
	})
	if got := w.calls("a", "delete"); got != 0 {
		t.Errorf("delete calls: got %d, want none: the circuit is open", got)
	}
	w.gate.set("a", false)
	w.healthy("a")
	w.leader().WakeCluster("a")
	w.settledIn("b", "c")
}

func TestNoFitMeansKeep(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.lead(1)
	w.put(optedIn())
	w.settledIn("a", "b")
	for range 3 {
		w.leader().Evict("cart", "a", model.AvoidFailover, "lost")
		until(t, "it is said", func() bool { return count(w.events("cart"), "NoFit") > 0 })
	}
	until(t, "the condition says so", func() bool {
		return condition(t, w.deployment(), ConditionPlanned).Reason == ReasonStranded
	})
	d := w.deployment()
	contains(t, condition(t, d, ConditionPlanned).Message, "a")
	if got := count(w.events("cart"), "NoFit"); got != 1 || len(d.AvoidedClusters) != 0 {
		t.Errorf("got %d events NoFit and avoided %v, want one and none", got, d.AvoidedClusters)
	}
	if d.Condition != model.DeploymentRunning || len(w.unitsIn("a")) != 1 {
		t.Errorf("got %s and units %v, want it to run on in a", d.Condition, w.unitsIn("a"))
	}
	// A cluster that fits comes; failover asks again.
	w.startSim("c", sim.Config{Name: "c"})
	w.leader().Evict("cart", "a", model.AvoidFailover, "lost")
	w.settledIn("b", "c")
	if got := condition(t, w.deployment(), ConditionPlanned).Reason; got != "Planned" {
		t.Errorf("condition Planned: got reason %s, want Planned", got)
	}
}

func TestReadmissionDropsARequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.lead(1)
	w.put(optedIn())
	w.settledIn("a", "b")
	w.leader().Evict("cart", "a", model.AvoidFailover, "lost")
	until(t, "stranded", func() bool { return condition(t, w.deployment(), ConditionPlanned).Reason == ReasonStranded })
	w.leader().Readmit("cart", "a")
	until(t, "not stranded any more", func() bool { return condition(t, w.deployment(), ConditionPlanned).Reason == "Planned" })
}

func TestFailback(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		failback bool
		want     []string
	}{
		"to the target that was named": {true, []string{"a", "b"}},
		"not where it is turned off":   {false, []string{"b", "c"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, withClusters("c"))
			w.lead(1)
			d := optedIn()
			d.Failover.Failback = &c.failback
			w.put(d)
			w.settledIn("a", "b")
			w.leader().Evict("cart", "a", model.AvoidFailover, "lost")
			w.settledIn("b", "c")
			w.leader().Readmit("cart", "a")
			until(t, "a is not avoided any more", func() bool { return len(w.deployment().AvoidedClusters) == 0 })
			w.settledIn(c.want...)
			if got := slices.Contains(w.events("cart"), "Failback"); got != c.failback {
				t.Errorf("events: got %v, want Failback: %v", w.events("cart"), c.failback)
			}
		})
	}
}

func TestBackupIsUsedInPlaceOfALostTarget(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withClusters("c", "d"))
	w.lead(1)
	d := optedIn()
	d.Failover.Backups = []string{"d", "c"}
	w.put(d)
	w.settledIn("a", "b")
	w.leader().Evict("cart", "a", model.AvoidFailover, "lost")
	w.settledIn("b", "d")
}

// TestUserMovesTheDeployment: the old place stays until the new one runs.
func TestUserMovesTheDeployment(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.lead(1)
	w.put(cart("a"))
	w.settledIn("a")
	w.sims["b"].SetFaults(sim.Faults{Calls: []string{"deploy"}, Status: 503})
	w.put(cart("b"))
	until(t, "the new place fails", func() bool {
		s, _ := w.situation("cart")
		return len(s.units) == 2 && s.units[1].Attempts > 2
	})
	if got := len(w.unitsIn("a")); got != 1 {
		t.Errorf("cluster a: got %d units, want the old one", got)
	}
	w.sims["b"].SetFaults(sim.Faults{})
	w.settledIn("b")
	w.madeBeforeBroken(t, "b", "a")
}

func TestNewClusterIsNoticed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.lead(1)
	w.put(cart("a", "late"))
	until(t, "late is unknown", func() bool {
		d := w.deployment()
		return d.Status != nil && d.Status.LastError == "not registered: late"
	})
	w.startSim("late", sim.Config{Name: "late"})
	w.settledIn("a", "late")
}

func TestRecoveredClusterFillsAShortfall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.unhealthy("b")
	w.lead(1)
	d, two := cart(), uint32(2)
	d.Placement = &model.Placement{Clusters: &two}
	w.put(d)
	until(t, "one is missing", func() bool {
		d := w.deployment()
		return d.Condition == model.DeploymentRunning && condition(t, d, ConditionPlanned).Reason == "NoFit"
	})
	w.healthy("b")
	w.settledIn("a", "b")
}

// TestUnitsOfARemovedCluster: what is recorded there stays and is told of until
// the cluster is removed by force, or comes back.
func TestUnitsOfARemovedCluster(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.lead(1)
	w.put(cart("a", "b"))
	w.settledIn("a", "b")
	if _, err := w.store.Apply(t.Context(), storage.Request{Command: storage.DeleteCluster{Name: "b"}}); model.CodeOf(err) != model.CodeConflict {
		t.Fatalf("delete cluster with units: got %v, want a conflict", err)
	}
	w.apply(storage.DeleteCluster{Name: "b", Force: true})
	until(t, "b is unknown, and nothing is recorded there", func() bool {
		s, _ := w.situation("cart")
		return len(s.units) == 1 && s.deployment.Status.LastError == "not registered: b"
	})
	if got := len(w.unitsIn("b")); got != 1 {
		t.Errorf("cluster b: got %d units, want what was left there", got)
	}
	w.apply(storage.DeleteDeployment{Key: "cart"})
	w.gone()
}

func TestCircuitOpenMeansNoCalls(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.gate.set("b", true)
	w.lead(1)
	w.put(cart("a", "b"))
	until(t, "a runs, b waits", func() bool {
		s, _ := w.situation("cart")
		return len(s.units) == 2 && s.units[0].Phase == model.UnitRunning && s.units[1].Message == waitingText
	})
	for range 3 {
		w.leader().Wake("cart")
	}
	s, _ := w.situation("cart")
	if got := len(w.sims["b"].Calls(0)); got != 0 || s.units[1].Attempts != 0 || s.units[1].NextRetryAt != nil {
		t.Errorf("got %d calls and %+v, want none and no attempt", got, s.units[1])
	}
	c := condition(t, s.deployment, ConditionDispatched)
	if c.Reason != "WaitingForCluster" {
		t.Errorf("condition Dispatched: got %+v, want WaitingForCluster", c)
	}
	w.gate.set("b", false)
	w.leader().WakeCluster("b")
	w.settledIn("a", "b")
	if s, _ := w.situation("cart"); s.units[1].Message != "" {
		t.Errorf("message: got %q, want none", s.units[1].Message)
	}
}

// TestReturnedClusterIsCalledAtOnce: the delays that its failures have earned a
// cluster are forgotten when it is back.
func TestReturnedClusterIsCalledAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withConfig(func(c *Config) { c.BackoffMin, c.BackoffMax, c.BackoffLong = time.Hour, time.Hour, time.Hour }))
	w.sims["a"].SetFaults(sim.Faults{Status: 503})
	w.lead(1)
	w.put(cart("a"))
	until(t, "the call has failed", func() bool {
		s, _ := w.situation("cart")
		return len(s.units) == 1 && s.units[0].Attempts == 1
	})
	s, _ := w.situation("cart")
	if next := s.units[0].NextRetryAt; next == nil || time.Until(*next) < 30*time.Minute {
		t.Errorf("next retry at: got %v, want it in about an hour", next)
	}
	w.sims["a"].SetFaults(sim.Faults{})
	w.leader().WakeCluster("a")
	w.settledIn("a")
	s, _ = w.situation("cart")
	if s.units[0].Attempts != 0 || s.units[0].NextRetryAt != nil {
		t.Errorf("got %+v, want the attempts forgotten", s.units[0])
	}
}

func TestGateHearsOfCalls(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withTimeout("b", "30ms"))
	w.sims["a"].SetFaults(sim.Faults{Calls: []string{"deploy"}, Status: 422})
	w.sims["b"].SetFaults(sim.Faults{Calls: []string{"deploy"}, Hang: true})
	w.lead(1)
	w.put(cart("a", "b"))
	reported := func(cluster string) (all, failed int) {
		w.gate.mu.Lock()
		defer w.gate.mu.Unlock()
		return w.gate.reports[cluster], w.gate.failed[cluster]
	}
	until(t, "both were called", func() bool { a, _ := reported("a"); _, b := reported("b"); return a > 1 && b > 1 })
	if _, failed := reported("a"); failed != 0 {
		t.Errorf("cluster a: got %d failures, want none: a refusal is an answer", failed)
	}
	if all, failed := reported("b"); all != failed {
		t.Errorf("cluster b: got %d failures of %d calls, want all", failed, all)
	}
}

// TestNextLeaderKeepsTheBackoff: a new leader does not hammer what its predecessor
// had learnt to leave alone.
func TestNextLeaderKeepsTheBackoff(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withConfig(func(c *Config) { c.BackoffMin, c.BackoffMax, c.BackoffLong = time.Hour, time.Hour, time.Hour }))
	w.sims["a"].SetFaults(sim.Faults{Status: 503})
	stop := w.lead(1)
	w.put(cart("a"))
	until(t, "the call has failed", func() bool {
		s, _ := w.situation("cart")
		return len(s.units) == 1 && s.units[0].Attempts == 1
	})
	stop()
	calls := w.calls("a", "deploy")
	w.lead(2)
	r := w.leader().running()
	until(t, "the new leader has looked", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		k := r.deployments["cart"]
		return k != nil && len(k.units) == 1 && r.queue.depth() == 0
	})
	if got := w.calls("a", "deploy"); got != calls {
		t.Errorf("deploy calls: got %d, want still %d", got, calls)
	}
}
