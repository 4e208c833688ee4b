package cluster

import (
	"fmt"
	"sync/atomic"
)

// identity is who this node is and which cluster it belongs to. The cluster id
// is learnt once: from bootstrapping, from the first Raft connection of a
// cluster that added this node, or from the applied state. It is then kept in
// node.json and never changes.
type identity struct {
	serverID  string
	advertise string // HOST:PORT of the cluster port
	dir       *dataDir
	cluster   atomic.Pointer[string]
	// onAdopt is told once when the cluster id becomes known.
	onAdopt func(id string)
}

func newIdentity(dir *dataDir) *identity {
	id := &identity{serverID: dir.serverID(), dir: dir}
	known := dir.clusterID()
	id.cluster.Store(&known)
	return id
}

// clusterID is "" while this node belongs to no cluster.
func (id *identity) clusterID() string { return *id.cluster.Load() }

// claim makes this node a member of cluster in memory only: while a founding is
// written, nobody may be called without the new id. adopt or unclaim follows.
func (id *identity) claim(cluster string) bool {
	old := id.cluster.Load()
	return *old == "" && id.cluster.CompareAndSwap(old, &cluster)
}

func (id *identity) unclaim() {
	none := ""
	id.cluster.Store(&none)
}

// adopt makes this node a member of cluster, durably. It fails when it is a
// member of another one.
func (id *identity) adopt(cluster string) error {
	if !id.claim(cluster) {
		if own := id.clusterID(); own != cluster {
			return fmt.Errorf("this node belongs to cluster %s, not to %s", own, cluster)
		}
	}
	if id.dir.clusterID() == cluster {
		return nil
	}
	if err := id.dir.saveClusterID(cluster); err != nil {
		return err
	}
	if id.onAdopt != nil {
		id.onAdopt(cluster)
	}
	return nil
}
