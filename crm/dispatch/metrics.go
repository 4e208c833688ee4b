package dispatch

import (
	"fmt"

	"github.com/VictoriaMetrics/metrics"

	"github.com/oprc/oprc-pm/model"
)

// dispatcherMetrics are the figures of the dispatcher. The gauges read the run
// that is on and are 0 on a node that does not lead.
type dispatcherMetrics struct {
	reconciles, errors, writes, rollbacks *metrics.Counter
}

func newDispatcherMetrics(set *metrics.Set, d *Dispatcher) *dispatcherMetrics {
	set.GetOrCreateGauge("oprc_crm_queue_depth", d.depth)
	for _, phase := range []model.UnitPhase{
		model.UnitPending, model.UnitDeploying, model.UnitRunning, model.UnitDown, model.UnitDeleting,
	} {
		set.GetOrCreateGauge(fmt.Sprintf(`oprc_crm_units{phase=%q}`, string(phase)), func() float64 { return d.phases(phase) })
	}
	return &dispatcherMetrics{
		reconciles: set.GetOrCreateCounter("oprc_crm_reconciles_total"),
		errors:     set.GetOrCreateCounter("oprc_crm_reconcile_errors_total"),
		writes:     set.GetOrCreateCounter("oprc_crm_records_total"),
		rollbacks:  set.GetOrCreateCounter("oprc_crm_rollbacks_total"),
	}
}
