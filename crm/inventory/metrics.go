package inventory

import "github.com/VictoriaMetrics/metrics"

type inventoryMetrics struct {
	loads, reloads, unreadable *metrics.Counter
}

func newMetrics(set *metrics.Set, i *Inventory) *inventoryMetrics {
	set.GetOrCreateGauge("oprc_inventory_index", func() float64 { return float64(i.included.Load()) })
	set.GetOrCreateGauge("oprc_inventory_clusters", func() float64 { return float64(i.current.Load().clusters.Len()) })
	set.GetOrCreateGauge("oprc_inventory_units", func() float64 { return float64(i.current.Load().units.Len()) })
	return &inventoryMetrics{
		loads:      set.GetOrCreateCounter("oprc_inventory_loads_total"),
		reloads:    set.GetOrCreateCounter("oprc_inventory_interruptions_total"),
		unreadable: set.GetOrCreateCounter("oprc_inventory_unreadable_documents_total"),
	}
}
