package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/oprc/oprc-pm/crm"
	"github.com/oprc/oprc-pm/crm/control"
	"github.com/oprc/oprc-pm/crm/inventory"
	"github.com/oprc/oprc-pm/crm/records"
	"github.com/oprc/oprc-pm/fsm"
	"github.com/oprc/oprc-pm/httpapi"
	"github.com/oprc/oprc-pm/internal/backups"
	"github.com/oprc/oprc-pm/internal/config"
	"github.com/oprc/oprc-pm/storage"
)

// service is a running node: the store, the leader's work, the API. It starts in
// startService and ends in stop; between them fault tells that it cannot go on.
type service struct {
	cfg     config.Config
	logger  *slog.Logger
	backend *backend
	fleet   *crm.Fleet
	backups *backups.Manager
	api     *httpapi.Server
	// apiAddr is where the API listens, advertised where others reach it.
	apiAddr    net.Addr
	advertised string

	// work ends the leader's work and what keeps the view of the clusters.
	work     context.CancelFunc
	working  sync.WaitGroup
	serving  sync.WaitGroup
	faults   chan error
	stopping chan struct{}

	stopOnce sync.Once
	// stopErr is set by stopOnce.
	stopErr error
}

// startService brings a node up, in an order that has reasons:
//
//  1. The API's port is taken first, because that fails most often (a second
//     start on one machine) and must fail before the data directory is touched;
//     peers are also told the address, port 0 included.
//  2. The store is opened, which recovers what this node knows.
//  3. The view of the clusters and the leader's work follow: they need the store
//     and the CRMs, and nobody needs them to answer.
//  4. The API answers last, when everything that it answers from is there.
func startService(ctx context.Context, cfg config.Config, logger *slog.Logger) (*service, error) {
	crmCfg, err := crmConfig(cfg)
	if err != nil {
		return nil, err
	}
	listener, err := listenTCP(ctx, cfg.Server.HTTPAddr)
	if err != nil {
		return nil, fmt.Errorf("open the API: %w", err)
	}
	set := metrics.NewSet()
	s := &service{
		cfg: cfg, logger: logger, apiAddr: listener.Addr(), advertised: advertisedHTTP(cfg, listener.Addr()),
		work: func() {}, faults: make(chan error, 2), stopping: make(chan struct{}),
	}
	if s.backend, err = openBackend(ctx, cfg, s.advertised, logger, set); err != nil {
		return nil, errors.Join(fmt.Errorf("open the node: %w", err), listener.Close())
	}
	if err := s.startParts(crmCfg, listener, set); err != nil {
		return nil, errors.Join(err, listener.Close(), s.backend.close(ctx))
	}
	return s, nil
}

// startParts starts what works on the open store.
func (s *service) startParts(crmCfg crm.Config, listener net.Listener, set *metrics.Set) error {
	logger := s.logger.With("component", "crm")
	fleet, err := crm.NewFleet(crmCfg, set, logger)
	if err != nil {
		return fmt.Errorf("make CRM clients: %w", err)
	}
	s.fleet = fleet
	if s.backups, err = newBackups(s.cfg, s.backend, s.logger, set); err != nil {
		return err
	}
	inv := inventory.New(s.backend.store, logger, set)
	orchestrator, err := control.New(controlConfig(s.cfg, crmCfg.LocalClusters()), control.Deps{
		Store: s.backend.store, Fleet: fleet, Inventory: inv, Logger: logger, Metrics: set,
	})
	if err != nil {
		return fmt.Errorf("make orchestration: %w", err)
	}
	s.api = httpapi.New(httpConfig(s.cfg), httpapi.Deps{
		Store: s.backend.store, Members: s.backend.members, Admin: s.backend.admin, Logger: s.logger, Metrics: set,
		Snapshots: s.backups, NotReady: s.backups.Undecided,
		Clusters: records.NewClusters(inv, orchestrator.Monitor(), func() time.Duration { return s.backend.store.Status().LastContact }),
		Records:  records.New(fleet, inv, records.DefaultConfig()),
		Configured: func(cluster string) bool {
			_, named := crmCfg.Clusters[cluster]
			return named
		},
		PlanInput: orchestrator.PlanInput, NewMachine: func() storage.Machine { return fsm.NewMachine() },
		WriteMetrics: func(w io.Writer) {
			set.WritePrometheus(w)
			metrics.WriteProcessMetrics(w)
		},
		Version: version(), NodeName: s.cfg.Cluster.NodeName,
	})

	work, stopWork := context.WithCancel(context.Background())
	s.work = stopWork
	s.startOrchestration(work, inv, orchestrator)
	s.serving.Go(func() {
		if err := s.api.Serve(listener); err != nil {
			s.fail(err)
		}
	})
	s.serving.Go(func() {
		select {
		case <-s.backend.faulted:
			s.fail(s.backend.fault())
		case <-s.stopping:
		}
	})
	return nil
}

// startOrchestration starts what every node does (follow the clusters, so that
// the API answers from memory and can ask CRMs) and what the leader does.
func (s *service) startOrchestration(work context.Context, inv *inventory.Inventory, orchestrator *control.Control) {
	s.working.Go(func() {
		if err := inv.Run(work); err != nil && work.Err() == nil {
			s.fail(fmt.Errorf("follow the clusters: %w", err))
		}
	})
	s.working.Go(func() { orchestrator.Follow(work) })
	s.working.Go(func() {
		if err := s.backend.store.Lead(work, s.lead(orchestrator)); err != nil && work.Err() == nil {
			s.fail(fmt.Errorf("stand for leadership: %w", err))
		}
	})
	s.working.Go(func() { s.backups.RunInitial(work) })
}

// lead is the leader's work. It begins once the cluster holds what it is to begin with.
func (s *service) lead(orchestrator *control.Control) func(ctx context.Context, term uint64) {
	return func(ctx context.Context, term uint64) {
		if !s.backups.Hold(ctx) {
			return
		}
		var parts sync.WaitGroup
		defer parts.Wait()
		parts.Go(func() { s.backups.Lead(ctx, term) })
		orchestrator.Run(ctx, term)
	}
}

// fail reports a fault; the first ones count.
func (s *service) fail(err error) {
	select {
	case s.faults <- err:
	default:
	}
}

// stop ends the node, all within timeout, in an order that has reasons:
//
//  1. Not ready: load balancers send new requests elsewhere.
//  2. Leadership is handed over while everything still works, so that the other
//     nodes do not have to find out by waiting for an election.
//  3. The API drains: requests that were accepted get their answer. Their writes
//     reach the new leader by forwarding, so the node must still be up.
//  4. The leader's work and the view of the clusters stop; calls to CRMs end.
//  5. The store closes last, because all of the above use it.
//
// It may be called more than once; the first call counts.
func (s *service) stop(timeout time.Duration) error {
	s.stopOnce.Do(func() { s.stopErr = s.stopWithin(timeout) })
	return s.stopErr
}

func (s *service) stopWithin(timeout time.Duration) error {
	begun := time.Now()
	deadline, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	s.logger.Info("stopping", "timeout", timeout)
	s.api.SetDraining()
	// A quarter each for the two steps that wait for others, so that the rest
	// has time whatever they do.
	handOver, done := context.WithTimeout(deadline, timeout/4)
	if err := s.backend.handOver(handOver); err != nil {
		s.logger.Debug("leadership was not handed over", "err", err)
	}
	done()

	finished := make(chan error, 1)
	go func() { finished <- s.stopParts(deadline, timeout) }()
	select {
	case err := <-finished:
		s.logger.Info("stopped", "dur", time.Since(begun))
		return err
	case <-deadline.Done():
		// The process ends now, and with it whatever hangs. What was
		// acknowledged is on disk; the log tells what was not closed.
		return fmt.Errorf("the node did not stop within %v", timeout)
	}
}

// stopParts is steps 3 to 5. Each waits for what it stops.
func (s *service) stopParts(deadline context.Context, timeout time.Duration) error {
	drain, done := context.WithTimeout(deadline, timeout/4)
	defer done()
	err := s.api.Shutdown(drain)
	if errors.Is(err, context.DeadlineExceeded) {
		s.logger.Warn("requests were cut off", "err", err)
		err = nil
	}
	s.work()
	s.working.Wait()
	s.fleet.Close()
	s.backups.Close()
	close(s.stopping)
	s.serving.Wait()
	return errors.Join(err, s.backend.close(deadline))
}
