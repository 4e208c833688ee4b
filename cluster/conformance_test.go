package cluster_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/oprc/oprc-pm/cluster"
	"github.com/oprc/oprc-pm/internal/testcluster"
	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/storagetest"
)

// TestConformance runs the suite of all drivers over real nodes, through one
// that does not lead where there are several.
func TestConformance(t *testing.T) {
	for _, size := range []int{1, 3} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			var nodes conformanceNodes
			storagetest.RunStore(t, nodes.open(size),
				storagetest.HistoryBytes(testcluster.FastConfig().HistoryBytes),
				storagetest.Leader(func(t *testing.T, _ storage.Store) storage.Store {
					return nodes.stores[nodes.cluster.Leader(t)]
				}))
		})
	}
}

// conformanceNodes is the cluster that the suite opened last.
type conformanceNodes struct {
	cluster *testcluster.Cluster
	stores  []*conformanceStore
}

// conformanceStore is a node that the test cluster closes, so that its final
// check knows which nodes are left.
type conformanceStore struct {
	*cluster.Node
	close func()
}

func (s *conformanceStore) Close() error {
	s.close()
	return nil
}

func (n *conformanceNodes) open(size int) func(t *testing.T) storage.Store {
	return func(t *testing.T) storage.Store {
		c := testcluster.New(t, size)
		n.cluster, n.stores = c, nil
		for i := range size {
			n.stores = append(n.stores, &conformanceStore{Node: c.Node(i), close: sync.OnceFunc(func() { c.Crash(i) })})
		}
		leader := c.Leader(t)
		return n.stores[(leader+1)%size]
	}
}
