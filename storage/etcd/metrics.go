package etcd

import (
	"slices"

	"github.com/VictoriaMetrics/metrics"
)

type storeMetrics struct {
	set *metrics.Set
	// own are the names that this store registered.
	own           []string
	commitSeconds *metrics.Histogram
	readSeconds   *metrics.Histogram
	entryOps      *metrics.Histogram
	conflicts     *metrics.Counter
	retries       *metrics.Counter
	reloads       *metrics.Counter
	foreign       *metrics.Counter
	adopted       *metrics.Counter
	turns         *metrics.Counter
}

func newStoreMetrics(set *metrics.Set, s *Store) *storeMetrics {
	if set == nil {
		set = metrics.NewSet()
	}
	before := set.ListMetricNames()
	set.NewGauge("oprc_etcd_applied_index", func() float64 { return float64(s.current.Load().head.Index) })
	set.NewGauge("oprc_etcd_keys_count", func() float64 { return float64(s.current.Load().tree.Len()) })
	set.NewGauge("oprc_etcd_last_contact_seconds", func() float64 { return s.lastContact().Seconds() })
	set.NewGauge("oprc_etcd_is_leader", func() float64 {
		if s.leading.Load() != 0 {
			return 1
		}
		return 0
	})
	m := &storeMetrics{
		set:           set,
		commitSeconds: set.NewHistogram("oprc_etcd_commit_seconds"),
		readSeconds:   set.NewHistogram("oprc_etcd_read_index_seconds"),
		entryOps:      set.NewHistogram("oprc_etcd_entry_operations_count"),
		conflicts:     set.NewCounter("oprc_etcd_conflicts_total"),
		retries:       set.NewCounter("oprc_etcd_retries_total"),
		reloads:       set.NewCounter("oprc_etcd_reloads_total"),
		foreign:       set.NewCounter("oprc_etcd_foreign_changes_total"),
		adopted:       set.NewCounter("oprc_etcd_adopted_documents_total"),
		turns:         set.NewCounter("oprc_etcd_turns_total"),
	}
	m.own = slices.DeleteFunc(set.ListMetricNames(), func(name string) bool { return slices.Contains(before, name) })
	return m
}

// unregister makes room for the next store on the same set.
func (m *storeMetrics) unregister() {
	for _, name := range m.own {
		m.set.UnregisterMetric(name)
	}
}
