package crm

import (
	"cmp"
	"context"
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/oprc/oprc-pm/crm/crmpb"
)

// grpcAnswer is what is known of a call besides its error.
type grpcAnswer struct {
	header, trailer metadata.MD
	peer            peer.Peer
}

// answered tells whether the error is the CRM's own, not one of the way there.
func (a *grpcAnswer) answered() bool { return len(a.header) > 0 || len(a.trailer) > 0 }

// sent tells whether the call got hold of a connection.
func (a *grpcAnswer) sent() bool { return a.peer.Addr != nil }

// grpcCodes says what a CRM's code means, and which HTTP status is nearest.
// What is not listed is retryable.
var grpcCodes = map[codes.Code]struct {
	class  Class
	status int
}{
	codes.InvalidArgument:    {ClassTerminal, http.StatusBadRequest},
	codes.OutOfRange:         {ClassTerminal, http.StatusBadRequest},
	codes.FailedPrecondition: {ClassTerminal, http.StatusPreconditionFailed},
	codes.AlreadyExists:      {ClassTerminal, http.StatusConflict},
	codes.Unauthenticated:    {ClassTerminal, http.StatusUnauthorized},
	codes.PermissionDenied:   {ClassTerminal, http.StatusForbidden},
	codes.NotFound:           {ClassNotFound, http.StatusNotFound},
	codes.Unimplemented:      {ClassNotSupported, http.StatusNotImplemented},
	codes.Aborted:            {ClassRetryable, http.StatusConflict},
	codes.ResourceExhausted:  {ClassRetryable, http.StatusTooManyRequests},
	codes.Unavailable:        {ClassRetryable, http.StatusServiceUnavailable},
	codes.DeadlineExceeded:   {ClassRetryable, http.StatusGatewayTimeout},
	codes.Canceled:           {ClassRetryable, http.StatusServiceUnavailable},
	codes.Unknown:            {ClassRetryable, http.StatusInternalServerError},
	codes.Internal:           {ClassRetryable, http.StatusInternalServerError},
	codes.DataLoss:           {ClassRetryable, http.StatusInternalServerError},
}

// callError turns a failed call into an error that says what it means.
func (c *GRPCClient) callError(ctx context.Context, call string, err error, answer *grpcAnswer, conn *grpcConn) error {
	st, _ := status.FromError(err)
	// The CRM knows our deadline and may end the call a moment before we do.
	late := st.Code() == codes.DeadlineExceeded && !answer.answered()
	if late || ctx.Err() != nil && (st.Code() == codes.DeadlineExceeded || st.Code() == codes.Canceled) {
		return &CallError{Cluster: c.cluster, Call: call, Class: ClassRetryable, Reason: reasonLate, NotSent: !answer.sent(), Err: err}
	}
	if reason := localReason(st, c.cfg.MaxResponseBytes); reason != "" {
		return &CallError{Cluster: c.cluster, Call: call, Class: ClassRetryable, Status: http.StatusOK, Reason: reason, Err: err}
	}
	if !answer.answered() {
		return c.connectionError(call, st, answer, conn, err)
	}
	class, httpStatus := c.classifyCode(call, st)
	reason := "answered " + st.Code().String()
	if text := Printable(st.Message()); text != "" {
		reason += ": " + text
	}
	if st.Code() == codes.DeadlineExceeded {
		reason = reasonLate // as above
	}
	return &CallError{
		Cluster: c.cluster, Call: call, Class: class, Status: httpStatus, Reason: reason, Err: err,
		// Proxies that lose a CRM in the middle of a call say so in these codes.
		relayed: st.Code() == codes.Unavailable || st.Code() == codes.Canceled,
	}
}

func (c *GRPCClient) classifyCode(call string, st *status.Status) (Class, int) {
	meaning, known := grpcCodes[st.Code()]
	if !known {
		return ClassRetryable, http.StatusInternalServerError
	}
	class := meaning.class
	switch {
	case (st.Code() == codes.FailedPrecondition || st.Code() == codes.Aborted) && saysStaleTerm(st):
		class = ClassFenced
	case class == ClassNotFound:
		class = missing(call)
	case class == ClassNotSupported && mandatory(call):
		// Every CRM has this one. Proxies that speak gRPC word a way that they do
		// not know like this.
		class = ClassRetryable
	case st.Code() == codes.ResourceExhausted && strings.Contains(st.Message(), "larger than max"):
		class = ClassTerminal // our message is too large for the CRM, and will be again
	}
	return class, meaning.status
}

// localReason words the errors that the library gives to answers that it cannot
// take; empty for all others.
func localReason(st *status.Status, limit int64) string {
	switch {
	case st.Code() == codes.ResourceExhausted && strings.HasPrefix(st.Message(), "grpc: received message larger than max"):
		return tooLarge(limit)
	case st.Code() == codes.Internal && strings.HasPrefix(st.Message(), "grpc: failed to unmarshal the received message"):
		return cmp.Or(boundsReason(st.Err()), reasonMalformed)
	}
	return ""
}

// reasonNoGRPC is for a connection that was made and came to nothing. A server
// that refuses a client certificate under TLS 1.3 may close so fast that its
// alert is lost, so this may be the reason too.
const reasonNoGRPC = "server closed the connection, or does not speak gRPC"

// connectionError is for calls that the CRM did not answer.
func (c *GRPCClient) connectionError(call string, st *status.Status, answer *grpcAnswer, conn *grpcConn, err error) error {
	failed := &CallError{Cluster: c.cluster, Call: call, Class: ClassRetryable, NotSent: !answer.sent(), Err: err}
	cause := conn.lastFailure()
	if !answer.sent() {
		conn.failed.Store(true)
	}
	switch status := foreignStatus(st); {
	case answer.sent() && status != 0:
		return c.foreign(call, status)
	case answer.sent():
		failed.Reason = "connection was lost"
	case cause != nil:
		failed.Reason, _ = transportReason(cause)
	case st.Code() == codes.ResourceExhausted:
		failed.Class, failed.Reason = ClassTerminal, "unit is too large to be sent"
	default:
		failed.Reason = reasonNoGRPC
	}
	return failed
}

// foreignStatus is the HTTP status of an answer that was no gRPC, from whatever is
// in front of the CRM; 0 when there was none. The library gives text only, and the
// code that a CRM would have used for the same.
func foreignStatus(st *status.Status) (code int) {
	after, found := strings.CutPrefix(st.Message(), "unexpected HTTP status code received from server: ")
	if !found {
		return 0
	}
	digits, _, _ := strings.Cut(after, " ")
	code, _ = strconv.Atoi(digits) // 0 for what is no number
	return code
}

// saysStaleTerm tells whether a refusal is that of a deposed leader: its reason,
// in the details, or its text says so.
func saysStaleTerm(st *status.Status) bool {
	if strings.Contains(strings.ToLower(st.Message()), codeStaleTerm) {
		return true
	}
	for _, detail := range st.Proto().GetDetails() {
		if strings.HasSuffix(detail.GetTypeUrl(), "/google.rpc.ErrorInfo") && strings.EqualFold(errorInfoReason(detail.GetValue()), codeStaleTerm) {
			return true
		}
	}
	return false
}

// errorInfoReason reads the first field of a google.rpc.ErrorInfo.
func errorInfoReason(message []byte) string {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return ""
		}
		message = message[n:]
		if number == 1 && kind == protowire.BytesType {
			reason, n := protowire.ConsumeString(message)
			if n < 0 {
				return ""
			}
			return reason
		}
		n = protowire.ConsumeFieldValue(number, kind, message)
		if n < 0 {
			return ""
		}
		message = message[n:]
	}
	return ""
}

// statusCodeError judges the status that an answer carries although the call
// succeeded; nil for OK.
func (c *GRPCClient) statusCodeError(call string, code crmpb.StatusCode, message *string) error {
	class, httpStatus := ClassRetryable, http.StatusInternalServerError
	switch code {
	case crmpb.StatusCode_OK:
		return nil
	case crmpb.StatusCode_NOT_FOUND:
		class, httpStatus = missing(call), http.StatusNotFound
	case crmpb.StatusCode_INVALID_REQUEST:
		class, httpStatus = ClassTerminal, http.StatusBadRequest
	case crmpb.StatusCode_ERROR, crmpb.StatusCode_INTERNAL_ERROR:
	}
	reason := "answered " + code.String()
	if message != nil && Printable(*message) != "" {
		reason += ": " + Printable(*message)
	}
	return &CallError{Cluster: c.cluster, Call: call, Class: class, Status: httpStatus, Reason: reason}
}
