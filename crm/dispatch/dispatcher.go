package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// Store is what the dispatcher needs of a storage.Store.
type Store interface {
	Apply(ctx context.Context, req storage.Request) (storage.Result, error)
	View(ctx context.Context, opts storage.ReadOptions, fn func(storage.Reader) error) (storage.ReadInfo, error)
	Watch(ctx context.Context, opts storage.WatchOptions) (storage.Watcher, error)
}

// Deps is what a dispatcher works with. All but Logger, Metrics and Now are
// required.
type Deps struct {
	Store Store
	// Clients by cluster name; not changed afterwards.
	Clients map[string]Client
	// MaxConcurrency of each cluster; a cluster without one gets 8.
	MaxConcurrency map[string]int
	Logger         *slog.Logger
	Metrics        *metrics.Set
	// Now is the clock of what is recorded; delays are real time.
	Now func() time.Time
}

// Dispatcher makes the clusters run what the deployments ask for. It does
// nothing but in Run, which only the leader calls.
type Dispatcher struct {
	cfg        DispatcherConfig
	deps       Deps
	clusters   []string // sorted
	configured map[string]bool
	metrics    *dispatcherMetrics

	// mu guards current: the run that is on, for metrics.
	mu      sync.Mutex
	current *run
}

// NewDispatcher makes a dispatcher. It does no I/O.
func NewDispatcher(cfg DispatcherConfig, deps Deps) (*Dispatcher, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Store == nil {
		return nil, errors.New("dispatcher needs a store")
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
	d := &Dispatcher{cfg: cfg, deps: deps, configured: map[string]bool{}}
	for name := range deps.Clients {
		d.clusters = append(d.clusters, name)
		d.configured[name] = true
	}
	slices.Sort(d.clusters)
	d.metrics = newDispatcherMetrics(deps.Metrics, d)
	return d, nil
}

// Run acts as the leader of term until ctx ends; it is what storage.Store.Lead
// calls. All its goroutines and calls have ended when it returns. One Run must
// have returned before the next begins.
func (d *Dispatcher) Run(ctx context.Context, term uint64) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := d.newRun(term)
	d.setCurrent(r)
	defer d.setCurrent(nil)
	log := d.deps.Logger.With("term", term)
	log.Info("dispatcher starts", "clusters", len(d.clusters))

	stop := context.AfterFunc(ctx, r.queue.close)
	defer stop()
	r.wg.Go(func() { r.queue.runTimer(ctx) })
	r.wg.Go(func() { r.runWatch(ctx) })
	r.wg.Go(func() { r.runResync(ctx) })
	for range d.cfg.Workers {
		r.wg.Go(func() { r.runWorker(ctx) })
	}
	<-ctx.Done()
	r.queue.close()
	r.wg.Wait()
	log.Info("dispatcher stopped")
}

func (d *Dispatcher) setCurrent(r *run) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.current = r
}

func (d *Dispatcher) now() time.Time { return d.deps.Now().UTC() }

// run is one time of being the leader: what it remembers is forgotten with it.
type run struct {
	*Dispatcher
	term  uint64
	queue *queue
	lanes map[string]*lane
	// resyncNow asks for a look at everything.
	resyncNow chan struct{}
	// wg counts every goroutine of the run, calls included.
	wg sync.WaitGroup

	// mu guards deployments and all that hangs on it.
	mu          sync.Mutex
	deployments map[string]*knowledge
}

func (d *Dispatcher) newRun(term uint64) *run {
	r := &run{
		Dispatcher:  d,
		term:        term,
		queue:       newQueue(),
		lanes:       map[string]*lane{},
		resyncNow:   make(chan struct{}, 1),
		deployments: map[string]*knowledge{},
	}
	for _, name := range d.clusters {
		limit := d.deps.MaxConcurrency[name]
		if limit <= 0 {
			limit = 8
		}
		r.lanes[name] = &lane{limit: limit, wg: &r.wg}
	}
	return r
}

// runWorker reconciles one deployment after the other.
func (r *run) runWorker(ctx context.Context) {
	for {
		key, ok := r.queue.next()
		if !ok {
			return
		}
		again, err := r.reconcile(ctx, key)
		if err != nil && ctx.Err() == nil {
			r.metrics.errors.Inc()
			level := slog.LevelWarn
			if model.CodeOf(err) == model.CodeConflict {
				level = slog.LevelDebug // the deployment changed meanwhile, as it may
			}
			r.deps.Logger.Log(ctx, level, "reconcile will be repeated", "deployment", key, "after", again, "error", err)
		}
		r.queue.done(key)
		if again > 0 {
			r.queue.addAfter(key, again)
		}
	}
}

// runWatch turns changes into hints. A hint that is lost is made good by a
// resync.
func (r *run) runWatch(ctx context.Context) {
	for ctx.Err() == nil {
		err := r.watch(ctx)
		if ctx.Err() != nil {
			return
		}
		var compacted *storage.CompactedError
		if !errors.As(err, &compacted) {
			r.deps.Logger.Warn("watch of changes will be repeated", "error", err)
			pause(ctx, r.cfg.BackoffMax/10)
		}
		// The next watch begins with a resync.
	}
}

func (r *run) watch(ctx context.Context) error {
	watcher, err := r.deps.Store.Watch(ctx, storage.WatchOptions{
		Kinds: []storage.Kind{storage.KindDeployment, storage.KindPackage},
	})
	if err != nil {
		return fmt.Errorf("watch deployments and packages: %w", err)
	}
	defer watcher.Close()
	// What changed before the watch began is found by looking at everything.
	r.requestResync()
	for {
		events, _, err := watcher.Next(ctx)
		if err != nil {
			return fmt.Errorf("read changes: %w", err)
		}
		for _, event := range events {
			if err := r.hint(ctx, event); err != nil {
				return err
			}
		}
	}
}

// hint queues the deployments that an event is about.
func (r *run) hint(ctx context.Context, event storage.Event) error {
	if event.Kind == storage.KindDeployment {
		r.queue.add(event.Key)
		return nil
	}
	var keys []string
	err := r.view(ctx, func(reader storage.Reader) error {
		return storage.ByPackage.Scan(reader, event.Key, "", func(name string) (bool, error) {
			keys = append(keys, name)
			return true, nil
		})
	})
	if err != nil {
		return fmt.Errorf("list deployments of package %s: %w", event.Key, err)
	}
	for _, key := range keys {
		r.queue.add(key)
	}
	return nil
}

func (r *run) requestResync() {
	select {
	case r.resyncNow <- struct{}{}:
	default: // asked for already
	}
}

// runResync looks at every deployment when asked to, and from time to time.
func (r *run) runResync(ctx context.Context) {
	timer := time.NewTimer(jitter(r.cfg.ResyncInterval, 0.1))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			timer.Reset(jitter(r.cfg.ResyncInterval, 0.1))
		case <-r.resyncNow:
		}
		if err := r.resync(ctx); err != nil && ctx.Err() == nil {
			r.deps.Logger.Warn("resync will be repeated", "error", err)
			pause(ctx, r.cfg.BackoffMin)
			r.requestResync()
		}
	}
}

// resyncPage is the number of keys read in one view, so that none is held long.
const resyncPage = 1000

// resync queues every deployment.
func (r *run) resync(ctx context.Context) error {
	prefix := []byte(storage.DeploymentPrefix)
	start, end := prefix, storage.PrefixEnd(prefix)
	for {
		var keys []string
		err := r.view(ctx, func(reader storage.Reader) error {
			keys = keys[:0]
			return reader.Scan(start, end, func(key, _ []byte) (bool, error) {
				keys = append(keys, string(key[len(prefix):]))
				return len(keys) < resyncPage, nil
			})
		})
		if err != nil {
			return fmt.Errorf("list deployments: %w", err)
		}
		for _, key := range keys {
			r.queue.addPassing(key)
		}
		if len(keys) < resyncPage {
			return nil
		}
		start = append(storage.DeploymentKey(keys[len(keys)-1]), 0)
	}
}

// view reads this node's own state. That is up to date enough: a run begins
// when everything committed before has been applied here, every write of the
// run returns when it has been applied here, and of others' changes a hint
// comes when they have.
func (r *run) view(ctx context.Context, fn func(storage.Reader) error) error {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.StoreTimeout)
	defer cancel()
	_, err := r.deps.Store.View(ctx, storage.ReadOptions{Consistency: storage.Stale}, fn)
	return err
}

// phases counts the units that the present run knows, for metrics.
func (d *Dispatcher) phases(phase model.UnitPhase) float64 {
	d.mu.Lock()
	r := d.current
	d.mu.Unlock()
	if r == nil {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	count := 0
	for _, m := range r.deployments {
		count += m.phases[phase]
	}
	return float64(count)
}

func (d *Dispatcher) depth() float64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.current == nil {
		return 0
	}
	return float64(d.current.queue.depth())
}

// pause waits, unless ctx ends before.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// jitter spreads d evenly over plus and minus a share of it.
func jitter(d time.Duration, share float64) time.Duration {
	return d + time.Duration((2*rand.Float64()-1)*share*float64(d))
}
