package crm

import (
	"fmt"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// clientMetrics are the figures of one cluster's client. All names are made
// when the client is, so the labels are bounded by the configuration.
type clientMetrics struct {
	calls    map[string]map[Class]*metrics.Counter
	duration *metrics.Histogram
}

func newClientMetrics(set *metrics.Set, cluster string) *clientMetrics {
	m := &clientMetrics{
		calls:    map[string]map[Class]*metrics.Counter{},
		duration: set.GetOrCreateHistogram(fmt.Sprintf(`oprc_crm_call_duration_seconds{cluster=%q}`, cluster)),
	}
	for _, call := range []string{callHealth, callDeploy, callStatus, callRecord, callRecords, callDelete} {
		m.calls[call] = map[Class]*metrics.Counter{}
		for _, class := range []Class{ClassOK, ClassRetryable, ClassTerminal, ClassFenced, ClassNotFound, ClassCanceled} {
			name := fmt.Sprintf(`oprc_crm_calls_total{cluster=%q,call=%q,class=%q}`, cluster, call, class)
			m.calls[call][class] = set.GetOrCreateCounter(name)
		}
	}
	return m
}

func (m *clientMetrics) observe(call string, class Class, took time.Duration) {
	m.calls[call][class].Inc()
	m.duration.Update(took.Seconds())
}
