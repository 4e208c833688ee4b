package storagetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

var watchTests = []storeTest{
	{"watch/ok_order_and_content", testWatchOrder},
	{"watch/ok_kinds", testWatchKinds},
	{"watch/ok_resume", testWatchResume},
	{"watch/ok_from_now_on", testWatchNow},
	{"watch/ok_indexes_are_whole", testWatchWholeIndexes},
	{"watch/err_ctx", testWatchContext},
	{"watch/err_closed_watcher", testWatchClosed},
}

// watch opens a stream that is closed with the test.
func (e *env) watch(opts storage.WatchOptions) storage.Watcher {
	e.Helper()
	w, err := e.store.Watch(e.ctx, opts)
	if err != nil {
		e.Fatalf("watch %+v: %v", opts, err)
	}
	e.Cleanup(w.Close)
	return w
}

// seen is an event in short.
type seen struct {
	Index uint64
	Type  storage.EventType
	Kind  storage.Kind
	Key   string
}

// until collects events up to index and checks what holds for every stream.
func (e *env) until(w storage.Watcher, index uint64) []storage.Event {
	e.Helper()
	var events []storage.Event
	var at uint64
	for at < index {
		ctx, cancel := e.step()
		more, now, err := w.Next(ctx)
		cancel()
		if err != nil {
			e.Fatalf("next after index %d of %d: %v", at, index, err)
		}
		for _, event := range more {
			if event.Index <= at || event.Index > now {
				e.Fatalf("event of index %d came in a batch of (%d, %d]", event.Index, at, now)
			}
		}
		if !slices.IsSortedFunc(more, func(a, b storage.Event) int { return int(a.Index) - int(b.Index) }) {
			e.Fatalf("events are not in index order: %+v", more)
		}
		events, at = append(events, more...), now
	}
	return events
}

// short drops what other tests caused.
func short(events []storage.Event, names ...string) []seen {
	var list []seen
	for _, event := range events {
		if slices.ContainsFunc(names, func(name string) bool { return event.Key == name || strings.HasPrefix(event.Key, name+"/") }) {
			list = append(list, seen{event.Index, event.Type, event.Kind, event.Key})
		}
	}
	return list
}

func testWatchOrder(e *env) {
	start := e.view(func(storage.Reader) error { return nil }).Index
	if start == 0 {
		start = e.accept(e.put(pkg{name: e.name("first")})).Index
	}
	w := e.watch(storage.WatchOptions{Since: start})
	e.register("east")
	p, d, placed := e.deployed()
	ref := storage.UnitRef{Cluster: "east", Unit: "u"}
	recorded := e.accept(storage.RecordUnitStatus{
		Deployment: d.key, Generation: 1, Put: []model.UnitStatus{unit(d.key, ref.Cluster, ref.Unit, model.UnitPending)},
	})
	e.reject(model.CodeConflict, storage.DeletePackage{Name: p.name}) // No event.
	e.outcome(storage.Unchanged, e.deploy(d))                         // No event.
	marked := e.accept(storage.DeleteDeployment{Key: d.key})
	forgotten := e.accept(storage.RecordUnitStatus{Deployment: d.key, Generation: 2, Remove: []storage.UnitRef{ref}, Forget: true})
	state := e.name("state")
	reported := e.accept(e.runtimeState(state, "running", 0))
	gone := e.accept(storage.DeletePackage{Name: p.name})

	events := e.until(w, gone.Index)
	unitKey := d.key + "/" + ref.Cluster + "/" + ref.Unit
	got := short(events, p.name, d.key, state)
	if len(got) == 0 {
		e.Fatal("got no events")
	}
	same(e, "events", []seen{
		{got[0].Index, storage.EventPut, storage.KindPackage, p.name},
		{placed.Index, storage.EventPut, storage.KindDeployment, d.key},
		{recorded.Index, storage.EventPut, storage.KindUnit, unitKey},
		{marked.Index, storage.EventPut, storage.KindDeployment, d.key},
		{forgotten.Index, storage.EventDelete, storage.KindUnit, unitKey},
		{forgotten.Index, storage.EventDelete, storage.KindDeployment, d.key},
		{reported.Index, storage.EventPut, storage.KindRuntimeState, state},
		{gone.Index, storage.EventDelete, storage.KindPackage, p.name},
	}, got)
	for _, event := range events {
		switch {
		case event.Type == storage.EventDelete:
			if event.Document != nil {
				e.Errorf("event %+v: a delete has no document", event)
			}
		case event.Kind == storage.KindUnit:
			if _, err := model.ParseUnit(event.Document); err != nil {
				e.Errorf("event of %s: %v", event.Key, err)
			}
		case storage.ResourceVersion(event.Document) != event.Index:
			e.Errorf("event of %s at %d carries the document %.80s", event.Key, event.Index, event.Document)
		}
	}
}

func testWatchKinds(e *env) {
	p := pkg{name: e.name("p"), classes: []string{"main"}}
	start := e.accept(e.put(p)).Index
	tests := map[string][]storage.Kind{
		"deployments": {storage.KindDeployment},
		"two":         {storage.KindDeployment, storage.KindRuntimeState},
		"nothing":     {storage.KindUnit},
	}
	watchers := map[string]storage.Watcher{}
	for name, kinds := range tests {
		watchers[name] = e.watch(storage.WatchOptions{Since: start, Kinds: kinds})
	}
	d := deployment{key: e.name("d"), pkg: p.name, class: "main"}
	state := e.name("state")
	placed := e.accept(e.deploy(d))
	reported := e.accept(e.runtimeState(state, "up", 0))
	p.version = "2"
	e.accept(e.put(p))
	put := seen{placed.Index, storage.EventPut, storage.KindDeployment, d.key}
	same(e, "deployments", []seen{put}, short(e.until(watchers["deployments"], placed.Index), p.name, d.key, state))
	same(e, "two kinds", []seen{put, {reported.Index, storage.EventPut, storage.KindRuntimeState, state}},
		short(e.until(watchers["two"], reported.Index), p.name, d.key, state))

	// A filtered stream moves on over what it leaves out, and says so.
	ctx, cancel := context.WithCancel(e.ctx)
	cancel()
	events, index, err := watchers["nothing"].Next(ctx)
	if len(events) != 0 || !errors.Is(err, context.Canceled) || index < reported.Index {
		e.Errorf("filtered stream: got %d events up to %d, %v, want none, at least %d, canceled", len(events), index, err, reported.Index)
	}
}

func testWatchResume(e *env) {
	const n = 20
	p := pkg{name: e.name("p")}
	var indexes []uint64
	for i := range n {
		p.version = fmt.Sprint(i)
		indexes = append(indexes, e.accept(e.put(p)).Index)
	}
	last := indexes[n-1]
	for i := range n - 1 {
		var want []uint64
		want = append(want, indexes[i+1:]...)
		var got []uint64
		for _, event := range short(e.until(e.watch(storage.WatchOptions{Since: indexes[i]}), last), p.name) {
			got = append(got, event.Index)
		}
		same(e, fmt.Sprintf("indexes of the events since %d", indexes[i]), want, got)
	}
	// From an index that is not reached yet on.
	ahead := e.watch(storage.WatchOptions{Since: last + 1})
	p.version = "skipped"
	skipped := e.accept(e.put(p)).Index
	p.version = "wanted"
	wanted := e.accept(e.put(p)).Index
	for _, event := range short(e.until(ahead, wanted), p.name) {
		if event.Index <= last+1 {
			e.Errorf("stream since %d begins with %d (changes at %d and %d)", last+1, event.Index, skipped, wanted)
		}
	}
}

func testWatchNow(e *env) {
	p := pkg{name: e.name("p"), version: "1"}
	e.accept(e.put(p))
	w := e.watch(storage.WatchOptions{})
	p.version = "2"
	index := e.accept(e.put(p)).Index
	same(e, "events", []seen{{index, storage.EventPut, storage.KindPackage, p.name}}, short(e.until(w, index), p.name))
}

func testWatchWholeIndexes(e *env) {
	// A cascade changes more documents than a stream hands out at once.
	const n = 300
	p := pkg{name: e.name("p"), classes: []string{"main"}}
	e.accept(e.put(p))
	names := []string{p.name}
	var last uint64
	for range n {
		d := deployment{key: e.name("d"), pkg: p.name, class: "main"}
		names = append(names, d.key)
		last = e.accept(e.deploy(d)).Index
	}
	w := e.watch(storage.WatchOptions{Since: last})
	deleted := e.accept(storage.DeletePackage{Name: p.name, Cascade: true})
	for {
		ctx, cancel := e.step()
		events, _, err := w.Next(ctx)
		cancel()
		if err != nil {
			e.Fatal(err)
		}
		if got := len(short(events, names...)); got > 0 {
			same(e, "number of events in one piece", n+1, got)
			same(e, "index", deleted.Index, events[0].Index)
			return
		}
	}
}

func testWatchContext(e *env) {
	index := e.accept(e.put(pkg{name: e.name("p")})).Index
	w := e.watch(storage.WatchOptions{Since: index})
	ctx, cancel := context.WithCancel(e.ctx)
	cancel()
	for range 2 {
		events, at, err := w.Next(ctx)
		if len(events) > 0 || at < index || !errors.Is(err, context.Canceled) {
			e.Errorf("next with an ended context: got %d events, index %d, %v, want none, at least %d, canceled", len(events), at, err, index)
		}
	}
	// The stream goes on where it was.
	p := pkg{name: e.name("p")}
	put := e.accept(e.put(p)).Index
	same(e, "events", []seen{{put, storage.EventPut, storage.KindPackage, p.name}}, short(e.until(w, put), p.name))
}

func testWatchClosed(e *env) {
	w := e.watch(storage.WatchOptions{})
	w.Close()
	w.Close()
	if _, _, err := w.Next(e.ctx); !errors.Is(err, storage.ErrClosed) {
		e.Errorf("next of a closed stream: got %v, want %v", err, storage.ErrClosed)
	}
}
