package main

import (
	"fmt"
	"net"
	"os"
	"time"

	"github.com/oprc/oprc-pm/cluster"
	"github.com/oprc/oprc-pm/crm"
	"github.com/oprc/oprc-pm/crm/control"
	"github.com/oprc/oprc-pm/crm/drift"
	"github.com/oprc/oprc-pm/httpapi"
	"github.com/oprc/oprc-pm/internal/config"
	"github.com/oprc/oprc-pm/model"
)

// The functions below hand each part of the program its share of the
// configuration. What a part can be told but no file can, keeps its default.

// clusterConfig is for a node whose API is reachable at httpAddr.
func clusterConfig(c config.Config, httpAddr string) cluster.Config {
	cc := cluster.DefaultConfig()
	cc.NodeName = c.Cluster.NodeName
	cc.DataDir = c.Cluster.DataDir
	cc.ClusterAddr = c.Cluster.ClusterAddr
	cc.GossipAddr = c.Cluster.GossipAddr
	cc.AdvertiseHost = c.Cluster.AdvertiseHost
	cc.HTTPAddr = httpAddr
	cc.Join = c.Cluster.Join
	cc.BootstrapExpect = c.Cluster.BootstrapExpect
	cc.Version = version()
	cc.LogStore = string(c.Raft.LogStore)
	cc.HeartbeatTimeout = c.Raft.HeartbeatTimeout
	cc.ElectionTimeout = c.Raft.ElectionTimeout
	cc.LeaderLeaseTimeout = c.Raft.LeaderLeaseTimeout
	cc.CommitTimeout = c.Raft.CommitTimeout
	cc.SnapshotInterval = c.Raft.SnapshotInterval
	cc.SnapshotThreshold = uint64(c.Raft.SnapshotThreshold)
	cc.TrailingLogs = uint64(c.Raft.TrailingLogs)
	pilot := c.Cluster.Autopilot
	cc.Autopilot.CleanupDeadServers = pilot.CleanupDeadServers
	cc.Autopilot.DeadServerThreshold = pilot.DeadServerThreshold
	cc.Autopilot.LastContactThreshold = pilot.LastContactThreshold
	cc.Autopilot.MaxTrailingLogs = uint64(pilot.MaxTrailingLogs) //nolint:gosec // validated
	cc.Autopilot.ServerStabilizationTime = pilot.ServerStabilizationTime
	cc.Autopilot.MinQuorum = pilot.MinQuorum
	cc.CompactLog = c.Disk.CompactAtStart
	cc.Disk.Interval = c.Disk.Interval
	cc.Disk.AlarmPercent, cc.Disk.AlarmBytes = c.Disk.AlarmPercent, uint64(c.Disk.AlarmBytes)     //nolint:gosec // validated
	cc.Disk.RefusePercent, cc.Disk.RefuseBytes = c.Disk.RefusePercent, uint64(c.Disk.RefuseBytes) //nolint:gosec // validated
	cc.Disk.ReserveBytes = uint64(c.Disk.ReserveBytes)                                            //nolint:gosec // validated
	cc.Disk.StallTimeout = c.Disk.StallTimeout
	return cc
}

func httpConfig(c config.Config) httpapi.Config {
	hc := httpapi.DefaultConfig()
	hc.MaxBodyBytes = c.Server.MaxBodyBytes
	hc.MaxRestoreBytes = c.Backup.MaxRestoreBytes
	hc.MaxHeaderBytes = c.Server.MaxHeaderBytes
	hc.ReadTimeout = c.Server.ReadTimeout
	hc.WriteTimeout = c.Server.WriteTimeout
	hc.IdleTimeout = c.Server.IdleTimeout
	hc.RequestTimeout = c.Server.RequestTimeout
	hc.MaxConns = c.Server.MaxConns
	hc.MaxConnsPerIP = c.Server.MaxConnsPerIP
	hc.MaxInFlight = c.Server.MaxInFlight
	hc.MaxWaiters = min(hc.MaxWaiters, hc.MaxInFlight/2)
	hc.MaxWatchers = c.Server.MaxWatchers
	hc.CORSAllowOrigin = c.Server.CORSAllowOrigin
	hc.DeleteCascade = c.Packages.DeleteCascade
	return hc
}

// crmConfig is how this node reaches CRMs. It fails on settings that do not make
// a cluster.
func crmConfig(c config.Config) (crm.Config, error) {
	cc := crm.DefaultConfig()
	cc.DefaultCluster = c.CRM.DefaultCluster
	cc.SecretsDir = c.CRM.SecretsDir
	for name, token := range c.CRM.Tokens {
		if cc.Tokens == nil {
			cc.Tokens = map[string]crm.Secret{}
		}
		cc.Tokens[name] = crm.Secret(token.Reveal())
	}
	for name, cluster := range c.CRM.Clusters {
		cc.Clusters[name] = crmCluster(name, cluster)
	}
	if err := cc.Validate(); err != nil {
		return crm.Config{}, usagef("crm: %v", err)
	}
	// What is registered with the cluster must pass its rules too.
	for _, cluster := range cc.LocalClusters() {
		if problems := cluster.Validate(); len(problems) > 0 {
			return crm.Config{}, usagef("crm.clusters.%s: %s: %s", cluster.Name, problems[0].Path, problems[0].Message)
		}
	}
	return cc, nil
}

func crmCluster(name string, c config.CRMCluster) crm.ClusterConfig {
	one := crm.DefaultClusterConfig(name, c.BaseURL)
	one.Protocol = model.ClusterProtocol(c.Protocol)
	one.Timeout = c.Timeout
	one.RetryAttempts = c.RetryAttempts
	one.MaxConcurrency = c.MaxConcurrency
	one.Labels, one.Environments = c.Labels, c.Environments
	if c.Weight != config.DefaultCRMCluster().Weight {
		weight := uint32(c.Weight) //nolint:gosec // validated
		one.Weight = &weight
	}
	if c.Capacity > 0 {
		capacity := uint32(c.Capacity) //nolint:gosec // validated
		one.Capacity = &capacity
	}
	one.Auth = crm.AuthConfig{
		Type: crm.AuthType(c.Authentication.AuthType), Token: crm.Secret(c.Authentication.Token.Reveal()),
		Username: c.Authentication.Username, Password: crm.Secret(c.Authentication.Password.Reveal()),
	}
	one.TLS = crm.TLSConfig{
		CAFile: c.TLS.CACertPath, CertFile: c.TLS.ClientCertPath, KeyFile: c.TLS.ClientKeyPath,
		ServerName: c.TLS.ServerName, Insecure: c.TLS.Insecure,
	}
	if one.TLS.CertFile == "" {
		one.TLS.CertFile = c.Authentication.CertificatePath
	}
	return one
}

// controlConfig is how this node orchestrates while it leads; local are the
// clusters that it registers.
func controlConfig(c config.Config, local []model.Cluster) control.Config {
	cc := control.DefaultConfig()
	cc.Local = local
	cc.Policy.Availability = c.CRM.Planning.Availability
	cc.Policy.ClusterAvailability = c.CRM.Planning.ClusterAvailability
	cc.Policy.MaxClusters = c.CRM.Planning.MaxClusters
	cc.Policy.ReplicaThroughput = uint32(c.CRM.Planning.ReplicaThroughput) //nolint:gosec // validated
	cc.Policy.Toleration = c.CRM.Failover.Toleration
	cc.Health.Interval = c.CRM.HealthCheckInterval
	// Who asks often wants to know soon: two probes that time out must not take long.
	cc.Health.Timeout = max(time.Second, min(cc.Health.Timeout, 2*cc.Health.Interval))
	cc.Health.FailureThreshold = c.CRM.CircuitBreaker.FailureThreshold
	cc.Health.OpenTimeout = c.CRM.CircuitBreaker.Timeout
	cc.Health.RetryTimeout = c.CRM.CircuitBreaker.RetryTimeout
	cc.Dispatch.RollbackOnPartial = c.CRM.Deploy.RollbackOnPartial
	cc.Failover.Toleration = c.CRM.Failover.Toleration
	cc.Failover.MaxEvictionsPerMinute = c.CRM.Failover.MaxEvictionsPerMinute
	cc.Failover.Recovery = c.CRM.Failover.Recovery
	cc.Drift.Interval = c.CRM.Drift.Interval
	cc.Drift.OrphanPolicy = drift.OrphanPolicy(c.CRM.Drift.OrphanPolicy)
	cc.Drift.OrphanGrace = c.CRM.Drift.OrphanGrace
	return cc
}

// advertisedHTTP is where others reach an API that listens on bound: never at
// "all interfaces".
func advertisedHTTP(c config.Config, bound net.Addr) string {
	host, port, err := net.SplitHostPort(bound.String())
	if err != nil {
		return bound.String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = advertisedHost(c)
	}
	return net.JoinHostPort(host, port)
}

// advertisedHost is the configured name, or else the host that peers use for
// Raft, or else an address of this machine.
func advertisedHost(c config.Config) string {
	if c.Cluster.AdvertiseHost != "" {
		return c.Cluster.AdvertiseHost
	}
	host, _, _ := net.SplitHostPort(c.Cluster.ClusterAddr)
	if ip := net.ParseIP(host); host != "" && (ip == nil || !ip.IsUnspecified()) {
		return host
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return "127.0.0.1"
	}
	for _, addr := range addrs {
		if ipNet, ok := addr.(*net.IPNet); ok && ipNet.IP.To4() != nil && ipNet.IP.IsPrivate() {
			return ipNet.IP.String()
		}
	}
	return "127.0.0.1"
}

// nodeName completes the configuration with the host's name.
func nodeName(c *config.Config) error {
	if c.Cluster.NodeName != "" {
		return nil
	}
	name, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("find the host's name (give --node-name): %w", err)
	}
	c.Cluster.NodeName = name
	return nil
}
