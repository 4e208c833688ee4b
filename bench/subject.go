package bench

import (
	"context"
	"fmt"
	"time"
)

// Subject is one of the things that a run measures in turns.
type Subject struct {
	// Name tells it apart in the report.
	Name string
	// Labels describe it there: workload, consistency.
	Labels map[string]string
	// Open gives client number i (from 0) its session. It does no I/O.
	Open func(i int) Session
	// Verify, when not nil, checks after the last turn that what was
	// acknowledged is there.
	Verify func(ctx context.Context) error
	// Processes are those that do the work, as far as they run on this host.
	Processes []Process
}

// Session is one client of a subject. It is for one goroutine. What is measured
// need not speak HTTP: a load knows nothing else of it.
type Session interface {
	// Do performs one operation and checks the answer. began is the present
	// time. A *WrongAnswerError says that the answer was wrong; any other error,
	// that there was none or that it was a refusal.
	Do(ctx context.Context, began time.Time) error
	// Close ends the session.
	Close()
}

// WrongAnswerError is an answer that a correct server does not give.
type WrongAnswerError struct {
	Operation string
	Problem   string
}

func (e *WrongAnswerError) Error() string {
	return fmt.Sprintf("wrong answer to %s: %s", e.Operation, e.Problem)
}

func wrongf(operation, format string, args ...any) error {
	return &WrongAnswerError{Operation: operation, Problem: fmt.Sprintf(format, args...)}
}
