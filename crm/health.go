package crm

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oprc/oprc-pm/model"
)

// HealthPoller keeps the health of every configured cluster as this node sees
// it. It runs on every node, for readers; the dispatcher does not use it. Reads
// answer from memory and never wait.
type HealthPoller struct {
	cfg     HealthConfig
	names   []string // sorted
	clients map[string]Client
	latest  map[string]*atomic.Pointer[model.ClusterHealth]
	logger  *slog.Logger
}

// NewHealthPoller makes a poller. Until Run has probed a cluster, its status is
// Unknown. It does no I/O. logger may be nil.
func NewHealthPoller(cfg HealthConfig, clients map[string]Client, logger *slog.Logger) (*HealthPoller, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	p := &HealthPoller{
		cfg: cfg, clients: clients, logger: logger,
		names:  slices.Sorted(maps.Keys(clients)),
		latest: map[string]*atomic.Pointer[model.ClusterHealth]{},
	}
	for _, name := range p.names {
		p.latest[name] = &atomic.Pointer[model.ClusterHealth]{}
		p.latest[name].Store(&model.ClusterHealth{ClusterName: name, Status: model.ClusterUnknown})
	}
	return p, nil
}

// Run probes every cluster on its own schedule until ctx ends. All its
// goroutines have ended when it returns.
func (p *HealthPoller) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, name := range p.names {
		wg.Go(func() { p.runProbes(ctx, name) })
	}
	wg.Wait()
}

// runProbes probes one cluster. Each has its own goroutine, so that one that
// hangs makes no other's health old.
func (p *HealthPoller) runProbes(ctx context.Context, name string) {
	for ctx.Err() == nil {
		p.probe(ctx, name)
		pause(ctx, jitter(p.cfg.Interval, 0.1))
	}
}

func (p *HealthPoller) probe(ctx context.Context, name string) {
	before := p.latest[name].Load()
	probeCtx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	health, err := p.clients[name].Health(probeCtx)
	if ctx.Err() != nil {
		return // the end of the node says nothing about the cluster
	}
	if err != nil {
		health = unreachable(*before)
	} else {
		health = normalHealth(health, name)
	}
	p.latest[name].Store(&health)
	if health.Status != before.Status {
		p.logger.Info("cluster health changed", "cluster", name, "before", before.Status, "now", health.Status, "error", reasonOf(err))
	}
}

// unreachable is the health of a cluster that did not answer: what it last said
// about itself no longer holds, when it said it does.
func unreachable(before model.ClusterHealth) model.ClusterHealth {
	health := model.ClusterHealth{
		ClusterName: before.ClusterName, CRMVersion: before.CRMVersion,
		LastSeen: before.LastSeen, Status: model.ClusterUnhealthy,
	}
	if before.LastSeen.IsZero() {
		health.Status = model.ClusterUnknown
	}
	return health
}

// normalHealth fills in what a CRM left out and maps what it made up.
func normalHealth(health model.ClusterHealth, name string) model.ClusterHealth {
	if health.ClusterName == "" {
		health.ClusterName = name
	}
	// By our clock: what matters is when we saw it, and its clock may be wrong.
	health.LastSeen = time.Now().UTC()
	switch health.Status {
	case model.ClusterHealthy, model.ClusterDegraded, model.ClusterUnhealthy:
	default:
		health.Status = model.ClusterUnknown
	}
	return health
}

func reasonOf(err error) string {
	var call *CallError
	if errors.As(err, &call) {
		return call.Reason
	}
	return ""
}

// Clusters returns every configured cluster with its health, sorted by name. It
// answers from memory.
func (p *HealthPoller) Clusters(context.Context) []model.ClusterInfo {
	clusters := make([]model.ClusterInfo, len(p.names))
	for i, name := range p.names {
		clusters[i] = model.ClusterInfo{Name: name, Health: *p.latest[name].Load()}
	}
	return clusters
}

// ClusterHealth returns the health of one cluster, and false when it is not
// configured. It answers from memory.
func (p *HealthPoller) ClusterHealth(_ context.Context, name string) (model.ClusterHealth, bool) {
	latest, configured := p.latest[name]
	if !configured {
		return model.ClusterHealth{}, false
	}
	return *latest.Load(), true
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
