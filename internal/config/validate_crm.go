package config

import (
	"maps"
	"math"
	"net/url"
	"slices"
	"strings"
)

func (v *validator) crm(c *Config) {
	v.positive("crm.health_check_interval", c.CRM.HealthCheckInterval)
	v.check(c.CRM.HealthCacheTTL >= 0, "crm.health_cache_ttl", "must not be negative, is %v", c.CRM.HealthCacheTTL)
	breaker := c.CRM.CircuitBreaker
	v.check(breaker.FailureThreshold >= 1, "crm.circuit_breaker.failure_threshold", "must be at least 1, is %d", breaker.FailureThreshold)
	v.positive("crm.circuit_breaker.timeout", breaker.Timeout)
	v.check(breaker.RetryTimeout >= breaker.Timeout, "crm.circuit_breaker.retry_timeout", "must be at least timeout (%v), is %v", breaker.Timeout, breaker.RetryTimeout)
	v.planning(c.CRM.Planning)
	v.moving(c.CRM)
	// Without configured clusters it may be one that is added at run time.
	if name := c.CRM.DefaultCluster; name != "" && len(c.CRM.Clusters) > 0 {
		_, ok := c.CRM.Clusters[name]
		v.check(ok, "crm.default_cluster", "%q is not among crm.clusters", name)
	}
	for _, name := range slices.Sorted(maps.Keys(c.CRM.Clusters)) {
		v.crmCluster("crm.clusters."+name, name, c.CRM.Clusters[name], c.CRM.SecretsDir != "")
	}
}

func (v *validator) planning(p Planning) {
	v.check(p.Availability > 0 && p.Availability < 1, "crm.planning.availability", "must be above 0 and below 1, is %v", p.Availability)
	v.check(p.ClusterAvailability > 0 && p.ClusterAvailability < 1, "crm.planning.cluster_availability", "must be above 0 and below 1, is %v", p.ClusterAvailability)
	v.check(p.MaxClusters >= 1, "crm.planning.max_clusters", "must be at least 1, is %d", p.MaxClusters)
	v.check(p.ReplicaThroughput >= 1 && p.ReplicaThroughput <= math.MaxInt32, "crm.planning.replica_throughput", "must be 1 to %d, is %d", math.MaxInt32, p.ReplicaThroughput)
}

// moving is about what makes units come and go without being asked.
func (v *validator) moving(c CRM) {
	v.check(c.Failover.Toleration >= 0, "crm.failover.toleration", "must not be negative, is %v", c.Failover.Toleration)
	v.check(c.Failover.MaxEvictionsPerMinute >= 1, "crm.failover.max_evictions_per_minute", "must be at least 1, is %d", c.Failover.MaxEvictionsPerMinute)
	v.check(c.Failover.Recovery >= 0, "crm.failover.recovery", "must not be negative, is %v", c.Failover.Recovery)
	v.positive("crm.drift.interval", c.Drift.Interval)
	switch c.Drift.OrphanPolicy {
	case OrphanReport, OrphanAdopt, OrphanRemove:
	default:
		v.check(false, "crm.drift.orphan_policy", "must be report, adopt or remove, is %q", c.Drift.OrphanPolicy)
	}
	v.check(c.Drift.OrphanGrace >= 0, "crm.drift.orphan_grace", "must not be negative, is %v", c.Drift.OrphanGrace)
	v.check(c.Deploy.MaxRetries >= 0, "crm.deploy.max_retries", "must not be negative, is %d", c.Deploy.MaxRetries)
}

// crmCluster checks one cluster. secrets: what it lacks may be in a folder.
func (v *validator) crmCluster(key, name string, cluster CRMCluster, secrets bool) {
	v.wrap(key, checkClusterName(name))
	v.wrap(key+".base_url", checkURL(cluster.BaseURL))
	v.positive(key+".timeout", cluster.Timeout)
	v.check(cluster.RetryAttempts >= 0 && cluster.RetryAttempts <= 100, key+".retry_attempts", "must be 0 to 100, is %d", cluster.RetryAttempts)
	v.check(cluster.MaxConcurrency >= 1 && cluster.MaxConcurrency <= 1024, key+".max_concurrency", "must be 1 to 1024, is %d", cluster.MaxConcurrency)
	v.check(cluster.Weight >= 0 && cluster.Weight <= maxWeight, key+".weight", "must be 0 to %d, is %d", maxWeight, cluster.Weight)
	v.check(cluster.Capacity >= 0 && cluster.Capacity <= maxCapacity, key+".capacity", "must be 0 to %d, is %d", maxCapacity, cluster.Capacity)
	for _, environment := range cluster.Environments {
		v.wrap(key+".environments", checkClusterName(environment))
	}
	for label := range cluster.Labels {
		v.check(label != "", key+".labels", "a label's name must not be empty")
	}
	base, _ := url.Parse(cluster.BaseURL)
	switch cluster.Protocol {
	case ProtocolHTTP:
	case ProtocolGRPC:
		v.check(base == nil || strings.Trim(base.Path, "/") == "", key+".base_url", "must hold no path when protocol is grpc")
	default:
		v.check(false, key+".protocol", "must be http or grpc, is %q", cluster.Protocol)
	}
	v.crmAuthentication(key, cluster, secrets)
}

// The greatest that the model takes.
const (
	maxWeight   = 10_000
	maxCapacity = 1_000_000
)

func (v *validator) crmAuthentication(key string, cluster CRMCluster, secrets bool) {
	auth := cluster.Authentication
	switch auth.AuthType {
	case AuthUnset, AuthNone:
	case AuthBearer:
		v.check(secrets || auth.Token != "", key+".authentication.token", "must be given for auth_type bearer, or crm.secrets_dir")
	case AuthBasic:
		v.check(auth.Username != "" && (secrets || auth.Password != ""), key+".authentication", "username and password must be given for auth_type basic")
	case AuthCertificate:
		v.check(secrets || auth.CertificatePath != "" || cluster.TLS.ClientCertPath != "", key+".authentication.certificate_path", "must be given for auth_type certificate, or tls.client_cert_path")
		v.check(strings.HasPrefix(cluster.BaseURL, "https://"), key+".base_url", "must begin with https:// for auth_type certificate")
	default:
		v.check(false, key+".authentication.auth_type", "must be none, bearer, basic or certificate, is %q", auth.AuthType)
	}
	certificate := cluster.TLS.ClientCertPath != "" || auth.CertificatePath != ""
	v.check(cluster.TLS.ClientCertPath == "" || cluster.TLS.ClientKeyPath != "", key+".tls", "client_cert_path and client_key_path belong together, one of them is missing")
	v.check(cluster.TLS.ClientKeyPath == "" || certificate, key+".tls", "client_cert_path and client_key_path belong together, one of them is missing")
}
