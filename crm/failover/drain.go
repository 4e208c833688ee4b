package failover

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/oprc/oprc-pm/crm/inventory"
	"github.com/oprc/oprc-pm/model"
)

// drainLook is the time between two looks at a drain of which only units are
// left that are being removed: that they go is announced to nobody here.
const drainLook = 2 * time.Second

// drainTold is what was told of the end of a drain when the cluster's document
// was of a version; the message is empty when nothing was.
type drainTold struct {
	version uint64
	message string
}

// tellDrains words the ends of drains as events. unclear tells that one may have
// come to its end without anybody saying so.
func (r *run) tellDrains(ctx context.Context, d Decisions, views map[string]inventory.ClusterView) (events []model.Event, unclear bool) {
	maps.DeleteFunc(r.drained, func(name string, _ drainTold) bool {
		_, on := d.Drains[name]
		return !on
	})
	for _, name := range slices.Sorted(maps.Keys(d.Drains)) {
		drain := d.Drains[name]
		if drain.Leaving > 0 {
			continue
		}
		told, known := r.toldOfDrain(ctx, views[name])
		going := slices.ContainsFunc(r.deps.Inventory.DeploymentsOn(name), func(key string) bool {
			_, stays := slices.BinarySearch(drain.Staying, key)
			return !stays
		})
		message := drainMessage(name, drain.Staying)
		switch {
		case !known:
			unclear = true
		case told.message == message, told.message != "" && len(drain.Staying) > 0:
			// What stays is told once, and that all has left after all.
		case going:
			unclear = true
		default:
			told.message = message
			r.drained[name] = told
			events = append(events, r.event(model.EventNormal, name, model.EventDrainComplete, "%s", message))
		}
	}
	return events, unclear
}

func drainMessage(cluster string, staying []string) string {
	switch len(staying) {
	case 0:
		return fmt.Sprintf("cluster %s is drained: nothing is left", cluster)
	case 1:
		return fmt.Sprintf("cluster %s is drained, except for 1 deployment that fits nowhere else: %s", cluster, staying[0])
	}
	return fmt.Sprintf("cluster %s is drained, except for %s that fit nowhere else: %s",
		cluster, model.Counted(len(staying), "deployment"), model.NameList(staying))
}

// toldOfDrain returns what was told of the end of the drain that is on, by this
// leader or one before: nothing since the drain began. It is looked up again when
// the cluster's document has changed, since the drain may then be another one.
func (r *run) toldOfDrain(ctx context.Context, view inventory.ClusterView) (told drainTold, known bool) {
	name, version := view.Spec.Name, view.Spec.ResourceVersion
	if told, known = r.drained[name]; known && told.version == version {
		return told, true
	}
	if slices.ContainsFunc(r.unwritten, func(e model.Event) bool { return e.Name == name }) {
		return drainTold{}, false // the store does not know all yet
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.StoreTimeout)
	defer cancel()
	event, exists, err := newest(ctx, r.deps.Store, name, func(e model.Event) bool {
		return e.Reason == model.EventDrainStarted || e.Reason == model.EventDrainComplete
	})
	if err != nil {
		if ctx.Err() == nil {
			r.deps.Logger.Warn("events cannot be read", "error", err)
		}
		return drainTold{}, false
	}
	told = drainTold{version: version}
	if exists && event.Reason == model.EventDrainComplete {
		told.message = event.Message
	}
	r.drained[name] = told
	return told, true
}
