package plan

import (
	"fmt"
	"time"

	"github.com/oprc/oprc-pm/model"
)

// Input is all that a plan depends on. Nothing else does: the same input gives
// the same plan, on every node.
type Input struct {
	// Deployment with its observed part: where it is placed (PlacedOn) and which
	// clusters it must avoid (AvoidedClusters) are facts that planning honours.
	Deployment model.Deployment
	Package    model.Package
	// Clusters that exist, sorted by name.
	Clusters []Cluster
	// Neighbours tell where other deployments run; nil: nowhere.
	Neighbours Neighbours
	Policy     Policy
	// Explain asks for a verdict about every cluster. It costs time; the
	// dispatcher does without.
	Explain bool
}

// Cluster is what planning knows of a cluster.
type Cluster struct {
	Name         string
	Labels       map[string]string
	Environments []string
	// Weight as in model.Cluster; 100 is the usual one.
	Weight uint32
	// Status is one of model.ClusterHealthy and so on. Reason and Message explain
	// it, Since is when it began; they only serve explanations.
	Status  string
	Reason  string
	Message string
	Since   *time.Time
	// Availability as the CRM reports it; nil: worked out from the nodes.
	Availability      *float64
	Nodes, ReadyNodes *uint32
	// Units are those recorded there, of all deployments. Capacity is the most
	// that may be; 0: no limit.
	Units    int
	Capacity int
	// CPU and Memory are the shares in use, in hundredths; negative: unknown.
	CPU, Memory int
	// Cordoned: nothing new here. Draining: what is here goes, when it fits
	// elsewhere.
	Cordoned bool
	Draining bool
}

// Neighbours tell where deployments run, for affinity.
type Neighbours interface {
	// ClassClusters returns the clusters with a unit of a class (PACKAGE.CLASS)
	// that belongs to another deployment than except, sorted.
	ClassClusters(class, except string) []string
	// DeploymentClusters returns the clusters with a unit of a deployment,
	// sorted.
	DeploymentClusters(deployment string) []string
}

// Policy is how an operator wants plans to be made where deployments do not say.
type Policy struct {
	// Availability that a deployment is planned for when it asks for none.
	Availability float64
	// ClusterAvailability is assumed of a cluster that reports nothing to work
	// it out from.
	ClusterAvailability float64
	// MaxClusters bounds in how many clusters a deployment runs that does not
	// name them.
	MaxClusters int
	// ReplicaThroughput is how many requests per second one replica of a
	// function is assumed to serve.
	ReplicaThroughput uint32
	// Failover settings for deployments that opted in without saying more.
	Toleration time.Duration
}

// DefaultPolicy returns the defaults.
func DefaultPolicy() Policy {
	return Policy{
		Availability: 0.99, ClusterAvailability: 0.99, MaxClusters: 50,
		ReplicaThroughput: 100, Toleration: 5 * time.Minute,
	}
}

// Plan is what a deployment asks for, worked out: the units that are to exist,
// one per selected cluster.
type Plan struct {
	// Units in the order of the selection. Placed is what to record as
	// model.Deployment.PlacedOn: in the same order where the units go, and between
	// them the places that are kept open for clusters that are not registered.
	Units  []model.DeploymentUnit
	Placed []model.PlacedCluster
	// UnknownEnvs are targets that are neither a cluster nor an environment now.
	// Nothing new is planned for them; the places they had are kept. StoodIn are
	// those of them for which other clusters stand in.
	UnknownEnvs []string
	StoodIn     []string
	// Stranded are clusters that the deployment should leave and cannot: they
	// are drained or avoided, and no other cluster fits. They stay selected.
	Stranded []string
	// Shortfall says why fewer clusters were selected than are needed; empty
	// when as many were.
	Shortfall    string
	Requirements Requirements
	// Template is a digest of what the units have in common, see
	// model.Revision.
	Template string
	// Functions are those that the deployment names, or else those that its class
	// binds, before the throughput asked for raised their scale.
	Functions []model.FunctionDeploymentSpec
	// Verdicts about all clusters, and those that places are about without being
	// registered, sorted by name; only with Input.Explain.
	Verdicts []Verdict
}

// Requirements are what planning made of the deployment's non-functional
// requirements.
type Requirements struct {
	// Clusters is how many the deployment needs.
	Clusters int `json:"clusters"`
	// Availability that was asked for, and that the selection reaches.
	Availability         float64 `json:"availability"`
	AchievedAvailability float64 `json:"achieved_availability"`
	// Quorum: a majority of the clusters must be up, not just one.
	Quorum bool `json:"quorum"`
	// MinScale is the smallest number of replicas of each function in each
	// cluster, from the throughput asked for; 0: nothing was asked for.
	MinScale uint32 `json:"min_scale"`
	// Notes explain the figures to people.
	Notes []string `json:"notes,omitempty"`
}

// Verdict is why a cluster was selected or not.
type Verdict struct {
	Cluster  string `json:"cluster"`
	Selected bool   `json:"selected"`
	// Score orders the eligible clusters, the highest first; 0 when the cluster
	// is not eligible or was named.
	Score float64 `json:"score"`
	// Reasons say what counted: why here, or why not.
	Reasons []string `json:"reasons"`
}

// Change is one step from what is recorded to what a plan wants.
type Change struct {
	Action  ChangeAction `json:"action"`
	Cluster string       `json:"cluster"`
	Unit    string       `json:"unit"`
	// Replaces is the unit that goes when this one runs.
	Replaces string `json:"replaces,omitempty"`
	Reason   string `json:"reason,omitempty"`
}

// ChangeAction says what happens to a unit.
type ChangeAction string

const (
	ChangeCreate  ChangeAction = "create"
	ChangeKeep    ChangeAction = "keep"
	ChangeReplace ChangeAction = "replace"
	ChangeRemove  ChangeAction = "remove"
)

// Reasons for which there is no plan, or one with gaps.
const (
	ReasonUnknownEnvironment = "UnknownEnvironment"
	ReasonNoEnvironment      = "NoEnvironment"
	ReasonNoFit              = "NoFit"
	ReasonPackageNotFound    = "PackageNotFound"
	ReasonClassNotFound      = "ClassNotFound"
	ReasonFunctionNotFound   = "FunctionNotFound"
)

// Error says why there is no plan. What is there stays as it is.
type Error struct {
	// Reason is one of the constants above; Message is for people.
	Reason  string
	Message string
}

func (e *Error) Error() string { return e.Message }

// Errorf returns an Error.
func Errorf(reason, format string, args ...any) *Error {
	return &Error{Reason: reason, Message: fmt.Sprintf(format, args...)}
}
