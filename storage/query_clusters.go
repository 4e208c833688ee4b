package storage

import (
	"fmt"
	"strings"

	"github.com/oprc/oprc-pm/model"
)

// ListClusters visits all clusters, from the name from on.
func ListClusters(r Reader, from string, visit Visit) error {
	return listAll(r, ClusterPrefix, from, nil, visit)
}

// DecodeClusters returns all clusters, sorted by name.
func DecodeClusters(r Reader) ([]model.Cluster, error) {
	clusters := []model.Cluster{}
	err := ListClusters(r, "", func(name string, doc []byte) (bool, error) {
		cluster, err := model.ParseCluster(doc)
		if err != nil {
			return false, fmt.Errorf("decode cluster %q: %w", name, err)
		}
		clusters = append(clusters, cluster)
		return true, nil
	})
	return clusters, err
}

// ListClusterHealth visits the recorded health of clusters (JSON of
// model.ClusterHealth), from the name from on. Not every cluster has one.
func ListClusterHealth(r Reader, from string, visit Visit) error {
	return listAll(r, ClusterHealthPrefix, from, nil, visit)
}

// DecodeClusterHealth returns the recorded health of a cluster; found is false
// when none was ever recorded.
func DecodeClusterHealth(r Reader, cluster string) (health model.ClusterHealth, found bool, err error) {
	record, err := r.Get(ClusterHealthKey(cluster))
	if err != nil || record == nil {
		return model.ClusterHealth{}, false, err
	}
	health, err = model.ParseClusterHealth(record)
	if err != nil {
		return model.ClusterHealth{}, false, fmt.Errorf("decode health of cluster %q: %w", cluster, err)
	}
	return health, true, nil
}

// UnitsOnCluster visits the units that are recorded in a cluster, in the order
// of deployment and unit id.
func UnitsOnCluster(r Reader, cluster string, visit func(deployment, unit string) (bool, error)) error {
	return ByCluster.Scan(r, cluster, "", func(name string) (bool, error) {
		deployment, unit, ok := strings.Cut(name, "/")
		if !ok {
			return false, fmt.Errorf("the index of cluster %q names the malformed unit %q", cluster, name)
		}
		return visit(deployment, unit)
	})
}

// CountUnitsOnCluster counts the units that are recorded in a cluster.
func CountUnitsOnCluster(r Reader, cluster string) (int, error) {
	count := 0
	err := ByCluster.Scan(r, cluster, "", func(string) (bool, error) {
		count++
		return true, nil
	})
	return count, err
}
