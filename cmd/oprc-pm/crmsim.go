package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/oprc/oprc-pm/crm/sim"
	"github.com/oprc/oprc-pm/internal/config"
)

// simOptions are the flags of crm-sim.
type simOptions struct {
	cfg                           sim.Config
	listen, grpcListen, controlAt string
	tokenFile, basicFile          string
	tlsCert, tlsKey, clientCA     string
	count                         int
	logLevel, readyFile           string
}

func (p *program) crmSimCommand() *cobra.Command {
	o := simOptions{cfg: sim.Config{Version: version()}}
	cmd := &cobra.Command{
		Use:   "crm-sim --name NAME --listen HOST:PORT",
		Short: "Run a simulated cluster: a CRM that runs nothing",
		Long: `Run a simulated Class Runtime Manager. It speaks the HTTP contract of a real one,
and with --grpc-listen that of gRPC over the same units, and keeps units, but runs
nothing. With --state-dir it knows its units again after a restart.

It misbehaves on request: PUT /sim/faults, PUT /sim/schedule and others, below
/sim/ on the HTTP port and, out of reach of all faults, at --control-listen.

With --count it is many clusters on one port, NAME-0001 and so on; the base URL of
each is http://HOST:PORT/c/NAME-0001.`,
		Example: `  oprc-pm crm-sim --name oaas-1 --listen 127.0.0.1:8081
  oprc-pm crm-sim --name oaas-2 --listen 127.0.0.1:8082 --grpc-listen 127.0.0.1:8083
  oprc-pm crm-sim --name slow --listen 127.0.0.1:8084 --latency 500ms --error-rate 0.2
  curl -X PUT 127.0.0.1:8081/sim/faults -d '{"calls":["deploy"],"hang_reply":true}'`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return p.crmSim(cmd.Context(), o) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.cfg.Name, "name", "", "`NAME` of the cluster")
	flags.StringVar(&o.listen, "listen", "127.0.0.1:8081", "`HOST:PORT` of the API")
	flags.StringVar(&o.grpcListen, "grpc-listen", "", "`HOST:PORT` of gRPC; empty: none")
	flags.StringVar(&o.controlAt, "control-listen", "", "`HOST:PORT` of /sim/ alone, which no fault closes; empty: none")
	flags.IntVar(&o.count, "count", 0, "be this many clusters; 0 is one, with ports of its own")
	flags.IntVar(&o.cfg.Nodes, "nodes", 3, "nodes that it claims to have")
	flags.DurationVar(&o.cfg.Latency, "latency", 0, "delay of every answer")
	flags.Float64Var(&o.cfg.ErrorRate, "error-rate", 0, "share of calls that fail, 0 to 1")
	flags.IntVar(&o.cfg.Capacity, "capacity", 0, "units that fit; 0 is any number")
	flags.DurationVar(&o.cfg.TimeToRunning, "time-to-running", 0, "time from acceptance until a unit runs")
	flags.Float64Var(&o.cfg.Availability, "availability", 0.99, "availability that it reports")
	flags.StringSliceVar(&o.cfg.Unimplemented, "unimplemented", nil, "calls that it does not know, such as records")
	flags.StringVar(&o.cfg.StateDir, "state-dir", "", "`DIR` that keeps the units; empty: they are lost at the end")
	flags.IntVar(&o.cfg.JournalSize, "journal-size", 0, "calls that it remembers (default 10000, with --count 100 each)")
	flags.StringVar(&o.tokenFile, "token-file", "", "`FILE` with the token that callers must show")
	flags.StringVar(&o.basicFile, "basic-file", "", "`FILE` with USER:PASSWORD that callers must show")
	flags.StringVar(&o.tlsCert, "tls-cert", "", "`FILE` with the certificate to serve with")
	flags.StringVar(&o.tlsKey, "tls-key", "", "`FILE` with its key")
	flags.StringVar(&o.clientCA, "client-ca", "", "`FILE` with the authorities whose certificate callers must show")
	flags.StringVar(&o.logLevel, "log-level", "info", "debug, info, warn or error")
	flags.StringVar(&o.readyFile, "ready-file", "", "`FILE` to write the addresses to, as JSON, once they are open")
	return cmd
}

func (p *program) crmSim(ctx context.Context, o simOptions) error {
	if err := o.secure(); err != nil {
		return err
	}
	if err := o.cfg.Validate(); err != nil {
		return usagef("%v", err)
	}
	if o.count > 0 && (o.grpcListen != "" || o.controlAt != "" || o.cfg.StateDir != "") {
		return usagef("--count goes with none of --grpc-listen, --control-listen and --state-dir")
	}
	logger, err := newLogger(p.err, config.Observability{LogLevel: config.LogLevel(o.logLevel), LogFormat: config.LogText})
	if err != nil {
		return err
	}
	o.cfg.Logger = logger
	if o.cfg.StateDir != "" {
		if err := os.MkdirAll(filepath.Clean(o.cfg.StateDir), 0o700); err != nil {
			return fmt.Errorf("make state directory: %w", err)
		}
	}
	endpoints, err := o.open(ctx)
	if err != nil {
		return err
	}
	if err := o.announce(endpoints); err != nil {
		return errors.Join(err, closeEndpoints(endpoints))
	}
	if o.count == 0 {
		return sim.New(o.cfg).Serve(ctx, endpoints)
	}
	farm := sim.NewFarm(o.cfg)
	for i := range o.count {
		farm.Add(fmt.Sprintf("%s-%04d", o.cfg.Name, i+1))
	}
	return farm.Run(ctx, endpoints.HTTP)
}

// secure reads what callers must show and what the ports are secured with.
func (o *simOptions) secure() error {
	token, err := secretFile(o.tokenFile)
	if err != nil {
		return err
	}
	basic, err := secretFile(o.basicFile)
	if err != nil {
		return err
	}
	o.cfg.Auth.Token = token
	o.cfg.Auth.Username, o.cfg.Auth.Password, _ = strings.Cut(basic, ":")
	if o.tlsCert == "" && o.tlsKey == "" {
		if o.clientCA != "" {
			return usagef("--client-ca needs --tls-cert and --tls-key")
		}
		return nil
	}
	cert, err := tls.LoadX509KeyPair(o.tlsCert, o.tlsKey)
	if err != nil {
		return usagef("--tls-cert, --tls-key: %v", err)
	}
	o.cfg.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}}
	if o.clientCA == "" {
		return nil
	}
	authorities, err := os.ReadFile(o.clientCA)
	if err != nil {
		return usagef("--client-ca: %v", err)
	}
	o.cfg.TLS.ClientCAs = x509.NewCertPool()
	if !o.cfg.TLS.ClientCAs.AppendCertsFromPEM(authorities) {
		return usagef("--client-ca: %s holds no certificate", o.clientCA)
	}
	o.cfg.TLS.ClientAuth = tls.VerifyClientCertIfGiven
	o.cfg.Auth.Certificate = true
	return nil
}

func secretFile(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return "", usagef("%v", err)
	}
	return strings.TrimSpace(string(content)), nil
}

func (o *simOptions) open(ctx context.Context) (e sim.Endpoints, err error) {
	for _, at := range []struct {
		addr string
		into *net.Listener
	}{{o.listen, &e.HTTP}, {o.grpcListen, &e.GRPC}, {o.controlAt, &e.Control}} {
		if at.addr == "" || err != nil {
			continue
		}
		var l net.Listener
		if l, err = listenTCP(ctx, at.addr); err == nil {
			*at.into = l
		}
	}
	if err != nil {
		err = errors.Join(err, closeEndpoints(e))
	}
	return e, err
}

func closeEndpoints(e sim.Endpoints) error {
	var errs []error
	for _, l := range []net.Listener{e.HTTP, e.GRPC, e.Control} {
		if l != nil {
			errs = append(errs, l.Close())
		}
	}
	return errors.Join(errs...)
}

// announce writes the ready file, whole or not at all.
func (o *simOptions) announce(e sim.Endpoints) error {
	if o.readyFile == "" {
		return nil
	}
	addrs := map[string]any{"pid": os.Getpid()}
	for name, l := range map[string]net.Listener{"http_addr": e.HTTP, "grpc_addr": e.GRPC, "control_addr": e.Control} {
		if l != nil {
			addrs[name] = l.Addr().String()
		}
	}
	data, err := json.Marshal(addrs)
	if err != nil {
		return fmt.Errorf("encode ready file: %w", err)
	}
	temporary := filepath.Clean(o.readyFile) + ".tmp"
	if err := os.WriteFile(temporary, append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("write ready file: %w", err)
	}
	if err := os.Rename(temporary, o.readyFile); err != nil {
		return fmt.Errorf("write ready file: %w", err)
	}
	return nil
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
