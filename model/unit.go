package model

import "time"

// DeploymentUnit is what one CRM is asked to run: one deployment in one
// cluster. Its ID is a function of deployment, cluster and content, so the
// same wish always has the same id.
type DeploymentUnit struct {
	ID               string                   `json:"id"`
	DeploymentKey    string                   `json:"deployment_key"`
	PackageName      string                   `json:"package_name"`
	ClassKey         string                   `json:"class_key"`
	TargetEnv        string                   `json:"target_env"`
	TargetCluster    string                   `json:"target_cluster"`
	Generation       uint64                   `json:"generation"`
	Functions        []FunctionDeploymentSpec `json:"functions"`
	FunctionBindings []FunctionBinding        `json:"function_bindings"`
	NFRRequirements  NFRRequirements          `json:"nfr_requirements"`
	ODGM             *UnitODGM                `json:"odgm,omitempty"`
	Telemetry        *TelemetryConfig         `json:"telemetry,omitempty"`
	SelectedTemplate string                   `json:"selected_template,omitempty"`
}

// UnitODGM is the object data grid of a unit: the deployment's wishes, and what
// planning made of them.
type UnitODGM struct {
	Collections    []string            `json:"collections"`
	PartitionCount *uint32             `json:"partition_count,omitempty"`
	ReplicaCount   *uint32             `json:"replica_count,omitempty"`
	ShardType      *string             `json:"shard_type,omitempty"`
	Log            *string             `json:"log,omitempty"`
	EnvNodeIDs     map[string][]uint64 `json:"env_node_ids"`
	// NodeID is this unit's own: the first of its environment's.
	NodeID uint64 `json:"odgm_node_id"`
	// CollectionAssignments are, for each collection, its partitions in order.
	CollectionAssignments map[string][]ShardAssignment `json:"collection_assignments,omitempty"`
	// Invocations are the routes of the class's functions by binding name; nil
	// when the class has no bindings.
	Invocations map[string]FunctionRoute `json:"invocations,omitempty"`
}

// ShardAssignment says which data grid nodes hold one partition: Replica are
// their ids, Shards the ids of their shards in the same order, Primary the first
// of those.
type ShardAssignment struct {
	Primary uint64   `json:"primary"`
	Replica []uint64 `json:"replica"`
	Shards  []uint64 `json:"shard_ids"`
}

// FunctionRoute is how the data grid reaches a function.
type FunctionRoute struct {
	FunctionKey string `json:"function_key"`
	Stateless   bool   `json:"stateless"`
}

// UnitPhase is where a unit is on its way.
type UnitPhase string

const (
	// UnitPending: intent recorded, the CRM has not confirmed yet.
	UnitPending UnitPhase = "PENDING"
	// UnitDeploying: the CRM accepted the unit and is bringing it up.
	UnitDeploying UnitPhase = "DEPLOYING"
	// UnitRunning: the CRM reports it running.
	UnitRunning UnitPhase = "RUNNING"
	// UnitDown: the CRM reports it down, or refused it for good.
	UnitDown UnitPhase = "DOWN"
	// UnitDeleting: not wanted any more; removal not yet confirmed.
	UnitDeleting UnitPhase = "DELETING"
)

// UnitStatus is the replicated record of one unit: the intent before the first
// call, the outcome after it. A record exists as long as the unit may exist in
// its cluster.
type UnitStatus struct {
	ID            string    `json:"id"`
	DeploymentKey string    `json:"deployment_key"`
	Cluster       string    `json:"cluster"`
	Generation    uint64    `json:"generation"`
	Phase         UnitPhase `json:"phase"`
	// CRMID is the id by which the CRM knows the unit; empty until it answered.
	CRMID              string    `json:"crm_id,omitempty"`
	Message            string    `json:"message,omitempty"`
	LastError          string    `json:"last_error,omitempty"`
	Attempts           uint32    `json:"attempts,omitempty"`
	LastTransitionTime time.Time `json:"last_transition_time"`
	// NextRetryAt is when the call that failed last is made again; nil when none
	// failed.
	NextRetryAt *time.Time `json:"next_retry_at,omitempty"`
	// Revision of the deployment that the unit belongs to.
	Revision uint64 `json:"revision,omitempty"`
}

// RuntimeState is the reported state of a class runtime (specification,
// section 2).
type RuntimeState struct {
	Meta
	Key          string         `json:"key"`
	ClassKey     string         `json:"class_key"`
	DeploymentID string         `json:"deployment_id"`
	Status       string         `json:"status"`
	Health       string         `json:"health"`
	Metrics      RuntimeMetrics `json:"metrics"`
	LastUpdated  *time.Time     `json:"last_updated,omitempty"`
}

// RuntimeMetrics are the figures of a RuntimeState: CPU in cores, memory in
// bytes, latency in milliseconds.
type RuntimeMetrics struct {
	CPUUsage       float64 `json:"cpu_usage"`
	MemoryUsage    float64 `json:"memory_usage"`
	RequestCount   uint64  `json:"request_count"`
	ErrorCount     uint64  `json:"error_count"`
	AverageLatency float64 `json:"average_latency"`
}
