package health

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"go.uber.org/goleak"

	"github.com/oprc/oprc-pm/crm"
	"github.com/oprc/oprc-pm/crm/inventory"
	"github.com/oprc/oprc-pm/fsm"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// countingStore counts records of health, and can refuse them.
type countingStore struct {
	*memory.Store

	mu      sync.Mutex
	records []storage.RecordClusterHealth
	ids     []string
	// refuse, when not nil, answers in place of the store, or after it when
	// late is set.
	refuse func() error
	late   bool
}

func (s *countingStore) Apply(ctx context.Context, req storage.Request) (storage.Result, error) {
	c, isRecord := req.Command.(storage.RecordClusterHealth)
	if !isRecord {
		return s.Store.Apply(ctx, req)
	}
	s.mu.Lock()
	s.records, s.ids = append(s.records, c), append(s.ids, req.ID)
	refuse, late := s.refuse, s.late
	s.mu.Unlock()
	if refuse == nil {
		return s.Store.Apply(ctx, req)
	}
	if late {
		if _, err := s.Store.Apply(ctx, req); err != nil {
			return storage.Result{}, err
		}
	}
	return storage.Result{}, refuse()
}

func (s *countingStore) setRefusal(refuse func() error, late bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse, s.late = refuse, late
}

// count is the number of records that were proposed.
func (s *countingStore) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.records)
}

// scripted is a CRM that answers health calls as it is told; no other call is
// made here.
type scripted struct {
	crm.Client

	mu     sync.Mutex
	answer func(ctx context.Context) (model.ClusterHealth, error)
	begun  []time.Time
}

func (c *scripted) Health(ctx context.Context) (model.ClusterHealth, error) {
	c.mu.Lock()
	c.begun = append(c.begun, time.Now())
	answer := c.answer
	c.mu.Unlock()
	return answer(ctx)
}

func (c *scripted) become(answer func(ctx context.Context) (model.ClusterHealth, error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer = answer
}

// probes are the times at which probes began.
func (c *scripted) probes() []time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]time.Time(nil), c.begun...)
}

// Behaviours.
func well(context.Context) (model.ClusterHealth, error) { return report(nil), nil }

func hangs(ctx context.Context) (model.ClusterHealth, error) {
	<-ctx.Done()
	return model.ClusterHealth{}, &crm.CallError{Class: crm.ClassRetryable, Reason: "no answer in time", Err: ctx.Err()}
}

func refuses(context.Context) (model.ClusterHealth, error) {
	return model.ClusterHealth{}, &crm.CallError{Class: crm.ClassRetryable, Reason: "cannot connect", NotSent: true}
}

func fails(context.Context) (model.ClusterHealth, error) {
	return model.ClusterHealth{}, &crm.CallError{Class: crm.ClassRetryable, Status: 500, Reason: "answered 500"}
}

// world is a store with clusters, an inventory and a monitor.
type world struct {
	testing.TB
	store     *countingStore
	inventory *inventory.Inventory
	monitor   *Monitor
	metrics   *metrics.Set

	mu       sync.Mutex
	crms     map[string]*scripted
	admitted []string
	term     uint64
}

func (w *world) Client(name string) (crm.Client, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c, known := w.crms[name]
	return c, known
}

// crm returns the scripted CRM of a cluster; a new one is well.
func (w *world) crm(name string) *scripted {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.crms[name] == nil {
		w.crms[name] = &scripted{answer: well}
	}
	return w.crms[name]
}

// inWorld runs a test with its own time in a world whose clusters are well.
func inWorld(t *testing.T, change func(cfg *Config, deps *Deps), clusters int, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{TB: t, store: &countingStore{Store: memory.New(fsm.NewMachine())}, crms: map[string]*scripted{}, metrics: metrics.NewSet()}
		w.inventory = inventory.New(w.store, nil, nil)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		wg.Go(func() {
			if err := w.inventory.Run(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("inventory: %v", err)
			}
		})
		for n := range clusters {
			w.crm(nth(n))
			w.put(nth(n), nil)
		}
		cfg, deps := tuned(), Deps{Store: w.store, Fleet: w, Inventory: w.inventory, Metrics: w.metrics, Admitted: func(cluster string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.admitted = append(w.admitted, cluster)
		}}
		if change != nil {
			change(&cfg, &deps)
		}
		var err error
		if w.monitor, err = NewMonitor(cfg, deps); err != nil {
			t.Fatal(err)
		}
		test(w)
	})
}

func nth(n int) string { return fmt.Sprintf("c%03d", n) }

// lead runs the monitor as the leader of the next term until stop is called.
func (w *world) lead() (stop func()) {
	w.sync()
	w.term++
	ctx, cancel := context.WithCancel(w.Context())
	var wg sync.WaitGroup
	term := w.term
	wg.Go(func() { w.monitor.Run(ctx, term) })
	return func() { cancel(); wg.Wait() }
}

func (w *world) must(command storage.Command) {
	w.Helper()
	if _, err := w.store.Apply(w.Context(), storage.Request{Command: command}); err != nil {
		w.Fatalf("apply %T: %v", command, err)
	}
}

func (w *world) put(name string, change func(c *model.Cluster)) {
	w.Helper()
	c := model.Cluster{Name: name, BaseURL: "http://" + name + ".example", ManagedBy: model.ManagedByAPI}
	if change != nil {
		change(&c)
	}
	c.SetDefaults()
	document, err := model.EncodeCluster(c)
	if err != nil {
		w.Fatal(err)
	}
	w.must(storage.PutCluster{Name: name, Document: document, ManagedBy: c.ManagedBy})
}

// sync waits until the inventory has all that was applied.
func (w *world) sync() {
	w.Helper()
	if err := w.inventory.WaitFor(w.Context(), w.store.Status().AppliedIndex); err != nil {
		w.Fatal(err)
	}
}

// pass lets time go by.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// recorded is what the store says of a cluster, as status/reason/circuit.
func (w *world) recorded(name string) string {
	w.Helper()
	w.sync()
	view, known := w.inventory.Cluster(name)
	if !known {
		return "gone"
	}
	return shown(state{health: view.Health})
}

func (w *world) want(name, want string) {
	w.Helper()
	if got := w.recorded(name); got != want {
		w.Errorf("%s after %s: got %s, want %s", name, time.Since(epoch), got, want)
	}
}

// epoch is when the time of a bubble begins.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// events are the reasons of the events about a cluster, in order.
func (w *world) events(name string) string {
	w.Helper()
	var reasons []string
	_, err := w.store.View(w.Context(), storage.ReadOptions{}, func(r storage.Reader) error {
		return storage.ScanPrefix(r, []byte(storage.StoredEventPrefix), func(_, value []byte) (bool, error) {
			e, err := model.ParseEvent(value)
			if err == nil && e.Name == name {
				reasons = append(reasons, e.Reason)
			}
			return true, err
		})
	})
	if err != nil {
		w.Fatal(err)
	}
	return strings.Join(reasons, " ")
}
