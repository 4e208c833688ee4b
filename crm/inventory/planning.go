package inventory

import (
	"math"
	"slices"
	"strings"

	"github.com/oprc/oprc-pm/crm/plan"
	"github.com/oprc/oprc-pm/model"
)

var _ plan.Neighbours = (*Inventory)(nil)

// PlanClusters returns all clusters as planning sees them, sorted by name. The
// units of deployment except are not counted; empty: all are. The caller owns
// the slice; what its elements point to is shared.
func (i *Inventory) PlanClusters(except string) []plan.Cluster {
	s := i.current.Load()
	// Health and documents change rarely, numbers of units all the time: only
	// the latter are filled in each time.
	clusters := slices.Clone(s.base.get(s.planBase))
	at := 0
	s.counts.Scan(func(name string, units int) bool {
		for at < len(clusters) && clusters[at].Name < name {
			at++
		}
		if at < len(clusters) && clusters[at].Name == name {
			clusters[at].Units = units
		}
		return at < len(clusters)
	})
	if except == "" {
		return clusters
	}
	under(s.byDeployment, func(_ string, ref *UnitRef) bool {
		at, known := slices.BinarySearchFunc(clusters, ref.Cluster, func(c plan.Cluster, name string) int { return strings.Compare(c.Name, name) })
		if known {
			clusters[at].Units--
		}
		return true
	}, except)
	return clusters
}

func (s *snapshot) planBase() []plan.Cluster {
	clusters := make([]plan.Cluster, 0, s.clusters.Len())
	s.clusters.Scan(func(name string, entry *clusterEntry) bool {
		if entry.spec != nil {
			view := s.view(name, entry)
			clusters = append(clusters, view.planned(name))
		}
		return true
	})
	return clusters
}

// planned is the cluster as planning sees it, without its units.
func (v *ClusterView) planned(name string) plan.Cluster {
	cluster := plan.Cluster{
		Name: name, Labels: v.Spec.Labels, Environments: v.Spec.Environments, Weight: v.weight(),
		Status: v.Health.Status, Reason: v.Health.Reason, Message: v.Health.Message, Since: v.Health.Since,
		Availability: v.Health.Availability, Nodes: v.Health.NodeCount, ReadyNodes: v.Health.ReadyNodes,
		Cordoned: v.Spec.Cordoned, Draining: v.Spec.Draining, CPU: -1, Memory: -1,
	}
	if load := v.Health.Load; load != nil {
		cluster.CPU, cluster.Memory = hundredths(load.CPU), hundredths(load.Memory)
	}
	if capacity := v.capacity(); capacity != nil {
		cluster.Capacity = int(*capacity)
		// To planning 0 is no limit; here it is one that admits nothing.
		cluster.Cordoned = cluster.Cordoned || *capacity == 0
	}
	return cluster
}

// hundredths is a share in hundredths, negative when there is none.
func hundredths(share *float64) int {
	if share == nil || math.IsNaN(*share) {
		return -1
	}
	return int(math.Round(100 * max(0, min(*share, 1))))
}

// ClassClusters returns the clusters with a unit of a class (PACKAGE.CLASS) that
// belongs to another deployment than except, sorted. Units that are being deleted
// do not count, here and in DeploymentClusters.
func (i *Inventory) ClassClusters(class, except string) []string {
	tree := i.current.Load().classUnits
	prefix := class + "\x00"
	var clusters []string
	// After a find the rest of the cluster is jumped over, so that the work is
	// by clusters, not by units.
	for from := prefix; ; {
		var found string
		tree.Ascend(from, func(key string, _ int) bool {
			rest, within := strings.CutPrefix(key, prefix)
			if !within {
				return false
			}
			cluster, deployment, _ := strings.Cut(rest, "\x00")
			if deployment != except {
				found = cluster
			}
			return found == ""
		})
		if found == "" {
			return clusters
		}
		clusters = append(clusters, found)
		from = prefix + found + "\x01"
	}
}

// DeploymentClusters returns the clusters with a unit of a deployment, sorted.
func (i *Inventory) DeploymentClusters(deployment string) []string {
	var clusters []string
	under(i.current.Load().byDeployment, func(_ string, ref *UnitRef) bool {
		if ref.Phase != model.UnitDeleting {
			clusters = append(clusters, ref.Cluster)
		}
		return true
	}, deployment)
	return slices.Compact(clusters)
}

// DeploymentsOn returns the deployments with a unit in a cluster, in whatever
// phase, sorted.
func (i *Inventory) DeploymentsOn(cluster string) []string {
	var deployments []string
	under(i.current.Load().units, func(_ string, ref *UnitRef) bool {
		deployments = append(deployments, ref.Deployment)
		return true
	}, cluster)
	return slices.Compact(deployments)
}
