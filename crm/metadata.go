package crm

import "strconv"

// A header is one that goes with a call: an HTTP header, or metadata over gRPC,
// where names are in lower case.
type header struct{ name, value string }

// Names of the headers that say on whose behalf a call is made.
const (
	headerIdempotencyKey = "idempotency-key"
	headerCorrelationID  = "x-correlation-id"
	headerTraceParent    = "traceparent"
	headerTerm           = "x-oprc-term"
	headerGeneration     = "x-oprc-generation"
	headerDeployment     = "x-oprc-deployment"
	headerAuthorization  = "authorization"
)

// userAgent is how this program introduces itself.
const userAgent = "oprc-pm"

// headers are what tells from whom a call comes. What cannot be a header's
// value, because a client of ours made it up, is left out: it must not make the
// call fail.
func (o Origin) headers() []header {
	var headers []header
	add := func(name, value string) {
		if headerSafe(value) {
			headers = append(headers, header{name, value})
		}
	}
	add(headerIdempotencyKey, o.IdempotencyKey)
	add(headerCorrelationID, o.CorrelationID)
	add(headerTraceParent, o.TraceParent)
	add(headerDeployment, o.Deployment)
	if o.Term != 0 {
		add(headerTerm, strconv.FormatUint(o.Term, 10))
	}
	if o.Generation != 0 {
		add(headerGeneration, strconv.FormatUint(o.Generation, 10))
	}
	return headers
}

// headerSafe accepts what both protocols can carry: printable ASCII, bounded.
func headerSafe(value string) bool {
	for i := range len(value) {
		if value[i] < ' ' || value[i] > '~' {
			return false
		}
	}
	return value != "" && len(value) <= 8<<10
}
