package dispatch

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"go.uber.org/goleak"

	"github.com/oprc/oprc-pm/crm"
	"github.com/oprc/oprc-pm/crm/inventory"
	"github.com/oprc/oprc-pm/crm/plan"
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

// fencedStore refuses the writes of deposed leaders, which a memory store, whose
// term never changes, cannot do.
type fencedStore struct {
	*memory.Store
	term atomic.Uint64
}

func (s *fencedStore) Apply(ctx context.Context, req storage.Request) (storage.Result, error) {
	if req.LeaderTerm != 0 && req.LeaderTerm < s.term.Load() {
		return storage.Result{}, model.Errorf(model.CodeConflict, "the leader of term %d was deposed", req.LeaderTerm)
	}
	return s.Store.Apply(ctx, req)
}

// switches is a gate that tests open and close.
type switches struct {
	mu      sync.Mutex
	closed  map[string]bool
	reports map[string]int
	failed  map[string]int
}

func (g *switches) Allow(cluster string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.closed[cluster]
}

func (g *switches) Report(cluster string, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reports[cluster]++
	if err != nil {
		g.failed[cluster]++
	}
}

func (g *switches) set(cluster string, closed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed[cluster] = closed
}

// world is a store with its inventory, simulated clusters behind real HTTP, and
// leader runs.
type world struct {
	t         *testing.T
	store     *fencedStore
	inventory *inventory.Inventory
	sims      map[string]*sim.Server
	fleet     *crm.Fleet
	gate      *switches
	cfg       Config
	crm       crm.Config
	policy    plan.Policy
	logger    *slog.Logger
	protocol  model.ClusterProtocol
	// specs are what is special about clusters.
	specs map[string]model.Cluster
	// bubble: the world is in synthetic time, where there are no connections.
	bubble bool
	// unprobed: clusters come without anybody having looked at them.
	unprobed bool
	// now is the wall clock of leaders, through where they find the store; nil:
	// the real one, directly.
	now     func() time.Time
	through func(Store) Store

	mu   sync.Mutex
	last *Dispatcher
}

type option func(*world, map[string]*sim.Config)

func withSim(name string, change func(*sim.Config)) option {
	return func(_ *world, sims map[string]*sim.Config) {
		if sims[name] == nil {
			sims[name] = &sim.Config{Name: name}
		}
		change(sims[name])
	}
}

// withClusters adds clusters to a and b.
func withClusters(names ...string) option {
	return func(_ *world, sims map[string]*sim.Config) {
		for _, name := range names {
			sims[name] = &sim.Config{Name: name}
		}
	}
}

func withConfig(change func(*Config)) option {
	return func(w *world, _ map[string]*sim.Config) { change(&w.cfg) }
}

func withConcurrency(name string, limit uint32) option {
	return withSpec(name, func(c *model.Cluster) { c.MaxConcurrency = &limit })
}

func withTimeout(name string, timeout model.Duration) option {
	return withSpec(name, func(c *model.Cluster) { c.Timeout = &timeout })
}

func withSpec(name string, change func(*model.Cluster)) option {
	return func(w *world, _ map[string]*sim.Config) {
		spec := w.specs[name]
		change(&spec)
		w.specs[name] = spec
	}
}

func overGRPC(w *world, _ map[string]*sim.Config) { w.protocol = model.ProtocolGRPC }

// newWorld builds clusters a and b that run units at once, and package shop.
func newWorld(t *testing.T, options ...option) *world {
	t.Helper()
	w := &world{
		t: t, sims: map[string]*sim.Server{}, specs: map[string]model.Cluster{}, protocol: model.ProtocolHTTP,
		cfg: DefaultConfig(), crm: crm.DefaultConfig(), policy: plan.DefaultPolicy(),
		store:  &fencedStore{Store: memory.New(fsm.NewMachine())},
		gate:   &switches{closed: map[string]bool{}, reports: map[string]int{}, failed: map[string]int{}},
		logger: slog.New(slog.DiscardHandler),
	}
	if os.Getenv("CRM_TEST_LOG") != "" {
		w.logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	t.Cleanup(func() { _ = w.store.Close() })
	d := &w.cfg
	d.PollMin, d.PollMax, d.SettledPollInterval = 2*time.Millisecond, 20*time.Millisecond, 30*time.Millisecond
	d.BackoffMin, d.BackoffMax, d.BackoffLong = 5*time.Millisecond, 50*time.Millisecond, 100*time.Millisecond
	d.RefusedRetryInterval, d.UncertainPeriod, d.CoalesceDelay = 30*time.Millisecond, 20*time.Millisecond, time.Millisecond
	configs := map[string]*sim.Config{"a": {Name: "a"}, "b": {Name: "b"}}
	for _, change := range options {
		change(w, configs)
	}
	w.startInventory()
	for _, name := range slices.Sorted(maps.Keys(configs)) {
		w.startSim(name, *configs[name])
	}
	w.putPackage(shop("img:1"))
	return w
}

// startInventory runs the inventory, and a fleet that follows it, until the test
// ends.
func (w *world) startInventory() {
	w.t.Helper()
	fleet, err := crm.NewFleet(w.crm, metrics.NewSet(), w.logger)
	if err != nil {
		w.t.Fatal(err)
	}
	w.fleet = fleet
	w.t.Cleanup(fleet.Close)
	w.inventory = inventory.New(w.store, w.logger, metrics.NewSet())
	w.inventory.Subscribe(func(inventory.Change) {
		var clusters []model.Cluster
		for _, view := range w.inventory.Clusters() {
			clusters = append(clusters, view.Spec)
		}
		if err := fleet.Sync(clusters); err != nil {
			w.t.Errorf("sync fleet: %v", err)
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = w.inventory.Run(ctx) })
	w.t.Cleanup(func() { cancel(); wg.Wait() })
}

// startSim serves a simulated cluster on loopback until the test ends, and
// registers it as healthy.
func (w *world) startSim(name string, cfg sim.Config) {
	w.t.Helper()
	if w.bubble {
		w.sims[name] = &sim.Server{Sim: sim.New(cfg)}
	} else {
		w.sims[name] = sim.StartFor(w.t, cfg)
	}
	w.register(name)
	if !w.unprobed {
		w.healthy(name)
	}
}

// register puts the document of a cluster.
func (w *world) register(name string) {
	w.t.Helper()
	spec := w.specs[name]
	spec.Name, spec.BaseURL, spec.Protocol = name, "http://"+name, w.protocol
	if !w.bubble {
		spec.BaseURL = w.sims[name].URL()
	}
	if w.protocol == model.ProtocolGRPC {
		spec.BaseURL = w.sims[name].GRPCURL()
	}
	w.putCluster(spec)
}

func (w *world) putCluster(spec model.Cluster) {
	w.t.Helper()
	spec.ManagedBy = model.ManagedByAPI
	spec.SetDefaults()
	document, err := model.EncodeCluster(spec)
	if err != nil {
		w.t.Fatal(err)
	}
	w.apply(storage.PutCluster{Name: spec.Name, Document: document, ManagedBy: spec.ManagedBy})
}

func (w *world) healthy(clusters ...string)   { w.health(model.ClusterHealthy, clusters...) }
func (w *world) unhealthy(clusters ...string) { w.health(model.ClusterUnhealthy, clusters...) }

// health records the health of clusters, as the leader's monitor does, and waits
// until it is known.
func (w *world) health(status string, clusters ...string) {
	w.t.Helper()
	var command storage.RecordClusterHealth
	since := time.Now().UTC()
	for _, name := range clusters {
		nodes := uint32(3)
		command.Clusters = append(command.Clusters, storage.NamedHealth{Name: name, Health: model.ClusterHealth{
			ClusterName: name, Status: status, LastSeen: since, Since: &since, NodeCount: &nodes, ReadyNodes: &nodes,
		}})
	}
	result, err := w.store.Apply(w.t.Context(), storage.Request{Command: command})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.inventory.WaitFor(w.t.Context(), result.Index); err != nil {
		w.t.Fatal(err)
	}
}

func shop(image string) model.Package {
	p := model.Package{
		Name: "shop",
		Classes: []model.Class{{
			Key: "Cart",
			FunctionBindings: []model.FunctionBinding{
				{Name: "add", FunctionKey: "Cart.add", AccessModifier: model.AccessPublic},
			},
		}},
		Functions: []model.Function{{
			Key: "Cart.add", FunctionType: model.FunctionCustom,
			ProvisionConfig: &model.ProvisionConfig{ContainerImage: &image},
		}},
	}
	p.SetDefaults()
	return p
}

// cart is a deployment of shop's class. Its replica count and node ids are
// given, so that a unit does not depend on which other clusters are targets.
func cart(envs ...string) model.Deployment {
	replicas := uint32(2)
	return model.Deployment{
		Key: "cart", PackageName: "shop", ClassKey: "Cart", TargetEnvs: envs,
		ODGM: &model.ODGMDataSpec{ReplicaCount: &replicas},
	}
}

func (w *world) apply(command storage.Command) {
	w.t.Helper()
	if _, err := w.store.Apply(w.t.Context(), storage.Request{Command: command}); err != nil {
		w.t.Fatalf("apply %T: %v", command, err)
	}
}

func (w *world) putPackage(p model.Package) {
	w.t.Helper()
	document, err := model.EncodePackage(p)
	if err != nil {
		w.t.Fatal(err)
	}
	tags, dependencies, classes := p.IndexTerms()
	w.apply(storage.PutPackage{Name: p.Name, Document: document, Tags: tags, Dependencies: dependencies, Classes: classes})
}

func (w *world) put(d model.Deployment) {
	w.t.Helper()
	document, err := model.EncodeDeployment(d)
	if err != nil {
		w.t.Fatal(err)
	}
	w.apply(storage.PutDeployment{
		Key: d.Key, Document: document, Package: d.PackageName, Class: d.ClassKey, Environments: d.Environments(),
	})
}

// lead runs a dispatcher as the leader of term; stop ends it and waits.
func (w *world) lead(term uint64) (stop func()) {
	w.t.Helper()
	stop = w.leadStale(term)
	w.store.term.Store(term)
	return stop
}

// leadStale is lead for a leader that does not know that it was deposed.
func (w *world) leadStale(term uint64) (stop func()) {
	w.t.Helper()
	return w.start(w.dispatcher(metrics.NewSet()), term)
}

// start runs a dispatcher until stop is called or the test ends.
func (w *world) start(d *Dispatcher, term uint64) (stop func()) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { d.Run(ctx, term) })
	stop = func() { cancel(); wg.Wait() }
	w.t.Cleanup(stop)
	return stop
}

func (w *world) dispatcher(set *metrics.Set) *Dispatcher {
	w.t.Helper()
	deps := Deps{
		Store: w.store, Fleet: w.fleet, Inventory: w.inventory, Gate: w.gate, Policy: w.policy, Logger: w.logger, Metrics: set, Now: w.now,
	}
	if w.bubble {
		deps.Fleet = within{w}
	}
	if w.through != nil {
		deps.Store = w.through(w.store)
	}
	d, err := New(w.cfg, deps)
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = d
	return d
}

// leader is the dispatcher that was started last, running.
func (w *world) leader() (d *Dispatcher) {
	w.t.Helper()
	until(w.t, "the run is on", func() bool {
		w.mu.Lock()
		d = w.last // another one when leaders come and go
		w.mu.Unlock()
		return d != nil && d.running() != nil
	})
	return d
}

// situation reads what is recorded, as the dispatcher does.
func (w *world) situation(key string) (situation, bool) {
	w.t.Helper()
	r := (&Dispatcher{cfg: w.cfg, deps: Deps{Store: w.store}}).newRun(1)
	s, exists, err := r.load(w.t.Context(), key)
	if err != nil {
		w.t.Fatal(err)
	}
	return s, exists
}

func (w *world) deployment() model.Deployment {
	w.t.Helper()
	s, _ := w.situation("cart")
	return s.deployment
}

// running waits until the newest generation runs, with nothing left over.
func (w *world) running() {
	w.t.Helper()
	until(w.t, "deployment runs and is settled", func() bool {
		s, exists := w.situation("cart")
		d := s.deployment
		if !exists || d.ObservedGeneration != d.Generation || d.Condition != model.DeploymentRunning {
			return false
		}
		return len(s.units) == len(d.Status.SelectedEnvs)
	})
}

// events lists the reasons of the events about a deployment, the oldest first.
func (w *world) events(key string) []string {
	w.t.Helper()
	var reasons []string
	for _, event := range w.eventList(key) {
		reasons = append(reasons, event.Reason)
	}
	return reasons
}

func (w *world) eventList(key string) (events []model.Event) {
	w.t.Helper()
	_, err := w.store.View(w.t.Context(), storage.ReadOptions{}, func(reader storage.Reader) error {
		events = nil
		return storage.ScanPrefix(reader, []byte(storage.StoredEventPrefix), func(_, value []byte) (bool, error) {
			event, err := model.ParseEvent(value)
			if event.Kind == model.EventAboutDeployment && event.Name == key {
				events = append(events, event)
			}
			return err == nil, err
		})
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return events
}

// revisions lists the kept revisions of cart, the oldest first.
func (w *world) revisions() []model.Revision {
	w.t.Helper()
	r := (&Dispatcher{cfg: w.cfg, deps: Deps{Store: w.store}}).newRun(1)
	revisions, err := r.loadRevisions(w.t.Context(), "cart")
	if err != nil {
		w.t.Fatal(err)
	}
	return revisions
}

// phase waits until the rollout of the newest generation is in a phase.
func (w *world) phase(phase model.RolloutPhase) {
	w.t.Helper()
	until(w.t, "rollout is "+string(phase), func() bool {
		d := w.deployment()
		return d.RolloutStatus != nil && d.RolloutStatus.Generation == d.Generation && d.RolloutStatus.Phase == phase
	})
}

func (w *world) gone() {
	w.t.Helper()
	until(w.t, "deployment is forgotten", func() bool {
		_, exists := w.situation("cart")
		return !exists
	})
}

// unitsIn returns the ids of the units that a cluster runs.
func (w *world) unitsIn(cluster string) []string {
	var ids []string
	for _, unit := range w.sims[cluster].Units() {
		ids = append(ids, unit.Unit.ID)
	}
	return ids
}

// onlyUnitIn returns the id of the one unit that a cluster runs.
func (w *world) onlyUnitIn(cluster string) string {
	w.t.Helper()
	ids := w.unitsIn(cluster)
	if len(ids) != 1 {
		w.t.Fatalf("cluster %s: got units %v, want one", cluster, ids)
	}
	return ids[0]
}

// effects lists what happened in a cluster: "created ID", "deleted ID".
func (w *world) effects(cluster string) []string {
	var effects []string
	for _, call := range w.sims[cluster].Calls(0) {
		if call.Effect == sim.EffectCreated || call.Effect == sim.EffectDeleted {
			effects = append(effects, fmt.Sprintf("%s %s", call.Effect, call.Unit))
		}
	}
	return effects
}

// converged asserts that the records and the clusters agree: no orphan, no
// duplicate, nothing missing.
func (w *world) converged() {
	w.t.Helper()
	s, _ := w.situation("cart")
	recorded := map[string][]string{}
	for _, unit := range s.units {
		recorded[unit.Cluster] = append(recorded[unit.Cluster], unit.ID)
	}
	for name := range w.sims {
		if got, want := w.unitsIn(name), recorded[name]; !slices.Equal(got, want) {
			w.t.Errorf("cluster %s: got units %v, want those recorded: %v", name, got, want)
		}
	}
}

func condition(t *testing.T, d model.Deployment, kind string) model.Condition {
	t.Helper()
	for _, c := range d.Conditions {
		if c.Type == kind {
			return c
		}
	}
	t.Fatalf("deployment has no condition %s: %+v", kind, d.Conditions)
	return model.Condition{}
}

func contains(t *testing.T, text, part string) {
	t.Helper()
	if !strings.Contains(text, part) {
		t.Errorf("got %q, want it to contain %q", text, part)
	}
}
