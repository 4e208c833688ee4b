package inventory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/VictoriaMetrics/metrics"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// forgetfulStore can tell its watchers that what they wait for is not kept any
// more, and can fail.
type forgetfulStore struct {
	Store
	// forget cuts each watcher at its next look when it is ahead of what the
	// watcher has seen.
	forget  atomic.Uint64
	failing atomic.Int32
	watches atomic.Int32
}

func (s *forgetfulStore) View(ctx context.Context, opts storage.ReadOptions, fn func(storage.Reader) error) (storage.ReadInfo, error) {
	if s.failing.Add(-1) >= 0 {
		return storage.ReadInfo{}, model.Errorf(model.CodeUnavailable, "not now")
	}
	return s.Store.View(ctx, opts, fn)
}

func (s *forgetfulStore) Watch(ctx context.Context, opts storage.WatchOptions) (storage.Watcher, error) {
	watcher, err := s.Store.Watch(ctx, opts)
	s.watches.Add(1)
	return &forgetfulWatcher{Watcher: watcher, store: s, from: s.forget.Load()}, err
}

type forgetfulWatcher struct {
	storage.Watcher
	store *forgetfulStore
	from  uint64
}

func (w *forgetfulWatcher) Next(ctx context.Context) ([]storage.Event, uint64, error) {
	events, index, err := w.Watcher.Next(ctx)
	if forgotten := w.store.forget.Load(); forgotten > w.from {
		return nil, index, &storage.CompactedError{Since: index, Oldest: forgotten}
	}
	return events, index, err
}

// forgetful runs an inventory over a store that forgets.
func forgetful(t *testing.T, w *world, failing int32, set *metrics.Set) (*Inventory, *forgetfulStore) {
	store := &forgetfulStore{Store: w.Store}
	store.failing.Store(failing)
	i := New(store, nil, set)
	runInventory(t, i)
	return i, store
}

func TestLoadsMoreThanAPage(t *testing.T) {
	t.Parallel()
	const clusters = 2*pageSize + 3
	w := newWorld(t, func(w *world) {
		for n := range clusters {
			w.must(putCluster(w, named("c", n), nil))
			w.must(health(named("c", n), model.ClusterHealthy, nil))
		}
	})
	views := w.inventory.Clusters()
	if len(views) != clusters {
		t.Fatalf("got %d clusters, want %d", len(views), clusters)
	}
	for n, view := range views {
		if view.Spec.Name != named("c", n) || view.Health.Status != model.ClusterHealthy {
			t.Fatalf("cluster %d: got %s, %s, want %s, Healthy", n, view.Spec.Name, view.Health.Status, named("c", n))
		}
	}
}

func TestLoadsWhileOthersWrite(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) {
		w.must(putPackage(w, "shop", classNames...))
		for n := range pageSize {
			w.must(putCluster(w, named("c", n), nil))
		}
	})
	var wg sync.WaitGroup
	wg.Go(func() {
		c := chaos{t, rand.New(rand.NewPCG(1, 2))}
		for range 600 {
			w.apply(c.command())
		}
	})
	var late []*Inventory
	for range 5 {
		i := New(w.Store, nil, nil)
		runInventory(t, i)
		<-i.Ready()
		late = append(late, i)
	}
	wg.Wait()
	want, index := scan(t, w.Store)
	for _, i := range late {
		if err := i.WaitFor(t.Context(), index); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, ask(i)); diff != "" {
			t.Errorf("scan -, inventory +:\n%s", diff)
		}
	}
}

func TestReloadsWhenItFellBehind(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shop)
	set := metrics.NewSet()
	i, store := forgetful(t, w, 0, set)
	<-i.Ready()
	var mu sync.Mutex
	var changes []string
	defer i.Subscribe(func(c Change) {
		mu.Lock()
		defer mu.Unlock()
		changes = append(changes, fmt.Sprintf("%s %t %t", c.Cluster, c.Before != nil, c.After != nil))
	})()
	clusterNamesBefore := len(i.Clusters())
	store.forget.Store(1)
	w.must(storage.DeleteCluster{Name: "c"})
	w.must(putCluster(t, "d", nil))
	w.must(health("a", model.ClusterHealthy, nil))
	wantTruth(t, i, w.Store)
	mu.Lock()
	defer mu.Unlock()
	if got, want := store.watches.Load(), int32(2); got != want {
		t.Errorf("streams opened: got %d, want %d", got, want)
	}
	if len(i.Clusters()) != clusterNamesBefore {
		t.Errorf("got %d clusters, want %d", len(i.Clusters()), clusterNamesBefore)
	}
	if want := []string{"a true true", "c true false", "d false true"}; cmp.Diff(want, changes) != "" {
		t.Errorf("changes told of: got %v, want only what differs: %v", changes, want)
	}
	if got := set.GetOrCreateCounter("oprc_inventory_interruptions_total").Get(); got != 1 {
		t.Errorf("interruptions: got %d, want 1", got)
	}
}

func TestTriesAgainWhileTheStoreDoesNotAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shop)
	i, store := forgetful(t, w, 2, nil)
	<-i.Ready()
	if got, want := store.watches.Load(), int32(3); got != want {
		t.Errorf("tries: got %d, want %d", got, want)
	}
	wantTruth(t, i, w.Store)
}

func TestWaitForAnIndexThatChangesNothingHere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shop)
	index := w.must(storage.Barrier{})
	if err := w.inventory.WaitFor(t.Context(), index); err != nil {
		t.Errorf("an entry without events: %v", err)
	}
	index = w.must(putPackage(t, "other", "X"))
	if err := w.inventory.WaitFor(t.Context(), index); err != nil {
		t.Errorf("an entry of another kind: %v", err)
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if err := w.inventory.WaitFor(t.Context(), w.must(putPackage(t, "other", "X"))); err != nil {
				t.Errorf("many at once: %v", err)
			}
		})
	}
	wg.Wait()
}

func TestWaitForGivesUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err := w.inventory.WaitFor(ctx, 1000)
	var refusal *model.Error
	if !errors.As(err, &refusal) || refusal.Code != model.CodeUnavailable {
		t.Errorf("got %v, want unavailable", err)
	}
	idle := New(w.Store, nil, nil)
	index := w.must(storage.Barrier{})
	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := idle.WaitFor(ctx, index); !errors.As(err, &refusal) || refusal.Code != model.CodeUnavailable {
		t.Errorf("an inventory that does not run: got %v, want unavailable", err)
	}
}

func TestSubscribersAreToldInOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	var told []string
	cancel := w.inventory.Subscribe(func(c Change) {
		text := c.Cluster
		if c.Before != nil {
			text += fmt.Sprintf(" was %s %t", c.Before.Health.Status, c.Before.Spec.Cordoned)
		}
		if c.After != nil {
			text += fmt.Sprintf(" is %s %t", c.After.Health.Status, c.After.Spec.Cordoned)
			if now, known := w.inventory.Cluster(c.Cluster); !known || now.Health.Status != c.After.Health.Status {
				text += ", but readers do not see it"
			}
		}
		told = append(told, text)
	})
	step := func(command storage.Command) {
		w.must(command)
		w.sync()
	}
	step(putCluster(t, "a", nil))
	step(health("a", model.ClusterHealthy, nil))
	step(putCluster(t, "a", func(c *model.Cluster) { c.Cordoned = true }))
	step(putPackage(t, "shop", "Cart"))
	step(putDeployment(t, "cart", "shop", "Cart"))
	step(record("cart", unit("cart", "a", "u1", "", model.UnitPending)))
	step(storage.DeleteCluster{Name: "a", Force: true})
	want := []string{
		"a is Unknown false",
		"a was Unknown false is Healthy false",
		"a was Healthy false is Healthy true",
		"a was Healthy true",
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	cancel()
	step(putCluster(t, "b", nil))
	if len(told) != len(want) {
		t.Errorf("after cancel: got %v", told[len(want):])
	}
}

func TestUnreadableDocumentIsToldOfAndLeftOut(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	set := metrics.NewSet()
	i := New(nil, slog.New(slog.NewTextHandler(&log, nil)), set)
	s := newSnapshot()
	good := unit("cart", "a", "u1", "", model.UnitRunning)
	document := fmt.Sprintf(`{"id":%q,"phase":"RUNNING"}`, good.ID)
	i.put(s, storage.KindUnit, "cart/a/u1", []byte(document), time.Time{})
	for _, kind := range kinds {
		i.put(s, kind, "cart", []byte(`{"resource`), time.Time{})
	}
	i.put(s, storage.KindUnit, "cart/a/u1", []byte("["), time.Time{})
	i.put(s, storage.KindUnit, "cart", []byte(document), time.Time{})
	if s.units.Len() != 0 || s.clusters.Len() != 0 || s.classes.Len() != 0 || s.counts.Len() != 0 {
		t.Errorf("got %d units, %d clusters, %d classes, want none", s.units.Len(), s.clusters.Len(), s.classes.Len())
	}
	if got, want := set.GetOrCreateCounter("oprc_inventory_unreadable_documents_total").Get(), uint64(6); got != want {
		t.Errorf("unreadable documents: got %d, want %d", got, want)
	}
	if !strings.Contains(log.String(), "key=cart/a/u1") {
		t.Errorf("log: got %s, want the key", log.String())
	}
}

func TestRunEndsWithTheStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	i := New(w.Store, nil, nil)
	ended := make(chan error, 1)
	var wg sync.WaitGroup
	wg.Go(func() { ended <- i.Run(context.Background()) })
	<-i.Ready()
	w.Store.Close()
	if err := <-ended; !errors.Is(err, storage.ErrClosed) {
		t.Errorf("got %v, want that the store is closed", err)
	}
	wg.Wait()
}
