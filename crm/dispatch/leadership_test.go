package dispatch

import (
	"slices"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/crm/sim"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// calls counts a simulator's calls of a name.
func (w *world) calls(cluster, name string) (n int) {
	for _, call := range w.sims[cluster].Calls(0) {
		if call.Name == name {
			n++
		}
	}
	return n
}

// keys returns the different idempotency keys of a simulator's calls of a name.
func (w *world) keys(cluster, name string) []string {
	var keys []string
	for _, call := range w.sims[cluster].Calls(0) {
		if call.Name == name && !slices.Contains(keys, call.IdempotencyKey) {
			keys = append(keys, call.IdempotencyKey)
		}
	}
	return keys
}

func TestCrashBetweenIntentAndCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sims["a"].SetFaults(sim.Faults{Hang: true})
	stop := w.lead(1)
	w.put(cart("a", "b"))
	until(t, "intent is recorded", func() bool {
		s, _ := w.situation("cart")
		return len(s.units) == 2 && s.units[0].Phase == model.UnitPending
	})
	stop()
	if got := w.effects("a"); len(got) != 0 {
		t.Fatalf("got %v, want nothing: the call hung before its effect", got)
	}
	w.sims["a"].SetFaults(sim.Faults{})
	w.lead(2)
	w.running()
	w.converged()
	w.oneOfEach("a", "b")
}

func TestCrashBetweenCallAndOutcome(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sims["a"].SetFaults(sim.Faults{Calls: []string{"deploy"}, HangReply: true})
	stop := w.lead(1)
	w.put(cart("a", "b"))
	until(t, "unit exists", func() bool { return len(w.unitsIn("a")) == 1 })
	stop()
	s, _ := w.situation("cart")
	if s.units[0].Phase != model.UnitPending || s.units[0].Cluster != "a" {
		t.Fatalf("got %+v, want PENDING in a: the outcome was never seen", s.units[0])
	}
	w.sims["a"].SetFaults(sim.Faults{})
	w.lead(2)
	w.running()
	w.converged()
	w.oneOfEach("a", "b")
	if keys := w.keys("a", "deploy"); len(keys) != 1 || keys[0] == "" || w.calls("a", "deploy") < 2 {
		t.Errorf("idempotency keys: got %q, want one for the call and its repetition", keys)
	}
}

func TestCrashWhileDeleting(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]sim.Faults{
		"before the effect": {Calls: []string{"delete"}, Hang: true},
		"after the effect":  {Calls: []string{"delete"}, HangReply: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			stop := w.lead(1)
			w.put(cart("a", "b"))
			w.running()
			w.sims["a"].SetFaults(fault)
			w.apply(storage.DeleteDeployment{Key: "cart"})
			until(t, "b is clean, a is on its way", func() bool {
				s, _ := w.situation("cart")
				reached := !fault.HangReply || len(w.unitsIn("a")) == 0
				return len(s.units) == 1 && s.units[0].Phase == model.UnitDeleting && reached
			})
			stop()
			w.sims["a"].SetFaults(sim.Faults{})
			w.lead(2)
			w.gone()
			if a, b := w.unitsIn("a"), w.unitsIn("b"); len(a)+len(b) != 0 {
				t.Errorf("got units %v and %v, want none", a, b)
			}
		})
	}
}

func TestUpdateDuringCrashLeavesNoOrphan(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sims["a"].SetFaults(sim.Faults{Calls: []string{"deploy"}, HangReply: true})
	stop := w.lead(1)
	w.put(cart("a"))
	until(t, "unit exists", func() bool { return len(w.unitsIn("a")) == 1 })
	stop()
	changed := cart("a")
	changed.EnvTemplates = map[string]string{"a": "edge"}
	w.put(changed)
	w.sims["a"].SetFaults(sim.Faults{})
	w.lead(2)
	w.running()
	w.converged()
	if got := w.sims["a"].Units()[0].Unit.SelectedTemplate; got != "edge" {
		t.Errorf("template: got %q, want edge", got)
	}
}

// TestDeployOfEarlierLeaderMayArrive: a CRM that knows no terms may carry out
// the deploy call of a leader that is gone, after its successor has deleted.
func TestDeployOfEarlierLeaderMayArrive(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withConfig(func(c *Config) { c.UncertainPeriod = 1500 * time.Millisecond }))
	w.sims["a"].SetFaults(sim.Faults{Calls: []string{"deploy"}, Hang: true})
	stop := w.lead(1)
	w.put(cart("a"))
	until(t, "intent is recorded", func() bool {
		s, _ := w.situation("cart")
		return len(s.units) == 1
	})
	stop()
	w.apply(storage.DeleteDeployment{Key: "cart"})
	w.lead(2)
	w.gone()
	if got := w.calls("a", "delete"); got < 2 {
		t.Errorf("delete calls: got %d, want it repeated when the uncertain time is over", got)
	}
}

func TestDeposedLeaderIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.leadStale(1)
	w.leader().PollUnits("a", true) // so that it goes on calling
	w.put(cart("a"))
	w.running()
	w.lead(2)
	w.leader().PollUnits("a", true)
	// The order of the journal is that of the effects.
	sinceDeposed := func() []sim.Call {
		calls := w.sims["a"].Calls(0)
		first := slices.IndexFunc(calls, func(c sim.Call) bool { return c.Term == 2 })
		return calls[max(first, 0):]
	}
	until(t, "the old leader calls after the new one", func() bool {
		calls := sinceDeposed()
		return calls[0].Term == 2 && slices.ContainsFunc(calls, func(c sim.Call) bool { return c.Term == 1 })
	})
	// The world goes on under the new leader alone.
	changed := cart("a")
	changed.EnvTemplates = map[string]string{"a": "edge"}
	w.put(changed)
	w.running()
	w.converged()
	for _, call := range sinceDeposed() {
		if call.Term == 1 && (call.Status != 409 || call.Effect != sim.EffectRefused) {
			t.Errorf("got %+v, want it refused", call)
		}
	}
}

func TestStopCancelsCallsInFlight(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sims["a"].SetFaults(sim.Faults{Hang: true})
	w.sims["b"].SetFaults(sim.Faults{Hang: true})
	stop := w.lead(1)
	w.put(cart("a", "b"))
	until(t, "intent is recorded", func() bool {
		s, _ := w.situation("cart")
		return len(s.units) == 2
	})
	stop() // hangs itself, and fails the test by its timeout, if a call is not cancelled
	if got := w.calls("a", "deploy"); got != 0 {
		t.Errorf("got %d calls with an effect, want 0", got)
	}
}

// oneOfEach asserts that each cluster saw exactly one creation and no deletion.
func (w *world) oneOfEach(clusters ...string) {
	w.t.Helper()
	for _, cluster := range clusters {
		if got, want := w.effects(cluster), []string{"created " + w.onlyUnitIn(cluster)}; !slices.Equal(got, want) {
			w.t.Errorf("cluster %s: got %v, want %v", cluster, got, want)
		}
	}
}
