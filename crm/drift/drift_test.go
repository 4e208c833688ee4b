package drift

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/crm/sim"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

func TestLostUnitIsFound(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.running("a", unit(0))
	w.running("a", unit(1))
	l := w.lookout("a", 1)
	if l.look(t.Context()) || len(w.sink.list()) > 0 {
		t.Fatalf("all is well, got %v", w.sink.list())
	}
	if lost, err := w.sims["a"].Lose(unit(0)); err != nil || !lost {
		t.Fatalf("lose a unit: %v, %v", lost, err)
	}
	if !l.look(t.Context()) {
		t.Error("a unit was missed for the first time: got no wish to look again soon")
	}
	if got := w.sink.list(); len(got) > 0 {
		t.Errorf("after one look: got %v, want nothing yet", got)
	}
	l.look(t.Context())
	if diff := cmp.Diff(w.sink.list(), []string{"lost a cart " + unit(0)}); diff != "" {
		t.Errorf("after two looks: got -, want +\n%s", diff)
	}
}

func TestUnitThatIsOnlyMissedOnceIsNotLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.record("a", unit(0), model.UnitRunning)
	l := w.lookout("a", 1)
	l.look(t.Context())
	w.hold("a", unit(0))
	l.look(t.Context())
	if _, err := w.sims["a"].Lose(unit(0)); err != nil {
		t.Fatal(err)
	}
	l.look(t.Context())
	if got := w.sink.list(); len(got) > 0 {
		t.Errorf("missed twice, but not in a row: got %v, want nothing", got)
	}
}

// TestUnitThatAListHidesIsNotLost: a list that leaves out what the CRM has must
// not have it deployed again and again.
func TestUnitThatAListHidesIsNotLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.running("a", unit(0))
	client, _ := w.fleet.Client("a")
	l := w.lookout("a", 1)
	ref := w.inv.UnitsOn("a")
	for range 3 {
		l.judgeAbsent(t.Context(), client, ref, nil)
	}
	if got := w.sink.list(); len(got) > 0 {
		t.Errorf("got %v, want nothing: the CRM knows the unit by name", got)
	}
	w.sims["a"].SetFaults(sim.Faults{Calls: []string{"status"}, Status: http.StatusServiceUnavailable})
	l.judgeAbsent(t.Context(), client, ref, nil)
	if got := w.sink.list(); len(got) > 0 {
		t.Errorf("got %v, want nothing while the CRM does not answer", got)
	}
}

func TestChangedConditionIsTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.running("a", unit(0))
	w.running("a", unit(1))
	w.sims["a"].SetFaults(sim.Faults{Units: []sim.UnitFault{{ID: unit(1), Condition: "Down", Message: "out of memory"}}})
	w.lookout("a", 1).look(t.Context())
	if diff := cmp.Diff(w.sink.list(), []string{"changed a cart " + unit(1) + " Down"}); diff != "" {
		t.Errorf("got -, want +\n%s", diff)
	}
}

func TestOrphanIsReportedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.running("a", unit(0))
	w.hold("a", unit(1))
	l := w.lookout("a", 1)
	if !l.look(t.Context()) || len(w.events("a")) > 0 {
		t.Errorf("after one look: got events %v, want none yet and another look soon", w.events("a"))
	}
	for range 4 {
		if l.look(t.Context()) {
			t.Error("a proven orphan that stays: got the wish to look again soon")
		}
	}
	want := []string{"OrphanFound " + unit(1)}
	if diff := cmp.Diff(w.events("a"), want); diff != "" {
		t.Errorf("events: got -, want +\n%s", diff)
	}
	if got := l.figures.orphans.Load(); got != 1 {
		t.Errorf("gauge: got %d orphans, want 1", got)
	}
	// The next leader finds it too, and need not tell.
	l.rest()
	l = w.lookout("a", 2)
	for range 3 {
		l.look(t.Context())
	}
	if diff := cmp.Diff(w.events("a"), want); diff != "" {
		t.Errorf("events after a change of leader: got -, want +\n%s", diff)
	}
	if _, err := w.sims["a"].Lose(unit(1)); err != nil {
		t.Fatal(err)
	}
	l.look(t.Context())
	if got := l.figures.orphans.Load(); got != 0 {
		t.Errorf("gauge: got %d orphans once it has gone, want 0", got)
	}
	if got := w.held("a"); !slices.Equal(got, []string{unit(0)}) {
		t.Errorf("got units %v, want the recorded one alone", got)
	}
}

func TestOrphanIsRemoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.OrphanPolicy, w.cfg.OrphanGrace = OrphanRemove, time.Hour
	w.running("a", unit(0))
	w.hold("a", unit(1))
	foreign := "nginx-7d5b8c9f6d-x2x4z"
	w.hold("a", foreign)
	l := w.lookout("a", 7)
	now := time.Now()
	l.clock = func() time.Time { return now }
	for range 3 {
		l.look(t.Context())
	}
	if got := w.held("a"); len(got) != 3 {
		t.Fatalf("within the grace: got units %v, want all three", got)
	}
	now = now.Add(time.Hour)
	l.look(t.Context())
	if diff := cmp.Diff(w.held("a"), []string{unit(0), foreign}); diff != "" {
		t.Errorf("after the grace: got -, want +\n%s", diff)
	}
	if diff := cmp.Diff(w.events("a"), []string{"OrphanFound " + unit(1), "OrphanRemoved " + unit(1)}); diff != "" {
		t.Errorf("events: got -, want +\n%s", diff)
	}
	for _, call := range w.sims["a"].Calls(0) {
		if call.Name == "delete" && (call.Term != 7 || call.Unit != unit(1)) {
			t.Errorf("got a deletion of %s in term %d, want only %s in term 7", call.Unit, call.Term, unit(1))
		}
	}
	if got := l.figures.foreign.Load(); got != 1 {
		t.Errorf("gauge: got %d foreign units, want 1", got)
	}
}

// TestOrphanThatBecameAUnitStays: it is looked up again right before it would be
// removed.
func TestOrphanThatBecameAUnitStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.OrphanPolicy = OrphanRemove
	w.hold("a", unit(0))
	l := w.lookout("a", 1)
	client, _ := w.fleet.Client("a")
	record := model.DeploymentRecord{ID: unit(0), DeploymentUnitID: unit(0), PackageName: "shop", ClassKey: "Cart"}
	w.record("a", unit(0), model.UnitPending)
	for range 3 {
		l.judgeOrphans(t.Context(), client, []model.DeploymentRecord{record}, 1)
	}
	if got := w.held("a"); len(got) != 1 {
		t.Errorf("got units %v, want the one that is recorded now", got)
	}
	if got := w.calls("a", "delete"); got != 0 {
		t.Errorf("got %d deletions, want none", got)
	}
}

// TestOrphanThatBecomesAUnitWhileItIsRemoved: the dispatcher is told, so that the
// unit is deployed again.
func TestOrphanThatBecomesAUnitWhileItIsRemoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.OrphanPolicy = OrphanRemove
	w.hold("a", unit(0))
	w.sims["a"].SetFaults(sim.Faults{Calls: []string{"delete"}, HangReply: true})
	l := w.lookout("a", 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 2 {
			l.look(t.Context())
		}
	}()
	until(t, "the deletion is under way", func() bool { return len(w.held("a")) == 0 })
	w.record("a", unit(0), model.UnitRunning)
	w.sims["a"].SetFaults(sim.Faults{})
	<-done
	if diff := cmp.Diff(w.sink.list(), []string{"lost a cart " + unit(0)}); diff != "" {
		t.Errorf("got -, want +\n%s", diff)
	}
}

func TestOrphanIsOfferedForAdoption(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.OrphanPolicy = OrphanAdopt
	w.hold("a", unit(0))
	w.hold("a", unit(1))
	l := w.lookout("a", 1)
	for range 2 {
		l.look(t.Context())
	}
	if diff := cmp.Diff(w.sink.list(), []string{"wake cart", "wake cart"}); diff != "" {
		t.Errorf("got -, want +\n%s", diff)
	}
	// One of them turns out to be wanted; the other is told of, and stays.
	w.record("a", unit(0), model.UnitRunning)
	for range 3 {
		l.look(t.Context())
	}
	if diff := cmp.Diff(w.events("a"), []string{"OrphanFound " + unit(1)}); diff != "" {
		t.Errorf("events: got -, want +\n%s", diff)
	}
	if got := w.held("a"); len(got) != 2 {
		t.Errorf("got units %v, want both left alone", got)
	}
}

// TestUnitsThatComeAndGoWhileAListIsMade: what is recorded on either side of the
// list is neither lost nor orphan, however slow the list is.
func TestUnitsThatComeAndGoWhileAListIsMade(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		before func(w *world)
		faults sim.Faults
		during func(w *world)
	}{
		{
			name:   "a unit just being deployed",
			before: func(*world) {},
			faults: sim.Faults{Calls: []string{"records"}, Hang: true},
			during: func(w *world) {
				w.record("a", unit(0), model.UnitPending)
				w.hold("a", unit(0))
			},
		},
		{
			name:   "a unit that was deployed after the list",
			before: func(*world) {},
			faults: sim.Faults{Calls: []string{"records"}, HangReply: true},
			during: func(w *world) { w.running("a", unit(0)) },
		},
		{
			name: "a unit that was deleted after the list",
			before: func(w *world) {
				w.record("a", unit(0), model.UnitDeleting)
				w.hold("a", unit(0))
			},
			faults: sim.Faults{Calls: []string{"records"}, HangReply: true},
			during: func(w *world) {
				if _, err := w.sims["a"].Lose(unit(0)); err != nil {
					w.t.Error(err)
				}
				w.forget("a", unit(0))
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.cfg.OrphanPolicy = OrphanRemove
			tt.before(w)
			w.sims["a"].SetFaults(tt.faults)
			l := w.lookout("a", 1)
			unproven := make(chan bool)
			go func() { unproven <- l.look(t.Context()) }()
			if tt.faults.HangReply {
				until(t, "the list is made", func() bool { return w.calls("a", "records") == 1 })
			}
			tt.during(w)
			w.sims["a"].SetFaults(sim.Faults{})
			if <-unproven {
				t.Error("got something lost or unknown, want nothing")
			}
			if len(l.absent)+len(l.orphans) != 0 {
				t.Errorf("got absent %v and orphans %v, want none", l.absent, l.orphans)
			}
		})
	}
}

func TestCRMWithoutListing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.running("a", unit(0))
	w.sims["a"].SetFaults(sim.Faults{Unimplemented: []string{"records"}})
	if w.lookout("a", 1).look(t.Context()) {
		t.Error("got something unproven, want nothing")
	}
	if diff := cmp.Diff(w.sink.list(), []string{"poll a"}); diff != "" {
		t.Errorf("got -, want +\n%s", diff)
	}
}

// TestBadListProvesNothing: whatever comes in place of a list, no unit is lost by
// it and no orphan gone.
func TestBadListProvesNothing(t *testing.T) {
	t.Parallel()
	for name, faults := range map[string]sim.Faults{
		"garbage":      {Garbage: true},
		"refused":      {Refuse: true},
		"server error": {Status: http.StatusInternalServerError},
		"reset":        {DropReply: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.record("a", unit(0), model.UnitRunning)
			w.hold("a", unit(1))
			l := w.lookout("a", 1)
			l.look(t.Context())
			absent, orphans := len(l.absent), len(l.orphans)
			w.sims["a"].SetFaults(faults)
			for range 3 {
				if l.look(t.Context()) {
					t.Error("got something unproven from a list that was none")
				}
			}
			if len(w.sink.list()) > 0 || len(w.events("a")) > 0 || len(l.absent) != absent || len(l.orphans) != orphans {
				t.Errorf("got %v, events %v, absent %v, orphans %v, want all as before", w.sink.list(), w.events("a"), l.absent, l.orphans)
			}
		})
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.PageSize = 2
	for n := range 7 {
		w.running("a", unit(n))
	}
	w.hold("a", unit(8))
	l := w.lookout("a", 1)
	for range 2 {
		l.look(t.Context())
	}
	if got := w.sink.list(); len(got) > 0 {
		t.Errorf("got %v, want nothing lost or changed", got)
	}
	if diff := cmp.Diff(w.events("a"), []string{"OrphanFound " + unit(8)}); diff != "" {
		t.Errorf("events: got -, want +\n%s", diff)
	}
}

func TestHungListHoldsUpNobodyElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.LookTimeout = 50 * time.Millisecond
	w.record("a", unit(0), model.UnitRunning)
	w.record("b", unit(1), model.UnitRunning)
	w.sims["a"].SetFaults(sim.Faults{Calls: []string{"records"}, Hang: true})
	w.run(1)
	until(t, "the other cluster's unit is found lost", func() bool { return w.sink.has("lost b cart " + unit(1)) })
	// The look that hangs ends at its time, and the next finds what is lost.
	w.sims["a"].SetFaults(sim.Faults{})
	until(t, "the unit is found lost once the list does not hang", func() bool { return w.sink.has("lost a cart " + unit(0)) })
}

func TestLookIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.LookTimeout = 30 * time.Millisecond
	w.sims["a"].SetFaults(sim.Faults{Calls: []string{"records"}, Hang: true})
	l := w.lookout("a", 1)
	begun := time.Now()
	l.look(t.Context())
	if took := time.Since(begun); took > patience/2 {
		t.Errorf("a hung list took %v, want about %v", took, w.cfg.LookTimeout)
	}
	if !l.failing {
		t.Error("got no failure")
	}
}

func TestSteadyStateWritesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for n := range 4 {
		w.running([]string{"a", "b"}[n%2], unit(n))
	}
	w.hold("a", "nginx-7d5b8c9f6d-x2x4z")
	index := w.store.Status().AppliedIndex
	w.run(1)
	until(t, "both clusters were looked at often", func() bool { return w.calls("a", "records") > 10 && w.calls("b", "records") > 10 })
	if got := w.store.Status().AppliedIndex; got != index {
		t.Errorf("got %d writes, want none", got-index)
	}
	if got := w.sink.list(); len(got) > 0 {
		t.Errorf("got %v, want nothing found", got)
	}
	if got := w.calls("a", "status"); got > 0 {
		t.Errorf("got %d status calls, want none", got)
	}
}

func TestClustersThatDoNotAnswerAreNotAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.record("a", unit(0), model.UnitRunning)
	w.health("a", model.ClusterUnhealthy, model.CircuitOpen)
	w.run(1)
	until(t, "the other cluster was looked at often", func() bool { return w.calls("b", "records") > 5 })
	if got := w.calls("a", "records"); got > 0 {
		t.Errorf("got %d lists of a cluster whose circuit is open, want none", got)
	}
	w.health("a", model.ClusterHealthy, model.CircuitClosed)
	until(t, "the recovered cluster is looked at", func() bool { return w.sink.has("lost a cart " + unit(0)) })
}

func TestClustersComeAndGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(1)
	w.addCluster("c", w.startSim("c"))
	until(t, "the new cluster is looked at", func() bool { return w.calls("c", "records") > 0 })
	w.apply(storage.DeleteCluster{Name: "c"})
	seen, others := w.calls("c", "records"), w.calls("a", "records")
	until(t, "the others are still looked at", func() bool { return w.calls("a", "records") > others+10 })
	// One may have been under way.
	if got := w.calls("c", "records"); got > seen+1 {
		t.Errorf("got %d looks at a cluster that is gone, want none", got-seen)
	}
}

func TestRunEndsWhileCallsHang(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sims["a"].SetFaults(sim.Faults{Calls: []string{"records"}, Hang: true})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); w.controller().Run(ctx, 1) }()
	until(t, "the other cluster was looked at", func() bool { return w.calls("b", "records") > 0 })
	cancel()
	until(t, "the run has ended", func() bool {
		select {
		case <-done:
			return true
		default:
			return false
		}
	})
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	cfg := Config{OrphanPolicy: "shoot", OrphanGrace: -1}
	err := cfg.Validate()
	if err == nil {
		t.Fatal("got no error")
	}
	for _, want := range []string{"interval", "confirm delay", "look timeout", "store timeout", "orphan grace", "page size", "shoot"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, want it to name %q", err, want)
		}
	}
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("defaults: %v", err)
	}
}
