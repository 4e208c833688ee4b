package backups

import (
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// Names of the metrics of this package; docs/metrics.md describes them.
const (
	metricRuns        = "oprc_backup_runs_total"
	metricRemoved     = "oprc_backup_removed_total"
	metricSeconds     = "oprc_backup_seconds"
	metricLastSuccess = "oprc_backup_last_success_seconds"
	metricLastSize    = "oprc_backup_last_size_bytes"
)

type managerMetrics struct {
	ok, failed, removed *metrics.Counter
	seconds             *metrics.Histogram
	lastSuccess, size   atomic.Int64
}

func newManagerMetrics(set *metrics.Set) *managerMetrics {
	if set == nil {
		set = metrics.NewSet()
	}
	m := &managerMetrics{
		ok:      set.NewCounter(metricRuns + `{result="ok"}`),
		failed:  set.NewCounter(metricRuns + `{result="failed"}`),
		removed: set.NewCounter(metricRemoved),
		seconds: set.NewHistogram(metricSeconds),
	}
	set.NewGauge(metricLastSuccess, func() float64 { return float64(m.lastSuccess.Load()) })
	set.NewGauge(metricLastSize, func() float64 { return float64(m.size.Load()) })
	return m
}

func (m *managerMetrics) count(err error, size int64, at time.Time, took time.Duration) {
	m.seconds.Update(took.Seconds())
	if err != nil {
		m.failed.Inc()
		return
	}
	m.ok.Inc()
	m.lastSuccess.Store(at.Unix())
	m.size.Store(size)
}
