package etcd

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/oprc/oprc-pm/internal/wait"
	"github.com/oprc/oprc-pm/storage"
)

// maxBatch is how many commands share a transaction at most, if it has room.
const maxBatch = 64

// Pauses between attempts while etcd does not answer.
const (
	retryMin = 20 * time.Millisecond
	retryMax = 2 * time.Second
)

// backOff is the pause after so many failures before the last one.
func backOff(failures int) time.Duration {
	return wait.Jitter(min(retryMin<<min(failures, 10), retryMax), 0.3)
}

// repeated is the level of a message about a failure: a trouble that lasts is told once.
func repeated(failures int) slog.Level {
	if failures == 0 {
		return slog.LevelWarn
	}
	return slog.LevelDebug
}

// maxAttempt bounds one request to etcd, if Config.RequestTimeout is not shorter.
// The next attempt goes to another member.
const maxAttempt = 5 * time.Second

// runCommitter commits what is queued, one transaction at a time, until the store
// closes. What is under way then has an unknown outcome.
func (s *Store) runCommitter(ctx context.Context) {
	defer close(s.committed)
	var first *op
	for {
		if first == nil {
			select {
			case first = <-s.queue:
			case <-ctx.Done():
				return
			}
		}
		var batch []*op
		if batch, first = s.collect(first); len(batch) > 0 {
			s.commitAll(ctx, batch)
		}
	}
}

// collect takes what waits behind first, without waiting. next is an op that has to
// stand alone.
func (s *Store) collect(first *op) (batch []*op, next *op) {
	for o := first; ; {
		if o.alone() && len(batch) > 0 {
			return batch, o
		}
		if o.state.CompareAndSwap(opWaiting, opTaken) {
			batch = append(batch, o)
			if o.alone() || len(batch) == maxBatch {
				return batch, nil
			}
		}
		select {
		case o = <-s.queue:
		default:
			return batch, nil
		}
	}
}

// commitAll commits the ops in order, in as few transactions as have room for them.
// It returns when all are finished or nobody waits for them any more.
func (s *Store) commitAll(ctx context.Context, ops []*op) {
	defer s.giveTurnBack(ctx)
	n, failures, conflicts := len(ops), 0, 0
	for {
		ops = slices.DeleteFunc(ops, func(o *op) bool { return o.finished || o.left.Load() })
		if len(ops) == 0 {
			return
		}
		if ctx.Err() != nil {
			giveUp(ops, context.Cause(ctx), closedError())
			return
		}
		n = max(1, min(n, len(ops)))
		s.awaitTurn(ctx)
		outcome, err := s.commitOnce(ctx, ops[:n])
		switch outcome {
		case committed:
			n, failures, conflicts = 2*n, 0, 0
		case overfull:
			n = (n + 1) / 2
		case overtaken:
			s.metrics.conflicts.Inc()
			conflicts++
			s.takeTurn(ctx, conflicts)
		case uncertain:
			s.metrics.retries.Inc()
			s.logger.Log(ctx, repeated(failures), "etcd committed nothing that it tells of; trying again", "err", err, "attempt", failures+1)
			wait.For(ctx, backOff(failures))
			failures++
		}
	}
}

// giveUp answers ops that are not tried again: with unsent those that were never
// sent.
func giveUp(ops []*op, cause, unsent error) {
	for _, o := range ops {
		if o.sent {
			o.finish(storage.Result{}, unknownOutcome(cause))
		} else {
			o.finish(storage.Result{}, unsent)
		}
	}
}

// outcome is what an attempt came to.
type outcome uint8

const (
	// committed, and answered.
	committed outcome = iota
	// answered: some of the ops, without a commit.
	answered
	// overfull: fewer ops may fit.
	overfull
	// overtaken by another entry, which the copy shows by now.
	overtaken
	// uncertain: it may have been committed, or may be later; or it was not, and why
	// not has to go away first.
	uncertain
)

// attempt bounds one request to etcd. A member without a leader answers at once, so
// that the next attempt finds another one.
func (s *Store) attempt(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(requireLeader(ctx), min(s.cfg.RequestTimeout, maxAttempt))
}
