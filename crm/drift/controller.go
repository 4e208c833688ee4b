package drift

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/oprc/oprc-pm/crm"
	"github.com/oprc/oprc-pm/crm/inventory"
	"github.com/oprc/oprc-pm/storage"
)

// Store is where what is recorded is read from, and events are kept.
type Store interface {
	Apply(ctx context.Context, req storage.Request) (storage.Result, error)
	View(ctx context.Context, opts storage.ReadOptions, fn func(storage.Reader) error) (storage.ReadInfo, error)
}

// Fleet is the way to the CRMs.
type Fleet interface {
	Client(name string) (crm.Client, bool)
}

// Inventory tells what is recorded of clusters and units.
type Inventory interface {
	Clusters() []inventory.ClusterView
	Cluster(name string) (inventory.ClusterView, bool)
	UnitsOn(cluster string) []inventory.UnitRef
	FindUnit(id string) []inventory.UnitRef
	WaitFor(ctx context.Context, index uint64) error
	Subscribe(fn func(inventory.Change)) (cancel func())
}

// Sink is told what was found about recorded units. Its calls must not block and
// may be repeated for the same finding.
type Sink interface {
	// Lost: the CRM does not know a unit any more that it had accepted, or only
	// remembers it as deleted or terminated.
	Lost(cluster string, unit inventory.UnitRef)
	// Changed: the CRM says something else of a unit than is recorded.
	Changed(cluster string, unit inventory.UnitRef, condition, message string)
	// PollUnits says whether the units in a cluster have to be asked for one by
	// one, because its CRM cannot list them.
	PollUnits(cluster string, on bool)
	// Wake has a deployment looked at.
	Wake(deployment string)
}

// Deps are what a Controller works with.
type Deps struct {
	Store     Store
	Fleet     Fleet
	Inventory Inventory
	Sink      Sink
	Logger    *slog.Logger
	Metrics   *metrics.Set
	// Now is the clock of what is recorded; nil means time.Now.
	Now func() time.Time
	// Fence makes of a leader's term what CRMs are shown; nil: the term itself.
	Fence func(term uint64) uint64
}

// Controller looks at all clusters while it leads.
type Controller struct {
	cfg     Config
	deps    Deps
	figures *figures
}

// New makes a Controller. It does no I/O.
func New(cfg Config, deps Deps) (*Controller, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("check drift settings: %w", err)
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	return &Controller{cfg: cfg, deps: deps, figures: newFigures(deps.Metrics)}, nil
}

// run is the work of one leadership: a lookout for each cluster.
type run struct {
	*Controller
	term uint64
	// wake tells that there are touched clusters.
	wake chan struct{}

	// mu guards what follows.
	mu sync.Mutex
	// touched are clusters that came, went or recovered since they were last
	// taken care of.
	touched map[string]bool

	// lookouts belong to Run's goroutine.
	lookouts map[string]running
}

type running struct {
	*lookout
	stop context.CancelFunc
}

// Run looks at all clusters as the leader of term until ctx ends. The inventory
// must have loaded before.
func (c *Controller) Run(ctx context.Context, term uint64) {
	r := &run{Controller: c, term: term, wake: make(chan struct{}, 1), touched: map[string]bool{}, lookouts: map[string]running{}}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	unsubscribe := c.deps.Inventory.Subscribe(func(change inventory.Change) {
		before, after := change.Before, change.After
		if before == nil || after == nil || !answers(*before) && answers(*after) {
			r.touch(change.Cluster)
		}
	})
	defer unsubscribe()
	for _, view := range c.deps.Inventory.Clusters() {
		r.adjust(ctx, &wg, view.Spec.Name, false)
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		}
		for name := range r.take() {
			r.adjust(ctx, &wg, name, true)
		}
	}
}

func (r *run) touch(cluster string) {
	r.mu.Lock()
	r.touched[cluster] = true
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default: // told already
	}
}

func (r *run) take() map[string]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	touched := r.touched
	r.touched = map[string]bool{}
	return touched
}

// adjust starts a cluster's lookout when the cluster exists and ends it when it
// does not; soon asks for a look before its time.
func (r *run) adjust(ctx context.Context, wg *sync.WaitGroup, name string, soon bool) {
	_, exists := r.deps.Inventory.Cluster(name)
	present, looking := r.lookouts[name]
	switch {
	case exists && !looking:
		ctx, stop := context.WithCancel(ctx)
		present = running{newLookout(r.Controller, name, r.term), stop}
		r.lookouts[name] = present
		wg.Go(func() { present.run(ctx) })
	case !exists && looking:
		present.stop()
		delete(r.lookouts, name)
		return
	}
	if exists && soon {
		present.hurry()
	}
}
