package model

import "time"

// ClusterHealth is a cluster's state: what its CRM reports and what the leader's
// probes made of it. The members up to Availability are those of existing
// clients and CRMs.
type ClusterHealth struct {
	ClusterName string `json:"cluster_name"`
	// Status is Healthy, Degraded, Unhealthy or Unknown.
	Status     string    `json:"status"`
	CRMVersion *string   `json:"crm_version"`
	LastSeen   time.Time `json:"last_seen"`
	// Stale: all this is what was recorded before the present leader began, which
	// has not asked the CRM yet. It is never stored.
	Stale        bool     `json:"stale,omitempty"`
	NodeCount    *uint32  `json:"node_count"`
	ReadyNodes   *uint32  `json:"ready_nodes"`
	Availability *float64 `json:"availability"`
	// Reason is CamelCase, for programs; Message is for people. Both explain
	// Status and are empty for Healthy.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	// Since is when Status became what it is; nil when it was never known.
	Since *time.Time `json:"since,omitempty"`
	// Circuit is closed, open or half_open; empty when nobody probes.
	Circuit string `json:"circuit,omitempty"`
	// Load is what the CRM says of its cluster's load, when it does.
	Load *ClusterLoad `json:"load,omitempty"`
}

// ClusterLoad is how full a cluster is, as its CRM reports it. All are optional.
type ClusterLoad struct {
	// Units it holds, and the most it would hold.
	Units    *uint32 `json:"units,omitempty"`
	Capacity *uint32 `json:"capacity,omitempty"`
	// CPU and Memory are the shares in use, 0 to 1.
	CPU    *float64 `json:"cpu,omitempty"`
	Memory *float64 `json:"memory,omitempty"`
}

// States of a cluster's circuit breaker.
const (
	CircuitClosed   = "closed"
	CircuitOpen     = "open"
	CircuitHalfOpen = "half_open"
)

const (
	ClusterHealthy   = "Healthy"
	ClusterDegraded  = "Degraded"
	ClusterUnhealthy = "Unhealthy"
	ClusterUnknown   = "Unknown"
)

// ClusterInfo is a cluster with its health, as lists show it. Name and Health
// are those of existing clients.
type ClusterInfo struct {
	Name         string            `json:"name"`
	Health       ClusterHealth     `json:"health"`
	BaseURL      string            `json:"base_url"`
	Protocol     ClusterProtocol   `json:"protocol"`
	Labels       map[string]string `json:"labels,omitempty"`
	Environments []string          `json:"environments,omitempty"`
	Weight       uint32            `json:"weight"`
	Cordoned     bool              `json:"cordoned,omitempty"`
	Draining     bool              `json:"draining,omitempty"`
	ManagedBy    ClusterManager    `json:"managed_by,omitempty"`
	// Units recorded there, and the most that are placed there; nil: no limit.
	Units    int     `json:"units"`
	Capacity *uint32 `json:"capacity,omitempty"`
	// ResourceVersion of the cluster's document.
	ResourceVersion uint64 `json:"resource_version,omitempty"`
}

// CRMResponse is a CRM's answer to a deploy call.
type CRMResponse struct {
	ID      string  `json:"id"`
	Status  string  `json:"status"`
	Message *string `json:"message"`
}

// CRMStatus is a CRM's answer to a status call; Status is Running, Down or
// Pending (or another of the record conditions).
type CRMStatus struct {
	ID          string  `json:"id"`
	Status      string  `json:"status"`
	Phase       string  `json:"phase"`
	Message     *string `json:"message"`
	LastUpdated string  `json:"last_updated"`
}

// DeploymentRecord is a unit as the CRM that runs it describes it
// (specification, section 6).
type DeploymentRecord struct {
	ID                string                 `json:"id"`
	DeploymentUnitID  string                 `json:"deployment_unit_id"`
	PackageName       string                 `json:"package_name"`
	ClassKey          string                 `json:"class_key"`
	TargetEnvironment string                 `json:"target_environment"`
	ClusterName       *string                `json:"cluster_name"`
	Status            DeploymentRecordStatus `json:"status"`
	NFRCompliance     *NFRCompliance         `json:"nfr_compliance"`
	ResourceRefs      []ResourceReference    `json:"resource_refs"`
	CreatedAt         string                 `json:"created_at"`
	UpdatedAt         string                 `json:"updated_at"`
	// PartitionCount of the data grid; at least 1 when shown to clients.
	PartitionCount uint32 `json:"partition_count,omitempty"`
}

// DeploymentRecordStatus is the state part of a DeploymentRecord.
type DeploymentRecordStatus struct {
	// Condition is Pending, Provisioning, Deploying, Running, Scaling, Down,
	// Failed, Terminated, Deleted or Unknown.
	Condition   string  `json:"condition"`
	Phase       string  `json:"phase"`
	Message     *string `json:"message"`
	LastUpdated string  `json:"last_updated"`
	// Functions are the states of the unit's functions, when the CRM tells them.
	Functions []FunctionStatus `json:"functions,omitempty"`
}

// FunctionStatus is one function of a unit as its CRM describes it.
type FunctionStatus struct {
	FunctionKey        string  `json:"function_key"`
	Service            string  `json:"service"`
	Port               uint16  `json:"port"`
	PredictedURL       string  `json:"predicted_url"`
	ObservedURL        *string `json:"observed_url"`
	Template           string  `json:"template"`
	Ready              *bool   `json:"ready"`
	Reason             *string `json:"reason"`
	Message            *string `json:"message"`
	LastTransitionTime *string `json:"last_transition_time"`
}

// NFRCompliance says whether a unit meets its non-functional requirements.
type NFRCompliance struct {
	OverallStatus      string  `json:"overall_status"`
	ThroughputStatus   *string `json:"throughput_status"`
	LatencyStatus      *string `json:"latency_status"`
	AvailabilityStatus *string `json:"availability_status"`
	LastChecked        string  `json:"last_checked"`
}

// ResourceReference points at an object of a cluster.
type ResourceReference struct {
	Kind      string  `json:"kind"`
	Name      string  `json:"name"`
	Namespace *string `json:"namespace"`
	UID       *string `json:"uid"`
}
