package dispatch

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"go.uber.org/goleak"

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

// world is a store, simulated clusters behind real HTTP, and leader runs.
type world struct {
	t       *testing.T
	store   *fencedStore
	sims    map[string]*sim.Sim
	fleet   *Fleet
	cfg     Config
	metrics *metrics.Set
	logger  *slog.Logger
}

type option func(*world, map[string]*sim.Config)

func withSim(name string, change func(*sim.Config)) option {
	return func(_ *world, sims map[string]*sim.Config) { change(sims[name]) }
}

func withConfig(change func(*Config)) option {
	return func(w *world, _ map[string]*sim.Config) { change(&w.cfg) }
}

// newWorld builds clusters a and b that run units at once, and package shop.
func newWorld(t *testing.T, options ...option) *world {
	t.Helper()
	w := &world{
		t: t, sims: map[string]*sim.Sim{}, cfg: DefaultConfig(), metrics: metrics.NewSet(),
		store:  &fencedStore{Store: memory.New(fsm.NewMachine())},
		logger: slog.New(slog.DiscardHandler),
	}
	if os.Getenv("CRM_TEST_LOG") != "" {
		w.logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	t.Cleanup(func() { _ = w.store.Close() })
	d := &w.cfg.Dispatcher
	d.PollMin, d.PollMax, d.RunningPollInterval = 2*time.Millisecond, 20*time.Millisecond, 30*time.Millisecond
	d.BackoffMin, d.BackoffMax, d.RefusedRetryInterval = 5*time.Millisecond, 50*time.Millisecond, 30*time.Millisecond
	d.UncertainPeriod, d.CoalesceDelay = 20*time.Millisecond, time.Millisecond
	configs := map[string]*sim.Config{"a": {Name: "a"}, "b": {Name: "b"}}
	for _, change := range options {
		change(w, configs)
	}
	for name, cfg := range configs {
		w.startSim(name, *cfg)
	}
	for name, cluster := range w.cfg.Clusters {
		cluster.RetryAttempts = 1
		w.cfg.Clusters[name] = cluster
	}
	fleet, err := NewFleet(w.cfg, w.metrics)
	if err != nil {
		t.Fatal(err)
	}
	w.fleet = fleet
	t.Cleanup(fleet.Close)
	w.putPackage(shop("img:1"))
	return w
}

// startSim serves a simulated cluster on loopback until the test ends.
func (w *world) startSim(name string, cfg sim.Config) {
	w.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	s := sim.New(cfg)
	w.sims[name] = s
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Run(ctx, listener); err != nil {
			w.t.Errorf("simulated cluster %s: %v", name, err)
		}
	})
	w.t.Cleanup(func() { cancel(); wg.Wait() })
	cluster := DefaultClusterConfig(name, "http://"+listener.Addr().String())
	if configured, exists := w.cfg.Clusters[name]; exists {
		cluster.Timeout = cmp.Or(configured.Timeout, cluster.Timeout)
		cluster.MaxConcurrency = cmp.Or(configured.MaxConcurrency, cluster.MaxConcurrency)
	}
	w.cfg.Clusters[name] = cluster
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
	d, err := NewDispatcher(w.cfg.Dispatcher, Deps{
		Store: w.store, Clients: w.fleet.Clients(), MaxConcurrency: w.fleet.Concurrency(), Logger: w.logger, Metrics: set,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

// situation reads what is recorded, as the dispatcher does.
func (w *world) situation(key string) (situation, bool) {
	w.t.Helper()
	r := w.dispatcher(metrics.NewSet()).newRun(1)
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
