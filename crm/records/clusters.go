package records

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/oprc/oprc-pm/crm/inventory"
	"github.com/oprc/oprc-pm/model"
)

// ClusterInventory is the recorded view of the clusters.
type ClusterInventory interface {
	// Infos returns all clusters, sorted by name. The caller must not change
	// what it returns.
	Infos() []model.ClusterInfo
	// Cluster returns one cluster, and false when it does not exist.
	Cluster(name string) (inventory.ClusterView, bool)
	// WaitFor returns when the view includes the index, or ctx ends.
	WaitFor(ctx context.Context, index uint64) error
}

// Prober knows more of the clusters than what is recorded.
type Prober interface {
	// View returns a cluster's health as readers should see it.
	View(cluster string, recorded model.ClusterHealth, lastContact time.Duration) model.ClusterHealth
	// Refresh asks the cluster's CRM now.
	Refresh(ctx context.Context, cluster string) (model.ClusterHealth, error)
}

// Clusters is what the API tells of the clusters: the recorded state, with what
// this node's prober adds. It answers from memory.
type Clusters struct {
	inventory   ClusterInventory
	prober      Prober
	lastContact func() time.Duration
}

// NewClusters joins an inventory and a prober. lastContact tells how long ago
// this node heard from the leader (storage.Status.LastContact).
func NewClusters(inv ClusterInventory, prober Prober, lastContact func() time.Duration) *Clusters {
	return &Clusters{inventory: inv, prober: prober, lastContact: lastContact}
}

// Clusters returns every cluster, sorted by name. The caller owns the slice.
func (c *Clusters) Clusters() []model.ClusterInfo {
	recorded := c.inventory.Infos()
	infos := make([]model.ClusterInfo, len(recorded))
	contact := c.lastContact()
	for i, info := range recorded {
		info.Health = c.prober.View(info.Name, info.Health, contact)
		infos[i] = info
	}
	return infos
}

// Cluster returns one cluster, and false when it does not exist.
func (c *Clusters) Cluster(name string) (model.ClusterInfo, bool) {
	infos := c.inventory.Infos()
	i, ok := slices.BinarySearchFunc(infos, name, func(info model.ClusterInfo, name string) int { return cmp.Compare(info.Name, name) })
	if !ok {
		return model.ClusterInfo{}, false
	}
	info := infos[i]
	info.Health = c.prober.View(name, info.Health, c.lastContact())
	return info, true
}

// Spec returns a cluster as it is stored, and false when it does not exist.
func (c *Clusters) Spec(name string) (model.Cluster, bool) {
	view, ok := c.inventory.Cluster(name)
	return view.Spec, ok
}

// WaitFor returns when the view includes the index, or ctx ends.
func (c *Clusters) WaitFor(ctx context.Context, index uint64) error {
	return c.inventory.WaitFor(ctx, index)
}

// Refresh asks a cluster's CRM how it is, now. That it does not answer is a
// result. Errors: not_found, or *model.ClusterFailure when ctx ends before.
func (c *Clusters) Refresh(ctx context.Context, name string) (model.ClusterHealth, error) {
	health, err := c.prober.Refresh(ctx, name)
	if err != nil && model.CodeOf(err) != model.CodeNotFound {
		err = Failure(name, err)
	}
	return health, err
}
