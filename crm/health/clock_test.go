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
				pass(5 * interval)
				w.want(nth(0), healthy)
				view, _ := w.inventory.Cluster(nth(0))
				if age := wall().Sub(*view.Health.Since); age < 0 || age > 6*interval {
					t.Errorf("healthy for: got %v by the clock that was set, want some intervals", age)
				}
			})
		})
	}
}
