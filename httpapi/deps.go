package httpapi

import (
	"context"
	"io"
	"log/slog"

	"github.com/VictoriaMetrics/metrics"

	"github.com/oprc/oprc-pm/crm/plan"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// ClusterReader tells what is known of the clusters and their CRMs. All but
// WaitFor and Refresh answer from memory, at once.
type ClusterReader interface {
	// Clusters returns every cluster, sorted by name. The caller owns the slice.
	Clusters() []model.ClusterInfo
	// Cluster returns one cluster, and false when it does not exist.
	Cluster(name string) (model.ClusterInfo, bool)
	// Spec returns a cluster as it is stored.
	Spec(name string) (model.Cluster, bool)
	// WaitFor returns when what is told includes the log index, or ctx ends.
	WaitFor(ctx context.Context, index uint64) error
	// Refresh asks a cluster's CRM how it is, now. That it does not answer is a
	// result. Errors: not_found, or *model.ClusterFailure when ctx ends before.
	Refresh(ctx context.Context, name string) (model.ClusterHealth, error)
}

// RecordReader asks the CRMs what they hold. Errors: invalid for a cluster that
// does not exist, not_found, *model.ClusterFailure where a CRM did not answer.
type RecordReader interface {
	// List returns what q selects, and which clusters did not answer.
	List(ctx context.Context, q model.RecordQuery) (model.RecordList, error)
	// Get and Status find a unit by its id or its CRM's, in one cluster or, for
	// "", anywhere.
	Get(ctx context.Context, id, cluster string) (model.DeploymentRecord, error)
	Status(ctx context.Context, id, cluster string) (model.CRMStatus, error)
	// Topology of a cluster's data plane; "" is the default cluster.
	Topology(ctx context.Context, cluster string) (model.TopologySnapshot, error)
}

// Deps is what the API serves.
type Deps struct {
	Store storage.Store
	// Members lists the servers of the cluster as this node sees them.
	Members func(ctx context.Context) ([]storage.Member, error)
	// Admin looks after those servers; nil: the driver has none.
	Admin ClusterAdmin
	// NotReady says why this node should get no requests although its store is ready,
	// or ""; nil: there is no such reason.
	NotReady func(ctx context.Context) string
	// Snapshots makes backups; nil: this node makes none.
	Snapshots Snapshots
	// Clusters tells of the clusters; nil: there are none.
	Clusters ClusterReader
	// Records asks CRMs; nil: there are none.
	Records RecordReader
	// Configured tells whether this node's configuration names a cluster, so that
	// it is registered again when it is deleted. nil: it names none.
	Configured func(cluster string) bool
	// PlanInput joins a deployment and its package with the clusters, neighbours
	// and policy that the dispatcher would plan with, so that a dry run shows what
	// will be. nil: plans are not available.
	PlanInput func(d model.Deployment, p model.Package) plan.Input
	// NewMachine makes the rules of the commands (fsm.NewMachine), which a dry run
	// applies to a view of the state. nil: dry runs are not available.
	NewMachine func() storage.Machine
	Logger     *slog.Logger
	Metrics    *metrics.Set
	// WriteMetrics writes all metrics of the process for /metrics; nil writes
	// those of Metrics.
	WriteMetrics func(io.Writer)
	Version      string
	NodeName     string
}

// withoutClusters is the ClusterReader of a server that was given none.
type withoutClusters struct{}

func (withoutClusters) Clusters() []model.ClusterInfo { return []model.ClusterInfo{} }

func (withoutClusters) Cluster(string) (model.ClusterInfo, bool) { return model.ClusterInfo{}, false }

func (withoutClusters) Spec(string) (model.Cluster, bool) { return model.Cluster{}, false }

func (withoutClusters) WaitFor(context.Context, uint64) error { return nil }

func (withoutClusters) Refresh(_ context.Context, name string) (model.ClusterHealth, error) {
	return model.ClusterHealth{}, clusterMissing(name)
}

func clusterMissing(name string) error {
	return model.Errorf(model.CodeNotFound, "cluster %q does not exist", name)
}
