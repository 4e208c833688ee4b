package drift

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// Reasons of the events that drift records, about the cluster that holds the
// units.
const (
	ReasonOrphanFound   = "OrphanFound"
	ReasonOrphanRemoved = "OrphanRemoved"
	// ReasonOrphansFound: there are so many that they are told of together.
	ReasonOrphansFound = "OrphansFound"
	// ReasonOrphansKept: there are so many that none of them is removed.
	ReasonOrphansKept = "OrphansKept"
	// ReasonSharedCRM: the cluster holds a unit that is recorded for another one.
	ReasonSharedCRM = "SharedCRM"
)

// maxTold is how many orphans of one look have an event of their own: thousands of
// them, as after a CRM was restored, must not push everything else out of memory.
const maxTold = 20

// tellFound records that orphans were found, unless that is recorded already, by
// an earlier leader for instance.
func (l *lookout) tellFound(ctx context.Context, proven []model.DeploymentRecord) {
	var untold []model.DeploymentRecord
	for _, record := range proven {
		if !l.orphans[unitID(record)].told {
			untold = append(untold, record)
		}
	}
	if len(untold) == 0 {
		return
	}
	told, err := l.toldBefore(ctx)
	if err != nil {
		l.deps.Logger.Warn("events cannot be read", "error", err)
		return
	}
	var events []model.Event
	for _, record := range untold {
		if event := l.found(record); told[event.Unit].Reason != event.Reason {
			events = append(events, event)
		}
	}
	if len(events) > maxTold {
		events = l.together(events, told[ReasonOrphansFound])
	}
	for _, event := range events {
		l.deps.Logger.Warn("unknown units were found", "cluster", l.name, "reason", event.Reason, "message", event.Message)
	}
	if l.write(ctx, events...) {
		for _, record := range untold {
			l.orphans[unitID(record)].told = true
		}
	}
}

// found is the event of one orphan.
func (l *lookout) found(record model.DeploymentRecord) model.Event {
	unit := unitID(record)
	if elsewhere := l.orphans[unit].elsewhere; elsewhere != "" {
		return l.event(model.EventWarning, ReasonSharedCRM, unit,
			"cluster %s holds unit %s, which is recorded for cluster %s: do both lead to one CRM?", l.name, unit, elsewhere)
	}
	return l.event(model.EventWarning, ReasonOrphanFound, unit,
		"cluster %s holds unit %s of class %s in package %s, which nobody recorded", l.name, unit, record.ClassKey, record.PackageName)
}

// together makes one event of many, unless last says the same.
func (l *lookout) together(events []model.Event, last model.Event) []model.Event {
	var examples []string
	for _, event := range events[:min(len(events), 3)] {
		examples = append(examples, event.Unit)
	}
	one := l.event(model.EventWarning, ReasonOrphansFound, "", "cluster %s holds %d units which nobody recorded for it, such as %s",
		l.name, len(events), strings.Join(examples, ", "))
	if last.Message == one.Message {
		return nil
	}
	return []model.Event{one}
}

// tellKept raises the alarm that orphans are kept because they are so many: once
// as long as it is so, over changes of leader too.
func (l *lookout) tellKept(ctx context.Context, count, all int) {
	if l.kept {
		return
	}
	if !l.keptBefore {
		told, err := l.toldBefore(ctx)
		if err != nil {
			l.deps.Logger.Warn("events cannot be read", "error", err)
			return
		}
		_, l.kept = told[ReasonOrphansKept]
	}
	l.kept = l.kept || l.write(ctx, l.event(model.EventAlarm, ReasonOrphansKept, "",
		"nobody recorded %d of %d units in cluster %s: they are so many that none is removed", count, all, l.name))
	l.keptBefore = l.kept
	l.deps.Logger.Warn("orphans are kept", "cluster", l.name, "orphans", count, "units", all)
}

func (l *lookout) event(kind model.EventType, reason, unit, format string, args ...any) model.Event {
	return model.Event{
		At: l.deps.Now().UTC(), Type: kind, Kind: model.EventAboutCluster, Name: l.name, Reason: reason,
		Cluster: l.name, Unit: unit, Message: fmt.Sprintf(format, args...),
	}
}

// toldBefore returns the newest event of drift about each unit in this cluster, and
// by reason those that are about many together.
func (l *lookout) toldBefore(ctx context.Context) (map[string]model.Event, error) {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.StoreTimeout)
	defer cancel()
	var told map[string]model.Event
	_, err := l.deps.Store.View(ctx, storage.ReadOptions{Consistency: storage.Stale}, func(reader storage.Reader) error {
		told = map[string]model.Event{}
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
			if isOurs(event.Reason) {
				told[cmp.Or(event.Unit, event.Reason)] = event
			}
			return true, nil
		})
	})
	return told, err
}

func isOurs(reason string) bool {
	switch reason {
	case ReasonOrphanFound, ReasonOrphanRemoved, ReasonOrphansFound, ReasonOrphansKept, ReasonSharedCRM:
		return true
	}
	return false
}

// write records events and tells whether that is certain.
func (l *lookout) write(ctx context.Context, events ...model.Event) bool {
	if len(events) == 0 {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, l.cfg.StoreTimeout)
	defer cancel()
	_, err := l.deps.Store.Apply(ctx, storage.Request{LeaderTerm: l.term, Command: storage.RecordEvents{Events: events}})
	if err != nil && ctx.Err() == nil {
		l.deps.Logger.Warn("events were not recorded", "cluster", l.name, "events", len(events), "error", err)
	}
	return err == nil
}
