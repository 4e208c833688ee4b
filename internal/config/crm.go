package config

import "time"

// CRM is the clusters that deployments run in, and how they are treated.
type CRM struct {
	// DefaultCluster is used where a request names no cluster.
	DefaultCluster string `yaml:"default_cluster"`
	// HealthCheckInterval is the time between two probes of one CRM.
	HealthCheckInterval time.Duration `yaml:"health_check_interval"`
	// HealthCacheTTL is accepted for the sake of existing environments and has
	// no effect: health is what the probes found, and is never asked for.
	HealthCacheTTL time.Duration `yaml:"health_cache_ttl"`
	CircuitBreaker Breaker       `yaml:"circuit_breaker"`
	// SecretsDir holds a folder for each cluster, with any of the files token,
	// password, tls.crt, tls.key and ca.crt. Empty means none.
	SecretsDir string   `yaml:"secrets_dir"`
	Planning   Planning `yaml:"planning"`
	Failover   Failover `yaml:"failover"`
	Drift      Drift    `yaml:"drift"`
	Deploy     Deploy   `yaml:"deploy"`
	// Clusters by the name that deployments use.
	Clusters map[string]CRMCluster `yaml:"clusters"`
	// Tokens are the CRM_<NAME>_TOKEN of the environment whose NAME is that of
	// no cluster above, by NAME: for clusters that are added at run time.
	Tokens map[string]Secret `yaml:"-"`
}

// Breaker stops calling a CRM that keeps failing.
type Breaker struct {
	// FailureThreshold is the number of failures in a row that opens it.
	FailureThreshold int `yaml:"failure_threshold"`
	// Timeout is how long it stays open before one call may try again.
	Timeout time.Duration `yaml:"timeout"`
	// RetryTimeout bounds the growth of Timeout while tries keep failing.
	RetryTimeout time.Duration `yaml:"retry_timeout"`
}

// Planning is what is assumed where a deployment or a CRM does not say.
type Planning struct {
	// Availability that a deployment is planned for, above 0 and below 1.
	Availability float64 `yaml:"availability"`
	// ClusterAvailability of a cluster that reports none, likewise.
	ClusterAvailability float64 `yaml:"cluster_availability"`
	// MaxClusters bounds in how many clusters a deployment runs that names none.
	MaxClusters int `yaml:"max_clusters"`
	// ReplicaThroughput is how many requests per second one replica serves.
	ReplicaThroughput int `yaml:"replica_throughput"`
}

// Failover is how deployments that opted in leave clusters that are lost.
type Failover struct {
	// Toleration is how long a cluster must have been unhealthy.
	Toleration time.Duration `yaml:"toleration"`
	// MaxEvictionsPerMinute bounds how many deployments are moved in a minute.
	MaxEvictionsPerMinute int `yaml:"max_evictions_per_minute"`
	// Recovery is how long a cluster must have been healthy before it is used
	// again by those that left it.
	Recovery time.Duration `yaml:"recovery"`
}

// Drift is how what CRMs hold is compared with what is recorded.
type Drift struct {
	// Interval between two looks at one cluster.
	Interval time.Duration `yaml:"interval"`
	// OrphanPolicy says what becomes of a unit that nobody asked for.
	OrphanPolicy OrphanPolicy `yaml:"orphan_policy"`
	// OrphanGrace is how long it must have been seen before it is removed.
	OrphanGrace time.Duration `yaml:"orphan_grace"`
}

// OrphanPolicy names what becomes of units that nobody asked for.
type OrphanPolicy string

const (
	// OrphanReport tells of them.
	OrphanReport OrphanPolicy = "report"
	// OrphanAdopt takes over those that are wanted, and tells of the others.
	OrphanAdopt OrphanPolicy = "adopt"
	// OrphanRemove removes those that are surely ours.
	OrphanRemove OrphanPolicy = "remove"
)

// UnmarshalText accepts any case.
func (p *OrphanPolicy) UnmarshalText(text []byte) error { *p = OrphanPolicy(lower(text)); return nil }

// Deploy is how units are brought to clusters.
type Deploy struct {
	// RollbackOnPartial: a deployment that cannot be brought up in some of its
	// clusters is given up in all, where it does not say itself.
	RollbackOnPartial bool `yaml:"rollback_on_partial"`
	// MaxRetries is accepted for the sake of existing environments and has no
	// effect: calls are repeated until they succeed.
	MaxRetries int `yaml:"max_retries"`
}

// CRMCluster is one cluster's CRM.
type CRMCluster struct {
	// ClusterName is what the CRM calls itself; empty means the key's name.
	ClusterName string `yaml:"cluster_name"`
	// BaseURL of the CRM's API. A file may say url.
	BaseURL string `yaml:"base_url"`
	// Protocol is how the CRM is spoken to: http or grpc.
	Protocol Protocol `yaml:"protocol"`
	// Timeout of one call.
	Timeout time.Duration `yaml:"timeout"`
	// RetryAttempts is how often a read is tried before it has failed.
	RetryAttempts int `yaml:"retry_attempts"`
	// MaxConcurrency bounds the calls in flight.
	MaxConcurrency int `yaml:"max_concurrency"`
	// Labels describe the cluster to selectors and spread constraints.
	Labels map[string]string `yaml:"labels"`
	// Environments are further names under which deployments may target it.
	Environments []string `yaml:"environments"`
	// Weight shifts the balance of load; 100 is the usual one, and 0 takes no
	// unit that did not ask for the cluster by name.
	Weight int `yaml:"weight"`
	// Capacity is the most units that are placed there; 0 means what the CRM
	// reports, or no limit.
	Capacity       int            `yaml:"capacity"`
	Authentication Authentication `yaml:"authentication"`
	TLS            TLS            `yaml:"tls"`
}

// Protocol names a way of speaking to a CRM.
type Protocol string

const (
	ProtocolHTTP Protocol = "http"
	ProtocolGRPC Protocol = "grpc"
)

// UnmarshalText accepts any case.
func (p *Protocol) UnmarshalText(text []byte) error { *p = Protocol(lower(text)); return nil }

// Authentication is how this node proves to a CRM who it is.
type Authentication struct {
	AuthType AuthType `yaml:"auth_type"`
	Token    Secret   `yaml:"token"`
	Username string   `yaml:"username"`
	Password Secret   `yaml:"password"`
	// CertificatePath is a file with this node's certificate and its key; the
	// key may be in tls.client_key_path instead.
	CertificatePath string `yaml:"certificate_path"`
}

// AuthType names a way of authenticating.
type AuthType string

const (
	// AuthUnset sends a bearer token where crm.secrets_dir or the environment
	// has one for the cluster, else nothing.
	AuthUnset       AuthType = ""
	AuthNone        AuthType = "none"
	AuthBearer      AuthType = "bearer"
	AuthBasic       AuthType = "basic"
	AuthCertificate AuthType = "certificate"
)

// UnmarshalText accepts any case.
func (a *AuthType) UnmarshalText(text []byte) error { *a = AuthType(lower(text)); return nil }

// DefaultCRM returns the settings without any cluster.
func DefaultCRM() CRM {
	return CRM{
		HealthCheckInterval: 10 * time.Second,
		CircuitBreaker: Breaker{
			FailureThreshold: 5,
			Timeout:          60 * time.Second,
			RetryTimeout:     300 * time.Second,
		},
		Planning: Planning{Availability: 0.99, ClusterAvailability: 0.99, MaxClusters: 50, ReplicaThroughput: 100},
		Failover: Failover{Toleration: 5 * time.Minute, MaxEvictionsPerMinute: 100, Recovery: 30 * time.Second},
		Drift:    Drift{Interval: 30 * time.Second, OrphanPolicy: OrphanReport, OrphanGrace: time.Minute},
	}
}

// DefaultCRMCluster returns the settings of a cluster about which only its URL
// was said.
func DefaultCRMCluster() CRMCluster {
	return CRMCluster{
		Protocol:       ProtocolHTTP,
		Timeout:        10 * time.Second,
		RetryAttempts:  3,
		MaxConcurrency: 8,
		Weight:         100,
	}
}
