package dispatch

import (
	"fmt"
	"slices"
	"testing"

	"github.com/oprc/oprc-pm/crm/inventory"
	"github.com/oprc/oprc-pm/crm/plan"
	"github.com/oprc/oprc-pm/model"
)

// TestWish: the planner here places in a unless a is avoided, then in b, unless
// that is avoided too; then it stays.
func TestWish(t *testing.T) {
	t.Parallel()
	make := func(avoided []model.AvoidedCluster) (plan.Plan, error) {
		for _, cluster := range []string{"a", "b"} {
			if !slices.ContainsFunc(avoided, func(a model.AvoidedCluster) bool { return a.Cluster == cluster }) {
				return planOf(cluster, "u-"+cluster), nil
			}
		}
		p := planOf("b", "u-b")
		p.Stranded = []string{"b"}
		return p, nil
	}
	avoiding := func(clusters ...string) (avoided []model.AvoidedCluster) {
		for _, cluster := range clusters {
			avoided = append(avoided, model.AvoidedCluster{Cluster: cluster, Reason: model.AvoidFailover, Since: before})
		}
		return avoided
	}
	leave := &request{reason: model.AvoidDrain, message: "drained"}
	cases := map[string]struct {
		avoided  []model.AvoidedCluster
		asked    map[string]*request
		stuck    []string
		selected string
		recorded []string
		left     []string
		want     []string // stuck
	}{
		"nothing asked": {selected: "a"},
		"to leave, and another one fits": {asked: map[string]*request{"a": leave}, selected: "b",
			recorded: []string{"a"}, left: []string{"a"}},
		"to leave, and nothing fits": {avoided: avoiding("a"), asked: map[string]*request{"b": leave}, selected: "b",
			recorded: []string{"a"}, want: []string{"b"}},
		"to leave where it is not": {asked: map[string]*request{"b": leave}, selected: "a"},
		"to leave where it is avoided already": {avoided: avoiding("a", "b"), asked: map[string]*request{"b": leave}, selected: "b",
			recorded: []string{"a", "b"}},
		"to come back":                     {avoided: avoiding("a"), asked: map[string]*request{"a": nil}, selected: "a"},
		"to come back where it never left": {asked: map[string]*request{"b": nil}, selected: "a"},
		"to come back to one and leave another": {avoided: avoiding("b"), asked: map[string]*request{"a": leave, "b": nil}, selected: "b",
			recorded: []string{"a"}, left: []string{"a"}},
		"stuck, and not asked again": {avoided: avoiding("a"), stuck: []string{"b"}, selected: "b", recorded: []string{"a"}, want: []string{"b"}},
		"stuck, and gone since":      {stuck: []string{"b"}, selected: "a"},
		"stuck, and allowed to stay": {avoided: avoiding("a"), stuck: []string{"b"}, asked: map[string]*request{"b": nil}, selected: "b", recorded: []string{"a"}},
		"stuck, asked again and nothing fits": {avoided: avoiding("a"), stuck: []string{"b"}, asked: map[string]*request{"b": leave}, selected: "b",
			recorded: []string{"a"}, want: []string{"b"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := wisher{asked: c.asked, stuck: c.stuck, now: later, make: make}
			i.s.pkg = &model.Package{}
			i.s.deployment.AvoidedClusters = c.avoided
			w := i.wish()
			clusters := func(avoided []model.AvoidedCluster) (names []string) {
				for _, a := range avoided {
					names = append(names, a.Cluster)
				}
				return names
			}
			if got := fmt.Sprint(w.selected()); got != "["+c.selected+"]" {
				t.Errorf("selected: got %s, want %s", got, c.selected)
			}
			if !slices.Equal(clusters(w.avoided), c.recorded) || !slices.Equal(clusters(w.left), c.left) || !slices.Equal(w.stuck, c.want) {
				t.Errorf("got avoided %v, left %v, stuck %v; want %v, %v, %v", clusters(w.avoided), clusters(w.left), w.stuck, c.recorded, c.left, c.want)
			}
			for _, a := range w.left {
				if a.Reason != model.AvoidDrain || a.Message != "drained" || !a.Since.Equal(later) {
					t.Errorf("got %+v, want what was asked, now", a)
				}
			}
		})
	}
}

func TestWishWithoutPackage(t *testing.T) {
	t.Parallel()
	w := wisher{s: situation{deployment: model.Deployment{PackageName: "shop"}}}.wish()
	if !w.unplanned || w.planErr == nil || w.planErr.Reason != plan.ReasonPackageNotFound {
		t.Errorf("got %+v, want unplanned, PackageNotFound", w)
	}
}

func TestDrainedClusterIsOnlyCordonedUntilItIsAvoided(t *testing.T) {
	t.Parallel()
	clusters := func() []plan.Cluster {
		return []plan.Cluster{{Name: "a", Draining: true}, {Name: "b", Draining: true}, {Name: "c", Draining: true}, {Name: "d"}}
	}
	d := model.Deployment{}
	d.PlacedOn = placed("a b d")
	d.AvoidedClusters = []model.AvoidedCluster{{Cluster: "b"}}
	got := planClusters(clusters(), d)
	for i, want := range []plan.Cluster{{Name: "a", Cordoned: true}, {Name: "b", Draining: true}, {Name: "c", Draining: true}, {Name: "d"}} {
		if got[i].Cordoned != want.Cordoned || got[i].Draining != want.Draining {
			t.Errorf("%s: got cordoned %v, draining %v; want %v, %v", want.Name, got[i].Cordoned, got[i].Draining, want.Cordoned, want.Draining)
		}
	}
}

func TestNewsOfClusters(t *testing.T) {
	t.Parallel()
	view := func(version uint64, status, circuit string) *inventory.ClusterView {
		v := &inventory.ClusterView{Health: model.ClusterHealth{Status: status, Circuit: circuit}}
		v.Spec.ResourceVersion = version
		return v
	}
	healthy, dead := view(1, model.ClusterHealthy, model.CircuitClosed), view(1, model.ClusterUnhealthy, model.CircuitOpen)
	cases := map[string]struct {
		before, after *inventory.ClusterView
		want          clusterNews
	}{
		"came":      {nil, healthy, clusterNews{came: true, returned: true}},
		"went":      {healthy, nil, clusterNews{went: true}},
		"lost":      {healthy, dead, clusterNews{}},
		"recovered": {dead, healthy, clusterNews{returned: true}},
		"probed": {&inventory.ClusterView{Health: model.ClusterHealth{Status: model.ClusterUnknown, Reason: inventory.ReasonNotProbed}},
			view(0, model.ClusterDegraded, model.CircuitClosed), clusterNews{probed: true}},
		"closed":    {view(1, model.ClusterDegraded, model.CircuitOpen), view(1, model.ClusterDegraded, model.CircuitClosed), clusterNews{returned: true}},
		"half open": {view(1, model.ClusterUnhealthy, model.CircuitOpen), view(1, model.ClusterUnhealthy, model.CircuitHalfOpen), clusterNews{}},
		"changed":   {healthy, view(2, model.ClusterHealthy, model.CircuitClosed), clusterNews{document: true}},
		"its load":  {healthy, healthy, clusterNews{}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := newsOf(inventory.Change{Cluster: "a", Before: c.before, After: c.after}); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}
