package model

import "time"

// ClusterHealth is a cluster's state as its CRM reports it.
type ClusterHealth struct {
	ClusterName string `json:"cluster_name"`
	// Status is Healthy, Degraded, Unhealthy or Unknown.
	Status       string    `json:"status"`
	CRMVersion   *string   `json:"crm_version"`
	LastSeen     time.Time `json:"last_seen"`
	NodeCount    *uint32   `json:"node_count"`
	ReadyNodes   *uint32   `json:"ready_nodes"`
	Availability *float64  `json:"availability"`
}

const (
	ClusterHealthy   = "Healthy"
	ClusterDegraded  = "Degraded"
	ClusterUnhealthy = "Unhealthy"
	ClusterUnknown   = "Unknown"
)

// ClusterInfo is a configured cluster with its health.
type ClusterInfo struct {
	Name   string        `json:"name"`
	Health ClusterHealth `json:"health"`
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
}

// DeploymentRecordStatus is the state part of a DeploymentRecord.
type DeploymentRecordStatus struct {
	// Condition is Pending, Provisioning, Deploying, Running, Scaling, Down,
	// Failed, Terminated, Deleted or Unknown.
	Condition   string  `json:"condition"`
	Phase       string  `json:"phase"`
	Message     *string `json:"message"`
	LastUpdated string  `json:"last_updated"`
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
