package main

import (
	"fmt"
	"net"
	"os"

	"github.com/oprc/oprc-pm/cluster"
	"github.com/oprc/oprc-pm/crm"
	"github.com/oprc/oprc-pm/httpapi"
	"github.com/oprc/oprc-pm/internal/config"
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
	return cc
}

func httpConfig(c config.Config) httpapi.Config {
	hc := httpapi.DefaultConfig()
	hc.MaxBodyBytes = c.Server.MaxBodyBytes
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

// crmConfig fails on settings of which this build would not keep the promise.
func crmConfig(c config.Config) (crm.Config, error) {
	cc := crm.DefaultConfig()
	cc.DefaultCluster = c.CRM.DefaultCluster
	cc.Health.Interval = c.CRM.HealthCheckInterval
	for name, cluster := range c.CRM.Clusters {
		one := crm.DefaultClusterConfig(name, cluster.BaseURL)
		one.Timeout = cluster.Timeout
		one.RetryAttempts = cluster.RetryAttempts
		switch cluster.Authentication.AuthType {
		case config.AuthNone:
		case config.AuthBearer:
			one.Auth = crm.AuthConfig{Type: crm.AuthBearer, Token: crm.Secret(cluster.Authentication.Token.Reveal())}
		case config.AuthBasic:
			one.Auth = crm.AuthConfig{Type: crm.AuthBasic, Username: cluster.Authentication.Username,
				Password: crm.Secret(cluster.Authentication.Password.Reveal())}
		default:
			return crm.Config{}, usagef("crm.clusters.%s.authentication.auth_type: %s is not available in this build", name, cluster.Authentication.AuthType)
		}
		cc.Clusters[name] = one
	}
	if err := cc.Validate(); err != nil {
		return crm.Config{}, usagef("crm: %v", err)
	}
	return cc, nil
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
