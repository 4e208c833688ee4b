package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/oprc/oprc-pm/internal/client"
	"github.com/oprc/oprc-pm/model"
)

// Exit codes, as the help of the program and README.md tell them.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitConflict    = 4
	exitUnavailable = 5
	// exitDamaged: the data directory is damaged, or not this node's (EX_DATAERR).
	exitDamaged = 65
	// exitFault: the node stopped itself because of a fault (EX_SOFTWARE).
	exitFault = 70
	// exitInterrupted: a client verb was told to stop (128 + SIGINT).
	exitInterrupted = 130
)

// exitError is an error that has decided the exit code.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// usagef makes an error of wrong usage or invalid configuration.
func usagef(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

// timeoutf makes an error of something that did not happen in time.
func timeoutf(format string, args ...any) error {
	return &exitError{exitUnavailable, fmt.Errorf(format, args...)}
}

// errSilent ends the program with a code and without a word: what is to be said
// has been printed.
var errSilent = errors.New("silent")

// finish prints err, if there is something to say, and returns the exit code.
func (p *program) finish(ctx context.Context, err error) int {
	if err == nil {
		return exitOK
	}
	code := exitCode(ctx, err)
	if !errors.Is(err, errSilent) && code != exitInterrupted {
		_, _ = fmt.Fprint(p.err, errorText(err))
	}
	return code
}

// exitCode classifies err.
func exitCode(ctx context.Context, err error) int {
	var decided *exitError
	if errors.As(err, &decided) {
		return decided.code
	}
	if ctx.Err() != nil {
		return exitInterrupted
	}
	switch model.CodeOf(err) {
	case model.CodeInvalid, model.CodeTooLarge:
		return exitUsage
	case model.CodeNotFound:
		return exitNotFound
	case model.CodeConflict, model.CodeFailedPrecondition:
		return exitConflict
	case model.CodeUnavailable, model.CodeUnknownOutcome, model.CodeThrottled, model.CodeDiskFull,
		model.CodeClusterFailed, model.CodeClusterUnavailable, model.CodeClusterTimeout:
		return exitUnavailable
	}
	return exitFailure
}

// errorText is one sentence, with the problems of single fields below it.
func errorText(err error) string {
	var invalid *model.Error
	errors.As(err, &invalid)
	var text strings.Builder
	sentence := err.Error()
	if invalid != nil && len(invalid.Problems) > 0 {
		// The message of such an error is the problems in one line.
		counted := "the input has a problem:"
		if len(invalid.Problems) > 1 {
			counted = fmt.Sprintf("the input has %d problems:", len(invalid.Problems))
		}
		joined := model.Invalid(invalid.Problems).Error()
		if head, ok := strings.CutSuffix(sentence, joined); ok {
			sentence = head + counted
		} else {
			sentence += ":"
		}
		fmt.Fprintf(&text, "error: %s\n", sentence)
		for _, problem := range invalid.Problems {
			fmt.Fprintf(&text, "  %s\n", problem)
		}
		return text.String()
	}
	fmt.Fprintf(&text, "error: %s\n", strings.ReplaceAll(sentence, "\n", "\n  "))
	var answered *client.Error
	if errors.As(err, &answered) && answered.Code == model.CodeInternal && answered.RequestID != "" {
		fmt.Fprintf(&text, "  request id: %s (%s)\n", answered.RequestID, answered.Server)
	}
	return text.String()
}
