package health

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"

	"github.com/oprc/oprc-pm/crm"
	"github.com/oprc/oprc-pm/model"
)

// probe asks a CRM how its cluster is. It returns soon after ctx ends, and in any
// case after the timeout.
func (m *Monitor) probe(ctx context.Context, cluster model.Cluster) observation {
	if !m.deps.Configured(cluster) {
		return observation{outcome: unusable, reason: ReasonNotConfigured, message: "this node has no configuration of the cluster"}
	}
	client, known := m.deps.Fleet.Client(cluster.Name)
	if !known {
		return observation{outcome: unusable, reason: ReasonNoClient, message: "there is no client for the cluster", absent: true}
	}
	probeCtx, cancel := context.WithTimeout(ctx, m.cfg.Timeout)
	defer cancel()
	begin := time.Now()
	report, err := client.Health(probeCtx)
	o := observation{took: time.Since(begin)}
	if err == nil {
		o.report = sanitise(report, cluster.Name)
	} else {
		o.outcome, o.reason, o.message = explainProbe(err)
	}
	if ctx.Err() == nil {
		m.metrics.probed(o)
	}
	return o
}

// explainProbe says what the error of a probe means. A CRM that refuses to tell
// its health is no better than one that is silent. One that refuses us is there:
// because our credentials have expired nobody must be moved off it.
func explainProbe(err error) (o outcome, reason, message string) {
	var call *crm.CallError
	message = "the probe failed"
	if errors.As(err, &call) {
		message = printable(call.Reason, maxMessage)
	}
	switch {
	case call != nil && call.NotSent && call.Class == crm.ClassTerminal:
		return unusable, ReasonNoClient, message
	case call != nil && (call.Status == statusUnauthorized || call.Status == statusForbidden):
		return unusable, ReasonCallerRefused, message
	case isRefused(err):
		return refused, ReasonProbeFailed, message
	}
	return missed, ReasonProbeFailed, message
}

// isRefused tells whether nobody listens where the CRM should be.
func isRefused(err error) bool {
	if errors.Is(err, syscall.ECONNREFUSED) {
		return true
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	// An error of gRPC does not carry its cause.
	var call *crm.CallError
	return errors.As(err, &call) && call.NotSent && call.Reason == "cannot connect"
}

// explainCall says what the outcome of one of the dispatcher's calls tells of
// the cluster; false: nothing.
func explainCall(err error) (observation, bool) {
	o := observation{call: true}
	var call *crm.CallError
	switch {
	case err == nil:
		return o, true
	case !errors.As(err, &call) || call.Class == crm.ClassCanceled:
		return o, false
	case call.Class != crm.ClassRetryable || call.Status == statusTooManyRequests:
		// Whoever refuses is there. What was not even sent tells nothing.
		return o, !call.NotSent
	case call.NotSent && call.Reason == "too many calls in flight":
		return o, false
	case call.Status == statusInternal:
		// The CRM is there and chokes on what it was sent. Other deployments
		// must not wait for that.
		return o, false
	}
	o.outcome, o.reason, o.message = missed, ReasonCallsFailed, printable(call.Reason, maxMessage)
	if isRefused(err) {
		o.outcome = refused
	}
	return o, true
}

// HTTP statuses of a CRM that is there: it does not let us in, is busy, and is in
// trouble with this one call.
const (
	statusUnauthorized    = 401
	statusForbidden       = 403
	statusTooManyRequests = 429
	statusInternal        = 500
)
