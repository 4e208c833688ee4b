package model

import "time"

// Rollout says how a changed deployment reaches its clusters. Without one, all
// clusters change at once.
type Rollout struct {
	// Strategy is RolloutParallel or RolloutWaves; the default is waves when any
	// of the settings of waves is given, else parallel.
	Strategy RolloutStrategy `json:"strategy,omitempty"`
	// Wave is how many clusters change together; nil means 1.
	Wave *Share `json:"wave,omitempty"`
	// MaxUnavailable is how many clusters may be without a running unit before
	// no further one is touched; nil means 1.
	MaxUnavailable *Share `json:"max_unavailable,omitempty"`
	// Soak is how long a wave must have run before the next begins; nil means 0.
	Soak *Duration `json:"soak,omitempty"`
	// ProgressDeadline is how long a wave may take to run before the rollout has
	// failed; nil means 10 minutes.
	ProgressDeadline *Duration `json:"progress_deadline,omitempty"`
	// OnFailure is what a failed rollout leads to; the default is pause.
	OnFailure RolloutFailureAction `json:"on_failure,omitempty"`
	// Paused holds the rollout where it is: units that are being changed settle,
	// no further one is touched.
	Paused bool `json:"paused,omitempty"`
	// ReturnTo is the revision whose content a rollback has put here. It changes
	// nothing but what the revision that comes of it says of itself.
	ReturnTo uint64 `json:"return_to,omitempty"`
}

// RolloutStrategy names a way through the clusters.
type RolloutStrategy string

const (
	RolloutParallel RolloutStrategy = "parallel"
	RolloutWaves    RolloutStrategy = "waves"
)

// RolloutFailureAction is what a failed rollout leads to.
type RolloutFailureAction string

const (
	// OnFailurePause stops and waits for a person.
	OnFailurePause RolloutFailureAction = "pause"
	// OnFailureRollback returns to the last good revision.
	OnFailureRollback RolloutFailureAction = "rollback"
	// OnFailureContinue goes on with the other clusters.
	OnFailureContinue RolloutFailureAction = "continue"
)

// RolloutStatus is how far a rollout has come.
type RolloutStatus struct {
	Phase RolloutPhase `json:"phase"`
	// Generation and Revision that are being rolled out.
	Generation uint64 `json:"generation"`
	Revision   uint64 `json:"revision"`
	// Updated of Total clusters run the revision.
	Updated uint32 `json:"updated"`
	Total   uint32 `json:"total"`
	// Message is for people: what the rollout waits for or why it failed.
	Message string `json:"message,omitempty"`
	// Since is when the phase began, or was last seen to get on: the progress
	// deadline counts from there.
	Since time.Time `json:"since"`
}

// RolloutPhase is where a rollout is.
type RolloutPhase string

const (
	RolloutProgressing RolloutPhase = "Progressing"
	RolloutPaused      RolloutPhase = "Paused"
	RolloutFailed      RolloutPhase = "Failed"
	// RolloutRolledBack: the revision was given up. Its units are removed, or
	// a new generation with the content of the last good revision was made.
	RolloutRolledBack RolloutPhase = "RolledBack"
	RolloutComplete   RolloutPhase = "Complete"
)

// PlacedCluster is a cluster in which a deployment is placed. A placement is
// kept until something speaks against it, so it is recorded, not worked out
// anew.
type PlacedCluster struct {
	Cluster string `json:"cluster"`
	// NodeIDs of the data grid in this place. They move with the place: a
	// cluster that replaces another takes over its ids, so that the others'
	// units stay as they are.
	NodeIDs []uint64 `json:"node_ids,omitempty"`
	// For is the target that the cluster stands in for, when it is not one.
	For string `json:"for,omitempty"`
	// Replaces is the cluster whose unit goes when this one's runs. Planning sets
	// it when a place moves and otherwise keeps it; the dispatcher may clear it.
	Replaces string `json:"replaces,omitempty"`
	// Unfit: the place does not meet what the deployment requires. It is kept
	// because no other cluster fits.
	Unfit bool `json:"unfit,omitempty"`
	// Wish is a digest of what the place was chosen by, Needed how many such
	// places that needed. Both are decided anew when the wish changes, not when
	// the health of clusters does.
	Wish   string `json:"wish,omitempty"`
	Needed uint32 `json:"needed,omitempty"`
}

// AvoidedCluster is a cluster that a deployment was moved away from.
type AvoidedCluster struct {
	Cluster string `json:"cluster"`
	// Reason is Failover or Drain; Message is for people.
	Reason  string    `json:"reason"`
	Message string    `json:"message,omitempty"`
	Since   time.Time `json:"since"`
}

// Reasons of an AvoidedCluster.
const (
	AvoidFailover = "Failover"
	AvoidDrain    = "Drain"
)

// Revision is what a deployment once asked for, with all that the answer
// depended on: enough to ask for it again.
type Revision struct {
	// Revision counts the deployment's distinct wishes, from 1.
	Revision      uint64 `json:"revision"`
	DeploymentKey string `json:"deployment_key"`
	Generation    uint64 `json:"generation"`
	// PackageResourceVersion of the package it was planned with.
	PackageResourceVersion uint64 `json:"package_resource_version"`
	// Template is a digest of what its units have in common: two revisions with
	// the same template are the same wish.
	Template  string    `json:"template"`
	CreatedAt time.Time `json:"created_at"`
	// GoodSince is when it first ran everywhere; nil when it never did.
	GoodSince *time.Time `json:"good_since,omitempty"`
	// Cause says why it exists, when a rollback made it (see IsReturn), or which
	// earlier one it is the same as.
	Cause string `json:"cause,omitempty"`
	// Changed says what became another one with it: RevisionDeployment and so on;
	// empty of a deployment's first, and where only planning changed.
	Changed string `json:"changed,omitempty"`
	// Deployment is the user's document, with the functions as they were
	// resolved from the package.
	Deployment Deployment `json:"deployment"`
}

// What changed with a Revision.
const (
	RevisionDeployment = "deployment"
	RevisionPackage    = "package"
	RevisionBoth       = "deployment and package"
)

// Way returns the strategy of a rollout, that of a nil one too: what it says,
// else waves when it has a setting of waves.
func (r *Rollout) Way() RolloutStrategy {
	switch {
	case r == nil:
		return RolloutParallel
	case r.Strategy != "":
		return r.Strategy
	case r.Wave != nil || r.MaxUnavailable != nil || r.Soak != nil:
		return RolloutWaves
	default:
		return RolloutParallel
	}
}

// FailureAction returns what a failed rollout leads to, the default for a nil
// one.
func (r *Rollout) FailureAction() RolloutFailureAction {
	if r == nil || r.OnFailure == "" {
		return OnFailurePause
	}
	return r.OnFailure
}
