package control

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
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

func TestMain(m *testing.M) {
	flag.Parse()
	// These tests wait more than they compute: more of them at once than there are
	// cores, unless it was said how many.
	said := false
	flag.Visit(func(f *flag.Flag) { said = said || f.Name == "test.parallel" })
	if !said {
		if err := flag.Set("test.parallel", "4"); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

// patience bounds every wait for a condition, on the busiest machine.
const patience = 2 * time.Minute

// timeToRunning is how long units take to come up.
const timeToRunning = 30 * time.Millisecond

// until waits for a condition, looking often; less often at what takes long to look
// at, for looking must not keep what it waits for from its work. state, if not nil,
// tells what is there instead.
func until(t *testing.T, what string, condition func() bool, state func() string) {
	t.Helper()
	const pace = 5 * time.Millisecond
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	pause := time.NewTimer(pace)
	defer pause.Stop()
	for {
		begun := time.Now()
		if condition() {
			return
		}
		pause.Reset(max(pace, 6*time.Since(begun)))
		select {
		case <-pause.C:
		case <-deadline.C:
			if state != nil {
				what += "; there is " + state()
			}
			t.Fatalf("waited in vain for: %s", what)
		}
	}
}

// world is a store, simulated clusters c0, c1, … behind real HTTP, and leader
// runs over them.
type world struct {
	t      *testing.T
	store  *memory.Store
	names  []string
	sims   map[string]*sim.Sim
	crmCfg crm.Config
	cfg    Config
	logger *slog.Logger

	// mu guards what follows.
	mu sync.Mutex
	// written are the commands of leaders since it was last cleared.
	written []storage.Command
}

// tap notes what leaders write.
type tap struct {
	Store
	w *world
}

func (s tap) Apply(ctx context.Context, req storage.Request) (storage.Result, error) {
	s.w.mu.Lock()
	s.w.written = append(s.w.written, req.Command)
	s.w.mu.Unlock()
	return s.Store.Apply(ctx, req)
}

// takeWritten returns what leaders wrote since it was last called.
func (w *world) takeWritten() []storage.Command {
	w.mu.Lock()
	defer w.mu.Unlock()
	written := w.written
	w.written = nil
	return written
}

// newWorld builds so many clusters, and package shop, with everything that takes
// seconds or minutes in production made quick.
func newWorld(t *testing.T, clusters int) *world {
	t.Helper()
	w := &world{
		t: t, store: memory.New(fsm.NewMachine()), sims: map[string]*sim.Sim{},
		crmCfg: crm.DefaultConfig(), cfg: DefaultConfig(), logger: slog.New(slog.DiscardHandler),
	}
	if os.Getenv("CRM_TEST_LOG") != "" {
		w.logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	t.Cleanup(func() { _ = w.store.Close() })
	for n := range clusters {
		name := fmt.Sprintf("c%d", n)
		w.names = append(w.names, name)
		w.crmCfg.Clusters[name] = crm.DefaultClusterConfig(name, w.startSim(name))
	}
	h, d, f, r := &w.cfg.Health, &w.cfg.Dispatch, &w.cfg.Failover, &w.cfg.Drift
	h.Interval, h.Timeout, h.FailureThreshold = 100*time.Millisecond, 2*time.Second, 3
	h.OpenTimeout, h.RetryTimeout, h.RecordDelay = 100*time.Millisecond, 200*time.Millisecond, 5*time.Millisecond
	d.PollMin, d.PollMax, d.SettledPollInterval = 2*time.Millisecond, 20*time.Millisecond, 200*time.Millisecond
	d.BackoffMin, d.BackoffMax, d.BackoffLong = 5*time.Millisecond, 50*time.Millisecond, 100*time.Millisecond
	d.RefusedRetryInterval, d.UncertainPeriod, d.CoalesceDelay = 50*time.Millisecond, 20*time.Millisecond, time.Millisecond
	f.Toleration, f.Recovery, f.BrakeHoldOff = time.Second, 300*time.Millisecond, 300*time.Millisecond
	f.RetryInterval, f.SettleDelay, f.MaxEvictionsPerMinute = 300*time.Millisecond, 20*time.Millisecond, 600
	r.Interval, r.ConfirmDelay, r.OrphanGrace = 100*time.Millisecond, 20*time.Millisecond, 0
	w.putPackage()
	return w
}

// startSim serves a simulated cluster until the test ends, and returns its URL.
func (w *world) startSim(name string) string {
	w.t.Helper()
	return w.serveSim(name, func(l net.Listener) sim.Endpoints { return sim.Endpoints{HTTP: l} })
}

// overGRPC has a cluster speak gRPC. It is called before anybody leads.
func (w *world) overGRPC(name string) {
	w.t.Helper()
	cluster := crm.DefaultClusterConfig(name, w.serveSim(name, func(l net.Listener) sim.Endpoints { return sim.Endpoints{GRPC: l} }))
	cluster.Protocol = model.ProtocolGRPC
	w.crmCfg.Clusters[name] = cluster
}

func (w *world) serveSim(name string, endpoints func(net.Listener) sim.Endpoints) string {
	w.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	s := sim.New(sim.Config{Name: name, JournalSize: 100_000, TimeToRunning: timeToRunning})
	w.sims[name] = s
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Serve(ctx, endpoints(listener)); err != nil {
			w.t.Errorf("simulated cluster %s: %v", name, err)
		}
	})
	w.t.Cleanup(func() { cancel(); wg.Wait() })
	return "http://" + listener.Addr().String()
}

// lead runs a node that leads in term, until stop is called or the test ends.
func (w *world) lead(term uint64) (stop func()) {
	w.t.Helper()
	set := metrics.NewSet()
	fleet, err := crm.NewFleet(w.crmCfg, set, w.logger)
	if err != nil {
		w.t.Fatal(err)
	}
	inv := inventory.New(w.store, w.logger, set)
	cfg := w.cfg
	cfg.Local = w.crmCfg.LocalClusters()
	c, err := New(cfg, Deps{Store: tap{w.store, w}, Fleet: fleet, Inventory: inv, Logger: w.logger, Metrics: set})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = inv.Run(ctx) })
	wg.Go(func() { c.Follow(ctx) })
	wg.Go(func() { c.Run(ctx, term) })
	stop = sync.OnceFunc(func() { cancel(); wg.Wait(); fleet.Close() })
	w.t.Cleanup(stop)
	return stop
}

func (w *world) apply(command storage.Command) {
	w.t.Helper()
	if _, err := w.store.Apply(context.Background(), storage.Request{Command: command}); err != nil {
		w.t.Fatalf("apply %T: %v", command, err)
	}
}

func (w *world) putPackage() {
	w.t.Helper()
	image := "img:1"
	p := model.Package{
		Name: "shop",
		Classes: []model.Class{{Key: "Cart", FunctionBindings: []model.FunctionBinding{
			{Name: "add", FunctionKey: "Cart.add", AccessModifier: model.AccessPublic},
		}}},
		Functions: []model.Function{{
			Key: "Cart.add", FunctionType: model.FunctionCustom, ProvisionConfig: &model.ProvisionConfig{ContainerImage: &image},
		}},
	}
	p.SetDefaults()
	document, err := model.EncodePackage(p)
	if err != nil {
		w.t.Fatal(err)
	}
	tags, dependencies, classes := p.IndexTerms()
	w.apply(storage.PutPackage{Name: p.Name, Document: document, Tags: tags, Dependencies: dependencies, Classes: classes})
}

// deploy stores a deployment of shop's class.
func (w *world) deploy(key string, change func(*model.Deployment)) {
	w.t.Helper()
	d := model.Deployment{Key: key, PackageName: "shop", ClassKey: "Cart"}
	change(&d)
	d.SetDefaults()
	document, err := model.EncodeDeployment(d)
	if err != nil {
		w.t.Fatal(err)
	}
	w.apply(storage.PutDeployment{Key: key, Document: document, Package: "shop", Class: "Cart", Environments: d.Environments()})
}

// scan calls fn with every value under a prefix.
func (w *world) scan(prefix string, fn func(value []byte) error) {
	w.t.Helper()
	_, err := w.store.View(context.Background(), storage.ReadOptions{}, func(r storage.Reader) error {
		return storage.ScanPrefix(r, []byte(prefix), func(_, value []byte) (bool, error) { return true, fn(value) })
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// deployments are all there are, by key.
func (w *world) deployments() map[string]model.Deployment {
	w.t.Helper()
	all := map[string]model.Deployment{}
	w.scan(storage.DeploymentPrefix, func(value []byte) error {
		d, err := model.ParseDeployment(value)
		all[d.Key] = d
		return err
	})
	return all
}

// units are all unit records, by deployment.
func (w *world) units() map[string][]model.UnitStatus {
	w.t.Helper()
	all := map[string][]model.UnitStatus{}
	w.scan(storage.UnitPrefix, func(value []byte) error {
		u, err := model.ParseUnit(value)
		all[u.DeploymentKey] = append(all[u.DeploymentKey], u)
		return err
	})
	return all
}

func (w *world) health() map[string]model.ClusterHealth {
	w.t.Helper()
	all := map[string]model.ClusterHealth{}
	w.scan(storage.ClusterHealthPrefix, func(value []byte) error {
		h, err := model.ParseClusterHealth(value)
		all[h.ClusterName] = h
		return err
	})
	return all
}

// events returns those with one of the reasons, oldest first.
func (w *world) events(reasons ...string) []model.Event {
	w.t.Helper()
	var list []model.Event
	w.scan(storage.StoredEventPrefix, func(value []byte) error {
		var e model.Event
		err := json.Unmarshal(value, &e)
		if slices.Contains(reasons, e.Reason) {
			list = append(list, e)
		}
		return err
	})
	return list
}

// history is all events, for a failed test to tell.
func (w *world) history() string {
	var text strings.Builder
	w.scan(storage.StoredEventPrefix, func(value []byte) error {
		var e model.Event
		err := json.Unmarshal(value, &e)
		fmt.Fprintf(&text, "\n%s %s %s/%s %s %s", e.At.Format("05.000"), e.Type, e.Kind, e.Name, e.Reason, e.Message)
		return err
	})
	for key, d := range w.deployments() {
		fmt.Fprintf(&text, "\n%s %s placed %v avoids %v", key, d.Condition, places(d), d.AvoidedClusters)
	}
	return text.String()
}

// places are the clusters that a deployment is placed in, sorted.
func places(d model.Deployment) []string {
	var names []string
	for _, p := range d.PlacedOn {
		names = append(names, p.Cluster)
	}
	slices.Sort(names)
	return names
}

// settled waits until every deployment runs where it is placed, and the clusters
// hold exactly what is recorded.
func (w *world) settled() {
	w.t.Helper()
	until(w.t, "all deployments run, with nothing left over", func() bool { return w.isSettled("") }, w.history)
}

// isSettled tells whether all deployments whose keys begin with prefix run where
// they are placed; with prefix "" also whether the clusters hold exactly what is
// recorded.
func (w *world) isSettled(prefix string) bool {
	w.t.Helper()
	units := w.units()
	var recorded []string
	for key, d := range w.deployments() {
		if !strings.HasPrefix(key, prefix) {
			continue
		}
		if d.ObservedGeneration != d.Generation || d.Condition != model.DeploymentRunning || d.DeletionRequestedAt != nil {
			return false
		}
		var in []string
		for _, u := range units[key] {
			if u.Phase != model.UnitRunning {
				return false
			}
			in = append(in, u.Cluster)
			recorded = append(recorded, u.Cluster+" "+u.ID)
		}
		slices.Sort(in)
		if !slices.Equal(in, places(d)) {
			return false
		}
	}
	slices.Sort(recorded)
	return prefix != "" || slices.Equal(recorded, w.held())
}

// held are all units that clusters hold, as "cluster unit".
func (w *world) held() []string {
	var held []string
	for name, s := range w.sims {
		for _, unit := range s.Units() {
			held = append(held, name+" "+unit.Unit.ID)
		}
	}
	slices.Sort(held)
	return held
}

// effect is something that happened in a cluster.
type effect struct {
	sim.Call
	cluster string
}

// effects are all creations and deletions in all clusters, in the order in which
// they happened. Deletions do not name the deployment over every protocol, so it
// is taken from the creation.
func (w *world) effects() []effect {
	var all []effect
	for _, name := range w.names {
		owners := map[string]string{}
		for _, call := range w.sims[name].Calls(0) {
			switch call.Effect {
			case sim.EffectCreated:
				owners[call.Unit] = call.Deployment
			case sim.EffectDeleted:
				call.Deployment = cmp.Or(call.Deployment, owners[call.Unit])
			default:
				continue
			}
			all = append(all, effect{call, name})
		}
	}
	slices.SortStableFunc(all, func(a, b effect) int { return a.At.Compare(b.At) })
	return all
}

// refuse stops clusters, at once; answer starts them again.
func (w *world) refuse(names ...string) { w.faults(sim.Faults{Refuse: true}, names) }
func (w *world) answer(names ...string) { w.faults(sim.Faults{}, names) }

func (w *world) faults(f sim.Faults, names []string) {
	var wg sync.WaitGroup
	for _, name := range names {
		wg.Go(func() { w.sims[name].SetFaults(f) })
	}
	wg.Wait()
}

// waitFor waits until clusters have a status.
func (w *world) waitFor(status string, names ...string) {
	w.t.Helper()
	until(w.t, fmt.Sprintf("%v are %s", names, status), func() bool {
		health := w.health()
		return !slices.ContainsFunc(names, func(name string) bool { return health[name].Status != status })
	}, w.history)
}

// deps are those of a Control that is never run.
func (w *world) deps(fleet *crm.Fleet) Deps {
	set := metrics.NewSet()
	return Deps{Store: w.store, Fleet: fleet, Inventory: inventory.New(w.store, w.logger, set), Logger: w.logger, Metrics: set}
}
