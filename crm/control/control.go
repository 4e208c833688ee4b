package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/oprc/oprc-pm/crm"
	"github.com/oprc/oprc-pm/crm/dispatch"
	"github.com/oprc/oprc-pm/crm/drift"
	"github.com/oprc/oprc-pm/crm/failover"
	"github.com/oprc/oprc-pm/crm/health"
	"github.com/oprc/oprc-pm/crm/inventory"
	"github.com/oprc/oprc-pm/crm/plan"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// Store is the part of a storage.Store that the parts need.
type Store interface {
	Apply(ctx context.Context, req storage.Request) (storage.Result, error)
	View(ctx context.Context, opts storage.ReadOptions, fn func(storage.Reader) error) (storage.ReadInfo, error)
	Watch(ctx context.Context, opts storage.WatchOptions) (storage.Watcher, error)
}

// Config is the settings of the parts.
type Config struct {
	// Local are the clusters of this node's configuration, which it registers
	// when it leads.
	Local    []model.Cluster
	Policy   plan.Policy
	Health   health.Config
	Dispatch dispatch.Config
	Failover failover.Config
	Drift    drift.Config
}

// DefaultConfig returns the defaults, without any cluster.
func DefaultConfig() Config {
	return Config{
		Policy:   plan.DefaultPolicy(),
		Health:   health.DefaultConfig(),
		Dispatch: dispatch.DefaultConfig(),
		Failover: failover.DefaultConfig(),
		Drift:    drift.DefaultConfig(),
	}
}

// Deps are what a Control works with; all but Now are required.
type Deps struct {
	Store Store
	// Fleet follows the clusters while Follow is on.
	Fleet *crm.Fleet
	// Inventory is run by its owner, on every node.
	Inventory *inventory.Inventory
	Logger    *slog.Logger
	Metrics   *metrics.Set
	// Now is the clock of what is recorded; nil means time.Now.
	Now func() time.Time
}

// Control joins the parts of a leader run.
type Control struct {
	cfg        Config
	deps       Deps
	monitor    *health.Monitor
	dispatcher *dispatch.Dispatcher
	failover   *failover.Controller
	drift      *drift.Controller
	// termBase is what is added to terms for CRMs, as of the present run.
	termBase atomic.Uint64

	// syncing is held while the fleet is brought in step.
	syncing sync.Mutex
}

// New makes the parts. It does no I/O.
func New(cfg Config, deps Deps) (*Control, error) {
	if deps.Store == nil || deps.Fleet == nil || deps.Inventory == nil || deps.Logger == nil || deps.Metrics == nil {
		return nil, errors.New("control needs a store, a fleet, an inventory, a logger and metrics")
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	c := &Control{cfg: cfg, deps: deps}
	var err error
	if c.monitor, err = health.NewMonitor(cfg.Health, health.Deps{
		Store: deps.Store, Fleet: deps.Fleet, Inventory: deps.Inventory,
		Configured: c.configured, Admitted: c.admitted, Logger: deps.Logger, Metrics: deps.Metrics, Now: deps.Now,
	}); err != nil {
		return nil, fmt.Errorf("make health monitor: %w", err)
	}
	if c.dispatcher, err = dispatch.New(cfg.Dispatch, dispatch.Deps{
		Store: deps.Store, Fleet: deps.Fleet, Inventory: deps.Inventory, Gate: c.monitor,
		Policy: cfg.Policy, Logger: deps.Logger, Metrics: deps.Metrics, Now: deps.Now, Fence: c.fence,
	}); err != nil {
		return nil, fmt.Errorf("make dispatcher: %w", err)
	}
	cfg.Failover.Confirm = max(cfg.Failover.Confirm, cfg.Health.Confirm())
	cfg.Failover.Relook = max(cfg.Failover.Relook, cfg.Health.Relook())
	if c.failover, err = failover.New(cfg.Failover, failover.Deps{
		Store: deps.Store, Inventory: deps.Inventory, Mover: c.dispatcher,
		Logger: deps.Logger, Metrics: deps.Metrics, Now: deps.Now,
	}); err != nil {
		return nil, fmt.Errorf("make failover: %w", err)
	}
	if c.drift, err = drift.New(cfg.Drift, drift.Deps{
		Store: deps.Store, Fleet: deps.Fleet, Inventory: deps.Inventory, Sink: findings{c.dispatcher},
		Logger: deps.Logger, Metrics: deps.Metrics, Now: deps.Now, Fence: c.fence,
	}); err != nil {
		return nil, fmt.Errorf("make search for drift: %w", err)
	}
	return c, nil
}

// Monitor returns the health monitor, which also answers readers on nodes that
// do not lead.
func (c *Control) Monitor() *health.Monitor { return c.monitor }

// PlanInput is what a deployment would be planned from now, on any node.
func (c *Control) PlanInput(deployment model.Deployment, pkg model.Package) plan.Input {
	return c.dispatcher.PlanInput(deployment, pkg)
}

// admitted passes on that a cluster may be called again.
func (c *Control) admitted(cluster string) { c.dispatcher.WakeCluster(cluster) }

// configured tells whether this node can speak for a cluster: not for one that
// other nodes' configuration made and its own does not name.
func (c *Control) configured(cluster model.Cluster) bool {
	return cluster.ManagedBy != model.ManagedByConfig || slices.ContainsFunc(c.cfg.Local, func(local model.Cluster) bool {
		return local.Name == cluster.Name
	})
}

// Run does the leader's work until ctx ends; it has all stopped when Run returns.
// term is that of the leadership. One Run must have returned before the next
// begins.
func (c *Control) Run(ctx context.Context, term uint64) {
	select {
	case <-c.deps.Inventory.Ready():
	case <-ctx.Done():
		return
	}
	if !c.readTermBase(ctx) {
		return
	}
	// Clusters first: a dispatcher that does not know them would tell every
	// deployment that its targets do not exist.
	if !c.register(ctx, term) {
		return
	}
	c.syncFleet()
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, part := range []func(context.Context, uint64){c.monitor.Run, c.dispatcher.Run, c.failover.Run, c.drift.Run} {
		wg.Go(func() { part(ctx, term) })
	}
}

// findings hands what drift finds to the dispatcher.
type findings struct{ dispatcher *dispatch.Dispatcher }

func (f findings) Lost(cluster string, unit inventory.UnitRef) {
	f.dispatcher.Observe(cluster, dispatch.Report{Unit: unit.Unit, Deployment: unit.Deployment, Lost: true})
}

func (f findings) Changed(cluster string, unit inventory.UnitRef, condition, message string) {
	f.dispatcher.Observe(cluster, dispatch.Report{
		Unit: unit.Unit, Deployment: unit.Deployment, Condition: condition, Message: message,
	})
}

func (f findings) PollUnits(cluster string, on bool) { f.dispatcher.PollUnits(cluster, on) }

func (f findings) Wake(deployment string) { f.dispatcher.Wake(deployment) }
