package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/oprc/oprc-pm/crm/sim"
	"github.com/oprc/oprc-pm/internal/config"
)

func (p *program) crmSimCommand() *cobra.Command {
	var listen, logLevel string
	cfg := sim.Config{Version: version()}
	cmd := &cobra.Command{
		Use:   "crm-sim --name NAME --listen HOST:PORT",
		Short: "Run a simulated cluster: a CRM that runs nothing",
		Long: `Run a simulated Class Runtime Manager. It speaks the HTTP contract of a real one
and keeps units, but runs nothing. With --state-dir it knows its units again
after a restart.`,
		Example: `  oprc-pm crm-sim --name oaas-1 --listen 127.0.0.1:8081
  oprc-pm crm-sim --name slow --listen 127.0.0.1:8082 --latency 500ms --error-rate 0.2`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cfg.Validate(); err != nil {
				return usagef("%v", err)
			}
			logger, err := newLogger(p.err, config.Observability{LogLevel: config.LogLevel(logLevel), LogFormat: config.LogText})
			if err != nil {
				return err
			}
			cfg.Logger = logger
			return runSim(cmd.Context(), cfg, listen)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&cfg.Name, "name", "", "`NAME` of the cluster")
	flags.StringVar(&listen, "listen", "127.0.0.1:8081", "`HOST:PORT` of the API")
	flags.IntVar(&cfg.Nodes, "nodes", 3, "nodes that it claims to have")
	flags.DurationVar(&cfg.Latency, "latency", 0, "delay of every answer")
	flags.Float64Var(&cfg.ErrorRate, "error-rate", 0, "share of calls that fail, 0 to 1")
	flags.IntVar(&cfg.Capacity, "capacity", 0, "units that fit; 0 is any number")
	flags.DurationVar(&cfg.TimeToRunning, "time-to-running", 0, "time from acceptance until a unit runs")
	flags.Float64Var(&cfg.Availability, "availability", 0.99, "availability that it reports")
	flags.StringVar(&cfg.StateDir, "state-dir", "", "`DIR` that keeps the units; empty: they are lost at the end")
	flags.StringVar(&logLevel, "log-level", "info", "debug, info, warn or error")
	return cmd
}

func runSim(ctx context.Context, cfg sim.Config, listen string) error {
	if cfg.StateDir != "" {
		if err := os.MkdirAll(filepath.Clean(cfg.StateDir), 0o700); err != nil {
			return fmt.Errorf("make state directory: %w", err)
		}
	}
	listener, err := listenTCP(ctx, listen)
	if err != nil {
		return err
	}
	return sim.New(cfg).Run(ctx, listener)
}

// listenTCP opens a listener and says whose address is taken.
func listenTCP(ctx context.Context, addr string) (net.Listener, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err
		}
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	return listener, nil
}
