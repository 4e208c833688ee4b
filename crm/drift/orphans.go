package drift

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/oprc/oprc-pm/crm"
	"github.com/oprc/oprc-pm/crm/inventory"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// orphan is a unit that a CRM holds and nobody recorded for its cluster.
type orphan struct {
	// since is when it was first seen, looks how often in a row.
	since time.Time
	looks int
	// told: an event exists. woken: deployments that may want it were looked at.
	told, woken bool
	// elsewhere is the cluster for which the unit is recorded, if it is for
	// another one: then both names lead to one CRM. Such a unit is no orphan,
	// it is in use.
	elsewhere string
}

// provenLooks is how many looks in a row must agree before something is done.
const provenLooks = 2

// A cluster in which more than fewOrphans, and more than a quarter of all units of
// our form, were recorded by nobody is not cleaned up: it is rather our records
// that are wrong, as after the restoration of an old backup of either side.
const (
	fewOrphans   = 5
	orphansShare = 4
)

// judgeOrphans goes through the units of a list that nobody recorded for this
// cluster; recorded is how many others it has. It tells whether one of them waits
// to be seen again.
func (l *lookout) judgeOrphans(ctx context.Context, client crm.Client, unknown []model.DeploymentRecord, recorded int) (unproven bool) {
	defer l.showOrphans()
	proven := l.noteOrphans(unknown)
	unproven = len(proven) < len(unknown)
	if l.cfg.OrphanPolicy == OrphanAdopt {
		var settled []model.DeploymentRecord
		for _, record := range proven {
			if l.offer(ctx, record) {
				unproven = true
				continue
			}
			settled = append(settled, record)
		}
		proven = settled
	}
	l.tellFound(ctx, proven)
	if l.cfg.OrphanPolicy == OrphanRemove {
		unproven = l.clean(ctx, client, proven, recorded) || unproven
	}
	return unproven
}

// noteOrphans counts in what a list holds and returns what is proven.
func (l *lookout) noteOrphans(unknown []model.DeploymentRecord) (proven []model.DeploymentRecord) {
	present := map[string]bool{}
	for _, record := range unknown {
		id := unitID(record)
		present[id] = true
		o := l.orphans[id]
		if o == nil {
			o = &orphan{since: l.clock()}
			l.orphans[id] = o
		}
		o.looks++
		o.elsewhere = ""
		for _, ref := range l.deps.Inventory.FindUnit(id) {
			if ref.Unit == id && ref.Cluster != l.name {
				o.elsewhere = ref.Cluster
			}
		}
		if o.looks >= provenLooks {
			proven = append(proven, record)
		}
	}
	for id := range l.orphans {
		if !present[id] {
			delete(l.orphans, id)
		}
	}
	return proven
}

// offer has the deployments looked at that may want an orphan, once; false: that
// was done.
func (l *lookout) offer(ctx context.Context, record model.DeploymentRecord) bool {
	o := l.orphans[unitID(record)]
	if o.woken || o.elsewhere != "" {
		return false
	}
	o.woken = true
	l.wakeClass(ctx, record)
	return true
}

// clean removes the orphans whose grace is over. It tells whether there are others.
func (l *lookout) clean(ctx context.Context, client crm.Client, proven []model.DeploymentRecord, recorded int) (others bool) {
	orphans := slices.DeleteFunc(slices.Clone(proven), func(record model.DeploymentRecord) bool {
		return l.orphans[unitID(record)].elsewhere != ""
	})
	if count := len(orphans); count > fewOrphans && count*orphansShare > count+recorded {
		l.tellKept(ctx, count, count+recorded)
		return false
	}
	l.kept = false
	for _, record := range orphans {
		if l.clock().Sub(l.orphans[unitID(record)].since) < l.cfg.OrphanGrace {
			others = true
			continue
		}
		l.remove(ctx, client, record)
	}
	return others
}

// remove deletes an orphan from its cluster, unless it has become a unit in the
// meantime. That can also happen while the call is under way: ids follow from
// content, so a deployment may come to want the very unit. Then the dispatcher is
// told that the unit is lost, and deploys it again.
func (l *lookout) remove(ctx context.Context, client crm.Client, record model.DeploymentRecord) {
	unit := unitID(record)
	if recorded, err := l.recorded(ctx, storage.Linearizable, record); err != nil || len(recorded) > 0 {
		return // who does not lead any more must not remove what the next leader made
	}
	err := client.Delete(ctx, crm.Origin{Term: l.fence, IdempotencyKey: "orphan/" + unit + "/" + strconv.FormatUint(l.fence, 10)}, crmID(record))
	log := l.deps.Logger.With("cluster", l.name, "unit", unit)
	if err != nil {
		log.Warn("orphan was not removed", "error", err)
	} else {
		log.Info("orphan was removed")
		l.figures.removed.Inc()
		delete(l.orphans, unit)
		l.write(ctx, l.event(model.EventNormal, ReasonOrphanRemoved, unit,
			"unit %s of class %s was removed: nobody had recorded it", unit, record.ClassKey))
	}
	recorded, err := l.recorded(ctx, storage.Stale, record)
	if err != nil {
		return // the next look finds out
	}
	for _, ref := range recorded {
		if accepted(ref) {
			log.Warn("orphan became a unit while it was removed", "deployment", ref.Deployment)
			l.deps.Sink.Lost(l.name, ref)
		}
	}
}

// recorded returns what the control plane knows of a CRM's unit in this cluster,
// up to date with all that is committed here, or anywhere.
func (l *lookout) recorded(ctx context.Context, how storage.Consistency, record model.DeploymentRecord) ([]inventory.UnitRef, error) {
	if err := l.catchUp(ctx, how); err != nil {
		return nil, err
	}
	var refs []inventory.UnitRef
	for _, id := range []string{unitID(record), crmID(record)} {
		for _, ref := range l.deps.Inventory.FindUnit(id) {
			if ref.Cluster == l.name && !slices.Contains(refs, ref) {
				refs = append(refs, ref)
			}
		}
	}
	return refs, nil
}

// maxWoken bounds how many deployments are looked at for one orphan.
const maxWoken = 1000

// wakeClass has the deployments of an orphan's package looked at: one that wants
// the unit records it, asks its CRM for it, and is told that it is there.
func (l *lookout) wakeClass(ctx context.Context, record model.DeploymentRecord) {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.StoreTimeout)
	defer cancel()
	var keys []string
	_, err := l.deps.Store.View(ctx, storage.ReadOptions{Consistency: storage.Stale}, func(reader storage.Reader) error {
		return storage.ByPackage.Scan(reader, record.PackageName, "", func(name string) (bool, error) {
			keys = append(keys, name)
			return len(keys) < maxWoken, nil
		})
	})
	if err != nil {
		l.deps.Logger.Warn("deployments of a package cannot be read", "package", record.PackageName, "error", err)
	}
	for _, key := range keys {
		l.deps.Sink.Wake(key)
	}
}
