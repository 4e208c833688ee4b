package dispatch

import (
	"testing"
	"time"

	"github.com/oprc/oprc-pm/model"
)

func none(string) *silence { return nil }

func TestReachable(t *testing.T) {
	t.Parallel()
	all := []model.UnitStatus{rec("a", "u1", model.UnitRunning), rec("b", "u2", model.UnitRunning), rec("c", "u3", model.UnitRunning)}
	plan := planOf("a", "u1", "b", "u2", "c", "u3")
	health := func(status, reason string) model.ClusterHealth {
		return model.ClusterHealth{Status: status, Reason: reason, Since: &before}
	}
	const since = " since 2026-01-02T03:04:05Z"
	cases := map[string]struct {
		wish    wish
		units   []model.UnitStatus
		health  map[string]model.ClusterHealth // of others than healthy ones
		missing string
		want    string // "": reachable
	}{
		"all": {wish: wish{plan: plan}, units: all},
		"one is lost": {wish: wish{plan: plan}, units: all, health: map[string]model.ClusterHealth{"c": health(model.ClusterUnhealthy, "ProbeFailed")},
			want: "2 of 3 units confirmed; cannot be asked: c" + since},
		"two, one that flaps and one that nobody may ask": {wish: wish{plan: plan}, units: all,
			health: map[string]model.ClusterHealth{"a": health(model.ClusterUnknown, "CallerRefused"), "c": health(model.ClusterUnhealthy, "Flapping")},
			want:   "1 of 3 units confirmed; cannot be asked: a" + since + ", c" + since},
		"never probed": {wish: wish{plan: plan}, units: all, health: map[string]model.ClusterHealth{"b": {Status: model.ClusterUnknown, Reason: "NotProbed"}},
			want: "2 of 3 units confirmed; cannot be asked: b"},
		"not registered": {wish: wish{plan: plan}, units: all, missing: "b", want: "2 of 3 units confirmed; cannot be asked: b (not registered)"},
		"unhealthy by their own word": {wish: wish{plan: plan}, units: all, health: map[string]model.ClusterHealth{
			"a": health(model.ClusterUnhealthy, "NoReadyNodes"), "b": health(model.ClusterUnhealthy, "ReportedUnhealthy"), "c": health(model.ClusterDegraded, "ProbeFailed")}},
		"nothing was ever heard from there": {wish: wish{plan: plan}, units: []model.UnitStatus{all[0], rec("c", "u3", model.UnitPending)},
			health: map[string]model.ClusterHealth{"c": health(model.ClusterUnhealthy, "ProbeFailed")}},
		"an old unit does not count": {wish: wish{plan: planOf("a", "u1")}, units: all, health: map[string]model.ClusterHealth{"c": health(model.ClusterUnhealthy, "")}},
		"all count when there is no plan": {wish: wish{unplanned: true}, units: all, health: map[string]model.ClusterHealth{"c": health(model.ClusterUnhealthy, "")},
			want: "2 of 3 units confirmed; cannot be asked: c" + since},
		"or when all are to go": {wish: wish{deleting: true}, units: append(all, rec("c", "u4", model.UnitDeleting)),
			health: map[string]model.ClusterHealth{"c": health(model.ClusterUnhealthy, "")},
			want:   "2 of 4 units confirmed; cannot be asked: c" + since},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := question{w: c.wish, known: func(cluster string) bool { return cluster != c.missing }}
			q.silence = func(cluster string) *silence {
				if h, special := c.health[cluster]; special && !canBeAsked(h) {
					return &silence{since: h.Since}
				}
				return nil
			}
			got := observer{question: q, view: view{records: c.units}, wanted: wantedRecords(c.wish, c.units)}.reachable()
			if c.want == "" {
				if got.Status != model.ConditionTrue {
					t.Errorf("got %+v, want True", got)
				}
			} else if got.Status != model.ConditionFalse || got.Message != c.want {
				t.Errorf("got %s, %q, want False, %q", got.Status, got.Message, c.want)
			}
		})
	}
}

// TestLostClusterIsTold: a deployment says at once that it does not know how its
// units are, and that it does again; time alone changes nothing.
func TestLostClusterIsTold(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, w *world) {
		w.lead(1)
		w.put(cart("a", "b"))
		w.pass(time.Minute)
		expect := func(when string, status model.ConditionStatus, message string) {
			t.Helper()
			d := w.deployment()
			c := condition(t, d, ConditionReachable)
			if c.Status != status || c.Message != message {
				t.Errorf("%s: got %s, %q, want %s, %q", when, c.Status, c.Message, status, message)
			}
			if ready := condition(t, d, ConditionReady); ready.Status != model.ConditionTrue || d.Condition != model.DeploymentRunning {
				t.Errorf("%s: got Ready %s and %s, want it as it last was", when, ready.Status, d.Condition)
			}
		}
		const all = "every cluster with units can be asked"
		expect("at first", model.ConditionTrue, all)
		begun := time.Now().UTC().Format(time.RFC3339)
		w.gate.set("b", true)
		w.unhealthy("b")
		w.pass(time.Second)
		lost := "1 of 2 units confirmed; cannot be asked: b since " + begun
		expect("when b is lost", model.ConditionFalse, lost)
		written := w.written()
		w.pass(24 * time.Hour)
		if got := w.written(); got != written {
			t.Errorf("applied index: got %d, want still %d", got, written)
		}
		w.leader().Wake("cart")
		expect("a day later", model.ConditionFalse, lost)
		// It comes and goes.
		for range 100 {
			w.healthy("b")
			w.pass(50 * time.Second)
			w.unhealthy("b")
			w.pass(50 * time.Second)
		}
		expect("while b comes and goes", model.ConditionFalse, lost)
		w.gate.set("b", false)
		commands := w.written()
		w.healthy("b")
		w.pass(w.cfg.CalmPeriod - time.Second)
		expect("before b has been back for long", model.ConditionFalse, lost)
		w.pass(2 * time.Second)
		expect("when it has", model.ConditionTrue, all)
		w.pass(time.Hour)
		if got := w.written() - commands; got != 2 {
			t.Errorf("got %d commands, want two: b's health, and that it can be asked", got)
		}
	})
}
