package health

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/oprc/oprc-pm/crm"
	"github.com/oprc/oprc-pm/crm/inventory"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// Store is what a Monitor needs of a storage.Store.
type Store interface {
	Apply(ctx context.Context, req storage.Request) (storage.Result, error)
}

// Fleet finds the client of a cluster.
type Fleet interface {
	Client(name string) (crm.Client, bool)
}

// Deps are what a Monitor works with.
type Deps struct {
	Store     Store
	Fleet     Fleet
	Inventory *inventory.Inventory
	// Configured tells whether this node can speak for a cluster at all; one
	// for which it says no is not probed and Unknown, NotConfigured. nil: all.
	Configured func(cluster model.Cluster) bool
	// Admitted is called when calls to a cluster are allowed again. It must not
	// block. May be nil.
	Admitted func(cluster string)
	Logger   *slog.Logger // may be nil
	Metrics  *metrics.Set // may be nil
	// Now is the clock of what is recorded; nil: time.Now. How long something
	// lasts is measured by time that does not jump.
	Now func() time.Time
}

// Monitor watches clusters. Its methods may be called from many goroutines.
type Monitor struct {
	cfg     Config
	deps    Deps
	metrics *monitorMetrics
	// running is the run that is on; nil on a node that does not lead.
	running atomic.Pointer[run]
}

// NewMonitor makes a monitor. It does no I/O.
func NewMonitor(cfg Config, deps Deps) (*Monitor, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Store == nil || deps.Fleet == nil || deps.Inventory == nil {
		return nil, errors.New("health monitor needs a store, a fleet and an inventory")
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
	if deps.Configured == nil {
		deps.Configured = func(model.Cluster) bool { return true }
	}
	if deps.Admitted == nil {
		deps.Admitted = func(string) {}
	}
	return &Monitor{cfg: cfg, deps: deps, metrics: newMetrics(deps.Metrics)}, nil
}

// now is the present in UTC, without a monotonic part.
func (m *Monitor) now() time.Time { return m.deps.Now().UTC().Round(0) }
