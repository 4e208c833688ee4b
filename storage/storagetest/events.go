package storagetest

import (
	"strconv"
	"time"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

var eventTests = []storeTest{
	{"event/ok_sequence_and_subject", testEvents},
	{"event/ok_beside_other_changes", testEventsRideAlong},
	{"event/ok_concurrent", testConcurrentEvents},
}

var revisionTests = []storeTest{
	{"revision/ok_kept_and_dropped", testRevisions},
	{"revision/ok_forgotten_with_its_deployment", testForgetRevisions},
}

func about(name, reason string) model.Event {
	return model.Event{
		At: time.Unix(9, 0).UTC(), Type: model.EventNormal, Kind: model.EventAboutDeployment, Name: name, Reason: reason,
	}
}

func (e *env) events(q storage.EventQuery) []model.Event {
	e.Helper()
	var events []model.Event
	e.view(func(r storage.Reader) (err error) {
		events, err = storage.DecodeEvents(r, q)
		return err
	})
	return events
}

// reasons are those of the events about a deployment, the oldest first.
func (e *env) reasons(name string) []string {
	e.Helper()
	reasons := []string{}
	for _, event := range e.events(storage.EventQuery{Kind: model.EventAboutDeployment, Name: name}) {
		reasons = append(reasons, event.Reason)
	}
	return reasons
}

func testEvents(e *env) {
	a, b := e.name("a"), e.name("b")
	first := e.outcome(storage.Updated, storage.RecordEvents{Events: []model.Event{about(a, "One"), about(b, "Other"), about(a, "Two")}})
	e.outcome(storage.Updated, storage.RecordEvents{Events: []model.Event{about(a, "Three")}})
	e.outcome(storage.Unchanged, storage.RecordEvents{})
	same(e, "reasons", []string{"One", "Two", "Three"}, e.reasons(a))
	same(e, "reasons", []string{"Other"}, e.reasons(b))

	of := e.events(storage.EventQuery{Kind: model.EventAboutDeployment, Name: a})
	if of[0].Sequence+2 != of[1].Sequence || of[1].Sequence >= of[2].Sequence {
		e.Errorf("sequences: got %d, %d, %d, want them in a row with one between the first two", of[0].Sequence, of[1].Sequence, of[2].Sequence)
	}
	newest := e.events(storage.EventQuery{NewestFirst: true, Limit: 1})
	if len(newest) != 1 || newest[0].Sequence < of[2].Sequence {
		e.Errorf("newest event: got %+v, want one no older than %d", newest, of[2].Sequence)
	}
	changes := e.until(e.watch(storage.WatchOptions{Since: first.Index - 1, Kinds: []storage.Kind{storage.KindEvent}}), first.Index)
	if len(changes) < 3 {
		e.Fatalf("changes: got %+v, want three events", changes)
	}
	event, err := model.ParseEvent(changes[0].Document)
	if key, keyErr := strconv.ParseUint(changes[0].Key, 10, 64); err != nil || keyErr != nil || key != event.Sequence || event.Reason != "One" {
		e.Errorf("first change: got key %s, document %s, want the first event", changes[0].Key, changes[0].Document)
	}
}

func testEventsRideAlong(e *env) {
	_, d, created := e.deployed()
	e.register("east")
	record := storage.RecordUnitStatus{
		Deployment: d.key, Generation: 1, Put: []model.UnitStatus{unit(d.key, "east", "u", model.UnitPending)},
		Events: []model.Event{about(d.key, "Placed")},
	}
	recorded := e.outcome(storage.Updated, record)
	same(e, "version after units and events only", created.ResourceVersion, recorded.ResourceVersion)
	// The units are as recorded, the event is a new one.
	e.outcome(storage.Updated, record)
	record.Generation = 2
	e.reject(model.CodeConflict, record)
	same(e, "reasons", []string{"Placed", "Placed"}, e.reasons(d.key))

	c := cluster{name: e.name("east")}
	e.accept(e.putCluster(c))
	health := e.health(c.name, model.ClusterHealthy)
	health.Events = []model.Event{{At: time.Unix(1, 0), Type: model.EventAlarm, Kind: model.EventAboutCluster, Name: c.name, Reason: "Seen"}}
	e.accept(health)
	if got := e.events(storage.EventQuery{Kind: model.EventAboutCluster, Name: c.name, Type: model.EventAlarm}); len(got) != 1 || got[0].Reason != "Seen" {
		e.Errorf("events about the cluster: got %+v, want one", got)
	}

	e.accept(storage.DeleteDeployment{Key: d.key})
	e.accept(storage.RecordUnitStatus{
		Deployment: d.key, Generation: 2, Remove: []storage.UnitRef{{Cluster: "east", Unit: "u"}}, Forget: true,
		Events: []model.Event{about(d.key, "DeploymentDeleted")},
	})
	same(e, "reasons after the end", []string{"Placed", "Placed", "DeploymentDeleted"}, e.reasons(d.key))
}

// testConcurrentEvents: no two events have one sequence, none is lost.
func testConcurrentEvents(e *env) {
	name := e.name("d")
	const each = 5
	race(func(i int) {
		for range each {
			if _, err := e.send(storage.Request{Command: storage.RecordEvents{Events: []model.Event{about(name, strconv.Itoa(i))}}}); err != nil {
				e.Errorf("racer %d: %v", i, err)
			}
		}
	})
	events := e.events(storage.EventQuery{Kind: model.EventAboutDeployment, Name: name})
	same(e, "number of events", racers*each, len(events))
	for i := 1; i < len(events); i++ {
		if events[i-1].Sequence >= events[i].Sequence {
			e.Errorf("sequences %d and %d are not in order", events[i-1].Sequence, events[i].Sequence)
		}
	}
}

// revise is a record of a revision that turned out good or not.
func (e *env) revise(d deployment, number uint64, good bool, keepFrom uint64) storage.RecordUnitStatus {
	at := time.Unix(3, 0).UTC()
	r := model.Revision{Revision: number, DeploymentKey: d.key, Generation: 1, Template: "t", CreatedAt: at, Deployment: model.Deployment{Key: d.key}}
	if good {
		r.GoodSince = &at
	}
	return storage.RecordUnitStatus{Deployment: d.key, Generation: 1, Revision: &r, KeepRevisionsFrom: keepFrom}
}

func (e *env) revisions(deployment string) []uint64 {
	e.Helper()
	numbers := []uint64{}
	e.view(func(r storage.Reader) error {
		revisions, err := storage.DecodeRevisions(r, deployment)
		for _, revision := range revisions {
			numbers = append(numbers, revision.Revision)
		}
		return err
	})
	return numbers
}

func testRevisions(e *env) {
	_, d, created := e.deployed()
	recorded := e.outcome(storage.Updated, e.revise(d, 1, false, 0))
	same(e, "version after a revision only", created.ResourceVersion, recorded.ResourceVersion)
	e.outcome(storage.Unchanged, e.revise(d, 1, false, 0))
	e.outcome(storage.Updated, e.revise(d, 1, true, 0))
	// More than ten: numbers are sorted as numbers.
	const last = 12
	for number := uint64(2); number <= last; number++ {
		e.accept(e.revise(d, number, false, max(1, number-2)))
	}
	same(e, "revisions", []uint64{1, last - 2, last - 1, last}, e.revisions(d.key))
	e.accept(e.revise(d, last, true, last))
	same(e, "revisions after the newest was good", []uint64{last}, e.revisions(d.key))
	e.view(func(r storage.Reader) error {
		revision, found, err := storage.DecodeRevision(r, d.key, last)
		if err == nil && (!found || revision.DeploymentKey != d.key || revision.GoodSince == nil) {
			e.Errorf("revision %d: got %+v, found %t, want a good one", last, revision, found)
		}
		return err
	})
}

func testForgetRevisions(e *env) {
	_, d, _ := e.deployed()
	e.accept(e.revise(d, 1, true, 0))
	e.accept(e.revise(d, 2, false, 0))
	e.accept(storage.DeleteDeployment{Key: d.key})
	same(e, "revisions of a forgotten deployment", []uint64{}, e.revisions(d.key))

	// Its successor of the same name begins anew.
	e.accept(e.deploy(d))
	same(e, "revisions of a new deployment", []uint64{}, e.revisions(d.key))
}
