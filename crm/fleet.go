package crm

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/VictoriaMetrics/metrics"

	"github.com/oprc/oprc-pm/model"
)

// Fleet is the clients of all clusters that exist. Sync follows the clusters'
// documents; everything else reads and never waits, also while Sync runs.
type Fleet struct {
	cfg    Config
	set    *metrics.Set
	logger *slog.Logger

	// members is replaced as a whole.
	members atomic.Pointer[map[string]*member]

	mu     sync.Mutex // serialises Sync and Close
	closed bool       // guarded by mu
}

// member is one cluster's client and what it was made of.
type member struct {
	// version is the document's; an unchanged one needs no further look. 0: it
	// has none.
	version uint64
	cfg     ClusterConfig
	client  closingClient
	// err says why the cluster cannot be called; nil otherwise.
	err error
}

type closingClient interface {
	Client
	Close()
}

// NewFleet makes a fleet without clients: Sync makes them. It does no I/O.
// logger may be nil.
func NewFleet(cfg Config, set *metrics.Set, logger *slog.Logger) (*Fleet, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	f := &Fleet{cfg: cfg, set: set, logger: logger}
	f.members.Store(&map[string]*member{})
	return f, nil
}

// Sync makes the fleet that of the given clusters: new ones get a client, those
// with other settings another one, and those that are gone lose theirs. Calls in
// flight go on. A cluster whose settings cannot be used has a client whose calls
// fail and say so; the error returned names all of these.
func (f *Fleet) Sync(clusters []model.Cluster) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	before := *f.members.Load()
	after := make(map[string]*member, len(clusters))
	var retired []closingClient
	var errs []error
	for _, cluster := range clusters {
		had := before[cluster.Name]
		now := f.member(cluster, had)
		after[cluster.Name] = now
		if had != nil && had.client != now.client {
			retired = append(retired, had.client)
		}
		if now.err != nil {
			errs = append(errs, now.err)
		}
	}
	f.members.Store(&after)
	for name, had := range before {
		if after[name] == nil {
			retired = append(retired, had.client)
			forgetMetrics(f.set, name)
		}
	}
	for _, client := range retired {
		client.Close()
	}
	return errors.Join(errs...)
}

// member returns the client for a cluster, the present one when it still fits.
func (f *Fleet) member(cluster model.Cluster, had *member) *member {
	if had != nil && had.version != 0 && had.version == cluster.ResourceVersion {
		return had
	}
	cfg, err := f.cfg.resolve(cluster)
	if had != nil && err == nil && had.err == nil && had.cfg.same(cfg) {
		return &member{version: cluster.ResourceVersion, cfg: cfg, client: had.client}
	}
	if had != nil && err != nil && had.err != nil && had.cfg.same(cfg) {
		return &member{version: cluster.ResourceVersion, cfg: cfg, client: had.client, err: had.err}
	}
	m := &member{version: cluster.ResourceVersion, cfg: cfg}
	if err == nil {
		m.client, err = newClient(cfg, f.set, f.logger)
	}
	if err != nil {
		m.err = fmt.Errorf("cluster %q: %w", cluster.Name, err)
		m.client = &brokenClient{cluster: cluster.Name, err: err}
		f.logger.Warn("cluster cannot be called", "cluster", cluster.Name, "err", err)
	}
	if cfg.TLS.Insecure {
		f.logger.Warn("certificate of cluster is not verified", "cluster", cluster.Name)
	}
	return m
}

func newClient(cfg ClusterConfig, set *metrics.Set, logger *slog.Logger) (closingClient, error) {
	if cfg.Protocol == model.ProtocolGRPC {
		client, err := NewGRPCClient(cfg, set, logger)
		if err != nil {
			return nil, err
		}
		return client, nil
	}
	client, err := NewHTTPClient(cfg, set, logger)
	if err != nil {
		return nil, err
	}
	return client, nil
}

// errOtherServer tells that a cluster's document leads to another server than
// the one that this node has credentials for. They are not sent there: whoever
// may write documents must not be able to collect them.
var errOtherServer = errors.New("its address is not that of the cluster of this name in the node's configuration, whose credentials are not sent elsewhere")

// resolve joins what a cluster's document says with what this node knows.
func (c Config) resolve(cluster model.Cluster) (ClusterConfig, error) {
	local, configured := c.Clusters[cluster.Name]
	cfg := c.Defaults
	if configured {
		cfg.Timeout, cfg.RetryAttempts, cfg.MaxConcurrency = local.Timeout, local.RetryAttempts, local.MaxConcurrency
		cfg.MaxResponseBytes = local.MaxResponseBytes
	}
	cfg.Name, cfg.BaseURL, cfg.Protocol = cluster.Name, cluster.BaseURL, cluster.Protocol
	cfg.Timeout = cluster.Timeout.Or(cfg.Timeout)
	if cluster.RetryAttempts != nil {
		cfg.RetryAttempts = int(*cluster.RetryAttempts)
	}
	if cluster.MaxConcurrency != nil {
		cfg.MaxConcurrency = int(*cluster.MaxConcurrency)
	}
	cfg.Auth, cfg.TLS = documentAuth(cluster.Auth), documentTLS(cluster.TLS)
	elsewhere := configured && serverOf(local.BaseURL) != serverOf(cluster.BaseURL)
	if elsewhere && local.identifies() {
		return cfg, errOtherServer
	}
	if configured {
		cfg.useLocal(local)
	}
	if elsewhere {
		// What is kept in files and in the environment for the configured server
		// is for no other either.
		return cfg, cfg.Validate()
	}
	if c.SecretsDir != "" {
		cfg.SecretsDir = filepath.Join(c.SecretsDir, cluster.Name)
	}
	cfg.FallbackToken = c.Tokens[TokenKey(cluster.Name)]
	if !validClusterName(cluster.Name) {
		cfg.SecretsDir = "" // the name must not lead out of the folder
	}
	return cfg, cfg.Validate()
}

// identifies tells whether the settings hold something that proves who calls.
func (c ClusterConfig) identifies() bool {
	return c.Auth.Token != "" || c.Auth.Password != "" || c.TLS.CertFile != ""
}

// useLocal takes over how the node's own configuration authenticates and whom it
// trusts, where it says.
func (c *ClusterConfig) useLocal(local ClusterConfig) {
	if local.Auth.Type != AuthUnset {
		c.Auth = local.Auth
	}
	if local.TLS != (TLSConfig{}) {
		c.TLS = local.TLS
	}
}

func documentAuth(auth *model.ClusterAuth) AuthConfig {
	if auth == nil {
		return AuthConfig{}
	}
	return AuthConfig{Type: AuthType(auth.Type), Username: auth.Username}
}

func documentTLS(tls *model.ClusterTLS) TLSConfig {
	if tls == nil {
		return TLSConfig{}
	}
	return TLSConfig{CAPEM: tls.CAPEM, ServerName: tls.ServerName, Insecure: tls.Insecure}
}

// Names returns the clusters, sorted.
func (f *Fleet) Names() []string { return slices.Sorted(maps.Keys(*f.members.Load())) }

// Client returns the client of a cluster; name "" means the default cluster.
// It stays usable for a call that begins soon; keep the name, not the client.
func (f *Fleet) Client(name string) (Client, bool) {
	members := *f.members.Load()
	if name == "" {
		name = f.defaultName(members)
	}
	m, known := members[name]
	if !known {
		return nil, false
	}
	return m.client, true
}

// defaultName is the configured default, else the cluster of that name, else the
// first.
func (f *Fleet) defaultName(members map[string]*member) string {
	for _, name := range []string{f.cfg.DefaultCluster, "default"} {
		if members[name] != nil {
			return name
		}
	}
	first := ""
	for name := range members {
		if first == "" || name < first {
			first = name
		}
	}
	return first
}

// Concurrency returns how many of the dispatcher's calls a cluster takes at
// once; 0 for one that does not exist.
func (f *Fleet) Concurrency(name string) int {
	if m := (*f.members.Load())[name]; m != nil {
		return m.cfg.MaxConcurrency
	}
	return 0
}

// Close gives all clients up; the fleet stays empty. It may be called more than
// once.
func (f *Fleet) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for _, m := range *f.members.Swap(&map[string]*member{}) {
		m.client.Close()
	}
}
