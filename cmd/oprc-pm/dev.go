package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/oprc/oprc-pm/crm/sim"
	"github.com/oprc/oprc-pm/internal/client"
	"github.com/oprc/oprc-pm/internal/config"
)

// devClusters are the simulated clusters of a development node; the examples
// target them.
var devClusters = []string{"oaas-1", "oaas-2"}

const (
	// devShutdown bounds the end of a development node: nobody depends on it.
	devShutdown = 4 * time.Second
	// devWait bounds the wait for what --apply applies.
	devWait = time.Minute
	// devProbe is the time between two probes of a cluster: one that is stopped
	// shows after two or three.
	devProbe = 2 * time.Second
	// devTimeToRunning makes the way to RUNNING visible.
	devTimeToRunning = 500 * time.Millisecond
)

// devOptions are the flags of dev.
type devOptions struct {
	dataDir   string
	httpAddr  string
	apply     []string
	logLevel  string
	readyFile string
}

func (p *program) devCommand() *cobra.Command {
	var o devOptions
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run one node with two simulated clusters, for development",
		Long: `Run a node of its own with two simulated clusters, oaas-1 and oaas-2, all on
loopback. The state is kept in the data directory: a second run continues where
the first ended. Each cluster can be stopped and started again while the node
runs; how is printed once it is up.`,
		Example: `  oprc-pm dev
  oprc-pm dev --apply deploy/examples/echo.yml
  oprc-pm dev --data-dir data/other --http-addr 127.0.0.1:9090`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return p.dev(cmd.Context(), o) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.dataDir, "data-dir", "data/dev", "`DIR` that holds all state")
	flags.StringVar(&o.httpAddr, "http-addr", "127.0.0.1:8080", "`HOST:PORT` of the API")
	flags.StringArrayVar(&o.apply, "apply", nil, "`FILE` or directory to apply once the node is ready; may be repeated")
	flags.StringVar(&o.logLevel, "log-level", "error", "debug, info, warn or error")
	flags.StringVar(&o.readyFile, "ready-file", "", "`FILE` to write the addresses to, as JSON, once they are open")
	return cmd
}

func (p *program) dev(ctx context.Context, o devOptions) error {
	var set manifests
	if len(o.apply) > 0 {
		var err error
		if set, err = p.loadManifests(o.apply, false); err != nil {
			return err
		}
	}
	cfg := devConfig(o)
	logger, err := newLogger(p.err, cfg.Observability)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.dataDir, 0o700); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	sims, err := startSims(ctx, o.dataDir, logger)
	if err != nil {
		return err
	}
	// Last to go: the node's last calls still get their answers.
	defer sims.stop()
	for name, url := range sims.urls {
		cluster := config.DefaultCRMCluster()
		cluster.BaseURL = url
		cfg.CRM.Clusters[name] = cluster
	}
	if err := cfg.Validate(); err != nil {
		return usagef("the configuration is invalid:\n%w", err)
	}
	s, err := startService(ctx, cfg, logger)
	if err != nil {
		return err
	}
	return p.serve(ctx, s, o.readyFile, func(ctx context.Context) error { return p.devReady(ctx, s, sims, o, set) })
}

// devConfig is a node alone on loopback. Its ports but the API's are any: nobody
// else needs to find them.
func devConfig(o devOptions) config.Config {
	cfg := config.DefaultConfig()
	cfg.Server.HTTPAddr = o.httpAddr
	cfg.Server.ShutdownTimeout = devShutdown
	cfg.Cluster.NodeName = "dev"
	cfg.Cluster.DataDir = filepath.Join(o.dataDir, "node")
	cfg.Cluster.ClusterAddr = "127.0.0.1:0"
	cfg.Cluster.GossipAddr = "127.0.0.1:0"
	// There is nobody to wait for: the node elects itself sooner.
	cfg.Raft.HeartbeatTimeout = 200 * time.Millisecond
	cfg.Raft.ElectionTimeout = 200 * time.Millisecond
	cfg.Raft.LeaderLeaseTimeout = 100 * time.Millisecond
	// What happens to a cluster is to be seen while one looks.
	cfg.CRM.HealthCheckInterval = devProbe
	cfg.CRM.CircuitBreaker.Timeout = devProbe
	cfg.CRM.CircuitBreaker.RetryTimeout = 2 * devProbe
	cfg.CRM.Drift.Interval = 5 * devProbe
	cfg.CRM.Failover.Toleration = 15 * time.Second
	cfg.CRM.Failover.Recovery = 5 * time.Second
	cfg.CRM.Clusters = map[string]config.CRMCluster{}
	cfg.Observability.LogLevel = config.LogLevel(strings.ToLower(o.logLevel))
	return cfg
}

// devReady applies what is to be applied and tells where everything is.
func (p *program) devReady(ctx context.Context, s *service, sims *simulators, o devOptions, set manifests) error {
	url := "http://" + s.advertised
	cfg := client.DefaultConfig()
	cfg.Servers = []string{url}
	c, err := client.New(cfg)
	if err != nil {
		return err
	}
	defer c.Close()
	// A linearizable read is answered when the node leads: until then it waits.
	if _, err := c.ListRaw(ctx, client.Resource(client.Packages), nil, 1); err != nil {
		return fmt.Errorf("wait for the node: %w", err)
	}
	if len(set.packages)+len(set.deployments) > 0 {
		if err := p.devApply(ctx, c, set); err != nil {
			return err
		}
	}
	p.printf("\nThe node is up. State is kept in %s.\n", o.dataDir)
	p.printf("  API      %s/api/v1/packages\n", url)
	p.printf("  UI       %s/\n", url)
	p.printf("  metrics  %s/metrics\n", url)
	p.printf("  stop     ^C\n")
	p.devTry(url, sims)
	return nil
}

// devTry tells how to watch the control plane at work when a cluster fails.
func (p *program) devTry(url string, sims *simulators) {
	flag := ""
	if url != client.DefaultConfig().Servers[0] {
		flag = " --server " + url
	}
	last := devClusters[len(devClusters)-1]
	faults := sims.controls[last] + "/sim/faults"
	p.printf("\nTo see a cluster fail:\n")
	p.printf("  oprc-pm get clusters --watch%s\n", flag)
	p.printf("  curl -X PUT %s -d '{\"refuse\":true}'   stops %s\n", faults, last)
	p.printf("  curl -X PUT %s -d '{}'                starts it again\n", faults)
	p.printf("  oprc-pm get events%s\n", flag)
}

// devApply applies a set and shows it on its way. What does not run in the end
// is told, and the node stays up to be looked at.
func (p *program) devApply(ctx context.Context, c *client.Client, set manifests) error {
	applied, err := p.applyManifests(ctx, c, set)
	if err != nil {
		return err
	}
	err = p.waitRunning(ctx, c, applied, devWait)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		_, _ = fmt.Fprint(p.err, errorText(err))
	}
	if p.terminal(p.err) && len(applied) <= maxLive {
		return nil // the table is there already
	}
	p.printf("\n")
	return p.printUnits(ctx, c, applied)
}

// printUnits prints the table of what was applied.
func (p *program) printUnits(ctx context.Context, c *client.Client, applied []appliedDeployment) error {
	r := &rollout{p: p, c: c}
	for _, a := range applied {
		r.order = append(r.order, a.key)
	}
	r.reset()
	if err := r.look(ctx); err != nil {
		return err
	}
	r.table().write(p.out)
	return nil
}

// simulators are the clusters of a development node. urls are where their CRMs
// answer, controls where they are told to misbehave, also while they refuse all
// calls.
type simulators struct {
	urls, controls map[string]string

	cancel context.CancelFunc
	wg     sync.WaitGroup
	logger *slog.Logger
}

func startSims(ctx context.Context, dataDir string, logger *slog.Logger) (*simulators, error) {
	// They outlive ctx, which is what tells the node to stop.
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s := &simulators{urls: map[string]string{}, controls: map[string]string{}, cancel: cancel, logger: logger}
	for _, name := range devClusters {
		stateDir := filepath.Join(dataDir, "clusters", name)
		endpoints, err := s.open(ctx, stateDir)
		if err != nil {
			s.stop()
			return nil, fmt.Errorf("start simulated cluster %s: %w", name, err)
		}
		s.urls[name] = "http://" + endpoints.HTTP.Addr().String()
		s.controls[name] = "http://" + endpoints.Control.Addr().String()
		simulated := sim.New(sim.Config{Name: name, Version: version(), StateDir: stateDir, TimeToRunning: devTimeToRunning, Logger: logger})
		s.wg.Go(func() {
			if err := simulated.Serve(run, endpoints); err != nil && !errors.Is(err, context.Canceled) {
				logger.Error("simulated cluster stopped", "cluster", name, "err", err)
			}
		})
	}
	return s, nil
}

func (s *simulators) open(ctx context.Context, stateDir string) (sim.Endpoints, error) {
	if err := os.MkdirAll(stateDir, 0o700); err != nil {
		return sim.Endpoints{}, fmt.Errorf("make state directory: %w", err)
	}
	calls, err := listenTCP(ctx, "127.0.0.1:0")
	if err != nil {
		return sim.Endpoints{}, err
	}
	control, err := listenTCP(ctx, "127.0.0.1:0")
	if err != nil {
		return sim.Endpoints{}, errors.Join(err, calls.Close())
	}
	return sim.Endpoints{HTTP: calls, Control: control}, nil
}

func (s *simulators) stop() {
	s.cancel()
	s.wg.Wait()
}
