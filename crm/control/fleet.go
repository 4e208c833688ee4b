package control

import (
	"context"
	"reflect"
	"sync"

	"github.com/oprc/oprc-pm/crm/inventory"
	"github.com/oprc/oprc-pm/model"
)

// changedClusters collects the clusters whose settings changed, until somebody
// takes care of them.
type changedClusters struct {
	wake chan struct{}

	// mu guards names.
	mu    sync.Mutex
	names []string
}

func (s *changedClusters) add(name string) {
	s.mu.Lock()
	s.names = append(s.names, name)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default: // told already
	}
}

func (s *changedClusters) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := s.names
	s.names = nil
	return names
}

// Follow keeps the fleet in step with the clusters that exist until ctx ends. It
// is for every node: whoever does not lead still reads from CRMs.
func (c *Control) Follow(ctx context.Context) {
	changed := &changedClusters{wake: make(chan struct{}, 1)}
	unsubscribe := c.deps.Inventory.Subscribe(func(change inventory.Change) {
		if !sameSpec(change) {
			changed.add(change.Cluster)
		}
	})
	defer unsubscribe()
	for {
		names := changed.take()
		c.syncFleet()
		for _, name := range names {
			// Calls that found no client, or the one before, are made anew.
			c.dispatcher.WakeCluster(name)
		}
		select {
		case <-changed.wake:
		case <-ctx.Done():
			return
		}
	}
}

func sameSpec(change inventory.Change) bool {
	return change.Before != nil && change.After != nil && reflect.DeepEqual(change.Before.Spec, change.After.Spec)
}

// syncFleet has the fleet make, replace and drop clients. A leader run and Follow
// may both do so; one after the other, so that none uses an older view than the one
// before.
func (c *Control) syncFleet() {
	c.syncing.Lock()
	defer c.syncing.Unlock()
	views := c.deps.Inventory.Clusters()
	clusters := make([]model.Cluster, len(views))
	for i := range views {
		clusters[i] = views[i].Spec
	}
	if err := c.deps.Fleet.Sync(clusters); err != nil {
		// The clients of the others are made all the same, and calls to the ones
		// concerned say what is wrong.
		c.deps.Logger.Warn("some clusters cannot be called from this node", "error", err)
	}
}
