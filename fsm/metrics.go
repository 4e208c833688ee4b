package fsm

import (
	"github.com/VictoriaMetrics/metrics"

	"github.com/oprc/oprc-pm/storage"
)

// Names of the metrics of this package; docs/metrics.md describes them.
const (
	metricCommands = "oprc_fsm_commands_total"
	metricApplied  = "oprc_fsm_applied_index"
	metricFileSize = "oprc_fsm_state_file_bytes"
)

type fsmMetrics struct {
	set                            *metrics.Set
	accepted, rejected, duplicates *metrics.Counter
}

func (m *fsmMetrics) register(set *metrics.Set, f *FSM) {
	if set == nil {
		set = metrics.NewSet()
	}
	m.set = set
	m.accepted = set.NewCounter(metricCommands + `{result="accepted"}`)
	m.rejected = set.NewCounter(metricCommands + `{result="rejected"}`)
	m.duplicates = set.NewCounter(metricCommands + `{result="duplicate"}`)
	set.NewGauge(metricApplied, func() float64 { return float64(f.AppliedIndex()) })
	set.NewGauge(metricFileSize, func() float64 { return float64(f.db.Size()) })
}

func (m *fsmMetrics) unregister() {
	for _, result := range []string{"accepted", "rejected", "duplicate"} {
		m.set.UnregisterMetric(metricCommands + `{result="` + result + `"}`)
	}
	m.set.UnregisterMetric(metricApplied)
	m.set.UnregisterMetric(metricFileSize)
}

func (m *fsmMetrics) count(results []storage.Result) {
	for _, r := range results {
		switch {
		case r.Duplicate:
			m.duplicates.Inc()
		case r.Code != "":
			m.rejected.Inc()
		default:
			m.accepted.Inc()
		}
	}
}
