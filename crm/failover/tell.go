package failover

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/oprc/oprc-pm/crm/inventory"
	"github.com/oprc/oprc-pm/model"
)

// tell words what changed with a decision as events: the brake, and clusters
// that deployments begin to leave or need not leave any more.
func (r *run) tell(ctx context.Context, in State, d Decisions, views map[string]inventory.ClusterView) []model.Event {
	var events []model.Event
	switch before, after := in.Memory.Brake.On, d.Memory.Brake.On; {
	case !before && after:
		events = append(events, r.event(model.EventAlarm, AllClusters, ReasonBraked,
			"%d of %d clusters look lost, more than half: nothing is evicted until that is over", d.Lost, d.Known))
	case before && !after:
		events = append(events, r.event(model.EventNormal, AllClusters, ReasonResumed,
			"clusters that look lost: %d of %d, no more than half for %v; evictions go on", d.Lost, d.Known, r.cfg.BrakeHoldOff))
	}
	for _, name := range slices.Sorted(maps.Keys(d.Waiting)) {
		view, exists := views[name]
		if r.waiting[name] > 0 || !exists || view.Spec.Draining || r.told(ctx, name, ReasonStarted, begun(view)) {
			continue // told already; a drain when it was asked for
		}
		events = append(events, r.event(model.EventWarning, name, ReasonStarted,
			"cluster %s has been lost for too long: %s to leave it where another cluster fits", name, model.Counted(d.Waiting[name], "deployment")))
	}
	for _, name := range slices.Sorted(maps.Keys(r.waiting)) {
		cluster, exists := in.Clusters[name]
		_, drain := r.drains[name]
		if !exists || d.Waiting[name] > 0 || drain || cluster.Draining || cluster.Status == model.ClusterUnhealthy {
			continue // gone, not done, told when the drain was taken back, or done: all have left
		}
		if count := r.waiting[name] - r.left(d, name); count > 0 {
			events = append(events, r.event(model.EventNormal, name, ReasonDropped,
				"cluster %s need not be left any more: dropped %s", name, model.Counted(count, "eviction")))
		}
	}
	return events
}

// begun is when a cluster was lost.
func begun(view inventory.ClusterView) time.Time {
	if view.Health.Since != nil {
		return *view.Health.Since
	}
	return time.Time{}
}

// left counts the deployments that were asked to leave a cluster and did since
// the last round.
func (r *run) left(d Decisions, cluster string) int {
	count := 0
	for place, ask := range r.memory.Asked {
		_, still := d.Memory.Asked[place]
		if place.Cluster == cluster && !ask.Back && !still && !slices.Contains(d.Withdraw, place) {
			count++
		}
	}
	return count
}
