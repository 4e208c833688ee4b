package etcd

import (
	"errors"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

func closedError() error {
	return &model.Error{Code: model.CodeUnavailable, Message: "the store is closed", Err: storage.ErrClosed}
}

// notProposed is for a command that certainly changed nothing.
func notProposed(cause error, format string, args ...any) error {
	e := model.Errorf(model.CodeUnavailable, format, args...)
	e.Err = cause
	return e
}

// unknownOutcome is for a command that etcd may have committed.
func unknownOutcome(cause error) error {
	return &model.Error{
		Code:    model.CodeUnknownOutcome,
		Message: "etcd did not say in time whether the write was committed; repeat it with the same Idempotency-Key",
		Err:     cause,
	}
}

// verdict says what to do about an error of a transaction.
type verdict uint8

const (
	// maybe: nobody knows whether it was committed. The condition on the head makes
	// it safe to try again.
	maybe verdict = iota
	// tooLarge: etcd refuses the transaction for its size.
	tooLarge
	// refused: etcd does not take it, and will not until somebody intervenes. It may
	// have carried it out nevertheless.
	refused
)

// refusals are errors that go away only when somebody intervenes.
var refusals = []error{
	rpctypes.ErrNoSpace, rpctypes.ErrCorrupt,
	rpctypes.ErrPermissionDenied, rpctypes.ErrUserEmpty, rpctypes.ErrAuthFailed, rpctypes.ErrUserNotFound,
	rpctypes.ErrAuthNotEnabled, rpctypes.ErrDuplicateKey,
}

func judge(err error) verdict {
	switch {
	case errors.Is(err, rpctypes.ErrTooManyOps), errors.Is(err, rpctypes.ErrRequestTooLarge):
		return tooLarge
	case strings.Contains(err.Error(), "message larger than max"):
		// The limit of etcd's transport, somewhat above its own.
		return tooLarge
	}
	for _, refusal := range refusals {
		if errors.Is(err, refusal) {
			return refused
		}
	}
	return maybe
}

// refusedError tells what is in etcd's way.
func refusedError(err error) error {
	return notProposed(err, "etcd refuses writes: %v", err)
}
