package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/oprc/oprc-pm/crm"
	"github.com/oprc/oprc-pm/crm/health"
	"github.com/oprc/oprc-pm/crm/inventory"
	"github.com/oprc/oprc-pm/crm/plan"
	"github.com/oprc/oprc-pm/crm/records"
	"github.com/oprc/oprc-pm/fsm"
	"github.com/oprc/oprc-pm/httpapi"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/memory"
)

// crmDeadline is how long one cluster may take in tests of those that hang.
const crmDeadline = 300 * time.Millisecond

// fleet is what a node knows of clusters, for real: the inventory, the clients,
// the monitor (which does not lead, so it probes only when asked) and the reader
// of records.
type fleet struct {
	inventory *inventory.Inventory
	clients   *crm.Fleet
	monitor   *health.Monitor
	reader    *records.Reader
	stop      func()
}

func startFleet(t testing.TB, store *memory.Store) *fleet {
	t.Helper()
	f := &fleet{inventory: inventory.New(store, nil, nil)}
	cfg := crm.DefaultConfig()
	// Repetitions would take what the short deadline of these tests leaves.
	cfg.Defaults.RetryAttempts = 1
	var err error
	if f.clients, err = crm.NewFleet(cfg, metrics.NewSet(), nil); err != nil {
		t.Fatal(err)
	}
	f.inventory.Subscribe(func(inventory.Change) { f.sync(t) })
	probes := health.DefaultConfig()
	probes.Timeout = crmDeadline
	if f.monitor, err = health.NewMonitor(probes, health.Deps{Store: store, Fleet: f.clients, Inventory: f.inventory}); err != nil {
		t.Fatal(err)
	}
	reads := records.DefaultConfig()
	reads.Timeout = crmDeadline
	f.reader = records.New(f.clients, f.inventory, reads)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.inventory.Run(ctx) }()
	f.stop = func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) && !errors.Is(err, storage.ErrClosed) {
			t.Errorf("inventory: %v", err)
		}
		f.clients.Close()
	}
	return f
}

// sync gives every cluster a client, as a node does on each change.
func (f *fleet) sync(t testing.TB) {
	views := f.inventory.Clusters()
	clusters := make([]model.Cluster, len(views))
	for i, view := range views {
		clusters[i] = view.Spec
	}
	if err := f.clients.Sync(clusters); err != nil {
		t.Errorf("sync clients: %v", err)
	}
}

// deps is how a node wires them.
func (f *fleet) deps(d *httpapi.Deps) {
	d.Clusters = records.NewClusters(f.inventory, f.monitor, func() time.Duration { return 0 })
	d.Records = f.reader
	d.NewMachine = func() storage.Machine { return fsm.NewMachine() }
	d.PlanInput = func(dep model.Deployment, pkg model.Package) plan.Input {
		return plan.Input{Deployment: dep, Package: pkg, Clusters: f.inventory.PlanClusters(dep.Key), Neighbours: f.inventory, Policy: plan.DefaultPolicy()}
	}
}

func clusterJSON(name, url string) string {
	encoded, _ := json.Marshal(map[string]any{"name": name, "base_url": url, "labels": map[string]string{"zone": "z-" + name}})
	return string(encoded)
}

// addCluster adds a cluster over the API.
func (a *api) addCluster(name, url string) {
	a.t.Helper()
	a.must(a.do(call{"POST", clusters, clusterJSON(name, url), nil}), 201)
}

// setHealth records what the leader's probes would have found.
func (a *api) setHealth(name, status string, change func(*model.ClusterHealth)) {
	a.t.Helper()
	since := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
	h := model.ClusterHealth{ClusterName: name, Status: status, LastSeen: since, Since: &since, Circuit: model.CircuitClosed,
		NodeCount: ptr(uint32(3)), ReadyNodes: ptr(uint32(3)), Availability: ptr(0.99)}
	if change != nil {
		change(&h)
	}
	a.apply(storage.RecordClusterHealth{Clusters: []storage.NamedHealth{{Name: name, Health: h}}})
}

// apply commits a command, and waits until the fleet knows.
func (a *api) apply(cmd storage.Command) storage.Result {
	a.t.Helper()
	a.registerClustersOf(cmd)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	res, err := a.store.Apply(ctx, storage.Request{Command: cmd})
	if err != nil {
		a.t.Fatalf("apply %T: %v", cmd, err)
	}
	if err := a.fleet.inventory.WaitFor(ctx, res.Index); err != nil {
		a.t.Fatal(err)
	}
	return res
}
