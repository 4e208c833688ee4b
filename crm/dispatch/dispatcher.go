package dispatch

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/oprc/oprc-pm/crm"
	"github.com/oprc/oprc-pm/crm/inventory"
	"github.com/oprc/oprc-pm/crm/plan"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// Store is what the dispatcher needs of a storage.Store.
type Store interface {
	Apply(ctx context.Context, req storage.Request) (storage.Result, error)
	View(ctx context.Context, opts storage.ReadOptions, fn func(storage.Reader) error) (storage.ReadInfo, error)
	Watch(ctx context.Context, opts storage.WatchOptions) (storage.Watcher, error)
}

// Fleet is the way to the clusters: the part of crm.Fleet that is used here.
type Fleet interface {
	Client(name string) (crm.Client, bool)
	// Concurrency is how many calls may be in flight to a cluster.
	Concurrency(name string) int
}

// Inventory is what is known of the clusters: the part of inventory.Inventory
// that is used here.
type Inventory interface {
	plan.Neighbours
	WaitFor(ctx context.Context, index uint64) error
	Cluster(name string) (inventory.ClusterView, bool)
	PlanClusters(except string) []plan.Cluster
	DeploymentsOn(cluster string) []string
	Subscribe(fn func(inventory.Change)) (cancel func())
}

// Gate says whether a cluster may be called now, and hears how calls went: the
// circuit breaker of crm/health.
type Gate interface {
	Allow(cluster string) bool
	// Report tells the outcome of a call; nil means that the CRM answered.
	Report(cluster string, err error)
}

// Deps is what a dispatcher works with. Store, Fleet and Inventory are required.
type Deps struct {
	Store     Store
	Fleet     Fleet
	Inventory Inventory
	// Gate may be nil: every cluster may be called.
	Gate    Gate
	Policy  plan.Policy
	Logger  *slog.Logger
	Metrics *metrics.Set
	// Now is the clock of what is recorded. What is waited for is measured by one
	// that does not jump.
	Now func() time.Time
	// Fence makes of a leader's term what CRMs are shown; nil: the term itself.
	Fence func(term uint64) uint64
}

// Dispatcher makes the clusters run what the deployments ask for. It does
// nothing but in Run, which only the leader calls. Its other methods may be
// called at any time from any goroutine, do not block, and but for PollUnits have
// no effect while Run is not on.
type Dispatcher struct {
	cfg     Config
	deps    Deps
	metrics *dispatcherMetrics

	// mu guards current, the run that is on, polled, the clusters whose units are
	// asked for one by one, and remembered, what earlier runs saw.
	mu         sync.Mutex
	current    *run
	polled     map[string]bool
	remembered map[string]recollection
}

// New makes a dispatcher. It does no I/O.
func New(cfg Config, deps Deps) (*Dispatcher, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Store == nil || deps.Fleet == nil || deps.Inventory == nil {
		return nil, errors.New("dispatcher needs a store, a fleet and an inventory")
	}
	if deps.Gate == nil {
		deps.Gate = openGate{}
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	if deps.Metrics == nil {
		deps.Metrics = metrics.NewSet()
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	d := &Dispatcher{cfg: cfg, deps: deps, polled: map[string]bool{}}
	d.metrics = newDispatcherMetrics(deps.Metrics, d)
	return d, nil
}

// openGate is the gate of a dispatcher without one.
type openGate struct{}

func (openGate) Allow(string) bool    { return true }
func (openGate) Report(string, error) {}

// Run acts as the leader of term until ctx ends. All its goroutines and calls
// have ended when it returns. One Run must have returned before the next begins.
func (d *Dispatcher) Run(ctx context.Context, term uint64) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := d.newRun(term)
	log := d.deps.Logger.With("term", term)
	if !r.catchUp(ctx) {
		return
	}
	d.begin(r)
	defer d.end(r)
	log.Info("dispatcher starts")

	unsubscribe := d.deps.Inventory.Subscribe(r.clusterChanged)
	defer unsubscribe()
	stop := context.AfterFunc(ctx, r.queue.close)
	defer stop()
	r.wg.Go(func() { r.queue.runTimer(ctx) })
	r.wg.Go(func() { r.runWatch(ctx) })
	r.wg.Go(func() { r.runResync(ctx) })
	r.wg.Go(func() { r.runClusters(ctx) })
	for range d.cfg.Workers {
		r.wg.Go(func() { r.runWorker(ctx) })
	}
	<-ctx.Done()
	r.queue.close()
	r.wg.Wait()
	log.Info("dispatcher stopped")
}

// begin makes a run the one that is on.
func (d *Dispatcher) begin(r *run) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.current, r.remembered = r, d.remembered
}

// end is called when all of a run has ended.
func (d *Dispatcher) end(r *run) {
	remembered := r.remember()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.current, d.remembered = nil, remembered
}

// running returns the run that is on, nil when there is none.
func (d *Dispatcher) running() *run {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.current
}

// now is the time to record, of a clock that may be set.
func (d *Dispatcher) now() time.Time { return d.deps.Now().UTC().Round(0) }

// phases counts the units that the present run knows, for metrics.
func (d *Dispatcher) phases(phase model.UnitPhase) float64 {
	r := d.running()
	if r == nil {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return float64(r.phases[phase])
}

func (d *Dispatcher) depth() float64 {
	if r := d.running(); r != nil {
		return float64(r.queue.depth())
	}
	return 0
}
