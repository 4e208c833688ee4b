package inventory

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/crm/plan"
	"github.com/oprc/oprc-pm/model"
)

func TestUnitsAreFound(t *testing.T) {
	t.Parallel()
	i := newWorld(t, shop).inventory
	u1 := UnitRef{Deployment: "cart", Cluster: "a", Unit: "u1", CRMID: "crm-1", Phase: model.UnitRunning}
	u2 := UnitRef{Deployment: "cart", Cluster: "b", Unit: "u2", CRMID: "u2", Phase: model.UnitDeleting}
	u3 := UnitRef{Deployment: "cart-2", Cluster: "b", Unit: "u3", Phase: model.UnitPending}
	u4 := UnitRef{Deployment: "cart-2", Cluster: "a", Unit: "u4", CRMID: "crm-1", Phase: model.UnitRunning}
	u5 := UnitRef{Deployment: "order", Cluster: "b", Unit: "u5", CRMID: "crm-5", Phase: model.UnitRunning}
	for _, test := range []struct {
		name      string
		got, want any
	}{
		{"on a cluster, sorted", i.UnitsOn("b"), []UnitRef{u2, u3, u5}},
		{"on a cluster that does not exist", i.UnitsOn("gone"), []UnitRef{}},
		{"on an empty cluster", i.UnitsOn("c"), []UnitRef{}},
		{"by unit id", i.FindUnit("u5"), []UnitRef{u5}},
		{"by the id of a CRM, in every cluster", i.FindUnit("crm-1"), []UnitRef{u1, u4}},
		{"once when both ids are the same", i.FindUnit("u2"), []UnitRef{u2}},
		{"not by a part of an id", i.FindUnit("crm"), []UnitRef(nil)},
		{"deployments on a cluster", i.DeploymentsOn("b"), []string{"cart", "cart-2", "order"}},
		{"clusters of a class", i.ClassClusters("shop.Cart", ""), []string{"a", "b"}},
		{"clusters of a class except those of one deployment", i.ClassClusters("shop.Cart", "cart-2"), []string{"a"}},
		{"clusters of a class without units that go", i.ClassClusters("shop.Cart", "cart"), []string{"a", "b"}},
		{"clusters of an unknown class", i.ClassClusters("shop.Car", ""), []string(nil)},
		{"clusters of a deployment without units that go", i.DeploymentClusters("cart"), []string{"a"}},
	} {
		if diff := cmp.Diff(test.want, test.got); diff != "" {
			t.Errorf("%s: want -, got +:\n%s", test.name, diff)
		}
	}
}

func TestClassOfAUnitFollowsItsDeployment(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shop)
	w.must(putDeployment(t, "cart", "shop", "Order"))
	w.sync()
	if got, want := w.inventory.ClassClusters("shop.Cart", "cart-2"), []string(nil); cmp.Diff(want, got) != "" {
		t.Errorf("the class it had: got %v, want %v", got, want)
	}
	if got, want := w.inventory.ClassClusters("shop.Order", "order"), []string{"a"}; cmp.Diff(want, got) != "" {
		t.Errorf("the class it has: got %v, want %v", got, want)
	}
}

func TestClustersWithTheirHealth(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shop)
	if got, _ := w.inventory.Cluster("a"); got.Units != 2 || got.Spec.Name != "a" || got.Health.Status != model.ClusterUnknown || got.Health.Reason != ReasonNotProbed {
		t.Errorf("without health: got %+v, want 2 units, Unknown, not probed", got)
	}
	w.must(health("a", model.ClusterHealthy, func(h *model.ClusterHealth) {
		h.ClusterName = "oaas-ns"
		h.Load = &model.ClusterLoad{Capacity: pointer(uint32(7))}
	}))
	w.must(putCluster(t, "b", func(c *model.Cluster) { c.Draining, c.Weight = true, pointer(uint32(0)) }))
	w.sync()
	infos := w.inventory.Infos()
	if len(infos) != 3 {
		t.Fatalf("got %d clusters, want 3", len(infos))
	}
	a, b, c := infos[0], infos[1], infos[2]
	if a.Name != "a" || a.Health.Status != model.ClusterHealthy || a.Health.ClusterName != "oaas-ns" || a.Units != 2 || *a.Capacity != 7 || a.Weight != 100 {
		t.Errorf("a: got %+v, want Healthy, by its own name, 2 units of 7, weight 100", a)
	}
	if !b.Draining || b.Weight != 0 || b.Units != 3 || b.Capacity != nil {
		t.Errorf("b: got %+v, want draining, weight 0, 3 units, no limit", b)
	}
	if c.Name != "c" || c.Units != 0 || c.BaseURL != "http://c.example:8088" || c.ResourceVersion == 0 {
		t.Errorf("c: got %+v, want no units, its address and version", c)
	}
	if _, known := w.inventory.Cluster("gone"); known {
		t.Error("a cluster of which only units are left: got known")
	}
}

func TestPlanClusters(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shop)
	w.must(putCluster(t, "a", func(c *model.Cluster) {
		c.Labels, c.Environments = map[string]string{"zone": "z1"}, []string{"prod"}
		c.Capacity, c.Weight = pointer(uint32(9)), pointer(uint32(50))
	}))
	w.must(health("a", model.ClusterDegraded, func(h *model.ClusterHealth) {
		h.Reason, h.Availability, h.NodeCount, h.ReadyNodes = "Slow", pointer(0.9), pointer(uint32(4)), pointer(uint32(3))
		h.Load = &model.ClusterLoad{CPU: pointer(0.256), Memory: pointer(7.0), Capacity: pointer(uint32(3))}
	}))
	w.must(putCluster(t, "c", func(c *model.Cluster) { c.Capacity = pointer(uint32(0)) }))
	w.sync()
	a := plan.Cluster{
		Name: "a", Labels: map[string]string{"zone": "z1"}, Environments: []string{"prod"}, Weight: 50,
		Status: model.ClusterDegraded, Reason: "Slow", Availability: pointer(0.9), Nodes: pointer(uint32(4)), ReadyNodes: pointer(uint32(3)),
		Units: 2, Capacity: 9, CPU: 26, Memory: 100,
	}
	unprobed := "the cluster has not been probed yet"
	b := plan.Cluster{Name: "b", Weight: 100, Status: model.ClusterUnknown, Reason: ReasonNotProbed, Message: unprobed, Units: 3, CPU: -1, Memory: -1}
	c := plan.Cluster{Name: "c", Weight: 100, Status: model.ClusterUnknown, Reason: ReasonNotProbed, Message: unprobed, CPU: -1, Memory: -1, Cordoned: true}
	if diff := cmp.Diff([]plan.Cluster{a, b, c}, w.inventory.PlanClusters("")); diff != "" {
		t.Errorf("all units: want -, got +:\n%s", diff)
	}
	a.Units, b.Units = 1, 2
	if diff := cmp.Diff([]plan.Cluster{a, b, c}, w.inventory.PlanClusters("cart")); diff != "" {
		t.Errorf("without those of a deployment: want -, got +:\n%s", diff)
	}
	mine := w.inventory.PlanClusters("")
	mine[0].Units = 99
	if got := w.inventory.PlanClusters("")[0].Units; got != 2 {
		t.Errorf("after a caller changed its slice: got %d units, want 2", got)
	}
}

func TestWhatWasReadStaysAsItWas(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shop)
	before := w.inventory.Clusters()
	units := before[0].Units
	w.must(record("cart", unit("cart", "a", "u9", "", model.UnitPending)))
	w.must(health("a", model.ClusterHealthy, nil))
	w.sync()
	if got := before[0]; got.Units != units || got.Health.Status != model.ClusterUnknown {
		t.Errorf("what was read before: got %+v, want it unchanged", got)
	}
	if got := w.inventory.Clusters()[0]; got.Units != units+1 || got.Health.Status != model.ClusterHealthy {
		t.Errorf("what is read now: got %+v, want one unit more, Healthy", got)
	}
}

func TestReadingAllocatesNothing(t *testing.T) {
	w := newWorld(t, shop)
	sum := 0
	w.inventory.Clusters()
	allocs := testing.AllocsPerRun(100, func() {
		sum += len(w.inventory.Clusters())
		view, _ := w.inventory.Cluster("b")
		sum += view.Units
	})
	if allocs != 0 || sum == 0 {
		t.Errorf("got %v allocations, want none", allocs)
	}
}
