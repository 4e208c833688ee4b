package inventory

import (
	"reflect"
	"slices"
	"strings"
)

// Change is a cluster whose document or recorded health changed, came or went.
// That units come and go is no change.
type Change struct {
	Cluster string
	// Before is nil for a cluster that came, After for one that went. A cluster
	// that went and came again meanwhile has both, and another CreatedAt.
	Before, After *ClusterView
}

type subscriber struct{ fn func(Change) }

// Subscribe has fn called with every change from now on, in the order of
// changes, from Run's goroutine: after readers see the change, before WaitFor
// returns for it. fn must not block, nor call WaitFor. The first load is a change
// of every cluster; who subscribes later asks Clusters after it has subscribed,
// and may then be told again what it has seen. After cancel fn is not called any
// more, except by a call that has begun.
func (i *Inventory) Subscribe(fn func(Change)) (cancel func()) {
	s := &subscriber{fn: fn}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.subscribers = append(slices.Clip(i.subscribers), s)
	return func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.subscribers = slices.DeleteFunc(slices.Clone(i.subscribers), func(other *subscriber) bool { return other == s })
	}
}

// publish makes a snapshot the current one and tells the subscribers what
// changed. touched are the names of clusters that may have; nil: any.
func (i *Inventory) publish(s *snapshot, index uint64, touched map[string]bool) {
	before := i.current.Swap(s)
	changes := differences(before, s, touched)
	i.mu.Lock()
	subscribers := i.subscribers
	i.mu.Unlock()
	for _, change := range changes {
		for _, sub := range subscribers {
			sub.fn(change)
		}
	}
	select {
	case <-i.ready:
	default:
		close(i.ready)
	}
	i.include(index)
}

// differences are the clusters that differ between two snapshots, by name.
func differences(before, after *snapshot, touched map[string]bool) []Change {
	if touched == nil {
		touched = map[string]bool{}
		note := func(name string, _ *clusterEntry) bool {
			touched[name] = true
			return true
		}
		before.clusters.Scan(note)
		after.clusters.Scan(note)
	}
	var changes []Change
	for name := range touched {
		had, has := before.visible(name), after.visible(name)
		if had == nil && has == nil || reflect.DeepEqual(had, has) {
			continue
		}
		change := Change{Cluster: name}
		if had != nil {
			view := before.view(name, had)
			change.Before = &view
		}
		if has != nil {
			view := after.view(name, has)
			change.After = &view
		}
		changes = append(changes, change)
	}
	slices.SortFunc(changes, func(a, b Change) int { return strings.Compare(a.Cluster, b.Cluster) })
	return changes
}

// visible is the entry of a cluster that exists, or nil.
func (s *snapshot) visible(name string) *clusterEntry {
	if entry, known := s.clusters.Get(name); known && entry.spec != nil {
		return entry
	}
	return nil
}
