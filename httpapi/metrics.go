package httpapi

import (
	"fmt"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// statusClasses are the values of the label code: 1xx to 5xx.
const statusClasses = 5

// routeMetrics are the figures of one route. They are created when the server
// is, so a request looks nothing up.
type routeMetrics struct {
	requests [statusClasses]*metrics.Counter
	duration *metrics.Histogram
}

func newRouteMetrics(set *metrics.Set, route string) *routeMetrics {
	m := &routeMetrics{
		duration: set.GetOrCreateHistogram(fmt.Sprintf(`oprc_http_request_duration_seconds{route=%q}`, route)),
	}
	for i := range m.requests {
		m.requests[i] = set.GetOrCreateCounter(fmt.Sprintf(`oprc_http_requests_total{route=%q,code="%dxx"}`, route, i+1))
	}
	return m
}

func (m *routeMetrics) observe(status int, took time.Duration) {
	class := status/100 - 1
	if class < 0 || class >= statusClasses {
		class = statusClasses - 1
	}
	m.requests[class].Inc()
	m.duration.Update(took.Seconds())
}

// serverMetrics are the figures of the whole server.
type serverMetrics struct {
	panics        *metrics.Counter
	overloads     *metrics.Counter
	malformed     *metrics.Counter
	watchEvents   *metrics.Counter
	watchCuts     *metrics.Counter
	watchRefusals *metrics.Counter
}

func newServerMetrics(set *metrics.Set, s *Server) *serverMetrics {
	set.GetOrCreateGauge(`oprc_http_requests_in_flight`, func() float64 { return float64(s.inFlight.Load()) })
	set.GetOrCreateGauge(`oprc_http_connections_open`, func() float64 { return float64(s.http.GetOpenConnectionsCount()) })
	set.GetOrCreateGauge(`oprc_http_waiters`, func() float64 { return float64(s.waiting.Load()) })
	set.GetOrCreateGauge(`oprc_http_watchers`, func() float64 { return float64(s.watches.count()) })
	return &serverMetrics{
		panics:        set.GetOrCreateCounter(`oprc_http_panics_total`),
		overloads:     set.GetOrCreateCounter(`oprc_http_overloads_total`),
		malformed:     set.GetOrCreateCounter(`oprc_http_malformed_requests_total`),
		watchEvents:   set.GetOrCreateCounter(`oprc_http_watch_events_total`),
		watchCuts:     set.GetOrCreateCounter(`oprc_http_watch_cuts_total`),
		watchRefusals: set.GetOrCreateCounter(`oprc_http_watch_refusals_total`),
	}
}
