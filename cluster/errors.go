package cluster

import (
	"errors"

	"github.com/hashicorp/raft"

	"github.com/oprc/oprc-pm/model"
)

var (
	// ErrClosed is the cause of every context that ends because the node
	// closes.
	ErrClosed = errors.New("node is closed")
	// ErrLeadershipLost is the cause of a leader run's context.
	ErrLeadershipLost = errors.New("leadership lost")
	// errSuspended is the cause when a leader run stops ahead of a transfer or a restore.
	errSuspended = errors.New("the leader's work is suspended")
)

// An attempt to propose ends in a result or in one of two kinds of failure. The
// difference decides what a client may be told, so it is never guessed: what is
// not known to be notProposed is maybeProposed.
type attemptError struct {
	// proposed is true when the command may have reached a log.
	proposed bool
	// hint is the server id of the leader as the refusing node knows it.
	hint string
	err  error
}

func (e *attemptError) Error() string { return e.err.Error() }
func (e *attemptError) Unwrap() error { return e.err }

func notProposed(err error) *attemptError   { return &attemptError{err: err} }
func maybeProposed(err error) *attemptError { return &attemptError{err: err, proposed: true} }

// classify sorts the error of a raft.ApplyFuture. Only errors that the library
// returns before it appends are notProposed.
func classify(err error) *attemptError {
	switch {
	case errors.Is(err, raft.ErrNotLeader),
		errors.Is(err, raft.ErrLeadershipTransferInProgress),
		errors.Is(err, raft.ErrEnqueueTimeout):
		return notProposed(err)
	default:
		return maybeProposed(err)
	}
}

func unavailable(cause error, format string, args ...any) *model.Error {
	e := model.Errorf(model.CodeUnavailable, format, args...)
	e.Err = cause
	return e
}
