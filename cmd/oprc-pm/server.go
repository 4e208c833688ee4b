package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/oprc/oprc-pm/internal/config"
)

// serverOptions are the flags of server that are not settings.
type serverOptions struct {
	configFile  string
	readyFile   string
	printConfig bool
}

func (p *program) serverCommand() *cobra.Command {
	var o serverOptions
	cmd := &cobra.Command{
		Use:   "server",
		Short: "Run a node of the control plane",
		Long: `Run a node. Settings come from flags, environment variables, a YAML file and
defaults, the strongest first; deploy/config/reference.yaml explains them all.

SIGTERM or SIGINT stops the node in good order: it hands leadership over, answers
what it has accepted, and closes its files. A second signal ends it at once. Exit
code 70 says that a fault stopped the node, 65 that its data directory is damaged
or not its own; the message names the file and the command that mends it.`,
		Example: `  oprc-pm server --data-dir /var/lib/oprc-pm
  oprc-pm server --config /etc/oprc-pm.yaml --print-config
  oprc-pm server --node-name n2 --join n1:7946,n3:7946 --bootstrap-expect 3`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return p.server(cmd, o) },
	}
	defaults := config.DefaultConfig()
	flags := cmd.Flags()
	flags.StringVar(&o.configFile, "config", "", "YAML `FILE` with settings")
	flags.String("node-name", "", "name of this node (OPRC_NODE_NAME; default: the host's)")
	flags.String("data-dir", defaults.Cluster.DataDir, "`DIR` that holds all state (OPRC_DATA_DIR)")
	flags.String("http-addr", defaults.Server.HTTPAddr, "`HOST:PORT` of the API (OPRC_HTTP_ADDR, SERVER_HOST, SERVER_PORT)")
	flags.String("cluster-addr", defaults.Cluster.ClusterAddr, "`HOST:PORT` of Raft and node-to-node calls (OPRC_CLUSTER_ADDR)")
	flags.String("gossip-addr", defaults.Cluster.GossipAddr, "`HOST:PORT` of discovery (OPRC_GOSSIP_ADDR)")
	flags.String("advertise-host", "", "name or address that peers can reach (OPRC_ADVERTISE_HOST)")
	flags.StringSlice("join", nil, "gossip seeds `HOST[:PORT],...`; a name may resolve to many (OPRC_JOIN)")
	flags.Int("bootstrap-expect", defaults.Cluster.BootstrapExpect, "nodes that form a new cluster (OPRC_BOOTSTRAP_EXPECT)")
	flags.String("storage", string(defaults.Storage.Type), "raft, etcd or memory (STORAGE_TYPE)")
	flags.Bool("compact", false, "rewrite the log's file first, without the room that deleted entries left in it")
	flags.BoolVar(&o.printConfig, "print-config", false, "print the effective settings, secrets masked, and end")
	flags.StringVar(&o.readyFile, "ready-file", "", "`FILE` to write the addresses to, as JSON, once they are open")
	fixedCompletion(cmd, "storage", "raft", "etcd", "memory")
	return cmd
}

func (p *program) server(cmd *cobra.Command, o serverOptions) error {
	cfg, err := p.serverConfig(cmd, o.configFile)
	if err != nil {
		return err
	}
	if o.printConfig {
		text, err := cfg.YAML()
		if err != nil {
			return err
		}
		p.printf("%s", text)
		return nil
	}
	logger, err := newLogger(p.err, cfg.Observability)
	if err != nil {
		return err
	}
	for _, key := range cfg.Ineffective() {
		logger.Warn("setting has no effect in this build", "key", key)
	}
	p.setGarbageTarget()
	s, err := startService(cmd.Context(), cfg, logger)
	if err != nil {
		return damaged(err)
	}
	return p.serve(cmd.Context(), s, o.readyFile, nil)
}

// garbagePercent is how much may be allocated between two collections, in percent
// of what is in use.
const garbagePercent = 200

// setGarbageTarget makes collections rarer than they are by default, unless the
// environment says otherwise: a node's heap is small, and what a collection costs
// is the time of the slowest answers.
func (p *program) setGarbageTarget() {
	given := slices.ContainsFunc(p.environ, func(entry string) bool { return strings.HasPrefix(entry, "GOGC=") })
	if !given {
		debug.SetGCPercent(garbagePercent)
	}
}

// serverConfig reads file and environment, applies the flags that were given,
// and checks the whole.
func (p *program) serverConfig(cmd *cobra.Command, file string) (config.Config, error) {
	var data []byte
	if file != "" {
		var err error
		if data, err = os.ReadFile(file); err != nil {
			return config.Config{}, usagef("%v", err)
		}
	}
	cfg, err := config.Load(file, data, p.environ)
	if err != nil {
		return config.Config{}, usagef("the configuration cannot be read:\n%w", err)
	}
	flags := cmd.Flags()
	for name, field := range map[string]*string{
		"node-name": &cfg.Cluster.NodeName, "data-dir": &cfg.Cluster.DataDir, "http-addr": &cfg.Server.HTTPAddr,
		"cluster-addr": &cfg.Cluster.ClusterAddr, "gossip-addr": &cfg.Cluster.GossipAddr,
		"advertise-host": &cfg.Cluster.AdvertiseHost, "storage": (*string)(&cfg.Storage.Type),
	} {
		if flags.Changed(name) {
			*field = flags.Lookup(name).Value.String()
		}
	}
	if flags.Changed("join") {
		if cfg.Cluster.Join, err = flags.GetStringSlice("join"); err != nil {
			return config.Config{}, usagef("--join: %w", err)
		}
	}
	if flags.Changed("compact") {
		if cfg.Disk.CompactAtStart, err = flags.GetBool("compact"); err != nil {
			return config.Config{}, usagef("--compact: %w", err)
		}
	}
	if flags.Changed("bootstrap-expect") {
		if cfg.Cluster.BootstrapExpect, err = flags.GetInt("bootstrap-expect"); err != nil {
			return config.Config{}, usagef("--bootstrap-expect: %w", err)
		}
	}
	if err := nodeName(&cfg); err != nil {
		return config.Config{}, err
	}
	if err := cfg.Validate(); err != nil {
		return config.Config{}, usagef("the configuration is invalid:\n%w", err)
	}
	return cfg, nil
}

// serve announces the node, waits for the end, and stops it. ready, if not nil,
// runs once the node is announced; its error ends the node.
func (p *program) serve(ctx context.Context, s *service, readyFile string, ready func(ctx context.Context) error) error {
	err := s.announce(readyFile)
	if err == nil && ready != nil {
		err = ready(ctx)
	}
	if err == nil {
		select {
		case <-ctx.Done():
		case <-s.backend.left:
			s.logger.Info("this node left the cluster and stops")
		case fault := <-s.faults:
			err = &exitError{exitFault, fmt.Errorf("the node was stopped by a fault: %w", fault)}
		}
	}
	if ctx.Err() != nil {
		err = nil // told to stop: what that interrupted is no failure
	}
	if stopErr := s.stop(s.cfg.Server.ShutdownTimeout); stopErr != nil && err == nil {
		err = stopErr
	}
	return err
}

// readiness is the content of the ready file.
type readiness struct {
	HTTPAddr    string `json:"http_addr"`
	ClusterAddr string `json:"cluster_addr"`
	GossipAddr  string `json:"gossip_addr"`
	PID         int    `json:"pid"`
}

// announce logs the addresses and writes them to the ready file, whole or not at
// all.
func (s *service) announce(readyFile string) error {
	s.logger.Info("node is up", slog.String("http_addr", s.apiAddr.String()), slog.String("advertised_http_addr", s.advertised),
		slog.String("cluster_addr", s.backend.clusterAddr), slog.String("gossip_addr", s.backend.gossipAddr),
		slog.String("version", version()))
	if readyFile == "" {
		return nil
	}
	data, err := json.Marshal(readiness{HTTPAddr: s.advertised, ClusterAddr: s.backend.clusterAddr,
		GossipAddr: s.backend.gossipAddr, PID: os.Getpid()})
	if err != nil {
		return fmt.Errorf("encode ready file: %w", err)
	}
	temporary := filepath.Clean(readyFile) + ".tmp"
	if err := os.WriteFile(temporary, append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("write ready file: %w", err)
	}
	if err := os.Rename(temporary, readyFile); err != nil {
		return fmt.Errorf("write ready file: %w", err)
	}
	return nil
}
