package storagetest

import (
	"crypto/rand"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

var concurrencyTests = []storeTest{
	{"concurrency/ok_one_winner_per_version", testCompareAndSwap},
	{"concurrency/ok_one_winner_per_name", testCreateRace},
	{"concurrency/ok_one_request_many_times", testSameRequest},
	{"concurrency/ok_every_acknowledged_write_once", testManyWriters},
	{"concurrency/ok_counter", testCounter},
}

const racers = 8

// race runs fn in racers goroutines and waits for them.
func race(fn func(i int)) {
	var done sync.WaitGroup
	for i := range racers {
		done.Go(func() { fn(i) })
	}
	done.Wait()
}

func testCompareAndSwap(e *env) {
	p := pkg{name: e.name("p"), version: "0"}
	version := e.accept(e.put(p)).ResourceVersion
	for round := range 10 {
		var won, next atomic.Uint64
		race(func(i int) {
			mine := p
			mine.version, mine.ifMatch = fmt.Sprintf("%d-%d", round, i), version
			result, err := e.send(storage.Request{Command: e.put(mine)})
			switch model.CodeOf(err) {
			case "":
				won.Add(1)
				next.Store(result.ResourceVersion)
			case model.CodeFailedPrecondition:
			default:
				e.Errorf("racer %d: %v", i, err)
			}
		})
		if won.Load() != 1 {
			e.Fatalf("round %d: got %d winners for version %d, want 1", round, won.Load(), version)
		}
		version = next.Load()
	}
	same(e, "generation", 11, e.stamp(storage.PackageKey(p.name)).Generation)
}

func testCreateRace(e *env) {
	for range 5 {
		p := pkg{name: e.name("p"), mode: storage.Create}
		var won atomic.Uint64
		race(func(i int) {
			mine := p
			mine.version = fmt.Sprint(i)
			_, err := e.send(storage.Request{Command: e.put(mine)})
			switch model.CodeOf(err) {
			case "":
				won.Add(1)
			case model.CodeConflict:
			default:
				e.Errorf("racer %d: %v", i, err)
			}
		})
		same(e, "winners", 1, won.Load())
	}
}

func testSameRequest(e *env) {
	p := pkg{name: e.name("p"), version: "1", mode: storage.Create}
	req := storage.Request{ID: rand.Text(), Command: e.put(p)}
	results := make([]storage.Result, racers)
	race(func(i int) {
		var err error
		if results[i], err = e.send(req); err != nil {
			e.Errorf("racer %d: %v", i, err)
		}
	})
	first := results[0]
	first.Duplicate = false
	for i, result := range results {
		result.Duplicate = false
		same(e, fmt.Sprintf("result of racer %d", i), first, result)
	}
	same(e, "generation", 1, e.stamp(storage.PackageKey(p.name)).Generation)
}

func testManyWriters(e *env) {
	const each = 25
	start := e.accept(e.put(pkg{name: e.name("p")})).Index
	w := e.watch(storage.WatchOptions{Since: start, Kinds: []storage.Kind{storage.KindPackage}})
	prefix := e.name("many")
	var last atomic.Uint64
	race(func(i int) {
		for n := range each {
			p := pkg{name: fmt.Sprintf("%s-%d-%d", prefix, i, n), mode: storage.Create}
			result, err := e.send(storage.Request{Command: e.put(p)})
			if err != nil || result.Outcome != storage.Created {
				e.Errorf("writer %d: got %+v, %v, want created", i, result, err)
				return
			}
			for {
				before := last.Load()
				if before >= result.Index || last.CompareAndSwap(before, result.Index) {
					break
				}
			}
		}
	})
	if e.Failed() {
		return
	}
	events := map[string]int{}
	for _, event := range e.until(w, last.Load()) {
		events[event.Key]++
	}
	for i := range racers {
		for n := range each {
			name := fmt.Sprintf("%s-%d-%d", prefix, i, n)
			if got := e.stamp(storage.PackageKey(name)).Generation; got != 1 || events[name] != 1 {
				e.Errorf("%s: got generation %d and %d events, want one of each", name, got, events[name])
			}
		}
	}
}

// testCounter increments by read and compare-and-swap: no increment is lost.
func testCounter(e *env) {
	const each = 10
	p := pkg{name: e.name("p"), version: "start"}
	e.accept(e.put(p))
	race(func(i int) {
		for n := 0; n < each; {
			version, err := e.versionOf(p.name)
			if err != nil {
				e.Errorf("writer %d: %v", i, err)
				return
			}
			mine := p
			mine.version, mine.ifMatch = fmt.Sprintf("%d-%d", i, n), version
			_, err = e.send(storage.Request{Command: e.put(mine)})
			switch model.CodeOf(err) {
			case "":
				n++
			case model.CodeFailedPrecondition:
			default:
				e.Errorf("writer %d: %v", i, err)
				return
			}
		}
	})
	same(e, "generation", 1+racers*each, e.stamp(storage.PackageKey(p.name)).Generation)
}

// versionOf is for goroutines that may not end the test.
func (e *env) versionOf(name string) (version uint64, err error) {
	ctx, cancel := e.step()
	defer cancel()
	_, err = e.store.View(ctx, storage.ReadOptions{}, func(r storage.Reader) error {
		doc, err := r.Get(storage.PackageKey(name))
		version = storage.ResourceVersion(doc)
		return err
	})
	return version, err
}
