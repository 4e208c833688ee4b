package health

import (
	"fmt"

	"github.com/VictoriaMetrics/metrics"

	"github.com/oprc/oprc-pm/model"
)

// monitorMetrics are the figures of a monitor. Those by cluster exist only while
// this node leads and the cluster does.
type monitorMetrics struct {
	set             *metrics.Set
	probes          map[outcome]*metrics.Counter
	duration, lag   *metrics.Histogram
	opened, records *metrics.Counter
}

func newMetrics(set *metrics.Set) *monitorMetrics {
	m := &monitorMetrics{
		set:      set,
		probes:   map[outcome]*metrics.Counter{},
		duration: set.GetOrCreateHistogram("oprc_crm_probe_duration_seconds"),
		lag:      set.GetOrCreateHistogram("oprc_crm_probe_lag_seconds"),
		opened:   set.GetOrCreateCounter("oprc_crm_circuit_opens_total"),
		records:  set.GetOrCreateCounter("oprc_crm_health_records_total"),
	}
	for o, result := range map[outcome]string{answered: "answered", missed: "missed", refused: "refused", unusable: "unusable"} {
		m.probes[o] = set.GetOrCreateCounter(fmt.Sprintf(`oprc_crm_probes_total{result=%q}`, result))
	}
	return m
}

func (m *monitorMetrics) probed(o observation) {
	m.probes[o.outcome].Inc()
	m.duration.Update(o.took.Seconds())
}

// circuitLevel orders the states of a circuit.
var circuitLevel = map[string]float64{"": 0, model.CircuitClosed: 0, model.CircuitHalfOpen: 1, model.CircuitOpen: 2}

func statusName(cluster string) string {
	return fmt.Sprintf(`oprc_crm_cluster_status{cluster=%q}`, cluster)
}

func circuitName(cluster string) string {
	return fmt.Sprintf(`oprc_crm_cluster_circuit{cluster=%q}`, cluster)
}

// show publishes a cluster's state.
func (m *monitorMetrics) show(cluster string, s *state) {
	m.set.GetOrCreateGauge(statusName(cluster), nil).Set(float64(severity[s.health.Status]))
	m.set.GetOrCreateGauge(circuitName(cluster), nil).Set(circuitLevel[s.circuit])
}

// hide takes back what show published.
func (m *monitorMetrics) hide(cluster string) {
	m.set.UnregisterMetric(statusName(cluster))
	m.set.UnregisterMetric(circuitName(cluster))
}
