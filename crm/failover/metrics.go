package failover

import "github.com/VictoriaMetrics/metrics"

// figures are the metrics. The gauges are 0 on a node that does not lead.
type figures struct {
	braked, waiting, held             *metrics.Gauge
	evictions, drains                 *metrics.Counter
	readmissions, withdrawn, failures *metrics.Counter
}

func newFigures(set *metrics.Set) *figures {
	return &figures{
		braked:       set.GetOrCreateGauge("oprc_failover_braked", nil),
		waiting:      set.GetOrCreateGauge("oprc_failover_waiting_moves", nil),
		held:         set.GetOrCreateGauge("oprc_failover_held_moves", nil),
		evictions:    set.GetOrCreateCounter(`oprc_failover_evictions_total{reason="Failover"}`),
		drains:       set.GetOrCreateCounter(`oprc_failover_evictions_total{reason="Drain"}`),
		readmissions: set.GetOrCreateCounter("oprc_failover_readmissions_total"),
		withdrawn:    set.GetOrCreateCounter("oprc_failover_withdrawn_evictions_total"),
		failures:     set.GetOrCreateCounter("oprc_failover_event_errors_total"),
	}
}

// show sets the gauges to what was decided.
func (f *figures) show(d Decisions) {
	on, waiting := 0.0, 0
	if d.Memory.Brake.On {
		on = 1
	}
	for _, count := range d.Waiting {
		waiting += count
	}
	f.braked.Set(on)
	f.waiting.Set(float64(waiting))
	f.held.Set(float64(d.Held))
}

// rest sets the gauges to what a node shows that does not lead.
func (f *figures) rest() {
	f.braked.Set(0)
	f.waiting.Set(0)
	f.held.Set(0)
}
