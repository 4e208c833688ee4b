package health

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/model"
)

// TestWallClockThatJumps: what is damped is damped as long as it is meant to be,
// and what is recorded tells the time that people's clocks show.
func TestWallClockThatJumps(t *testing.T) {
	t.Parallel()
	for _, jump := range []time.Duration{time.Hour, -time.Hour} {
		t.Run(jump.String(), func(t *testing.T) {
			t.Parallel()
			var offset atomic.Int64
			wall := func() time.Time { return time.Now().Round(0).Add(time.Duration(offset.Load())) }
			inWorld(t, func(_ *Config, deps *Deps) { deps.Now = wall }, 1, func(w *world) {
				defer w.lead()()
				interval := w.monitor.cfg.Interval
				pass(3 * interval)
				withoutNodes := func(context.Context) (model.ClusterHealth, error) { return empty.report, nil }
				for range 2 {
					w.crm(nth(0)).become(withoutNodes)
					pass(interval * 3 / 2)
					w.crm(nth(0)).become(well)
					pass(interval * 5 / 2)
				}
				w.want(nth(0), "Unhealthy/Flapping/closed")
				offset.Store(int64(jump))
				pass(2 * interval)
				w.want(nth(0), "Unhealthy/Flapping/closed")
				pass(15 * interval)
				w.want(nth(0), healthy)
				view, _ := w.inventory.Cluster(nth(0))
				if age := wall().Sub(*view.Health.Since); age < 0 || age > 16*interval {
					t.Errorf("healthy for: got %v by the clock that was set, want some intervals", age)
				}
			})
		})
	}
}

// TestConfirm: with the defaults a cluster that refuses is lost after three probes,
// one that hangs is under suspicion after two.
func TestConfirm(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		threshold       int
		relook, confirm time.Duration
	}{
		{5, 27600 * time.Millisecond, 9600 * time.Millisecond},
		{3, 27600 * time.Millisecond, 18600 * time.Millisecond},
		{1, 27600 * time.Millisecond, 27600 * time.Millisecond},
		{20, 27600 * time.Millisecond, 5 * time.Second},
	} {
		cfg := DefaultConfig()
		cfg.FailureThreshold = test.threshold
		if got := cfg.Relook(); got != test.relook {
			t.Errorf("threshold %d: got a second look within %v, want %v", test.threshold, got, test.relook)
		}
		if got := cfg.Confirm(); got != test.confirm {
			t.Errorf("threshold %d: got confirmation within %v, want %v", test.threshold, got, test.confirm)
		}
	}
}

// TestClustersLostTogetherShowTogether: when the first of them is lost and confirmed,
// the others are at least under suspicion, whatever the way in which they fail.
func TestClustersLostTogetherShowTogether(t *testing.T) {
	t.Parallel()
	for seed := range 20 {
		oftenAsked := func(cfg *Config, _ *Deps) {
			if seed%2 == 0 {
				cfg.Interval, cfg.FailureThreshold = time.Second, 3 // less than the time-out
			}
		}
		inWorld(t, oftenAsked, 10, func(w *world) {
			defer w.lead()()
			pass(time.Minute + time.Duration(seed)*time.Second)
			w.crm(nth(0)).become(refuses)
			for n := 1; n < 6; n++ {
				w.crm(nth(n)).become(hangs)
			}
			for w.recorded(nth(0)) != lost {
				pass(50 * time.Millisecond)
			}
			pass(w.monitor.cfg.Confirm())
			for n := 1; n < 6; n++ {
				if got := w.recorded(nth(n)); got != lost && got != "Degraded/ProbeFailed/closed" {
					t.Errorf("%s: got %s, want it under suspicion", nth(n), got)
				}
			}
		})
	}
}
