package drift

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/crm/sim"
	"github.com/oprc/oprc-pm/model"
)

// report has a cluster say of a unit that it has a condition.
func (w *world) report(cluster, id, condition string) {
	w.sims[cluster].SetFaults(sim.Faults{Units: []sim.UnitFault{{ID: id, Condition: condition}}})
}

// TestUnitThatEndedIsLost: a wanted unit that its CRM lists as deleted or
// terminated is deployed again, also one that is recorded as down.
func TestUnitThatEndedIsLost(t *testing.T) {
	t.Parallel()
	for _, condition := range []string{"Terminated", "Deleted"} {
		for _, phase := range []model.UnitPhase{model.UnitRunning, model.UnitDown} {
			t.Run(fmt.Sprintf("%s while %s", condition, phase), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.record("a", unit(0), phase)
				w.hold("a", unit(0))
				w.running("a", unit(1))
				w.report("a", unit(0), condition)
				l := w.lookout("a", 1)
				if !l.look(t.Context()) {
					t.Error("a unit had ended for the first time: got no wish to look again soon")
				}
				if got := w.sink.list(); len(got) > 0 {
					t.Errorf("after one look: got %v, want nothing yet", got)
				}
				l.look(t.Context())
				if diff := cmp.Diff(w.sink.list(), []string{"lost a cart " + unit(0)}); diff != "" {
					t.Errorf("after two looks: got -, want +\n%s", diff)
				}
			})
		}
	}
}

// TestUnitThatEndedForAMomentIsNotLost: as when a new unit takes the place of an
// old one while the list is made.
func TestUnitThatEndedForAMomentIsNotLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.running("a", unit(0))
	l := w.lookout("a", 1)
	for range 3 {
		w.report("a", unit(0), "Terminated")
		l.look(t.Context())
		w.report("a", unit(0), "")
		l.look(t.Context())
	}
	if got := w.sink.list(); len(got) > 0 {
		t.Errorf("got %v, want nothing", got)
	}
	if got := w.calls("a", "status"); got > 0 {
		t.Errorf("got %d status calls, want none for what was seen once", got)
	}
}

// TestWhatACRMSaysByNameCounts: of a unit that its list calls ended, or lacks.
func TestWhatACRMSaysByNameCounts(t *testing.T) {
	t.Parallel()
	lost, down := []string{"lost a cart " + unit(0)}, []string{"changed a cart " + unit(0) + " Down"}
	for _, tt := range []struct {
		byName         string
		ended, missing []string
	}{
		{"Terminated", lost, lost},
		{"deleted", lost, lost},
		{"Down", lost, down},
		{"Running", []string{}, []string{}},
		{"Unknown", []string{}, []string{}},
	} {
		t.Run(tt.byName, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.running("a", unit(0))
			w.report("a", unit(0), tt.byName)
			client, _ := w.fleet.Client("a")
			refs := w.inv.UnitsOn("a")
			w.lookout("a", 1).ask(t.Context(), client, refs[0], true)
			if diff := cmp.Diff(w.sink.list(), tt.ended); diff != "" {
				t.Errorf("ended: got -, want +\n%s", diff)
			}
			w.sink.words = nil
			w.lookout("a", 1).ask(t.Context(), client, refs[0], false)
			if diff := cmp.Diff(w.sink.list(), tt.missing); diff != "" {
				t.Errorf("missing: got -, want +\n%s", diff)
			}
		})
	}
}

// TestUnitThatEndedAndIsForgottenIsLost: a CRM remembers what has ended only for
// a while.
func TestUnitThatEndedAndIsForgottenIsLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.running("a", unit(0))
	w.report("a", unit(0), "Deleted")
	l := w.lookout("a", 1)
	l.look(t.Context())
	if _, err := w.sims["a"].Lose(unit(0)); err != nil {
		t.Fatal(err)
	}
	l.look(t.Context())
	if diff := cmp.Diff(w.sink.list(), []string{"lost a cart " + unit(0)}); diff != "" {
		t.Errorf("got -, want +\n%s", diff)
	}
}

// TestMassOfEndedUnits: a CRM that suddenly says that everything has ended is
// asked for each, a few at a time, and believed only where it says so by name.
func TestMassOfEndedUnits(t *testing.T) {
	t.Parallel()
	const all = 30
	w := newWorld(t)
	for n := range all {
		w.running("a", unit(n))
	}
	l := w.lookout("a", 1)
	w.sims["a"].SetFaults(sim.Faults{Condition: "Terminated"})
	l.look(t.Context())
	w.sims["a"].SetFaults(sim.Faults{})
	for range 3 {
		l.look(t.Context())
	}
	if got, calls := w.sink.list(), w.calls("a", "status"); len(got) > 0 || calls > 0 {
		t.Errorf("one bad list: got %v and %d status calls, want none", got, calls)
	}
	w.sims["a"].SetFaults(sim.Faults{Condition: "Terminated"})
	l.look(t.Context())
	w.sims["a"].SetFaults(sim.Faults{Calls: []string{"status"}, Status: http.StatusServiceUnavailable, Units: []sim.UnitFault{{Condition: "Terminated"}}})
	l.look(t.Context())
	if got := w.sink.list(); len(got) > 0 {
		t.Errorf("without an answer by name: got %v, want nothing", got)
	}
	before := w.calls("a", "status")
	w.sims["a"].SetFaults(sim.Faults{Condition: "Terminated"})
	l.look(t.Context())
	if got := len(w.sink.list()); got != all {
		t.Errorf("got %d units lost, want each of %d once", got, all)
	}
	if got := w.calls("a", "status") - before; got != all {
		t.Errorf("got %d status calls, want one for each of %d", got, all)
	}
	// The dispatcher begins with them: what is on its way is not told again.
	for n := range all {
		w.record("a", unit(n), model.UnitDeploying)
	}
	for range 3 {
		l.look(t.Context())
	}
	if got := len(w.sink.list()); got != all {
		t.Errorf("got %d units lost, want none again that is on its way", got)
	}
}
