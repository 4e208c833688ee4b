package failover

import (
	"time"

	"github.com/oprc/oprc-pm/model"
)

// State is all that decisions are made from.
type State struct {
	// Clusters that exist, by name.
	Clusters map[string]Cluster
	// Deployments that have a place in a cluster that is unhealthy or draining,
	// or that avoid a cluster. Others need no decision and may be left out.
	Deployments []Deployment
	// Placed is how many deployments have a place at all.
	Placed int
	// Begun is when this leader began to look.
	Begun  time.Time
	Memory Memory
}

// Cluster is what is decided by of a cluster.
type Cluster struct {
	// Status is one of model.ClusterHealthy and so on.
	Status string
	// Since is when Status became what it is, by the clock of whoever decides;
	// zero when it was never known.
	Since time.Time
	// Seen: the cluster has answered at some time. One that never did may be
	// configured wrongly, and says nothing about an outage.
	Seen bool
	// Suspect: probes fail, but not yet for long enough to call it lost.
	Suspect  bool
	Cordoned bool
	Draining bool
}

// lost tells whether a cluster is out of action that was in action before.
func (c Cluster) lost() bool {
	return c.Seen && (c.Status == model.ClusterUnhealthy || c.Status == model.ClusterUnknown)
}

// Deployment is what is decided by of a deployment.
type Deployment struct {
	Key string
	// Failover: the deployment opted in. Toleration is its own, nil means the
	// configured one.
	Failover   bool
	Toleration *time.Duration
	// Stranded: it was asked to leave a cluster, and no other one fits.
	Stranded bool
	// Placed are the clusters in which it has a place, Avoided those that it
	// left.
	Placed  []string
	Avoided []model.AvoidedCluster
}

// Place is a deployment in a cluster.
type Place struct{ Deployment, Cluster string }

// Memory is what one decision leaves to the next. A leader's first one comes
// from what is replicated, see Recall.
type Memory struct {
	Brake Brake
	// Budget is what is left to be moved.
	Budget Budget
	// Asked are the moves that the dispatcher was asked for and has not
	// recorded yet.
	Asked map[Place]Ask
}

// Brake holds back evictions while most clusters look lost.
type Brake struct {
	On bool
	// ClearSince is since when most clusters look alive again and no further one
	// has returned; zero while most look lost.
	ClearSince time.Time
	// Lost is how many clusters looked lost then.
	Lost int
}

// Budget is a bucket of moves, filled at a steady rate.
type Budget struct {
	Moves float64
	// At is when Moves was worked out; zero: never, the bucket is full.
	At time.Time
}

// Ask is a move that the dispatcher was asked for.
type Ask struct {
	At time.Time
	// Back: the deployment may return, else it is to leave.
	Back bool
	// Again: it was asked for before.
	Again bool
}

// Decisions are what is to be done now.
type Decisions struct {
	// Evict asks the dispatcher to move deployments, in this order.
	Evict []Eviction
	// Readmit lets deployments come back.
	Readmit []Readmission
	// Withdraw takes back evictions that were asked for and whose reason has
	// gone before they were made.
	Withdraw []Place
	// Waiting counts, by cluster, the deployments that are to leave it and have
	// not: those asked for included, those held by the brake not.
	Waiting map[string]int
	// Drains tells of each cluster that is being drained how far that is.
	Drains map[string]Drain
	// Held is how many evictions the brake holds back.
	Held int
	// Lost of Known clusters look lost.
	Lost, Known int
	// Memory for the next decision.
	Memory Memory
	// Next is when something is due that no change announces; zero: nothing is.
	Next time.Time
}

// Drain is how far a cluster is that is being drained.
type Drain struct {
	// Leaving counts the deployments that are placed there and may still leave.
	Leaving int
	// Staying are those that were asked to leave and fit nowhere else, sorted.
	Staying []string
}

// Eviction is a decision that a deployment leaves a cluster.
type Eviction struct {
	Place
	// Reason is model.AvoidFailover or model.AvoidDrain.
	Reason  string
	Message string
}

// Readmission is a decision that a deployment may use a cluster again.
type Readmission struct {
	Place
	Message string
}
