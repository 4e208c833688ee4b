package crm

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
)

// Class says what a failed call means for its caller.
type Class string

const (
	// ClassOK is the class of a call that succeeded, in metrics.
	ClassOK Class = "ok"
	// ClassRetryable: no answer, or one that says "later". The call may have
	// had its effect; repeating it is safe.
	ClassRetryable Class = "retryable"
	// ClassTerminal: the CRM refused; the same call will be refused again.
	ClassTerminal Class = "terminal"
	// ClassNotSupported: the CRM does not offer the call. Of a call that every
	// CRM must offer it means the same as ClassTerminal.
	ClassNotSupported Class = "not_supported"
	// ClassFenced: the CRM has seen a newer leader than the caller.
	ClassFenced Class = "fenced"
	// ClassNotFound: the CRM does not know the unit.
	ClassNotFound Class = "not_found"
	// ClassCanceled: the caller gave up.
	ClassCanceled Class = "canceled"
)

// CallError is a failed call to a CRM.
type CallError struct {
	Cluster string
	Call    string
	Class   Class
	// Status is the HTTP status, or the one that comes closest to a gRPC code;
	// 0 when the CRM did not answer, or something in front of it did.
	Status int
	// Reason is short and the same for the same failure: no addresses, ports or
	// times, so that it can be recorded without being rewritten at each try.
	Reason string
	// NotSent: the call certainly did not reach the CRM.
	NotSent bool
	// Err is the cause, for the log; may be nil.
	Err error
	// relayed: who answered may be in front of the CRM, which may have the call.
	relayed bool
}

func (e *CallError) Error() string {
	text := fmt.Sprintf("%s call to cluster %s: %s", e.Call, e.Cluster, e.Reason)
	if e.Err != nil {
		return text + ": " + e.Err.Error()
	}
	return text
}

func (e *CallError) Unwrap() error { return e.Err }

// TimedOut tells whether the time for an answer was up, over either protocol.
func (e *CallError) TimedOut() bool { return e.Reason == reasonLate }

// ClassOf returns the class of a call's error: ClassOK for nil, ClassRetryable
// for an error that is not a *CallError.
func ClassOf(err error) Class {
	var call *CallError
	switch {
	case err == nil:
		return ClassOK
	case errors.As(err, &call):
		return call.Class
	}
	return ClassRetryable
}

// Refused tells whether a CRM refused what it was asked for, so that it will
// refuse the same again. False where it refused the caller (credentials are
// renewed) and where this node could not make the call: that says nothing about
// what was asked for, and another node may fare better.
func Refused(err error) bool {
	var call *CallError
	if !errors.As(err, &call) || call.NotSent || call.Class != ClassTerminal && call.Class != ClassNotSupported {
		return false
	}
	switch call.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired:
		return false
	}
	return true
}

// MayArrive tells whether a failed call may still have its effect later: it was
// sent, and whoever answered, if anybody, was not the one to carry it out.
func MayArrive(err error) bool {
	var call *CallError
	if !errors.As(err, &call) {
		return true
	}
	switch call.Status {
	case 0, http.StatusBadGateway, http.StatusGatewayTimeout:
		return !call.NotSent
	}
	return call.relayed
}

// codeStaleTerm is the code with which a CRM refuses a deposed leader.
const codeStaleTerm = "stale_term"

// missing is what "not found" means as the answer to a call: where no unit is
// named, not a unit is missing but the call itself.
func missing(call string) Class {
	switch call {
	case CallStatus, CallRecord, CallDelete:
		return ClassNotFound
	case CallRecords, CallTopology:
		return ClassNotSupported
	}
	return ClassTerminal
}

// mandatory tells whether a CRM without the call would be none.
func mandatory(call string) bool {
	return call == CallDeploy || call == CallStatus || call == CallDelete
}

// reasonLate is for calls whose time was up.
const reasonLate = "no answer in time"

// transportReason words an error of the connection without what varies from try
// to try, and tells whether the call was certainly not sent. The order matters:
// a timeout while connecting is both.
func transportReason(err error) (reason string, notSent bool) {
	var dns *net.DNSError
	var op *net.OpError
	var timeout net.Error
	var record tls.RecordHeaderError
	switch {
	case errors.Is(err, errNoSlot):
		return errNoSlot.Error(), true
	case errors.As(err, &dns):
		return "host name cannot be resolved", true
	case errors.As(err, &op) && op.Op == "dial":
		return "cannot connect", true
	case isAlert(err) && errors.As(err, &op):
		// An alert ends the handshake: whoever sent it has not read our call.
		return "TLS connection was refused (" + strings.TrimPrefix(op.Err.Error(), "tls: ") + ")", true
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return "server does not speak TLS", true
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return reasonLate, false
	}
	if reason := certificateReason(err); reason != "" {
		return reason, true
	}
	return "connection was lost", false
}

// isAlert tells whether an error is the refusal of a TLS connection by the other
// side.
func isAlert(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}

// certificateReason says what is wrong with a server's certificate, or nothing
// when the error is about something else.
func certificateReason(err error) string {
	var verification *tls.CertificateVerificationError
	var invalid x509.CertificateInvalidError
	var name x509.HostnameError
	switch {
	case errors.As(err, &name):
		return "certificate is for another host"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "certificate has expired or is not valid yet"
	case errors.As(err, &verification):
		return "certificate is not trusted"
	}
	return ""
}
