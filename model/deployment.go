package model

import "time"

// Deployment (OClassDeployment) asks for a class to run in clusters. The user
// writes the desired state; Meta and the fields of DeploymentObserved are
// written by the control plane only and ignored in input.
type Deployment struct {
	Meta
	DeploymentObserved
	Key             string                   `json:"key"`
	PackageName     string                   `json:"package_name"`
	ClassKey        string                   `json:"class_key"`
	TargetEnvs      []string                 `json:"target_envs,omitempty" alias:"target_clusters"`
	AvailableEnvs   []string                 `json:"available_envs,omitempty" alias:"available_clusters"`
	NFRRequirements NFRRequirements          `json:"nfr_requirements"`
	EnvTemplates    map[string]string        `json:"env_templates,omitempty"`
	Functions       []FunctionDeploymentSpec `json:"functions"`
	ODGM            *ODGMDataSpec            `json:"odgm,omitempty"`
	Telemetry       *TelemetryConfig         `json:"telemetry,omitempty"`
	Placement       *Placement               `json:"placement,omitempty"`
	Failover        *Failover                `json:"failover,omitempty"`
	Rollout         *Rollout                 `json:"rollout,omitempty"`
	// RollbackOnPartial: when a generation cannot be brought up in some of its
	// clusters, it is given up in all. nil means the policy's.
	RollbackOnPartial *bool `json:"rollback_on_partial,omitempty"`
}

// DeploymentObserved is what the control plane reports of a deployment.
type DeploymentObserved struct {
	// ObservedGeneration is the newest generation the dispatcher has acted on.
	ObservedGeneration uint64 `json:"observed_generation,omitempty"`
	// DeletionRequestedAt is set from the acceptance of a delete until the last
	// unit is gone and the deployment is forgotten.
	DeletionRequestedAt *time.Time               `json:"deletion_requested_at,omitempty"`
	Condition           DeploymentCondition      `json:"condition,omitempty"`
	Conditions          []Condition              `json:"conditions,omitempty"`
	Status              *DeploymentStatusSummary `json:"status,omitempty"`
	// Revision is the newest one, see Revision.
	Revision uint64 `json:"revision,omitempty"`
	// RolloutStatus is how far the newest revision has come.
	RolloutStatus *RolloutStatus `json:"rollout_status,omitempty"`
	// PlacedOn are the clusters that the deployment is placed in, AvoidedClusters
	// those that it was moved away from and must not be placed in meanwhile.
	PlacedOn        []PlacedCluster  `json:"placed_on,omitempty"`
	AvoidedClusters []AvoidedCluster `json:"avoided_clusters,omitempty"`
}

// DeploymentCondition is the one-word state of a deployment, as existing
// clients read it.
type DeploymentCondition string

const (
	DeploymentPending   DeploymentCondition = "PENDING"
	DeploymentDeploying DeploymentCondition = "DEPLOYING"
	DeploymentRunning   DeploymentCondition = "RUNNING"
	DeploymentDown      DeploymentCondition = "DOWN"
	DeploymentDeleted   DeploymentCondition = "DELETED"
)

// Condition is one aspect of a resource's state, as in Kubernetes.
type Condition struct {
	// Type is CamelCase: Planned, Dispatched, Ready.
	Type string `json:"type"`
	// Status is True, False or Unknown.
	Status ConditionStatus `json:"status"`
	// Reason is CamelCase, for programs; Message is for people.
	Reason             string    `json:"reason"`
	Message            string    `json:"message,omitempty"`
	LastTransitionTime time.Time `json:"last_transition_time"`
}

// ConditionStatus is True, False or Unknown.
type ConditionStatus string

const (
	ConditionTrue    ConditionStatus = "True"
	ConditionFalse   ConditionStatus = "False"
	ConditionUnknown ConditionStatus = "Unknown"
)

// DeploymentStatusSummary is the status object of existing clients.
type DeploymentStatusSummary struct {
	ReplicationFactor          uint32   `json:"replication_factor"`
	SelectedEnvs               []string `json:"selected_envs,omitempty"`
	AchievedQuorumAvailability *float64 `json:"achieved_quorum_availability,omitempty"`
	LastError                  string   `json:"last_error,omitempty"`
}

// NFRRequirements are the non-functional requirements of a deployment.
type NFRRequirements struct {
	MinThroughputRPS     *uint32  `json:"min_throughput_rps"`
	Availability         *float64 `json:"availability"`
	CPUUtilizationTarget *float64 `json:"cpu_utilization_target"`
}

// QoSRequirement is accepted on a function and stored; it never reaches a CRM.
type QoSRequirement struct {
	Throughput   uint32  `json:"throughput"`
	Availability float64 `json:"availability" bind:"required"`
}

// FunctionDeploymentSpec overrides how one function is run.
type FunctionDeploymentSpec struct {
	FunctionKey       string            `json:"function_key"`
	Description       *string           `json:"description,omitempty"`
	AvailableLocation *string           `json:"available_location,omitempty"`
	QoSRequirement    *QoSRequirement   `json:"qos_requirement,omitempty"`
	ProvisionConfig   *ProvisionConfig  `json:"provision_config,omitempty"`
	Config            map[string]string `json:"config,omitempty"`
}

// ODGMDataSpec configures the object data grid of a deployment.
type ODGMDataSpec struct {
	Collections    []string            `json:"collections,omitempty"`
	PartitionCount *uint32             `json:"partition_count,omitempty"`
	ReplicaCount   *uint32             `json:"replica_count,omitempty"`
	ShardType      *string             `json:"shard_type,omitempty"`
	EnvNodeIDs     map[string][]uint64 `json:"env_node_ids,omitempty"`
	Log            *string             `json:"log,omitempty"`
}

// TelemetryConfig configures what the deployed functions export. Enabled
// defaults to true when the object is present.
type TelemetryConfig struct {
	Enabled            *bool             `json:"enabled,omitempty"`
	Traces             *bool             `json:"traces,omitempty"`
	Metrics            *bool             `json:"metrics,omitempty"`
	Logs               *bool             `json:"logs,omitempty"`
	SamplingRate       *float64          `json:"sampling_rate,omitempty"`
	ServiceName        *string           `json:"service_name,omitempty"`
	ResourceAttributes map[string]string `json:"resource_attributes,omitempty"`
}
