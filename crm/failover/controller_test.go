package failover

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/oprc/oprc-pm/crm/inventory"
	"github.com/oprc/oprc-pm/fsm"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a store, an inventory that follows it, ten clusters c0 to c9 and
// deployments, all in a bubble of synthetic time.
type world struct {
	t     *testing.T
	store *memory.Store
	inv   *inventory.Inventory
	cfg   Config
	// now is the wall clock of leaders; nil: the real one.
	now func() time.Time
	// through is where leaders find the store; nil: directly.
	through Store

	mu sync.Mutex
	// asked is what the dispatcher was asked for.
	asked []string
	// fits: the dispatcher finds a place for what is evicted, and records it.
	fits bool
	// versions are the deployments' newest wishes.
	placed map[string][]string
}

// inBubble runs test with a world in synthetic time.
func inBubble(t *testing.T, test func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, store: memory.New(fsm.NewMachine()), cfg: DefaultConfig(), placed: map[string][]string{}}
		w.inv = inventory.New(w.store, nil, nil)
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		wg.Go(func() { _ = w.inv.Run(ctx) })
		defer func() { cancel(); wg.Wait(); _ = w.store.Close() }()
		<-w.inv.Ready()
		for n := range 10 {
			w.addCluster(fmt.Sprintf("c%d", n))
		}
		w.putPackage()
		test(t, w)
	})
}

func (w *world) apply(command storage.Command) {
	w.t.Helper()
	if _, err := w.store.Apply(context.Background(), storage.Request{Command: command}); err != nil {
		w.t.Fatalf("apply %T: %v", command, err)
	}
}

func (w *world) addCluster(name string) {
	w.t.Helper()
	w.putCluster(name, func(*model.Cluster) {})
	w.health(name, model.ClusterHealthy)
}

func (w *world) putCluster(name string, change func(*model.Cluster)) {
	w.t.Helper()
	cluster := model.Cluster{Name: name, BaseURL: "http://" + name, ManagedBy: model.ManagedByAPI}
	cluster.SetDefaults()
	change(&cluster)
	document, err := model.EncodeCluster(cluster)
	if err != nil {
		w.t.Fatal(err)
	}
	w.apply(storage.PutCluster{Name: name, Document: document, ManagedBy: model.ManagedByAPI})
}

// health records that clusters have a status from now on.
func (w *world) health(name, status string) {
	w.t.Helper()
	now := time.Now().UTC()
	w.apply(storage.RecordClusterHealth{Clusters: []storage.NamedHealth{{Name: name, Health: model.ClusterHealth{
		ClusterName: name, Status: status, Since: &now, LastSeen: now,
	}}}})
}

func (w *world) putPackage() {
	w.t.Helper()
	p := model.Package{Name: "shop", Classes: []model.Class{{Key: "Cart"}}}
	p.SetDefaults()
	document, err := model.EncodePackage(p)
	if err != nil {
		w.t.Fatal(err)
	}
	tags, dependencies, classes := p.IndexTerms()
	w.apply(storage.PutPackage{Name: p.Name, Document: document, Tags: tags, Dependencies: dependencies, Classes: classes})
}

// deploy stores a deployment that is placed.
func (w *world) deploy(key string, failover *model.Failover, placed ...string) {
	w.t.Helper()
	d := model.Deployment{Key: key, PackageName: "shop", ClassKey: "Cart", Failover: failover}
	d.SetDefaults()
	document, err := model.EncodeDeployment(d)
	if err != nil {
		w.t.Fatal(err)
	}
	w.apply(storage.PutDeployment{Key: key, Document: document, Package: "shop", Class: "Cart"})
	w.placed[key] = placed
	w.observe(key, nil)
}

// observe records where a deployment is placed and what it avoids.
func (w *world) observe(key string, avoided []model.AvoidedCluster) {
	w.t.Helper()
	observed := model.DeploymentObserved{AvoidedClusters: avoided}
	for _, name := range w.placed[key] {
		observed.PlacedOn = append(observed.PlacedOn, model.PlacedCluster{Cluster: name})
	}
	w.apply(storage.RecordUnitStatus{Deployment: key, Generation: 1, Observed: &observed})
}

// Evict implements Mover: a dispatcher that has a place, if the test says so.
func (w *world) Evict(deployment, cluster, reason, _ string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, "evict "+deployment+" from "+cluster+": "+reason)
	if w.fits {
		w.observe(deployment, []model.AvoidedCluster{{Cluster: cluster, Reason: reason, Since: time.Now().UTC()}})
	}
}

// Readmit implements Mover.
func (w *world) Readmit(deployment, cluster string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, "readmit "+deployment+" to "+cluster)
	if w.fits {
		w.observe(deployment, nil)
	}
}

// heard are the requests since it was last asked.
func (w *world) heard() []string {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	asked := w.asked
	w.asked = nil
	return asked
}

// lead decides as the leader of term until stop is called.
func (w *world) lead(term uint64) (stop func()) {
	w.t.Helper()
	store := w.through
	if store == nil {
		store = w.store
	}
	c, err := New(w.cfg, Deps{Store: store, Inventory: w.inv, Mover: w, Metrics: metrics.NewSet(), Now: w.now})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { c.Run(ctx, term) })
	return func() { cancel(); wg.Wait() }
}

// pass lets time pass.
func (w *world) pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// events are all events, as "type kind/name reason".
func (w *world) events() []string {
	w.t.Helper()
	var list []string
	_, err := w.store.View(context.Background(), storage.ReadOptions{}, func(r storage.Reader) error {
		return storage.ScanPrefix(r, []byte(storage.StoredEventPrefix), func(_, value []byte) (bool, error) {
			var event model.Event
			if err := json.Unmarshal(value, &event); err != nil {
				return false, err
			}
			list = append(list, string(event.Type)+" "+event.Kind+"/"+event.Name+" "+event.Reason)
			return true, nil
		})
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

func (w *world) expect(what string, got, want []string) {
	w.t.Helper()
	if diff := cmp.Diff(got, want); diff != "" {
		w.t.Errorf("%s: got -, want +\n%s", what, diff)
	}
}

func optIn() *model.Failover { return &model.Failover{Enabled: true} }

func TestLostClusterIsLeftAfterTheToleration(t *testing.T) {
	inBubble(t, func(_ *testing.T, w *world) {
		w.fits = true
		w.deploy("opted", optIn(), "c0", "c1")
		w.deploy("other", nil, "c0")
		defer w.lead(1)()
		w.pass(time.Minute)
		w.health("c0", model.ClusterUnhealthy)
		w.pass(w.cfg.Toleration - time.Second)
		w.expect("before the toleration is over", w.heard(), nil)
		w.pass(2 * time.Second)
		w.expect("after it", w.heard(), named("evict opted from c0: Failover"))
		w.expect("events", w.events(), named("Warning cluster/c0 FailoverStarted"))
		w.health("c0", model.ClusterHealthy)
		w.pass(w.cfg.Recovery - time.Second)
		w.expect("while it must be stable", w.heard(), nil)
		w.pass(2 * time.Second)
		w.expect("once it is", w.heard(), named("readmit opted to c0"))
		w.expect("events in the end", w.events(), named("Warning cluster/c0 FailoverStarted"))
	})
}

// TestLeaderChangeKeepsTheClocks: a toleration that has begun goes on.
func TestLeaderChangeKeepsTheClocks(t *testing.T) {
	inBubble(t, func(_ *testing.T, w *world) {
		w.deploy("opted", optIn(), "c0")
		stop := w.lead(1)
		w.health("c0", model.ClusterUnhealthy)
		w.pass(w.cfg.Toleration - time.Minute)
		stop()
		defer w.lead(2)()
		w.pass(30 * time.Second)
		w.expect("before the toleration is over", w.heard(), nil)
		w.pass(31 * time.Second)
		w.expect("after it", w.heard(), named("evict opted from c0: Failover"))
	})
}

// TestLeaderChangeTellsNothingTwice: neither the brake nor that deployments leave
// a cluster.
func TestLeaderChangeTellsNothingTwice(t *testing.T) {
	inBubble(t, func(_ *testing.T, w *world) {
		w.deploy("opted", optIn(), "c0")
		stop := w.lead(1)
		w.health("c0", model.ClusterUnhealthy)
		w.pass(w.cfg.Toleration + time.Second)
		w.expect("no fit means keep, and ask again", w.heard(), named("evict opted from c0: Failover"))
		for n := 1; n < 6; n++ {
			w.health(fmt.Sprintf("c%d", n), model.ClusterUnhealthy)
		}
		w.pass(time.Second)
		w.expect("the brake takes back what was asked for", w.heard(), named("readmit opted to c0"))
		want := named("Warning cluster/c0 FailoverStarted", "Alarm cluster/* FailoverBraked")
		w.expect("events of the first leader", w.events(), want)
		stop()
		stop = w.lead(2)
		w.pass(time.Minute)
		w.expect("under the second", w.events(), want)
		w.health("c5", model.ClusterHealthy)
		w.pass(w.cfg.BrakeHoldOff / 2)
		stop()
		defer w.lead(3)()
		// Each leader waits the whole hold-off, since it cannot know when it began.
		w.pass(w.cfg.BrakeHoldOff - time.Second)
		w.expect("within the hold-off", w.heard(), nil)
		w.pass(2 * time.Second)
		w.expect("after it", w.heard(), named("evict opted from c0: Failover"))
		w.expect("events in the end", w.events(), append(want, "Normal cluster/* FailoverResumed"))
	})
}

func TestSixOfTenLostEvictNothing(t *testing.T) {
	inBubble(t, func(_ *testing.T, w *world) {
		w.fits = true
		for n := range 10 {
			w.deploy(fmt.Sprintf("d%d", n), optIn(), fmt.Sprintf("c%d", n))
		}
		defer w.lead(1)()
		for n := range 6 {
			w.health(fmt.Sprintf("c%d", n), model.ClusterUnhealthy)
			w.pass(time.Second)
		}
		w.pass(10 * w.cfg.Toleration)
		w.expect("asked", w.heard(), nil)
		w.expect("events", w.events(), named("Alarm cluster/* FailoverBraked"))
		for n := range 6 {
			w.health(fmt.Sprintf("c%d", n), model.ClusterHealthy)
		}
		w.pass(10 * w.cfg.Toleration)
		w.expect("asked when they are back", w.heard(), nil)
		w.expect("events in the end", w.events(), named("Alarm cluster/* FailoverBraked", "Normal cluster/* FailoverResumed"))
	})
}

func TestQueuedEvictionsAreDroppedWhenTheClusterReturns(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.cfg.MaxEvictionsPerMinute = 1
		w.fits = true
		for n := range 5 {
			w.deploy(fmt.Sprintf("d%d", n), optIn(), "c0")
		}
		defer w.lead(1)()
		w.health("c0", model.ClusterUnhealthy)
		w.pass(w.cfg.Toleration + time.Second)
		w.expect("one in a minute", w.heard(), named("evict d0 from c0: Failover"))
		w.health("c0", model.ClusterHealthy)
		w.pass(10 * time.Second)
		w.expect("then the cluster returns", w.heard(), nil)
		w.expect("events", w.events(), named("Warning cluster/c0 FailoverStarted", "Normal cluster/c0 FailoverDropped"))
		w.pass(10 * time.Minute)
		w.expect("and who left comes back", w.heard(), named("readmit d0 to c0"))
	})
}

func TestDrain(t *testing.T) {
	inBubble(t, func(_ *testing.T, w *world) {
		w.fits = true
		w.deploy("d0", nil, "c0")
		defer w.lead(1)()
		w.putCluster("c0", func(c *model.Cluster) { c.Cordoned, c.Draining = true, true })
		w.pass(time.Second)
		w.expect("at once", w.heard(), named("evict d0 from c0: Drain"))
		w.pass(time.Hour)
		w.expect("while it is drained", w.heard(), nil)
		w.putCluster("c0", func(*model.Cluster) {})
		w.pass(time.Second)
		w.expect("when it is not any more", w.heard(), named("readmit d0 to c0"))
		w.expect("events", w.events(), named(
			"Normal cluster/c0 DrainStarted", "Normal cluster/c0 DrainComplete", "Normal cluster/c0 ClusterUncordoned"))
	})
}

// TestBudgetOutlivesTheLeader: leaders that change often must not move more than
// one would.
func TestBudgetOutlivesTheLeader(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.cfg.MaxEvictionsPerMinute = 10
		w.fits = true
		for n := range 100 {
			w.deploy(fmt.Sprintf("d%02d", n), optIn(), "c0")
		}
		w.health("c0", model.ClusterUnhealthy)
		w.pass(w.cfg.Toleration)
		for term := range uint64(10) {
			stop := w.lead(term + 1)
			w.pass(time.Second)
			stop()
		}
		if got := len(w.heard()); got < 10 || got > 12 {
			t.Errorf("got %d evictions in ten seconds of ten leaders, want the burst of 10 and hardly more", got)
		}
	})
}

func TestSteadyStateWritesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.deploy("healthy", optIn(), "c1")
		w.deploy("kept", optIn(), "c0")
		defer w.lead(1)()
		w.health("c0", model.ClusterUnhealthy)
		w.pass(2 * w.cfg.Toleration)
		index := w.store.Status().AppliedIndex
		w.pass(24 * time.Hour)
		if got := w.store.Status().AppliedIndex; got != index {
			t.Errorf("got %d writes while nothing changed, want none", got-index)
		}
		if got := len(w.heard()); got == 0 {
			t.Error("a deployment that found no place was not asked for again")
		}
	})
}

// TestEventsAreNotLost: what the store refuses is recorded later, once.
func TestEventsAreNotLost(t *testing.T) {
	inBubble(t, func(_ *testing.T, w *world) {
		flaky := &flakyStore{Store: w.store, failures: 3}
		c, err := New(w.cfg, Deps{Store: flaky, Inventory: w.inv, Mover: w, Metrics: metrics.NewSet()})
		if err != nil {
			w.t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		wg.Go(func() { c.Run(ctx, 1) })
		defer func() { cancel(); wg.Wait() }()
		for n := range 6 {
			w.health("c"+strconv.Itoa(n), model.ClusterUnhealthy)
		}
		w.pass(time.Second / 2)
		w.expect("while the store fails", w.events(), nil)
		w.pass(10 * time.Second)
		w.expect("afterwards", w.events(), named("Alarm cluster/* FailoverBraked"))
	})
}

// flakyStore refuses the first events; of the second refusal nobody knows that
// it was none.
type flakyStore struct {
	*memory.Store
	failures int
}

func (s *flakyStore) Apply(ctx context.Context, req storage.Request) (storage.Result, error) {
	if s.failures == 0 {
		return s.Store.Apply(ctx, req)
	}
	s.failures--
	if s.failures == 0 {
		if _, err := s.Store.Apply(ctx, req); err != nil {
			return storage.Result{}, err
		}
		return storage.Result{}, model.Errorf(model.CodeUnknownOutcome, "nobody knows")
	}
	return storage.Result{}, model.Errorf(model.CodeUnavailable, "no leader")
}
