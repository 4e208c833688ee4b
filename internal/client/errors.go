package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/oprc/oprc-pm/model"
)

// Error is an answer that is not a success.
type Error struct {
	Status    int
	Code      model.Code
	Message   string
	Problems  []model.Problem
	RequestID string
	// Server that answered.
	Server string
	// Cluster whose CRM did not answer; empty for other errors.
	Cluster string
	// Oldest is the smallest watch position that can be served (CodeGone only).
	Oldest uint64
	// RetryAfter is what the server asked for; 0 when it did not.
	RetryAfter time.Duration
}

func (e *Error) Error() string { return e.Message }

// Unwrap lets model.CodeOf and errors.As find a *model.Error.
func (e *Error) Unwrap() error {
	return &model.Error{Code: e.Code, Message: e.Message, Problems: e.Problems}
}

// UnreachableError tells that no server gave an answer.
type UnreachableError struct {
	Servers []string
	Err     error
	// Sent is true when a write may have arrived: its outcome is unknown.
	Sent bool
}

func (e *UnreachableError) Error() string {
	text := fmt.Sprintf("cannot reach %s: %v", strings.Join(e.Servers, ", "), e.Err)
	if e.Sent {
		text += " (the change may or may not have been made)"
	}
	return text
}

// Unwrap returns the last failure and a *model.Error for model.CodeOf.
func (e *UnreachableError) Unwrap() []error {
	code := model.CodeUnavailable
	if e.Sent {
		code = model.CodeUnknownOutcome
	}
	return []error{model.Errorf(code, "%v", e.Err), e.Err}
}

// NotFound reports whether err says that the resource does not exist.
func NotFound(err error) bool { return model.CodeOf(err) == model.CodeNotFound }

// errorFrom makes an Error of an answer, whatever its body is: a proxy in
// between answers with anything.
func errorFrom(server string, response *http.Response, body []byte) *Error {
	e := &Error{Status: response.StatusCode, Server: server, RequestID: response.Header.Get("X-Request-Id")}
	var wire struct {
		Error     string          `json:"error"`
		Code      model.Code      `json:"code"`
		Problems  []model.Problem `json:"problems"`
		Oldest    uint64          `json:"oldest"`
		Cluster   string          `json:"cluster"`
		RequestID string          `json:"request_id"`
	}
	if json.Unmarshal(body, &wire) == nil && wire.Error != "" {
		e.Message, e.Code, e.Problems, e.Oldest = wire.Error, wire.Code, wire.Problems, wire.Oldest
		e.Cluster = wire.Cluster
		if wire.RequestID != "" {
			e.RequestID = wire.RequestID
		}
	} else {
		e.Message = fmt.Sprintf("%s answered %s", server, response.Status)
	}
	if e.Code == "" {
		e.Code = codeOfStatus(e.Status)
	}
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil && seconds >= 0 {
		e.RetryAfter = time.Duration(seconds) * time.Second
	}
	return e
}

// codeOfStatus is for answers that name no code.
func codeOfStatus(status int) model.Code {
	switch status {
	case http.StatusUnauthorized:
		return model.CodeUnauthenticated
	case http.StatusForbidden:
		return model.CodeForbidden
	case http.StatusNotFound:
		return model.CodeNotFound
	case http.StatusConflict:
		return model.CodeConflict
	case http.StatusPreconditionFailed:
		return model.CodeFailedPrecondition
	case http.StatusGone:
		return model.CodeGone
	case http.StatusRequestEntityTooLarge:
		return model.CodeTooLarge
	case http.StatusTooManyRequests:
		return model.CodeThrottled
	case http.StatusBadGateway, http.StatusServiceUnavailable:
		return model.CodeUnavailable
	case http.StatusInsufficientStorage:
		return model.CodeDiskFull
	case http.StatusGatewayTimeout:
		return model.CodeUnknownOutcome
	}
	if status >= 400 && status < 500 {
		return model.CodeInvalid
	}
	return model.CodeInternal
}

// again reports whether the same request may succeed if it is sent again.
func again(err error) bool {
	var unreachable *UnreachableError
	if errors.As(err, &unreachable) {
		return true
	}
	var answered *Error
	if !errors.As(err, &answered) {
		return false
	}
	switch answered.Code {
	case model.CodeUnavailable, model.CodeUnknownOutcome, model.CodeThrottled:
		return true
	}
	return false
}
