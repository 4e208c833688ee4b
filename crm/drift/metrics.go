package drift

import (
	"sync/atomic"

	"github.com/VictoriaMetrics/metrics"
)

// figures are the metrics. The gauges are 0 on a node that does not lead.
type figures struct {
	ok, failed, unlisted   *metrics.Counter
	lost, changed, removed *metrics.Counter
	duration               *metrics.Histogram
	orphans, foreign       atomic.Int64
}

func newFigures(set *metrics.Set) *figures {
	f := &figures{
		ok:       set.GetOrCreateCounter(`oprc_drift_looks_total{outcome="ok"}`),
		failed:   set.GetOrCreateCounter(`oprc_drift_looks_total{outcome="failed"}`),
		unlisted: set.GetOrCreateCounter(`oprc_drift_looks_total{outcome="not_supported"}`),
		lost:     set.GetOrCreateCounter("oprc_drift_lost_units_total"),
		changed:  set.GetOrCreateCounter("oprc_drift_changed_units_total"),
		removed:  set.GetOrCreateCounter("oprc_drift_removed_orphans_total"),
		duration: set.GetOrCreateHistogram("oprc_drift_look_duration_seconds"),
	}
	set.GetOrCreateGauge("oprc_drift_orphan_units", func() float64 { return float64(f.orphans.Load()) })
	set.GetOrCreateGauge("oprc_drift_foreign_units", func() float64 { return float64(f.foreign.Load()) })
	return f
}
