package failover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/oprc/oprc-pm/crm/inventory"
	"github.com/oprc/oprc-pm/internal/wait"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// Store is what failover reads facts from and records events in.
type Store interface {
	Apply(ctx context.Context, req storage.Request) (storage.Result, error)
	View(ctx context.Context, opts storage.ReadOptions, fn func(storage.Reader) error) (storage.ReadInfo, error)
	Watch(ctx context.Context, opts storage.WatchOptions) (storage.Watcher, error)
}

// Inventory tells how the clusters are.
type Inventory interface {
	// Clusters is a snapshot, sorted by name.
	Clusters() []inventory.ClusterView
	// DeploymentsOn are those with a unit in a cluster, in whatever phase, sorted.
	DeploymentsOn(cluster string) []string
	// Subscribe has fn called after every change; it must not block.
	Subscribe(fn func(inventory.Change)) (cancel func())
}

// Mover carries decisions out. Both calls only note what is asked for and may be
// repeated.
type Mover interface {
	// Evict asks that a deployment leaves a cluster, if it fits elsewhere.
	Evict(deployment, cluster, reason, message string)
	// Readmit lets a deployment use a cluster again, and takes back an Evict
	// that was not carried out yet.
	Readmit(deployment, cluster string)
}

// Deps are what a Controller works with.
type Deps struct {
	Store     Store
	Inventory Inventory
	Mover     Mover
	Logger    *slog.Logger
	Metrics   *metrics.Set
	// Now is the clock of what is recorded; nil means time.Now. How long
	// something lasts is measured by time that does not jump.
	Now func() time.Time
}

// Controller watches clusters and deployments while it leads, decides, and has
// the dispatcher carry out what it decided.
type Controller struct {
	cfg     Config
	deps    Deps
	figures *figures
}

// New makes a Controller. It does no I/O.
func New(cfg Config, deps Deps) (*Controller, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("check failover settings: %w", err)
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	return &Controller{cfg: cfg, deps: deps, figures: newFigures(deps.Metrics)}, nil
}

// run is the work of one leadership.
type run struct {
	*Controller
	term  uint64
	known *deployments
	// wake tells that something changed; loaded is closed once the deployments
	// are known.
	wake   chan struct{}
	loaded chan struct{}

	// What follows belongs to the deciding goroutine.
	begun  time.Time
	memory Memory
	// inherited are the beginnings of statuses that are older than this node's
	// inventory.
	inherited map[string]beginning
	// waiting and drains are Decisions.Waiting and Drains of the round before.
	waiting map[string]int
	drains  map[string]Drain
	// drained is what was told of drains that are on.
	drained map[string]drainTold
	// unwritten events; sending of them are in the request requestID, which is
	// repeated until it is answered.
	unwritten []model.Event
	sending   int
	requestID string
}

// Run decides as the leader of term until ctx ends. The inventory must have
// loaded before.
func (c *Controller) Run(ctx context.Context, term uint64) {
	r := &run{
		Controller: c, term: term, known: newDeployments(c.deps.Store, c.cfg.StoreTimeout),
		wake: make(chan struct{}, 1), loaded: make(chan struct{}), waiting: map[string]int{}, drained: map[string]drainTold{},
		begun: time.Now(), inherited: map[string]beginning{},
	}
	defer c.figures.rest()
	unsubscribe := c.deps.Inventory.Subscribe(func(change inventory.Change) {
		if matters(change) {
			r.nudge()
		}
	})
	defer unsubscribe()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { r.follow(ctx) })
	select {
	case <-r.loaded:
		r.decideUntil(ctx)
	case <-ctx.Done():
	}
}

// matters tells whether a change of a cluster can change a decision. How many
// units it holds changes all the time and cannot.
func matters(change inventory.Change) bool {
	if change.Before == nil || change.After == nil {
		return true
	}
	// A drain may have been taken back and asked for again meanwhile.
	another := change.After.Spec.Draining && change.Before.Spec.ResourceVersion != change.After.Spec.ResourceVersion
	return another || summarize(*change.Before) != summarize(*change.After)
}

func (r *run) nudge() {
	select {
	case r.wake <- struct{}{}:
	default: // told already
	}
}

// retryPause is the time before a read or a write that failed is tried again.
const retryPause = time.Second

// follow keeps up what is known of deployments.
func (r *run) follow(ctx context.Context) {
	var once sync.Once
	for {
		err := r.known.follow(ctx, func() { once.Do(func() { close(r.loaded) }) }, r.nudge)
		if ctx.Err() != nil {
			return
		}
		var compaction *storage.CompactedError
		if !errors.As(err, &compaction) {
			r.deps.Logger.Warn("deployments will be read again", "error", err)
			wait.For(ctx, retryPause)
		}
	}
}

// decideUntil decides whenever something changed or is due.
func (r *run) decideUntil(ctx context.Context) {
	for {
		memory, err := r.recall(ctx)
		if err == nil {
			r.memory = memory
			break
		}
		if ctx.Err() != nil {
			return
		}
		r.deps.Logger.Warn("failover will begin later", "error", err)
		wait.For(ctx, retryPause)
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		next := r.decide(ctx)
		if len(r.unwritten) > 0 {
			if retry := time.Now().Add(retryPause); next.IsZero() || retry.Before(next) {
				next = retry
			}
		}
		timer.Stop()
		if !next.IsZero() {
			timer.Reset(max(time.Until(next), r.cfg.SettleDelay))
		}
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-r.wake:
			wait.For(ctx, r.cfg.SettleDelay)
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// decide is one round: look, decide, tell, act. It returns when the next one is
// due at the latest; zero: at the next change.
func (r *run) decide(ctx context.Context) time.Time {
	state, views := r.look()
	d := r.cfg.Decide(state, time.Now())
	// Told first: who looks why a deployment moves must find the reason.
	events := r.tell(ctx, state, d, views)
	ended, unclear := r.tellDrains(ctx, d, views)
	r.record(ctx, append(events, ended...)...)
	r.act(d)
	r.figures.show(d)
	r.memory, r.waiting, r.drains = d.Memory, d.Waiting, d.Drains
	if look := time.Now().Add(drainLook); unclear && (d.Next.IsZero() || look.Before(d.Next)) {
		return look
	}
	return d.Next
}

// look gathers the facts.
func (r *run) look() (State, map[string]inventory.ClusterView) {
	clusters := r.deps.Inventory.Clusters()
	state := State{Clusters: make(map[string]Cluster, len(clusters)), Begun: r.begun, Memory: r.memory}
	views := make(map[string]inventory.ClusterView, len(clusters))
	var troubled []string
	for _, view := range clusters {
		cluster := summarize(view)
		cluster.Since = r.since(view)
		state.Clusters[view.Spec.Name] = cluster
		views[view.Spec.Name] = view
		if cluster.Draining || cluster.Status == model.ClusterUnhealthy {
			troubled = append(troubled, view.Spec.Name)
		}
	}
	state.Deployments, state.Placed = r.known.concerned(troubled)
	return state, views
}

// beginning is when a recorded status began, by the clock of whoever recorded it
// and by ours.
type beginning struct {
	status   string
	recorded time.Time
	local    time.Time
}

// since is when a cluster's status began, by the clock of this process, which does
// not jump: as this node saw it, else as the record tells. The record's clock may
// have been another node's, and wrong; there is no better one for what began
// before this node was there.
func (r *run) since(view inventory.ClusterView) time.Time {
	name := view.Spec.Name
	switch {
	case view.Health.Since == nil:
		return time.Time{}
	case !view.Noted.IsZero():
		delete(r.inherited, name)
		return view.Noted
	}
	known, exists := r.inherited[name]
	if !exists || known.status != view.Health.Status || !known.recorded.Equal(*view.Health.Since) {
		age := max(0, r.deps.Now().Sub(*view.Health.Since))
		known = beginning{status: view.Health.Status, recorded: *view.Health.Since, local: time.Now().Add(-age)}
		r.inherited[name] = known
	}
	return known.local
}

// reasonProbeFailed is the reason of a cluster of which the last probes failed.
const reasonProbeFailed = "ProbeFailed"

// summarize reduces a cluster to what is decided by.
func summarize(view inventory.ClusterView) Cluster {
	cluster := Cluster{
		Status:   view.Health.Status,
		Suspect:  view.Health.Status == model.ClusterDegraded && view.Health.Reason == reasonProbeFailed,
		Seen:     !view.Health.LastSeen.IsZero(),
		Cordoned: view.Spec.Cordoned,
		Draining: view.Spec.Draining,
	}
	if view.Health.Since != nil {
		cluster.Since = view.Health.Since.UTC()
	}
	return cluster
}

// act hands the decisions to the dispatcher.
func (r *run) act(d Decisions) {
	for _, place := range d.Withdraw {
		r.figures.withdrawn.Inc()
		r.deps.Mover.Readmit(place.Deployment, place.Cluster)
	}
	for _, e := range d.Evict {
		if _, asked := r.memory.Asked[e.Place]; !asked {
			r.count(e.Reason)
		}
		r.deps.Mover.Evict(e.Deployment, e.Cluster, e.Reason, e.Message)
	}
	for _, readmission := range d.Readmit {
		if _, asked := r.memory.Asked[readmission.Place]; !asked {
			r.figures.readmissions.Inc()
		}
		r.deps.Logger.Info("cluster may be used again", "deployment", readmission.Deployment,
			"cluster", readmission.Cluster, "message", readmission.Message)
		r.deps.Mover.Readmit(readmission.Deployment, readmission.Cluster)
	}
}

func (r *run) count(reason string) {
	if reason == model.AvoidDrain {
		r.figures.drains.Inc()
		return
	}
	r.figures.evictions.Inc()
}
