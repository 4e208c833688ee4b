package storagetest

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// ownStoreTests spend the store they get.
var ownStoreTests = []storeTest{
	{"err_ended_context_changes_nothing", testEndedContext},
	{"err_watch_too_old", testWatchTooOld},
	{"err_slow_watcher", testSlowWatcher},
	{"err_closed", testClosed},
	{"err_closed_while_waiting", testClosedWhileWaiting},
}

func testEndedContext(e *env) {
	p := pkg{name: e.name("p")}
	ctx, cancel := context.WithCancel(e.ctx)
	cancel()
	_, err := e.store.Apply(ctx, storage.Request{Command: e.put(p)})
	e.wantCode(err, model.CodeUnavailable)
	e.accept(e.put(pkg{name: e.name("other")}))
	e.wantAbsent(storage.PackageKey(p.name))
}

// overflow makes more changes than the history keeps, and returns the first and
// the last index of them.
func (e *env) overflow() (first, last uint64) {
	e.Helper()
	size := min(e.historyBytes/4, 512<<10)
	key := e.name("state")
	// Each put differs from the one before.
	puts := []storage.UpdateRuntimeState{
		e.runtimeState(key, strings.Repeat("x", size), 0),
		e.runtimeState(key, strings.Repeat("y", size), 0),
	}
	for written := 0; written <= e.historyBytes+2*size; written += size {
		last = e.accept(puts[written/size%2]).Index
		if first == 0 {
			first = last
		}
	}
	return first, last
}

func testWatchTooOld(e *env) {
	first, last := e.overflow()
	_, err := e.store.Watch(e.ctx, storage.WatchOptions{Since: first})
	var compacted *storage.CompactedError
	if !errors.As(err, &compacted) {
		e.Fatalf("watch since %d: got error %v, want a *CompactedError", first, err)
	}
	if compacted.Since != first || compacted.Oldest <= first || compacted.Oldest > last {
		e.Errorf("compacted: got %+v, want since %d and the oldest in (%d, %d]", compacted, first, first, last)
	}
	// What it names can be had, and the one before cannot.
	e.until(e.watch(storage.WatchOptions{Since: compacted.Oldest}), last)
	if _, err := e.store.Watch(e.ctx, storage.WatchOptions{Since: compacted.Oldest - 1}); !errors.As(err, &compacted) {
		e.Errorf("watch since one before the oldest: got error %v, want a *CompactedError", err)
	}
}

func testSlowWatcher(e *env) {
	start := e.accept(e.put(pkg{name: e.name("p")})).Index
	w := e.watch(storage.WatchOptions{Since: start})
	e.overflow()
	_, index, err := w.Next(e.ctx)
	var compacted *storage.CompactedError
	if !errors.As(err, &compacted) || compacted.Since != start || index != start {
		e.Errorf("next of a watcher that fell behind: got index %d, error %v, want %d and a *CompactedError since it", index, err, start)
	}
}

func testClosed(e *env) {
	p := pkg{name: e.name("p")}
	e.accept(e.put(p))
	if err := e.closer().Close(); err != nil {
		e.Fatalf("close: %v", err)
	}
	if err := e.closer().Close(); err != nil {
		e.Errorf("close again: %v", err)
	}
	_, err := e.store.Apply(e.ctx, storage.Request{Command: e.put(p)})
	e.wantCode(err, model.CodeUnavailable)
	for _, consistency := range []storage.Consistency{storage.Linearizable, storage.Stale} {
		_, err := e.store.View(e.ctx, storage.ReadOptions{Consistency: consistency}, func(storage.Reader) error {
			e.Error("a closed store was viewed")
			return nil
		})
		e.wantCode(err, model.CodeUnavailable)
	}
	if _, err := e.store.Watch(e.ctx, storage.WatchOptions{}); !errors.Is(err, storage.ErrClosed) {
		e.Errorf("watch: got error %v, want %v", err, storage.ErrClosed)
	}
	if e.store.Status().Ready {
		e.Error("a closed store says that it is ready")
	}
}

// testClosedWhileWaiting closes the store under everything that waits in it.
func testClosedWhileWaiting(e *env) {
	e.accept(e.put(pkg{name: e.name("p")}))
	store := e.leader(e.T, e.store)
	w := e.watch(storage.WatchOptions{})
	led := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		if _, _, err := w.Next(e.ctx); !errors.Is(err, storage.ErrClosed) {
			e.Errorf("next: got error %v, want %v", err, storage.ErrClosed)
		}
	})
	done.Go(func() {
		_, err := e.store.View(e.ctx, storage.ReadOptions{Consistency: storage.Stale, MinIndex: 1 << 40}, func(storage.Reader) error { return nil })
		e.wantCode(err, model.CodeUnavailable)
	})
	if store == e.store {
		done.Go(func() {
			// The run ends with the store, and Lead after the run.
			over := false
			_ = store.Lead(e.ctx, func(ctx context.Context, _ uint64) {
				close(led)
				<-ctx.Done()
				over = true
			})
			if !over {
				e.Error("lead returned before its run")
			}
		})
		<-led
	}
	if err := e.closer().Close(); err != nil {
		e.Errorf("close: %v", err)
	}
	done.Wait()
}
