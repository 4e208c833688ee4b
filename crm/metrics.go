package crm

import (
	"fmt"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// clientMetrics are the figures of one cluster's client. Series are made when
// they are first needed: most pairs of call and class never occur, and there may
// be a thousand clusters. The labels are bounded by calls, classes and clusters.
type clientMetrics struct {
	set      *metrics.Set
	cluster  string
	duration *metrics.Histogram

	mu    sync.Mutex
	calls map[[2]string]*metrics.Counter
}

func newClientMetrics(set *metrics.Set, cluster string) *clientMetrics {
	return &clientMetrics{
		set: set, cluster: cluster, duration: set.GetOrCreateHistogram(durationName(cluster)),
		calls: map[[2]string]*metrics.Counter{},
	}
}

func durationName(cluster string) string {
	return fmt.Sprintf(`oprc_crm_call_duration_seconds{cluster=%q}`, cluster)
}

func callsName(cluster, call, class string) string {
	return fmt.Sprintf(`oprc_crm_calls_total{cluster=%q,call=%q,class=%q}`, cluster, call, class)
}

func (m *clientMetrics) observe(call string, class Class, took time.Duration) {
	m.counter(call, string(class)).Inc()
	m.duration.Update(took.Seconds())
}

func (m *clientMetrics) counter(call, class string) *metrics.Counter {
	m.mu.Lock()
	defer m.mu.Unlock()
	counter := m.calls[[2]string{call, class}]
	if counter == nil {
		counter = m.set.GetOrCreateCounter(callsName(m.cluster, call, class))
		m.calls[[2]string{call, class}] = counter
	}
	return counter
}

// forgetMetrics removes the series of a cluster that is gone.
func forgetMetrics(set *metrics.Set, cluster string) {
	set.UnregisterMetric(durationName(cluster))
	for _, call := range []string{CallHealth, CallDeploy, CallStatus, CallRecord, CallRecords, CallDelete, CallTopology} {
		for _, class := range []Class{ClassOK, ClassRetryable, ClassTerminal, ClassNotSupported, ClassFenced, ClassNotFound, ClassCanceled} {
			set.UnregisterMetric(callsName(cluster, call, string(class)))
		}
	}
}
