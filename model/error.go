package model

import (
	"errors"
	"fmt"
	"strings"
)

// Code classifies an error for a client. httpapi maps every code to exactly
// one HTTP status.
type Code string

const (
	// CodeInvalid: the input breaks a rule; sending it again cannot help.
	CodeInvalid Code = "invalid"
	// CodeUnauthenticated: no or wrong credentials.
	CodeUnauthenticated Code = "unauthenticated"
	// CodeForbidden: the credentials do not allow this.
	CodeForbidden Code = "forbidden"
	// CodeNotFound: the resource does not exist.
	CodeNotFound Code = "not_found"
	// CodeConflict: the change collides with the present state (name taken,
	// dependants exist). Read again, then decide.
	CodeConflict Code = "conflict"
	// CodeFailedPrecondition: If-Match names another resource version.
	CodeFailedPrecondition Code = "failed_precondition"
	// CodeTooLarge: the body or a part of it exceeds a configured limit.
	CodeTooLarge Code = "too_large"
	// CodeThrottled: the caller exceeded its share.
	CodeThrottled Code = "throttled"
	// CodeNotLeader: nothing was proposed; another node leads. Never reaches a
	// client: it is forwarded, or becomes CodeUnavailable.
	CodeNotLeader Code = "not_leader"
	// CodeUnavailable: nothing was changed; try again later.
	CodeUnavailable Code = "unavailable"
	// CodeGone: the watch position is older than the kept history.
	CodeGone Code = "gone"
	// CodeUnknownOutcome: the write was proposed and may or may not have been
	// committed. Safe to send again with the same Idempotency-Key.
	CodeUnknownOutcome Code = "unknown_outcome"
	// CodeDiskFull: nothing was changed; the disk of the leader, or of a majority,
	// has no space for writes. Reads go on.
	CodeDiskFull Code = "disk_full"
	// CodeInternal: a defect of this program or its host.
	CodeInternal Code = "internal"
)

// Problem is one violated rule of an input document.
type Problem struct {
	// Path of the field, as in classes[0].function_bindings[2].function_key.
	// Empty for the document as a whole.
	Path string `json:"path"`
	// Message completes the sentence "<path>: ...".
	Message string `json:"message"`
}

func (p Problem) String() string {
	if p.Path == "" {
		return p.Message
	}
	return p.Path + ": " + p.Message
}

// Error is an error that a client may see. Message is written for the client;
// Err is the cause, for the log only.
type Error struct {
	Code     Code
	Message  string
	Problems []Problem
	Err      error
}

// Errorf makes an Error without a cause.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Invalid makes a CodeInvalid error that carries all problems, or nil when
// there are none.
func Invalid(problems []Problem) error {
	if len(problems) == 0 {
		return nil
	}
	texts := make([]string, len(problems))
	for i, p := range problems {
		texts[i] = p.String()
	}
	return &Error{Code: CodeInvalid, Message: strings.Join(texts, "; "), Problems: problems}
}

func (e *Error) Error() string {
	if e.Err != nil {
		return e.Message + ": " + e.Err.Error()
	}
	return e.Message
}

func (e *Error) Unwrap() error { return e.Err }

// CodeOf returns the code of the first *Error in err's chain, CodeInternal for
// any other error, and "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeInternal
}
