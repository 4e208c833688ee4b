package failover

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// TestWallClockThatJumps: neither the toleration nor the recovery is over sooner
// or later because somebody set a clock.
func TestWallClockThatJumps(t *testing.T) {
	for _, jump := range []time.Duration{time.Hour, -time.Hour} {
		t.Run(jump.String(), func(t *testing.T) {
			inBubble(t, func(_ *testing.T, w *world) {
				offset := time.Duration(0)
				var mu sync.Mutex
				w.now = func() time.Time {
					mu.Lock()
					defer mu.Unlock()
					return time.Now().Round(0).Add(offset)
				}
				w.fits = true
				w.deploy("opted", optIn(), "c0")
				defer w.lead(1)()
				w.pass(time.Minute)
				w.health("c0", model.ClusterUnhealthy)
				w.pass(time.Minute)
				mu.Lock()
				offset = jump
				mu.Unlock()
				w.health("c1", model.ClusterDegraded) // something changes: it is decided again
				w.pass(w.cfg.Toleration - time.Minute - time.Second)
				w.expect("before the toleration is over", w.heard(), nil)
				w.pass(2 * time.Second)
				w.expect("after it", w.heard(), named("evict opted from c0: Failover"))
				w.health("c0", model.ClusterHealthy)
				w.pass(w.cfg.Recovery - time.Second)
				w.expect("while it must be stable", w.heard(), nil)
				w.pass(2 * time.Second)
				w.expect("once it is", w.heard(), named("readmit opted to c0"))
			})
		})
	}
}

// TestNextLeaderWithAnotherClock: a node that saw a cluster become unhealthy
// knows for how long it has been, whatever the clocks of the two say.
func TestNextLeaderWithAnotherClock(t *testing.T) {
	for _, difference := range []time.Duration{time.Hour, -time.Hour} {
		t.Run(difference.String(), func(t *testing.T) {
			inBubble(t, func(_ *testing.T, w *world) {
				w.deploy("opted", optIn(), "c0")
				stop := w.lead(1)
				w.health("c0", model.ClusterUnhealthy)
				w.pass(w.cfg.Toleration - time.Minute)
				stop()
				w.now = func() time.Time { return time.Now().Round(0).Add(difference) }
				defer w.lead(2)()
				w.pass(59 * time.Second)
				w.expect("before the toleration is over", w.heard(), nil)
				w.pass(2 * time.Second)
				w.expect("after it", w.heard(), named("evict opted from c0: Failover"))
			})
		})
	}
}

// TestNobodyLedForAWhile: what was recorded then has to be found again before
// anybody is moved, in either direction, for it.
func TestNobodyLedForAWhile(t *testing.T) {
	inBubble(t, func(_ *testing.T, w *world) {
		w.cfg.Relook = 30 * time.Second
		w.deploy("opted", optIn(), "c0")
		w.deploy("away", optIn(), "c1")
		w.observe("away", []model.AvoidedCluster{{Cluster: "c2", Reason: model.AvoidFailover, Since: time.Now().UTC()}})
		w.health("c0", model.ClusterUnhealthy)
		w.pass(time.Hour)
		stop := w.lead(1)
		w.pass(w.cfg.Relook - time.Second)
		w.expect("while nothing was looked at again", w.heard(), nil)
		w.health("c0", model.ClusterHealthy) // it had recovered meanwhile
		w.pass(2 * time.Second)
		w.expect("who left another one", w.heard(), named("readmit away to c2"))
		w.pass(time.Hour)
		stop()
		w.heard()

		w.health("c0", model.ClusterUnhealthy)
		w.pass(time.Hour)
		defer w.lead(2)()
		w.pass(w.cfg.Relook - time.Second)
		w.expect("while it was not confirmed", w.heard(), named())
		w.pass(2 * time.Second)
		w.expect("once it was", w.heard(), named("evict opted from c0: Failover", "readmit away to c2"))
	})
}

// TestShortTolerationAndTheBrake: clusters that are lost at the same moment are
// not found lost at the same moment.
func TestShortTolerationAndTheBrake(t *testing.T) {
	inBubble(t, func(_ *testing.T, w *world) {
		zero := model.Duration("0s")
		w.cfg.Confirm = 30 * time.Second
		for n := range 10 {
			w.deploy(fmt.Sprintf("d%d", n), &model.Failover{Enabled: true, Toleration: &zero}, fmt.Sprintf("c%d", n))
		}
		defer w.lead(1)()
		w.pass(time.Hour)
		for n := range 6 {
			w.health(fmt.Sprintf("c%d", n), model.ClusterUnhealthy)
			w.pass(5 * time.Second)
		}
		w.pass(time.Hour)
		w.expect("with most of them lost", w.heard(), nil)
		w.expect("events", w.events(), named("Alarm cluster/* FailoverBraked"))
	})
}

// pausingStore cuts off watchers and makes reading slow, both on demand.
type pausingStore struct {
	Store

	mu       sync.Mutex
	cut      context.CancelFunc
	readSlow bool
}

func (s *pausingStore) Watch(ctx context.Context, opts storage.WatchOptions) (storage.Watcher, error) {
	watcher, err := s.Store.Watch(ctx, opts)
	if err != nil {
		return nil, err
	}
	cut, cancel := context.WithCancel(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut = cancel
	return cutWatcher{watcher, cut, cancel}, nil
}

func (s *pausingStore) View(ctx context.Context, opts storage.ReadOptions, fn func(storage.Reader) error) (storage.ReadInfo, error) {
	s.mu.Lock()
	slow := s.readSlow
	s.mu.Unlock()
	if slow {
		<-time.After(5 * time.Second)
	}
	return s.Store.View(ctx, opts, fn)
}

// behind has the watchers told that they fell behind, with reads being slow.
func (s *pausingStore) behind() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readSlow = true
	s.cut()
}

type cutWatcher struct {
	storage.Watcher
	cut  context.Context
	stop context.CancelFunc
}

func (w cutWatcher) Next(ctx context.Context) ([]storage.Event, uint64, error) {
	defer context.AfterFunc(ctx, w.stop)()
	events, index, err := w.Watcher.Next(w.cut)
	if err != nil && ctx.Err() == nil {
		err = &storage.CompactedError{}
	}
	return events, index, err
}

func (w cutWatcher) Close() { w.stop(); w.Watcher.Close() }

// TestReadingAgainIsNoNews: while the deployments are read again they do not look
// as if they were gone.
func TestReadingAgainIsNoNews(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.deploy("opted", optIn(), "c0")
		store := &pausingStore{Store: w.store}
		w.through = store
		defer w.lead(1)()
		w.health("c0", model.ClusterUnhealthy)
		w.pass(w.cfg.Toleration + time.Second)
		w.expect("after the toleration", w.heard(), named("evict opted from c0: Failover"))
		w.pass(firstPatience + time.Second)
		w.expect("in vain", w.heard(), named("evict opted from c0: Failover"))
		store.behind()
		w.health("c1", model.ClusterDegraded) // something changes: it is decided again
		w.pass(time.Second)
		w.expect("while deployments are read", w.heard(), nil)
		w.pass(6 * time.Second)
		w.expect("once they were", w.heard(), nil)
		w.expect("events", w.events(), named("Warning cluster/c0 FailoverStarted"))
	})
}
