package model

// Cluster is a Kubernetes cluster as the control plane knows it: where its CRM
// is, how to speak to it, and what planning may use. Clusters come from the
// nodes' configuration or are added at run time.
//
// A cluster holds no secret. What proves who calls is found on each node by the
// cluster's name, see package crm.
type Cluster struct {
	Meta
	Name string `json:"name"`
	// BaseURL is where the CRM answers, http:// or https://. Input may say url.
	BaseURL  string          `json:"base_url" alias:"url"`
	Protocol ClusterProtocol `json:"protocol"`
	// Labels describe the cluster to selectors and spread constraints.
	Labels map[string]string `json:"labels,omitempty"`
	// Environments are the names, besides its own, under which deployments may
	// target the cluster.
	Environments []string `json:"environments,omitempty"`
	// Weight shifts the balance of load: a cluster of weight 200 takes twice as
	// many units as one of 100. 0 takes none that did not ask for it by name.
	// nil means 100.
	Weight *uint32 `json:"weight,omitempty"`
	// Capacity is the most units that are placed there; nil means what the CRM
	// reports, or no limit.
	Capacity *uint32 `json:"capacity,omitempty"`
	// Cordoned: nothing new is placed here. Draining: what is here is moved away
	// as well, where there is room elsewhere.
	Cordoned bool `json:"cordoned,omitempty"`
	Draining bool `json:"draining,omitempty"`

	// Timeout of one call, RetryAttempts of a read, MaxConcurrency of calls in
	// flight; nil means the node's defaults.
	Timeout        *Duration    `json:"timeout,omitempty"`
	RetryAttempts  *uint32      `json:"retry_attempts,omitempty"`
	MaxConcurrency *uint32      `json:"max_concurrency,omitempty"`
	Auth           *ClusterAuth `json:"auth,omitempty" alias:"authentication"`
	TLS            *ClusterTLS  `json:"tls,omitempty"`
	// ManagedBy says who writes the cluster; it is ignored in input.
	ManagedBy ClusterManager `json:"managed_by,omitempty" bind:"ignored"`
	// Health and Units are set in answers of the API only: they are never stored
	// here, and ignored in input.
	Health *ClusterHealth `json:"health,omitempty" bind:"ignored"`
	Units  *int           `json:"units,omitempty" bind:"ignored"`
}

// ClusterProtocol is how a CRM is spoken to. The default is ProtocolHTTP.
type ClusterProtocol string

const (
	ProtocolHTTP ClusterProtocol = "http"
	ProtocolGRPC ClusterProtocol = "grpc"
)

// ClusterManager says who writes a cluster's document.
type ClusterManager string

const (
	// ManagedByConfig: the leader registers it from its configuration.
	ManagedByConfig ClusterManager = "config"
	// ManagedByAPI: it was added at run time.
	ManagedByAPI ClusterManager = "api"
)

// ClusterAuth says how the control plane proves to a CRM who it is.
type ClusterAuth struct {
	Type ClusterAuthType `json:"type" alias:"auth_type"`
	// Username for basic authentication.
	Username string `json:"username,omitempty"`
}

// ClusterAuthType names a way of authenticating. The default is none.
type ClusterAuthType string

const (
	ClusterAuthNone        ClusterAuthType = "none"
	ClusterAuthBearer      ClusterAuthType = "bearer"
	ClusterAuthBasic       ClusterAuthType = "basic"
	ClusterAuthCertificate ClusterAuthType = "certificate"
)

// ClusterTLS says which server certificates of a CRM are trusted.
type ClusterTLS struct {
	// CAPEM are the trusted certificates; empty means the system's.
	CAPEM string `json:"ca_pem,omitempty"`
	// ServerName is expected in the certificate; empty means the URL's host.
	ServerName string `json:"server_name,omitempty"`
	// Insecure turns verification off.
	Insecure bool `json:"insecure,omitempty"`
}
