package control

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/crm"
	"github.com/oprc/oprc-pm/crm/drift"
	"github.com/oprc/oprc-pm/crm/sim"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// cluster returns a stored cluster.
func (w *world) cluster(name string) (model.Cluster, bool) {
	w.t.Helper()
	stored, err := (&Control{deps: Deps{Store: w.store}}).stored(context.Background(), name)
	if err != nil {
		w.t.Fatal(err)
	}
	return stored.cluster, stored.exists
}

// put stores a cluster as whoever manages it.
func (w *world) put(cluster model.Cluster) {
	w.t.Helper()
	cluster.SetDefaults()
	document, err := model.EncodeCluster(cluster)
	if err != nil {
		w.t.Fatal(err)
	}
	w.apply(storage.PutCluster{Name: cluster.Name, Document: document, ManagedBy: cluster.ManagedBy})
}

// mark begins or ends the draining of a cluster.
func (w *world) mark(name string, draining bool) {
	w.t.Helper()
	cluster, _ := w.cluster(name)
	cluster.Cordoned, cluster.Draining = draining, draining
	w.put(cluster)
}

func TestConfiguredClustersAreRegistered(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	configured := w.crmCfg.Clusters["c0"]
	configured.Labels, configured.Environments = map[string]string{"zone": "east"}, []string{"edge"}
	w.crmCfg.Clusters["c0"] = configured
	// c1 was there, by the API; c2 was cordoned; other is of another leader's
	// configuration.
	w.put(model.Cluster{Name: "c1", BaseURL: "http://elsewhere", ManagedBy: model.ManagedByAPI})
	w.put(model.Cluster{Name: "c2", BaseURL: "http://elsewhere", ManagedBy: model.ManagedByConfig, Cordoned: true})
	w.put(model.Cluster{Name: "other", BaseURL: "http://elsewhere", ManagedBy: model.ManagedByConfig})
	stop := w.lead(1)
	w.waitFor(model.ClusterHealthy, "c0", "c1", "c2")
	c0, _ := w.cluster("c0")
	if c0.ManagedBy != model.ManagedByConfig || c0.Labels["zone"] != "east" || !slices.Equal(c0.Environments, []string{"edge"}) {
		t.Errorf("got %+v, want it as it is configured", c0)
	}
	if c1, _ := w.cluster("c1"); c1.ManagedBy != model.ManagedByConfig || c1.BaseURL != w.crmCfg.Clusters["c1"].BaseURL {
		t.Errorf("got %+v, want the configured one in place of the one that was added", c1)
	}
	if c2, _ := w.cluster("c2"); !c2.Cordoned || c2.BaseURL != w.crmCfg.Clusters["c2"].BaseURL {
		t.Errorf("got %+v, want the configured URL, and it cordoned as it was", c2)
	}
	if other, exists := w.cluster("other"); !exists || other.BaseURL != "http://elsewhere" {
		t.Errorf("got %+v, want a cluster left in place that is not configured here", other)
	}
	stop()

	versions := func() map[string]uint64 {
		all := map[string]uint64{}
		for _, name := range append([]string{"other"}, w.names...) {
			cluster, _ := w.cluster(name)
			all[name] = cluster.ResourceVersion
		}
		return all
	}
	before, terms := versions(), w.sims["c0"].Counts()["health"]
	w.lead(2)
	until(t, "the next leader probes", func() bool { return w.sims["c0"].Counts()["health"] > terms+3 }, nil)
	if diff := cmp.Diff(versions(), before); diff != "" {
		t.Errorf("registering what is stored already: got -, want +\n%s", diff)
	}
}

// TestClustersComeAndGo: one added at run time gets a client, is probed and used;
// one that goes is let go of.
func TestClustersComeAndGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.lead(1)
	w.waitFor(model.ClusterHealthy, "c0")
	w.deploy("later", func(d *model.Deployment) { d.TargetEnvs = []string{"added"} })
	until(t, "its target is unknown", func() bool { return len(w.deployments()["later"].Conditions) > 0 }, w.history)
	w.put(model.Cluster{Name: "added", BaseURL: w.startSim("added"), ManagedBy: model.ManagedByAPI})
	w.waitFor(model.ClusterHealthy, "added")
	w.settled()
	if got := w.placement()["later"]; !slices.Equal(got, []string{"added"}) {
		t.Errorf("got it placed in %v, want the cluster that was added", got)
	}
	w.apply(storage.DeleteDeployment{Key: "later"})
	until(t, "it is gone", func() bool { return len(w.deployments()) == 0 }, w.history)
	w.apply(storage.DeleteCluster{Name: "added"})
	probes := w.sims["c0"].Counts()["health"]
	until(t, "the other is still probed", func() bool { return w.sims["c0"].Counts()["health"] > probes+3 }, nil)
	if _, recorded := w.health()["added"]; recorded {
		t.Error("a cluster that is gone has recorded health")
	}
}

func TestSteadyStateWritesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10)
	w.lead(1)
	w.waitFor(model.ClusterHealthy, w.names...)
	w.populate()
	w.settled()
	looks := func(name string) uint64 { return w.sims[name].Counts()["records"] }
	// Until the last outcomes are recorded: two looks at all clusters.
	w.looked(looks, 2)
	index := w.store.Status().AppliedIndex
	w.looked(looks, 10)
	if got := w.store.Status().AppliedIndex; got != index {
		t.Errorf("got %d writes, want none: %s", got-index, w.history())
	}
}

// looked waits until every cluster was called more often.
func (w *world) looked(calls func(cluster string) uint64, more uint64, except ...string) {
	w.t.Helper()
	before := map[string]uint64{}
	for _, name := range w.names {
		before[name] = calls(name)
	}
	until(w.t, "all clusters are looked at", func() bool {
		return !slices.ContainsFunc(w.names, func(name string) bool {
			return !slices.Contains(except, name) && calls(name) < before[name]+more
		})
	}, nil)
}

func TestLostUnitIsDeployedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.lead(1)
	w.waitFor(model.ClusterHealthy, w.names...)
	w.deploy("cart", func(d *model.Deployment) { d.TargetEnvs = w.names })
	w.settled()
	held := w.held()
	if lost, err := w.sims["c0"].Lose(strings.Fields(held[0])[1]); err != nil || !lost {
		t.Fatalf("lose %s: %v, %v", held[0], lost, err)
	}
	until(t, "the unit is there again", func() bool { return slices.Equal(w.held(), held) }, w.history)
	w.settled()
}

func TestChangedConditionIsRecorded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.lead(1)
	w.waitFor(model.ClusterHealthy, w.names...)
	w.deploy("cart", func(d *model.Deployment) { d.TargetEnvs = w.names })
	w.settled()
	w.sims["c0"].SetFaults(sim.Faults{Condition: "Down"})
	until(t, "the unit is down", func() bool {
		return slices.ContainsFunc(w.units()["cart"], func(u model.UnitStatus) bool {
			return u.Cluster == "c0" && u.Phase == model.UnitDown
		})
	}, w.history)
	w.sims["c0"].SetFaults(sim.Faults{})
	w.settled()
}

func TestCRMThatCannotListIsPolled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.sims["c0"].SetFaults(sim.Faults{Unimplemented: []string{"records"}})
	w.lead(1)
	w.waitFor(model.ClusterHealthy, "c0")
	w.deploy("cart", func(d *model.Deployment) { d.TargetEnvs = w.names })
	w.settled()
	held := w.held()
	if _, err := w.sims["c0"].Lose(strings.Fields(held[0])[1]); err != nil {
		t.Fatal(err)
	}
	until(t, "the unit is there again", func() bool { return slices.Equal(w.held(), held) }, w.history)
	w.settled()
}

// TestNothingOfOursIsAnOrphan: while deployments come, change and go, and every
// cluster is looked at all the time, no unit is taken for an orphan.
func TestNothingOfOursIsAnOrphan(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	w.cfg.Drift.Interval, w.cfg.Drift.ConfirmDelay = 3*time.Millisecond, time.Millisecond
	w.cfg.Drift.OrphanPolicy = drift.OrphanRemove
	w.lead(1)
	w.waitFor(model.ClusterHealthy, w.names...)
	for round := range 5 {
		log := fmt.Sprintf("level-%d", round)
		for n := range 8 {
			w.deploy(fmt.Sprintf("cart-%d", n), func(d *model.Deployment) {
				d.TargetEnvs, d.ODGM = w.names[:1+(n+round)%3], &model.ODGMDataSpec{Log: &log}
			})
		}
		w.settled()
	}
	for n := range 8 {
		w.apply(storage.DeleteDeployment{Key: fmt.Sprintf("cart-%d", n)})
	}
	until(t, "all is deleted", func() bool { return len(w.deployments()) == 0 && len(w.held()) == 0 }, w.history)
	if got := w.events(drift.ReasonOrphanFound, drift.ReasonOrphanRemoved, "UnitLost"); len(got) > 0 {
		t.Errorf("got %d units taken for orphans or lost, want none: %+v", len(got), got)
	}
}

// TestControlPlaneThatLostItsStateAdopts: what is wanted is taken over as it
// runs, and only what is not is told of.
func TestControlPlaneThatLostItsStateAdopts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	deploy := func() {
		w.deploy("cart", func(d *model.Deployment) { d.TargetEnvs = w.names })
	}
	stop := w.lead(1)
	w.waitFor(model.ClusterHealthy, w.names...)
	deploy()
	w.deploy("gone", func(d *model.Deployment) { d.TargetEnvs = []string{"c0"} })
	w.settled()
	held, effects := w.held(), len(w.effects())
	stop()

	empty := newWorld(t, 0)
	w.store = empty.store
	w.cfg.Drift.OrphanPolicy = drift.OrphanAdopt
	// On a busy machine the dispatcher may take that long to get to it.
	w.cfg.Drift.ConfirmDelay, w.cfg.Drift.Interval = 500*time.Millisecond, 500*time.Millisecond
	deploy()
	w.lead(2)
	until(t, "what is not wanted is told of", func() bool { return len(w.events(drift.ReasonOrphanFound)) == 1 && w.isSettled("cart") }, w.history)
	if diff := cmp.Diff(w.held(), held); diff != "" {
		t.Errorf("units: got -, want +\n%s", diff)
	}
	if got := w.effects()[effects:]; len(got) > 0 {
		t.Errorf("got %d units created or deleted, want all as it was", len(got))
	}
	if event := w.events(drift.ReasonOrphanFound)[0]; !slices.Contains(held, event.Cluster+" "+event.Unit) || event.Cluster != "c0" {
		t.Errorf("got %+v, want the unit of the deployment that is gone", event)
	}
}

func TestOrphanIsRemoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.cfg.Drift.OrphanPolicy = drift.OrphanRemove
	w.lead(3)
	w.waitFor(model.ClusterHealthy, "c0")
	w.deploy("cart", func(d *model.Deployment) { d.TargetEnvs = w.names })
	w.settled()
	held := w.held()
	for _, id := range []string{"cart-aaaaaaaaaaaaaaa2", "foreign"} {
		if err := w.sims["c0"].Inject(model.DeploymentUnit{ID: id, DeploymentKey: "x", PackageName: "shop", ClassKey: "Cart"}); err != nil {
			t.Fatal(err)
		}
	}
	want := append([]string{"c0 foreign"}, held...)
	slices.Sort(want)
	until(t, "the orphan is gone, and nothing else", func() bool { return slices.Equal(w.held(), want) }, w.history)
	until(t, "it is told", func() bool { return len(w.events(drift.ReasonOrphanRemoved)) == 1 }, w.history)
}

// TestDriftOverGRPC: CRMs that speak gRPC know units by names of their own, and
// are looked at all the same.
func TestDriftOverGRPC(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.overGRPC("c1")
	w.cfg.Drift.OrphanPolicy = drift.OrphanRemove
	w.lead(1)
	w.waitFor(model.ClusterHealthy, w.names...)
	w.deploy("cart", func(d *model.Deployment) { d.TargetEnvs = []string{"c1"} })
	w.settled()
	held := w.held()
	records := func(name string) uint64 { return w.sims[name].Counts()["records"] }
	w.looked(records, 5)
	if diff := cmp.Diff(w.held(), held); diff != "" || len(w.events(drift.ReasonOrphanFound, "UnitLost")) > 0 {
		t.Errorf("units that are looked at: got -, want +\n%s\n%s", diff, w.history())
	}
	if lost, err := w.sims["c1"].Lose(strings.Fields(held[0])[1]); err != nil || !lost {
		t.Fatalf("lose %s: %v, %v", held[0], lost, err)
	}
	until(t, "the lost unit is there again", func() bool { return slices.Equal(w.held(), held) }, w.history)
	w.settled()
	orphan := model.DeploymentUnit{ID: "cart-aaaaaaaaaaaaaaa2", DeploymentKey: "x", PackageName: "shop", ClassKey: "Cart"}
	if err := w.sims["c1"].Inject(orphan); err != nil {
		t.Fatal(err)
	}
	until(t, "the orphan is removed", func() bool { return len(w.events(drift.ReasonOrphanRemoved)) == 1 }, w.history)
	w.settled()
}

// TestRunEndsWhileCallsHang: a leadership that is lost must not wait for CRMs.
func TestRunEndsWhileCallsHang(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	stop := w.lead(1)
	w.waitFor(model.ClusterHealthy, w.names...)
	w.deploy("cart", func(d *model.Deployment) { d.TargetEnvs = w.names })
	w.faults(sim.Faults{Hang: true}, w.names)
	until(t, "calls are recorded as wanted", func() bool { return len(w.units()["cart"]) == 3 }, w.history)
	begun := time.Now()
	stop()
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("the run took %v to end", took)
	}
}

func TestNewChecksItsSettings(t *testing.T) {
	t.Parallel()
	if _, err := New(DefaultConfig(), Deps{}); err == nil {
		t.Error("without a store: got no error")
	}
	w := newWorld(t, 0)
	fleet, err := crm.NewFleet(w.crmCfg, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fleet.Close)
	for name, change := range map[string]func(*Config){
		"health":   func(c *Config) { c.Health.Interval = 0 },
		"dispatch": func(c *Config) { c.Dispatch.Workers = 0 },
		"failover": func(c *Config) { c.Failover.MaxEvictionsPerMinute = 0 },
		"drift":    func(c *Config) { c.Drift.Interval = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := DefaultConfig()
			change(&cfg)
			if _, err := New(cfg, w.deps(fleet)); err == nil {
				t.Error("got no error")
			}
		})
	}
	if _, err := New(DefaultConfig(), w.deps(fleet)); err != nil {
		t.Errorf("the defaults: %v", err)
	}
}
