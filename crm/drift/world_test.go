package drift

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"go.uber.org/goleak"

	"github.com/oprc/oprc-pm/crm"
	"github.com/oprc/oprc-pm/crm/inventory"
	"github.com/oprc/oprc-pm/crm/sim"
	"github.com/oprc/oprc-pm/fsm"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait for a condition.
const patience = 20 * time.Second

// until waits for a condition, looking often.
func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited in vain for: %s", what)
		}
	}
}

// heard is what a Sink was told.
type heard struct {
	mu    sync.Mutex
	words []string
}

func (h *heard) say(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.words = append(h.words, fmt.Sprintf(format, args...))
}

func (h *heard) list() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string{}, h.words...)
}

func (h *heard) has(words string) bool {
	for _, w := range h.list() {
		if w == words {
			return true
		}
	}
	return false
}

func (h *heard) Lost(cluster string, unit inventory.UnitRef) {
	h.say("lost %s %s %s", cluster, unit.Deployment, unit.Unit)
}

func (h *heard) Changed(cluster string, unit inventory.UnitRef, condition, _ string) {
	h.say("changed %s %s %s %s", cluster, unit.Deployment, unit.Unit, condition)
}

func (h *heard) PollUnits(cluster string, on bool) {
	if on {
		h.say("poll %s", cluster)
	}
}

func (h *heard) Wake(deployment string) { h.say("wake %s", deployment) }

// world is a store, an inventory that follows it, and simulated clusters a and b
// behind real HTTP, of which one deployment, cart, has what tests record.
type world struct {
	t     *testing.T
	store *memory.Store
	inv   *inventory.Inventory
	fleet *crm.Fleet
	sims  map[string]*sim.Sim
	cfg   Config
	sink  *heard
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		t: t, store: memory.New(fsm.NewMachine()), sims: map[string]*sim.Sim{}, cfg: DefaultConfig(), sink: &heard{},
	}
	w.cfg.Interval, w.cfg.ConfirmDelay, w.cfg.LookTimeout = 20*time.Millisecond, 10*time.Millisecond, 5*time.Second
	w.cfg.OrphanGrace = 0
	w.inv = inventory.New(w.store, nil, nil)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = w.inv.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait(); _ = w.store.Close() })
	crmCfg := crm.DefaultConfig()
	crmCfg.Defaults.RetryAttempts = 1
	fleet, err := crm.NewFleet(crmCfg, metrics.NewSet(), nil)
	if err != nil {
		t.Fatal(err)
	}
	w.fleet = fleet
	t.Cleanup(fleet.Close)
	for _, name := range []string{"a", "b"} {
		w.addCluster(name, w.startSim(name))
	}
	w.putCart()
	return w
}

// startSim serves a simulated cluster until the test ends, and returns its URL.
func (w *world) startSim(name string) string {
	w.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	s := sim.New(sim.Config{Name: name})
	w.sims[name] = s
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Run(ctx, listener); err != nil {
			w.t.Errorf("simulated cluster %s: %v", name, err)
		}
	})
	w.t.Cleanup(func() { cancel(); wg.Wait() })
	return "http://" + listener.Addr().String()
}

// addCluster makes a cluster that answers.
func (w *world) addCluster(name, url string) {
	w.t.Helper()
	cluster := model.Cluster{Name: name, BaseURL: url, ManagedBy: model.ManagedByAPI}
	cluster.SetDefaults()
	document, err := model.EncodeCluster(cluster)
	if err != nil {
		w.t.Fatal(err)
	}
	w.apply(storage.PutCluster{Name: name, Document: document, ManagedBy: model.ManagedByAPI})
	w.health(name, model.ClusterHealthy, model.CircuitClosed)
	var clusters []model.Cluster
	for _, view := range w.inv.Clusters() {
		clusters = append(clusters, view.Spec)
	}
	if err := w.fleet.Sync(clusters); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) health(name, status, circuit string) {
	w.t.Helper()
	now := time.Now().UTC()
	w.apply(storage.RecordClusterHealth{Clusters: []storage.NamedHealth{{Name: name, Health: model.ClusterHealth{
		ClusterName: name, Status: status, Circuit: circuit, Since: &now, LastSeen: now,
	}}}})
}

// apply commits a command and waits until the inventory has it.
func (w *world) apply(command storage.Command) {
	w.t.Helper()
	result, err := w.store.Apply(w.t.Context(), storage.Request{Command: command})
	if err != nil {
		w.t.Fatalf("apply %T: %v", command, err)
	}
	if err := w.inv.WaitFor(w.t.Context(), result.Index); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) putCart() {
	w.t.Helper()
	p := model.Package{Name: "shop", Classes: []model.Class{{Key: "Cart"}}}
	p.SetDefaults()
	document, err := model.EncodePackage(p)
	if err != nil {
		w.t.Fatal(err)
	}
	tags, dependencies, classes := p.IndexTerms()
	w.apply(storage.PutPackage{Name: p.Name, Document: document, Tags: tags, Dependencies: dependencies, Classes: classes})
	d := model.Deployment{Key: "cart", PackageName: "shop", ClassKey: "Cart"}
	d.SetDefaults()
	if document, err = model.EncodeDeployment(d); err != nil {
		w.t.Fatal(err)
	}
	w.apply(storage.PutDeployment{Key: d.Key, Document: document, Package: "shop", Class: "Cart"})
}

// unit is the nth unit that cart could have: its id is of our form.
func unit(n int) string {
	return "cart-" + strings.Repeat("a", 15) + string("234567"[n%6]) + suffix(n/6)
}

// suffix keeps the form for more units than six.
func suffix(n int) string {
	if n == 0 {
		return ""
	}
	return "-" + strings.Repeat("b", 15) + string("234567"[n%6])
}

// record records a unit of cart.
func (w *world) record(cluster, id string, phase model.UnitPhase) {
	w.t.Helper()
	status := model.UnitStatus{ID: id, DeploymentKey: "cart", Cluster: cluster, Generation: 1, Phase: phase, LastTransitionTime: time.Now().UTC()}
	if phase != model.UnitPending {
		status.CRMID = id
	}
	w.apply(storage.RecordUnitStatus{Deployment: "cart", Generation: 1, Put: []model.UnitStatus{status}})
}

// forget drops a unit's record.
func (w *world) forget(cluster, id string) {
	w.t.Helper()
	w.apply(storage.RecordUnitStatus{Deployment: "cart", Generation: 1, Remove: []storage.UnitRef{{Cluster: cluster, Unit: id}}})
}

// hold puts a unit into a cluster behind the control plane's back.
func (w *world) hold(cluster, id string) {
	w.t.Helper()
	if err := w.sims[cluster].Inject(model.DeploymentUnit{ID: id, DeploymentKey: "cart", PackageName: "shop", ClassKey: "Cart"}); err != nil {
		w.t.Fatal(err)
	}
}

// running is a unit as it should be: recorded and held.
func (w *world) running(cluster, id string) {
	w.t.Helper()
	w.record(cluster, id, model.UnitRunning)
	w.hold(cluster, id)
}

func (w *world) controller() *Controller {
	w.t.Helper()
	c, err := New(w.cfg, Deps{
		Store: w.store, Fleet: w.fleet, Inventory: w.inv, Sink: w.sink,
		Logger: slog.New(slog.DiscardHandler), Metrics: metrics.NewSet(),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// lookout is one that the test has look.
func (w *world) lookout(cluster string, term uint64) *lookout {
	w.t.Helper()
	return newLookout(w.controller(), cluster, term)
}

// run looks at all clusters as the leader of term, until the test ends or stop is
// called.
func (w *world) run(term uint64) (stop func()) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	c := w.controller()
	wg.Go(func() { c.Run(ctx, term) })
	stop = func() { cancel(); wg.Wait() }
	w.t.Cleanup(stop)
	return stop
}

// events are those about a cluster, as "reason unit".
func (w *world) events(cluster string) []string {
	w.t.Helper()
	var list []string
	_, err := w.store.View(w.t.Context(), storage.ReadOptions{}, func(r storage.Reader) error {
		return storage.ByEventSubject.Scan(r, model.EventAboutCluster+"/"+cluster, "", func(name string) (bool, error) {
			sequence, err := strconv.ParseUint(name, 10, 64)
			if err != nil {
				return false, err
			}
			data, err := r.Get(storage.StoredEventKey(sequence))
			if err != nil {
				return false, err
			}
			var event model.Event
			if err := json.Unmarshal(data, &event); err != nil {
				return false, err
			}
			list = append(list, event.Reason+" "+event.Unit)
			return true, nil
		})
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

// held are the ids of the units that a cluster holds.
func (w *world) held(cluster string) []string {
	ids := []string{}
	for _, unit := range w.sims[cluster].Units() {
		ids = append(ids, unit.Unit.ID)
	}
	return ids
}

// calls counts the calls of a name that a cluster has seen.
func (w *world) calls(cluster, name string) uint64 { return w.sims[cluster].Counts()[name] }
