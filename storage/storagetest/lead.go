package storagetest

import (
	"context"
	"errors"
	"sync"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

var leadTests = []storeTest{
	{"lead/ok_runs_until_ctx_ends", testLead},
}

// testLead holds a leader run twice, one after the other.
func testLead(e *env) {
	store := e.leader(e.T, e.store)
	result := e.accept(e.put(pkg{name: e.name("p")}))
	var before uint64
	for range 2 {
		before = e.leadOnce(store, before, result.Index)
	}
}

func (e *env) leadOnce(store storage.Store, before, index uint64) uint64 {
	e.Helper()
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	terms := make(chan uint64, 1)
	var running, overlapped sync.Mutex
	var returned error
	var done sync.WaitGroup
	done.Go(func() {
		returned = store.Lead(ctx, func(ctx context.Context, term uint64) {
			if !running.TryLock() {
				overlapped.TryLock()
				return
			}
			defer running.Unlock()
			select {
			case terms <- term:
			default:
			}
			<-ctx.Done()
		})
	})
	step, stop := e.step()
	defer stop()
	var term uint64
	select {
	case term = <-terms:
	case <-step.Done():
		cancel()
		done.Wait()
		e.Fatalf("no leader run began on a node that leads: %+v", store.Status())
	}
	if term == 0 || term < before {
		e.Errorf("term: got %d, want one not before %d", term, before)
	}
	if at := store.Status().AppliedIndex; at < index {
		e.Errorf("the run began at index %d, before the write of %d was applied", at, index)
	}
	e.fence(term)
	cancel()
	done.Wait()
	if !errors.Is(returned, context.Canceled) {
		e.Errorf("lead: got %v, want %v", returned, context.Canceled)
	}
	if !overlapped.TryLock() {
		e.Error("two leader runs overlapped")
	}
	return term
}

// fence checks that a leader's commands are accepted in its term only.
func (e *env) fence(term uint64) {
	e.Helper()
	_, d, _ := e.deployed()
	e.register("east")
	record := storage.RecordUnitStatus{
		Deployment: d.key, Generation: 1, Put: []model.UnitStatus{unit(d.key, "east", "u", model.UnitPending)},
	}
	if term > 1 {
		_, err := e.send(storage.Request{Command: record, LeaderTerm: term - 1})
		e.wantCode(err, model.CodeConflict)
		same(e, "units after a record of a deposed leader", 0, len(e.units(d.key)))
	}
	if _, err := e.send(storage.Request{Command: record, LeaderTerm: term}); err != nil {
		e.Errorf("record of the leader of term %d: %v", term, err)
	}
}
