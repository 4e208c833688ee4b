package storagetest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

var viewTests = []storeTest{
	{"view/ok_sees_own_writes", testViewOwnWrites},
	{"view/ok_min_index_waits", testViewWaits},
	{"view/err_min_index_and_ctx", testViewGivesUp},
	{"view/ok_is_consistent", testViewConsistent},
	{"view/err_of_fn", testViewError},
	{"status/ok", testStatus},
}

func testViewOwnWrites(e *env) {
	p := pkg{name: e.name("p")}
	for i, consistency := range []storage.Consistency{storage.Linearizable, storage.Lease, storage.Stale} {
		p.version = string(rune('a' + i))
		result := e.accept(e.put(p))
		ctx, cancel := e.step()
		info, err := e.store.View(ctx, storage.ReadOptions{Consistency: consistency, MinIndex: result.Index}, func(r storage.Reader) error {
			doc, err := r.Get(storage.PackageKey(p.name))
			if got := storage.ResourceVersion(doc); got != result.ResourceVersion {
				e.Errorf("consistency %d: got version %d, want %d", consistency, got, result.ResourceVersion)
			}
			return err
		})
		cancel()
		if err != nil || info.Index < result.Index {
			e.Errorf("consistency %d: got %+v, %v, want at least index %d", consistency, info, err, result.Index)
		}
	}
}

func testViewWaits(e *env) {
	p := pkg{name: e.name("p")}
	before := e.view(func(storage.Reader) error { return nil })
	reached := make(chan error, 1)
	var done sync.WaitGroup
	done.Go(func() {
		ctx, cancel := e.step()
		defer cancel()
		info, err := e.store.View(ctx, storage.ReadOptions{Consistency: storage.Stale, MinIndex: before.Index + 1}, func(storage.Reader) error { return nil })
		if err == nil && info.Index <= before.Index {
			err = errors.New("the view is too old")
		}
		reached <- err
	})
	e.accept(e.put(p))
	done.Wait()
	if err := <-reached; err != nil {
		e.Errorf("view that waits for index %d: %v", before.Index+1, err)
	}
}

func testViewGivesUp(e *env) {
	before := e.view(func(storage.Reader) error { return nil })
	ctx, cancel := context.WithTimeout(e.ctx, 20*time.Millisecond)
	defer cancel()
	_, err := e.store.View(ctx, storage.ReadOptions{Consistency: storage.Stale, MinIndex: before.Index + 1_000_000}, func(storage.Reader) error {
		e.Error("view of an index that is far ahead was opened")
		return nil
	})
	e.wantCode(err, model.CodeUnavailable)
}

func testViewConsistent(e *env) {
	p := pkg{name: e.name("p"), version: "1"}
	e.accept(e.put(p))
	p.version = "2"
	change := e.put(p)
	e.view(func(r storage.Reader) error {
		first, err := r.Get(storage.PackageKey(p.name))
		if err != nil {
			return err
		}
		version := storage.ResourceVersion(first)
		e.accept(change)
		second, err := r.Get(storage.PackageKey(p.name))
		if got := storage.ResourceVersion(second); got != version {
			e.Errorf("the view changed: got version %d, want %d", got, version)
		}
		return err
	})
	same(e, "generation", 2, e.stamp(storage.PackageKey(p.name)).Generation)
}

func testViewError(e *env) {
	broken := errors.New("broken")
	ctx, cancel := e.step()
	defer cancel()
	if _, err := e.store.View(ctx, storage.ReadOptions{}, func(storage.Reader) error { return broken }); !errors.Is(err, broken) {
		e.Errorf("view: got error %v, want %v", err, broken)
	}
}

func testStatus(e *env) {
	result := e.accept(e.put(pkg{name: e.name("p")}))
	status := e.store.Status()
	if status.AppliedIndex < result.Index || status.NodeID == "" || status.ClusterID == "" || status.LeaderID == "" || status.Term == 0 {
		e.Errorf("status: got %+v, want ids, a term and at least index %d", status, result.Index)
	}
	e.eventually("ready", func(context.Context) bool { return e.store.Status().Ready })
}
