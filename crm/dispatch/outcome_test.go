package dispatch

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/crm/sim"
	"github.com/oprc/oprc-pm/model"
)

// saying are faults of a cluster in which units of img:bad stay as they are.
func saying(condition, message string) sim.Faults {
	return sim.Faults{Units: []sim.UnitFault{{Image: "img:bad", Condition: condition, Message: message}}}
}

// written is the index of the last command.
func (w *world) written() uint64 { return w.store.Status().AppliedIndex }

func TestFailedRolloutSaysWhy(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, w *world) {
		for _, s := range w.sims {
			s.SetFaults(saying("Pending", "pulls the image"))
		}
		w.sims["c"].SetFaults(sim.Faults{Status: 503})
		w.lead(1)
		d := cartOf("img:bad", "a", "b", "c")
		d.Rollout = &model.Rollout{ProgressDeadline: length("1m")}
		w.put(d)
		w.pass(10 * time.Second)
		if s, _ := w.situation("cart"); s.units[0].Message != "pulls the image" {
			t.Errorf("unit: got message %q, want the first that the cluster said, at once", s.units[0].Message)
		}
		for _, name := range []string{"a", "b"} {
			w.sims[name].SetFaults(saying("Pending", "ImagePullBackOff\nno such image"))
		}
		w.pass(time.Minute)
		const want = "not running within 1m in a, b, c: a says ImagePullBackOff no such image; c: deploy: answered 503"
		d = w.deployment()
		if d.RolloutStatus.Phase != model.RolloutFailed || d.RolloutStatus.Message != want {
			t.Errorf("rollout: got %s, %q, want it failed, %q", d.RolloutStatus.Phase, d.RolloutStatus.Message, want)
		}
		events := w.eventList("cart")
		failed := slices.IndexFunc(events, func(e model.Event) bool { return e.Reason == "RolloutFailed" })
		if failed < 0 {
			t.Fatalf("events: got %v, want RolloutFailed", w.events("cart"))
		}
		contains(t, events[failed].Message, want)
	}, withClusters("c"))
}

// TestTextsOfClustersAreRarelyWritten: what a cluster says of a unit that does not
// get on is taken over, but not as often as it changes, nor when it does not.
func TestTextsOfClustersAreRarelyWritten(t *testing.T) {
	t.Parallel()
	for _, condition := range []string{"Deploying", "Down"} {
		t.Run(condition, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, w *world) {
				w.sims["a"].SetFaults(saying(condition, "as before"))
				stop := w.lead(1)
				w.put(cartOf("img:bad", "a"))
				w.pass(time.Minute)
				before := w.written()
				w.pass(3 * time.Hour)
				if got := w.written(); got != before {
					t.Errorf("the same text: got %d commands, want none", got-before)
				}
				said := 0
				tick := func(term uint64, d time.Duration) {
					for begun := time.Now(); time.Since(begun) < d; said++ {
						w.sims["a"].SetFaults(saying(condition, fmt.Sprintf("restarted %d times", said)))
						w.pass(2 * time.Second)
					}
				}
				tick(1, 40*time.Minute)
				s, _ := w.situation("cart")
				if got := w.written() - before; got < 2 || got > 6 {
					t.Errorf("another text every 2 s for 40 m: got %d commands, want two to six", got)
				}
				contains(t, s.units[0].Message, "restarted")
				before = w.written()
				for term := uint64(2); term < 42; term++ {
					stop()
					stop = w.lead(term)
					tick(term, 30*time.Second)
				}
				if got := w.written() - before; got > 0 {
					t.Errorf("another text and another leader all the time: got %d commands, want none within a minute", got)
				}
			}, withConfig(func(c *Config) { c.ProgressDeadline = 1000 * time.Hour }))
		})
	}
}

// TestStaleTermIsTriedAgain: the store says that this leader leads, so a CRM that
// says otherwise is asked again before long, and people are told.
func TestStaleTermIsTriedAgain(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, w *world) {
		var calls []time.Time
		w.sims["a"].SetFaults(sim.Faults{StaleTerm: true})
		w.lead(1)
		w.put(cart("a", "b"))
		w.pass(time.Hour)
		for _, call := range w.sims["a"].Calls(0) {
			calls = append(calls, call.At)
		}
		if len(calls) < 50 || len(calls) > 100 {
			t.Errorf("got %d calls in an hour, want about one a minute", len(calls))
		}
		for i := range calls[1:] {
			if gap := calls[i+1].Sub(calls[i]); gap > 70*time.Second {
				t.Errorf("got a gap of %s, want a minute at most", gap)
			}
		}
		contains(t, w.deployment().Status.LastError, fencedText)
		w.sims["a"].SetFaults(sim.Faults{})
		w.pass(70 * time.Second)
		if got := w.deployment().Condition; got != model.DeploymentRunning {
			t.Errorf("condition: got %s, want RUNNING", got)
		}
	})
}

// TestUnitThatIsOnlyRememberedIsDeployedAgain: a CRM may answer for a while about
// units that it does not run any more.
func TestUnitThatIsOnlyRememberedIsDeployedAgain(t *testing.T) {
	t.Parallel()
	for _, condition := range []string{"Deleted", "Terminated", "DELETED"} {
		for name, see := range map[string]func(w *world, id string){
			"found by a poll": func(w *world, _ string) { w.leader().PollUnits("a", true) },
			"told by drift": func(w *world, id string) {
				w.leader().Observe("a", Report{Unit: id, Deployment: "cart", Condition: condition})
			},
		} {
			t.Run(condition+" "+name, func(t *testing.T) {
				t.Parallel()
				inBubble(t, func(t *testing.T, w *world) {
					w.lead(1)
					w.put(cartOf("img:bad", "a"))
					w.pass(time.Minute)
					id := w.onlyUnitIn("a")
					w.sims["a"].SetFaults(saying(condition, ""))
					see(w, id)
					w.pass(time.Hour)
					if got := w.calls("a", "deploy"); got < 3 || got > 60 {
						t.Errorf("got %d deploy calls in an hour, want several and not many", got)
					}
					if s, _ := w.situation("cart"); len(s.units) != 1 || s.units[0].ID != id || s.units[0].Phase == model.UnitDown {
						t.Errorf("got units %v, want %s on its way again", brief(s.units), id)
					}
					w.sims["a"].SetFaults(sim.Faults{})
					w.pass(10 * time.Minute)
					if got := w.deployment().Condition; got != model.DeploymentRunning {
						t.Errorf("condition: got %s, want RUNNING", got)
					}
					if got := w.events("cart"); !slices.Contains(got, "UnitLost") || slices.Contains(got, "UnitDown") {
						t.Errorf("events: got %v, want UnitLost and no UnitDown", strings.Join(got, " "))
					}
				})
			})
		}
	}
}
