package dispatch

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/oprc/oprc-pm/crm/sim"
	"github.com/oprc/oprc-pm/model"
)

// wallClock is one that can be set.
type wallClock struct{ offset atomic.Int64 }

func (c *wallClock) set(offset time.Duration) { c.offset.Store(int64(offset)) }
func (c *wallClock) now() time.Time {
	return time.Now().Round(0).Add(time.Duration(c.offset.Load()))
}

// comesUpAfter has units of img:slow take a time to run, everywhere.
func (w *world) comesUpAfter(d time.Duration) {
	for _, s := range w.sims {
		s.SetFaults(sim.Faults{Units: []sim.UnitFault{{Image: "img:slow", TimeToRunning: sim.Duration(d)}}})
	}
}

// progress tells the phase of the rollout and how many clusters it is done with.
func (w *world) progress() (model.RolloutPhase, uint32) {
	w.t.Helper()
	status := w.deployment().RolloutStatus
	return status.Phase, status.Updated
}

func (w *world) expectProgress(when string, phase model.RolloutPhase, updated uint32) {
	w.t.Helper()
	if gotPhase, got := w.progress(); gotPhase != phase || got != updated {
		w.t.Errorf("%s: got %s with %d done, want %s with %d: %s", when, gotPhase, got, phase, updated, w.deployment().RolloutStatus.Message)
	}
}

var jumps = []time.Duration{time.Hour, -time.Hour}

// TestDeadlineAndAWallClockThatJumps: neither is a rollout late sooner because
// somebody set a clock, nor does it get more time.
func TestDeadlineAndAWallClockThatJumps(t *testing.T) {
	t.Parallel()
	for _, jump := range jumps {
		t.Run(jump.String(), func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(_ *testing.T, w *world) {
				var clock wallClock
				w.now = clock.now
				w.lead(1)
				w.put(cartOf("img:1", "a", "b"))
				w.pass(time.Minute)
				w.comesUpAfter(9 * time.Minute)
				next := cartOf("img:slow", "a", "b")
				next.Rollout = &model.Rollout{Strategy: model.RolloutWaves, ProgressDeadline: length("10m")}
				w.put(next)
				w.pass(5 * time.Minute)
				clock.set(jump)
				w.leader().Wake("cart")
				w.pass(time.Second)
				w.expectProgress("after the jump", model.RolloutProgressing, 0)
				w.pass(5 * time.Minute)
				w.expectProgress("after the first wave", model.RolloutProgressing, 1)
				w.comesUpAfter(time.Hour) // the second wave does not come up
				w.pass(8 * time.Minute)
				clock.set(2 * jump)
				w.leader().Wake("cart")
				w.pass(30 * time.Second)
				w.expectProgress("before the second one is late", model.RolloutProgressing, 1)
				w.pass(2 * time.Minute)
				w.expectProgress("when it is", model.RolloutFailed, 1)
			})
		})
	}
}

// soaking is the next generation of cart, whose waves soak for ten minutes.
func soaking(image string) model.Deployment {
	next := cartOf(image, "a", "b")
	next.Rollout = &model.Rollout{Strategy: model.RolloutWaves, Soak: length("10m")}
	return next
}

// imageIn asserts which images run in a cluster.
func (w *world) imageIn(when, cluster string, want ...string) {
	w.t.Helper()
	if got := w.images(cluster); !slices.Equal(got, want) {
		w.t.Errorf("%s: cluster %s has %v, want %v", when, cluster, got, want)
	}
}

func TestSoakAndAWallClockThatJumps(t *testing.T) {
	t.Parallel()
	for _, jump := range jumps {
		t.Run(jump.String(), func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(_ *testing.T, w *world) {
				var clock wallClock
				w.now = clock.now
				w.lead(1)
				w.put(cartOf("img:1", "a", "b"))
				w.pass(time.Minute)
				w.put(soaking("img:2"))
				w.pass(5 * time.Minute)
				w.imageIn("while it soaks", "a", "img:2")
				clock.set(jump)
				w.leader().Wake("cart")
				w.pass(4*time.Minute + 50*time.Second)
				w.imageIn("just before the soak is over", "b", "img:1")
				w.pass(20 * time.Second)
				w.imageIn("after it", "b", "img:2")
				w.expectProgress("in the end", model.RolloutComplete, 2)
			})
		})
	}
}

// TestNextLeaderWithAnotherClock: what another process recorded by its own clock
// makes nothing late and no soak shorter; it begins anew, and nothing is written
// for that.
func TestNextLeaderWithAnotherClock(t *testing.T) {
	t.Parallel()
	for _, difference := range []time.Duration{10 * time.Minute, -10 * time.Minute, 24 * time.Hour} {
		t.Run(difference.String(), func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(_ *testing.T, w *world) {
				stop := w.lead(1)
				w.put(cartOf("img:1", "a", "b"))
				w.pass(time.Minute)
				w.put(soaking("img:2"))
				w.pass(8 * time.Minute)
				stop()
				var clock wallClock
				clock.set(difference)
				w.now = clock.now
				stop = w.lead(2)
				written := w.store.Status().AppliedIndex
				w.pass(9*time.Minute + 50*time.Second)
				w.imageIn("before the new leader has seen it soak", "b", "img:1")
				if got := w.store.Status().AppliedIndex; got != written {
					w.t.Errorf("applied index: got %d, want still %d: time alone writes nothing", got, written)
				}
				w.pass(20 * time.Second)
				w.imageIn("once it has", "b", "img:2")

				w.comesUpAfter(15 * time.Minute)
				next := cartOf("img:slow", "a", "b")
				next.Rollout = &model.Rollout{Strategy: model.RolloutWaves, ProgressDeadline: length("10m")}
				w.put(next)
				w.pass(8 * time.Minute)
				stop()
				w.now = nil
				w.lead(3)
				w.pass(6 * time.Minute)
				w.expectProgress("before the new leader has seen it stand still for long", model.RolloutProgressing, 0)
				w.pass(2 * time.Minute)
				w.expectProgress("when it got on", model.RolloutProgressing, 1)
			})
		})
	}
}

// TestRolloutFinishesWhileLeadersChange: a process that leads again goes on from
// what it saw before, so a rollout with a soak gets through however short the
// terms are; and it is not late for having had many leaders.
func TestRolloutFinishesWhileLeadersChange(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, w *world) {
		var nodes []*Dispatcher
		for _, offset := range []time.Duration{0, 10 * time.Minute, -10 * time.Minute} {
			clock := &wallClock{}
			clock.set(offset)
			w.now = clock.now
			nodes = append(nodes, w.dispatcher(metrics.NewSet()))
		}
		term := uint64(0)
		turn := func(until func() bool, most time.Duration) {
			t.Helper()
			for begun := time.Now(); !until(); {
				if time.Since(begun) > most {
					t.Fatalf("got %+v after %s", w.deployment().RolloutStatus, most)
				}
				term++
				w.store.term.Store(term)
				stop := w.start(nodes[term%3], term)
				w.pass(3 * time.Second)
				stop()
			}
		}
		phase := func(phase model.RolloutPhase, updated uint32) func() bool {
			return func() bool {
				s := w.deployment().RolloutStatus
				return s != nil && s.Generation == w.deployment().Generation && s.Phase == phase && s.Updated == updated
			}
		}
		w.put(cartOf("img:1", "a", "b"))
		turn(phase(model.RolloutComplete, 2), time.Minute)
		w.put(soaking("img:2"))
		turn(phase(model.RolloutProgressing, 1), time.Minute)
		begun := time.Now()
		turn(phase(model.RolloutComplete, 2), 11*time.Minute)
		if took := time.Since(begun); took < 9*time.Minute+50*time.Second {
			t.Errorf("the second wave began after %s, want it to wait until the first has soaked", took)
		}
		// Whoever sees something not come up does so in the end.
		w.sims["a"].SetFaults(bad("Pending"))
		next := cartOf("img:bad", "a", "b")
		next.Rollout = &model.Rollout{Strategy: model.RolloutWaves, ProgressDeadline: length("5m")}
		w.put(next)
		begun = time.Now()
		turn(phase(model.RolloutFailed, 0), 6*time.Minute)
		if took := time.Since(begun); took < 5*time.Minute {
			t.Errorf("late after %s, want 5m", took)
		}
	})
}

// TestSightingsAreForgotten: what is kept between runs is what is rolled out.
func TestSightingsAreForgotten(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, w *world) {
		d := w.dispatcher(metrics.NewSet())
		stop := w.start(d, 1)
		w.put(cartOf("img:1", "a", "b"))
		w.pass(time.Minute)
		stop()
		if len(d.remembered) != 0 {
			t.Errorf("complete: got %v remembered, want nothing", d.remembered)
		}
		stop = w.start(d, 2)
		w.put(soaking("img:2"))
		w.pass(time.Minute)
		stop()
		if got := d.remembered["cart"]; len(got.units) != 2 || got.rollout.revision != 2 {
			t.Errorf("rolled out: got %+v remembered, want revision 2 and two units that run", got)
		}
		stop = w.start(d, 3)
		w.pass(time.Minute)
		stop()
		w.start(w.dispatcher(metrics.NewSet()), 4)
		w.pass(11 * time.Minute) // another process finishes it, and time goes by
		w.pass(rememberedFor)
		d.remembered["gone"] = d.remembered["cart"]
		stop = w.start(d, 5)
		w.pass(time.Minute)
		stop()
		if len(d.remembered) != 0 {
			t.Errorf("long after: got %v remembered, want nothing", d.remembered)
		}
	})
}
