package plan

import (
	"slices"

	"github.com/oprc/oprc-pm/model"
)

// SelectedClusters returns the clusters of the plan's units, in order.
func (p Plan) SelectedClusters() []string {
	clusters := make([]string, len(p.Units))
	for i := range p.Units {
		clusters[i] = p.Units[i].TargetCluster
	}
	return clusters
}

// Missing returns the targets that name nothing and for which nothing stands in.
func (p Plan) Missing() []string {
	return slices.DeleteFunc(slices.Clone(p.UnknownEnvs), func(name string) bool { return slices.Contains(p.StoodIn, name) })
}

// SuccessorOf returns the unit that takes the place of what ran in a cluster
// that is not selected any more. Until that unit runs, the old one should.
func (p Plan) SuccessorOf(cluster string) (model.DeploymentUnit, bool) {
	if cluster == "" {
		return model.DeploymentUnit{}, false
	}
	for i := range p.Units {
		if p.replaces(p.Units[i].TargetCluster) == cluster {
			return p.Units[i], true
		}
	}
	return model.DeploymentUnit{}, false
}

// replaces returns the cluster that a selected one takes the place of, "" for none.
func (p Plan) replaces(cluster string) string {
	for _, place := range p.Placed {
		if place.Cluster == cluster {
			return place.Replaces
		}
	}
	return ""
}

// SamePlaces tells whether two lists of places are equal in every respect, so
// that there is nothing to record.
func SamePlaces(a, b []model.PlacedCluster) bool {
	return slices.EqualFunc(a, b, func(a, b model.PlacedCluster) bool {
		return a.Cluster == b.Cluster && a.For == b.For && a.Replaces == b.Replaces && a.Unfit == b.Unfit &&
			a.Wish == b.Wish && a.Needed == b.Needed && slices.Equal(a.NodeIDs, b.NodeIDs)
	})
}
