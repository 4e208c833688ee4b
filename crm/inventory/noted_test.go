package inventory

import (
	"testing"
	"time"

	"github.com/oprc/oprc-pm/model"
)

// TestBeginningOfAStatusIsNotedByTheOwnClock: whoever recorded it may have had a
// clock that was wrong.
func TestBeginningOfAStatusIsNotedByTheOwnClock(t *testing.T) {
	t.Parallel()
	since := func(at time.Time) func(*model.ClusterHealth) {
		return func(h *model.ClusterHealth) { h.Since = &at }
	}
	w := newWorld(t, func(w *world) {
		shop(w)
		w.must(health("a", model.ClusterUnhealthy, since(noon)))
	})
	noted := func(name string) time.Time {
		t.Helper()
		w.sync()
		view, _ := w.inventory.Cluster(name)
		return view.Noted
	}
	if got := noted("a"); !got.IsZero() {
		t.Errorf("a status that is older than the inventory: got it noted at %v, want not at all", got)
	}
	w.must(health("a", model.ClusterUnhealthy, func(h *model.ClusterHealth) { since(noon)(h); h.Circuit = model.CircuitOpen }))
	if got := noted("a"); !got.IsZero() {
		t.Errorf("another circuit: got the status noted at %v, want not at all", got)
	}
	begun := time.Now()
	w.must(health("a", model.ClusterHealthy, since(noon.Add(time.Hour))))
	first := noted("a")
	if first.Before(begun) || first.After(time.Now()) {
		t.Errorf("another status: got it noted at %v, want now, %v", first, begun)
	}
	w.must(health("a", model.ClusterHealthy, func(h *model.ClusterHealth) { since(noon.Add(time.Hour))(h); h.NodeCount = pointer(uint32(3)) }))
	w.must(putCluster(t, "a", func(c *model.Cluster) { c.Cordoned = true }))
	if got := noted("a"); !got.Equal(first) {
		t.Errorf("the same status: got it noted at %v, want still %v", got, first)
	}
	w.must(health("a", model.ClusterHealthy, since(noon.Add(2*time.Hour))))
	if got := noted("a"); !got.After(first) {
		t.Errorf("the same status from another time on: got it noted at %v, want after %v", got, first)
	}
}

func TestReloadForgetsNoBeginnings(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shop)
	i, store := forgetful(t, w, 0, nil)
	<-i.Ready()
	w.must(health("a", model.ClusterUnhealthy, nil))
	wantTruth(t, i, w.Store)
	before, _ := i.Cluster("a")
	if before.Noted.IsZero() {
		t.Fatal("the status was not noted")
	}
	store.forget.Store(1)
	w.must(health("b", model.ClusterUnhealthy, nil))
	wantTruth(t, i, w.Store)
	after, _ := i.Cluster("a")
	if !after.Noted.Equal(before.Noted) || store.watches.Load() != 2 {
		t.Errorf("got it noted at %v after %d loads, want %v after 2", after.Noted, store.watches.Load(), before.Noted)
	}
}
