package drift

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/oprc/oprc-pm/crm"
	"github.com/oprc/oprc-pm/crm/inventory"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// Reasons of the events that drift records, about the cluster that holds the
// unit.
const (
	ReasonOrphanFound   = "OrphanFound"
	ReasonOrphanRemoved = "OrphanRemoved"
)

// orphan is a unit that a CRM holds and nobody recorded.
type orphan struct {
	// since is when it was first seen, looks how often in a row.
	since time.Time
	looks int
	// told: an event exists. woken: deployments that may want it were looked at.
	told, woken bool
}

// provenLooks is how many looks in a row must agree before something is done.
const provenLooks = 2

// judgeOrphans goes through the units of a list that nobody recorded. It tells
// whether one of them waits to be seen again.
func (l *lookout) judgeOrphans(ctx context.Context, client crm.Client, unknown []model.DeploymentRecord) (unproven bool) {
	present := map[string]bool{}
	for _, record := range unknown {
		id := unitID(record)
		present[id] = true
		o := l.orphans[id]
		if o == nil {
			o = &orphan{since: l.deps.Now()}
			l.orphans[id] = o
		}
		o.looks++
		if o.looks < provenLooks {
			unproven = true
			continue
		}
		unproven = l.act(ctx, client, record, o) || unproven
	}
	for id := range l.orphans {
		if !present[id] {
			delete(l.orphans, id)
		}
	}
	l.showOrphans()
	return unproven
}

// act does what the policy says about a proven orphan. It tells whether the
// orphan is to be looked at again soon.
func (l *lookout) act(ctx context.Context, client crm.Client, record model.DeploymentRecord, o *orphan) (again bool) {
	if l.cfg.OrphanPolicy == OrphanAdopt && !o.woken {
		o.woken = true
		l.wakeClass(ctx, record)
		return true
	}
	if !o.told {
		o.told = l.tellFound(ctx, record)
	}
	if l.cfg.OrphanPolicy != OrphanRemove {
		return false
	}
	if l.deps.Now().Sub(o.since) < l.cfg.OrphanGrace {
		return true
	}
	l.remove(ctx, client, record)
	return false
}

// remove deletes an orphan from its cluster, unless it has become a unit in the
// meantime. That can also happen while the call is under way: ids follow from
// content, so a deployment may come to want the very unit. Then the dispatcher is
// told that the unit is lost, and deploys it again.
func (l *lookout) remove(ctx context.Context, client crm.Client, record model.DeploymentRecord) {
	unit := unitID(record)
	if recorded, err := l.recorded(ctx, record); err != nil || len(recorded) > 0 {
		return
	}
	err := client.Delete(ctx, crm.Origin{Term: l.term, IdempotencyKey: "orphan/" + unit + "/" + strconv.FormatUint(l.term, 10)}, crmID(record))
	log := l.deps.Logger.With("cluster", l.name, "unit", unit)
	if err != nil {
		log.Warn("orphan was not removed", "error", err)
	} else {
		log.Info("orphan was removed")
		l.figures.removed.Inc()
		delete(l.orphans, unit)
		l.write(ctx, model.Event{
			At: l.deps.Now().UTC(), Type: model.EventNormal, Kind: model.EventAboutCluster, Name: l.name,
			Reason: ReasonOrphanRemoved, Cluster: l.name, Unit: unit,
			Message: fmt.Sprintf("unit %s of class %s was removed: nobody had recorded it", unit, record.ClassKey),
		})
	}
	recorded, err := l.recorded(ctx, record)
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
// up to date with all that is committed here.
func (l *lookout) recorded(ctx context.Context, record model.DeploymentRecord) ([]inventory.UnitRef, error) {
	if err := l.catchUp(ctx); err != nil {
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

// tellFound records that an orphan was found, unless that is recorded already, by
// an earlier leader for instance.
func (l *lookout) tellFound(ctx context.Context, record model.DeploymentRecord) bool {
	unit := unitID(record)
	told, err := l.toldBefore(ctx, unit)
	if err != nil {
		l.deps.Logger.Warn("events cannot be read", "error", err)
		return false
	}
	if told {
		return true
	}
	l.deps.Logger.Warn("orphan was found", "cluster", l.name, "unit", unit, "package", record.PackageName, "class", record.ClassKey)
	return l.write(ctx, model.Event{
		At: l.deps.Now().UTC(), Type: model.EventWarning, Kind: model.EventAboutCluster, Name: l.name,
		Reason: ReasonOrphanFound, Cluster: l.name, Unit: unit,
		Message: fmt.Sprintf("cluster %s holds unit %s of class %s in package %s, which nobody recorded",
			l.name, unit, record.ClassKey, record.PackageName),
	})
}

// toldBefore tells whether the newest event about a unit in this cluster says
// that it is an orphan.
func (l *lookout) toldBefore(ctx context.Context, unit string) (told bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.StoreTimeout)
	defer cancel()
	_, err = l.deps.Store.View(ctx, storage.ReadOptions{Consistency: storage.Stale}, func(reader storage.Reader) error {
		return storage.ByEventSubject.Scan(reader, model.EventAboutCluster+"/"+l.name, "", func(name string) (bool, error) {
			sequence, err := strconv.ParseUint(name, 10, 64)
			if err != nil {
				return false, fmt.Errorf("read index of events: %w", err)
			}
			data, err := reader.Get(storage.StoredEventKey(sequence))
			if err != nil || data == nil {
				return err == nil, err
			}
			var event model.Event
			if err := json.Unmarshal(data, &event); err != nil {
				return false, fmt.Errorf("decode event %d: %w", sequence, err)
			}
			if event.Unit == unit {
				told = event.Reason == ReasonOrphanFound
			}
			return true, nil
		})
	})
	return told, err
}

// write records an event and tells whether that is certain.
func (l *lookout) write(ctx context.Context, event model.Event) bool {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.StoreTimeout)
	defer cancel()
	_, err := l.deps.Store.Apply(ctx, storage.Request{LeaderTerm: l.term, Command: storage.RecordEvents{Events: []model.Event{event}}})
	if err != nil && ctx.Err() == nil {
		l.deps.Logger.Warn("event was not recorded", "reason", event.Reason, "cluster", l.name, "error", err)
	}
	return err == nil
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
