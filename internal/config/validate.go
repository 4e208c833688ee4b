package config

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// maxBootstrapExpect is the largest group for which a majority is still cheap.
const maxBootstrapExpect = 9

// Validate reports everything that is wrong, each with the key it is about.
func (c *Config) Validate() error {
	var v validator
	v.server(c)
	v.cluster(c)
	v.disk(c.Disk)
	v.storage(c)
	v.crm(c)
	v.backup(c.Backup)
	v.observability(c)
	return errors.Join(v.errs...)
}

type validator struct{ errs []error }

func (v *validator) check(ok bool, key, format string, args ...any) {
	if !ok {
		v.errs = append(v.errs, fmt.Errorf("%s: %s", key, fmt.Sprintf(format, args...)))
	}
}

func (v *validator) wrap(key string, err error) {
	if err != nil {
		v.errs = append(v.errs, fmt.Errorf("%s: %w", key, err))
	}
}

func (v *validator) positive(key string, d time.Duration) {
	v.check(d > 0, key, "must be longer than 0, is %v", d)
}

func (v *validator) server(c *Config) {
	v.wrap("server.http_addr", checkAddr(c.Server.HTTPAddr))
	v.check(c.Server.Workers >= 0, "server.workers", "must not be negative, is %d", c.Server.Workers)
	v.positive("server.shutdown_timeout", c.Server.ShutdownTimeout)
	v.check(c.Server.MaxBodyBytes >= 1<<10, "server.max_body_bytes", "must be at least 1024, is %d", c.Server.MaxBodyBytes)
	v.serverLimits(c.Server)
}

func (v *validator) cluster(c *Config) {
	replicated := c.Storage.Type == StorageRaft
	v.wrap("cluster.cluster_addr", checkAddr(c.Cluster.ClusterAddr))
	v.wrap("cluster.gossip_addr", checkAddr(c.Cluster.GossipAddr))
	v.check(!replicated || c.Cluster.DataDir != "", "cluster.data_dir", "must be given")
	v.check(!strings.ContainsAny(c.Cluster.NodeName, " \t\r\n/"), "cluster.node_name", "%q must hold neither space nor /", c.Cluster.NodeName)
	v.check(!strings.ContainsAny(c.Cluster.AdvertiseHost, " \t\r\n/"), "cluster.advertise_host", "%q is not a host", c.Cluster.AdvertiseHost)
	expect := c.Cluster.BootstrapExpect
	v.check(expect >= 1 && expect <= maxBootstrapExpect, "cluster.bootstrap_expect", "must be 1 to %d, is %d", maxBootstrapExpect, expect)
	if c.Storage.Type == StorageMemory {
		v.check(len(c.Cluster.Join) == 0, "cluster.join", "a node with storage.type memory is alone and cannot join others")
		v.check(expect <= 1, "cluster.bootstrap_expect", "a node with storage.type memory is alone, is %d", expect)
	}
	for i, seed := range c.Cluster.Join {
		v.check(seed != "" && !strings.ContainsAny(seed, " \t\r\n/"), fmt.Sprintf("cluster.join[%d]", i), "%q is not HOST or HOST:PORT", seed)
	}
	v.check(expect <= 1 || len(c.Cluster.Join) > 0, "cluster.join", "must name a node when bootstrap_expect is %d", expect)
	v.autopilot(c.Cluster.Autopilot)
	v.raft(c.Raft)
}

func (v *validator) autopilot(a Autopilot) {
	const key = "cluster.autopilot."
	v.check(a.ServerStabilizationTime >= 0, key+"server_stabilization_time", "must not be negative, is %v", a.ServerStabilizationTime)
	v.check(a.DeadServerThreshold > a.ServerStabilizationTime, key+"dead_server_threshold", "must be longer than server_stabilization_time (%v), is %v", a.ServerStabilizationTime, a.DeadServerThreshold)
	v.positive(key+"last_contact_threshold", a.LastContactThreshold)
	v.check(a.MaxTrailingLogs >= 1, key+"max_trailing_logs", "must be at least 1, is %d", a.MaxTrailingLogs)
	v.check(a.MinQuorum >= 0 && a.MinQuorum <= maxBootstrapExpect, key+"min_quorum", "must be 0 to %d, is %d", maxBootstrapExpect, a.MinQuorum)
}

func (v *validator) raft(r Raft) {
	switch r.LogStore {
	case LogStoreBolt, LogStoreWAL:
	default:
		v.check(false, "raft.log_store", "must be boltdb or wal, is %q", r.LogStore)
	}
	const least = 5 * time.Millisecond
	v.check(r.HeartbeatTimeout >= least, "raft.heartbeat_timeout", "must be at least %v, is %v", least, r.HeartbeatTimeout)
	v.check(r.ElectionTimeout >= r.HeartbeatTimeout, "raft.election_timeout", "must be at least heartbeat_timeout (%v), is %v", r.HeartbeatTimeout, r.ElectionTimeout)
	v.check(r.LeaderLeaseTimeout >= least && r.LeaderLeaseTimeout <= r.HeartbeatTimeout, "raft.leader_lease_timeout", "must be %v to heartbeat_timeout (%v), is %v", least, r.HeartbeatTimeout, r.LeaderLeaseTimeout)
	v.check(r.CommitTimeout >= time.Millisecond, "raft.commit_timeout", "must be at least 1ms, is %v", r.CommitTimeout)
	v.check(r.SnapshotInterval >= least, "raft.snapshot_interval", "must be at least %v, is %v", least, r.SnapshotInterval)
	v.check(r.SnapshotThreshold >= 1, "raft.snapshot_threshold", "must be at least 1, is %d", r.SnapshotThreshold)
	v.check(r.TrailingLogs >= 0, "raft.trailing_logs", "must not be negative, is %d", r.TrailingLogs)
}

func (v *validator) storage(c *Config) {
	switch c.Storage.Type {
	case StorageRaft, StorageMemory:
	case StorageEtcd:
		v.etcd(c.Storage.Etcd)
	default:
		v.check(false, "storage.type", "must be raft, etcd or memory, is %q", c.Storage.Type)
	}
}

func (v *validator) etcd(e Etcd) {
	const key = "storage.etcd."
	v.check(len(e.Endpoints) > 0, key+"endpoints", "must name at least one")
	v.check(strings.Trim(e.KeyPrefix, "/") != "" && strings.HasPrefix(e.KeyPrefix, "/"), key+"key_prefix", "must be a path such as /oaas/pm, is %q", e.KeyPrefix)
	v.positive(key+"timeout", e.Timeout)
	v.check((e.Username == "") == (e.Password == ""), key+"password", "username and password belong together, one of them is missing")
	v.check((e.TLS.ClientCertPath == "") == (e.TLS.ClientKeyPath == ""), key+"tls.client_key_path", "certificate and key belong together, one of them is missing")
	v.check(e.SessionTTL >= time.Second && e.SessionTTL%time.Second == 0, key+"session_ttl", "must be whole seconds, at least one, is %v", e.SessionTTL)
	v.check(e.MaxTxnOps >= 8, key+"max_txn_ops", "must be at least 8, is %d", e.MaxTxnOps)
	v.check(e.MaxRequestBytes >= 64<<10, key+"max_request_bytes", "must be at least %d, is %d", 64<<10, e.MaxRequestBytes)
}

// checkURL accepts http and https with a host and without user, query and
// fragment. Its errors do not quote the URL, which may hold a password.
func checkURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case text == "":
		return errors.New("must be given")
	case err != nil:
		return errors.New("is not a URL")
	case u.User != nil:
		return errors.New("must not hold a user or password, use authentication")
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("must begin with http:// or https://")
	case u.Hostname() == "":
		return errors.New("names no host")
	case u.RawQuery != "" || u.Fragment != "":
		return errors.New("must hold neither ? nor #")
	}
	return nil
}

func (v *validator) observability(c *Config) {
	switch c.Observability.LogLevel {
	case "debug", "info", "warn", "error":
	default:
		v.check(false, "observability.log_level", "must be debug, info, warn or error, is %q", c.Observability.LogLevel)
	}
	switch c.Observability.LogFormat {
	case LogText, LogJSON:
	default:
		v.check(false, "observability.log_format", "must be text or json, is %q", c.Observability.LogFormat)
	}
	port := c.Observability.MetricsPort
	v.check(port >= 0 && port <= 65535, "observability.metrics_port", "must be 0 to 65535, is %d", port)
}

// serverLimits checks what bounds the clients of the API.
func (v *validator) serverLimits(s Server) {
	v.check(s.MaxHeaderBytes >= 1<<10, "server.max_header_bytes", "must be at least 1024, is %d", s.MaxHeaderBytes)
	v.positive("server.read_timeout", s.ReadTimeout)
	v.positive("server.write_timeout", s.WriteTimeout)
	v.positive("server.idle_timeout", s.IdleTimeout)
	v.positive("server.request_timeout", s.RequestTimeout)
	v.check(s.MaxConns > 0, "server.max_conns", "must be positive, is %d", s.MaxConns)
	v.check(s.MaxInFlight > 1, "server.max_in_flight", "must be at least 2, is %d", s.MaxInFlight)
	v.check(s.MaxWatchers > 0, "server.max_watchers", "must be positive, is %d", s.MaxWatchers)
	v.check(s.MaxConnsPerIP >= 0, "server.max_conns_per_ip", "must not be negative, is %d", s.MaxConnsPerIP)
}
