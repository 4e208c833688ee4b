package drift

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/model"
)

// TestTwoNamesForOneCRM: what is recorded for one of them is no orphan of the
// other, whatever the policy.
func TestTwoNamesForOneCRM(t *testing.T) {
	t.Parallel()
	for _, policy := range []OrphanPolicy{OrphanReport, OrphanAdopt, OrphanRemove} {
		t.Run(string(policy), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.cfg.OrphanPolicy = policy
			view, _ := w.inv.Cluster("a")
			w.addCluster("alias", view.Spec.BaseURL)
			w.running("a", unit(0))
			w.hold("a", unit(1))
			l := w.lookout("alias", 1)
			for range 4 {
				l.look(t.Context())
			}
			want := []string{unit(0)}
			if policy != OrphanRemove {
				want = append(want, unit(1))
			}
			if diff := cmp.Diff(w.held("a"), want); diff != "" {
				t.Errorf("units: got -, want +\n%s", diff)
			}
			events := w.events("alias")
			if got := count(events, ReasonSharedCRM+" "+unit(0)); got != 1 {
				t.Errorf("got events %v, want one that tells of the unit that is recorded for another cluster", events)
			}
			if got := l.figures.orphans.Load(); got > 1 {
				t.Errorf("gauge: got %d orphans, want the recorded one not counted", got)
			}
		})
	}
}

func count(list []string, word string) (n int) {
	for _, w := range list {
		if w == word {
			n++
		}
	}
	return n
}

// TestMassOfOrphansIsKept: when most of a cluster is unknown, rather our records
// are wrong than the cluster.
func TestMassOfOrphansIsKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.OrphanPolicy = OrphanRemove
	for n := range 10 {
		w.running("a", unit(n))
	}
	for n := 10; n < 16; n++ {
		w.hold("a", unit(n))
	}
	for term := range uint64(2) {
		l := w.lookout("a", 1+term)
		for range 4 {
			l.look(t.Context())
		}
	}
	if got := len(w.held("a")); got != 16 {
		t.Errorf("got %d units, want all 16 left alone", got)
	}
	if got := count(w.events("a"), ReasonOrphansKept+" "); got != 1 {
		t.Errorf("got %d alarms in %v, want one, over two leaders", got, w.events("a"))
	}
	// They get fewer, and what is left is cleaned up.
	if _, err := w.sims["a"].Lose(unit(10)); err != nil {
		t.Fatal(err)
	}
	l := w.lookout("a", 3)
	for range 3 {
		l.look(t.Context())
	}
	if got := len(w.held("a")); got != 10 {
		t.Errorf("got %d units, want the ten that are recorded", got)
	}
}

// TestThousandsOfOrphansAreToldOfTogether: as after a CRM was restored from an old
// backup.
func TestThousandsOfOrphansAreToldOfTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const all = 2000
	for n := range all {
		id := fmt.Sprintf("cart%d-%s", n, strings.Repeat("a", 16))
		if err := w.sims["a"].Inject(model.DeploymentUnit{ID: id, DeploymentKey: "cart", PackageName: "shop", ClassKey: "Cart"}); err != nil {
			t.Fatal(err)
		}
	}
	begun := time.Now()
	for term := range uint64(2) {
		l := w.lookout("a", 1+term)
		for range 3 {
			l.look(t.Context())
		}
		if got := l.figures.orphans.Load(); got != all {
			t.Errorf("gauge: got %d, want %d", got, all)
		}
	}
	if diff := cmp.Diff(w.events("a"), []string{ReasonOrphansFound + " "}); diff != "" {
		t.Errorf("events of two leaders: got -, want +\n%s", diff)
	}
	if took := time.Since(begun); took > patience {
		t.Errorf("it took %v", took)
	}
	w.hold("a", unit(0))
	l := w.lookout("a", 3)
	for range 3 {
		l.look(t.Context())
	}
	if got := w.events("a"); !slices.Contains(got, ReasonOrphansFound+" ") || len(got) != 2 {
		t.Errorf("one more: got events %v, want two", got)
	}
}
