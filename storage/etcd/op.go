package etcd

import (
	"context"
	"crypto/rand"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// op is a command on its way through the committer.
type op struct {
	// proposal always has a request id: that makes trying again safe. Its command is
	// nil in a repair.
	proposal storage.Proposal
	// candidacy, when not 0, begins a leader run: it is the revision of the candidate.
	// The committer sets term to the run's.
	candidacy, term uint64
	// A repair has operations on keys that somebody else wrote, as well: they, and
	// under which conditions, go into the op's transaction, which is its own.
	extra      []clientv3.Op
	conditions []clientv3.Cmp
	// repairs are the keys, without the prefix.
	repairs []string
	// reviewed goes into the head, see there.
	reviewed int64

	state atomic.Int32
	// left: the caller does not wait any more.
	left atomic.Bool
	// tried: an attempt was, or may have been, committed, which the copy will show.
	// sent: it may be committed later still. repeated: the client had sent the same
	// request before. finished: done is closed. All are the committer's.
	tried, sent, repeated, finished bool
	// result and err are set before done is closed.
	result storage.Result
	err    error
	done   chan struct{}
}

// States of an op. Its caller moves it from waiting to abandoned, the committer from
// waiting to taken.
const (
	opWaiting int32 = iota
	opTaken
	opAbandoned
)

func newOp(req storage.Request) *op {
	if req.ID == "" {
		req.ID = newRequestID()
	}
	return &op{proposal: storage.Proposal{Request: req, At: time.Now().UTC()}, done: make(chan struct{})}
}

func newRequestID() string { return rand.Text() }

// alone says that the op does not share a transaction.
func (o *op) alone() bool { return o.repairing() || o.restoring() }

// repairing says that the op is about what others wrote.
func (o *op) repairing() bool { return len(o.repairs) > 0 || o.reviewed > 0 }

// restoring says that the op replaces the state by that of a backup.
func (o *op) restoring() bool {
	_, restores := o.proposal.Command.(storage.CommitRestore)
	return restores
}

// try notes an attempt of which it is not known what came of it. The op's result in it
// is the one at i, if it has a command.
func (o *op) try(results []storage.Result, i int) {
	if !o.tried && o.proposal.Command != nil {
		o.repeated = results[i].Duplicate
	}
	o.tried = true
	if o.candidacy > 0 {
		// The next attempt is another term, and no repetition.
		o.proposal.ID = newRequestID()
	}
}

func (o *op) finish(result storage.Result, err error) {
	// A repetition of ours is no repetition of the client's.
	if o.tried && !o.repeated {
		result.Duplicate = false
	}
	o.result, o.err, o.finished = result, err, true
	close(o.done)
}

// Apply implements storage.Store.
func (s *Store) Apply(ctx context.Context, req storage.Request) (storage.Result, error) {
	if len(req.ID) > storage.MaxRequestID {
		return storage.Result{}, model.Errorf(model.CodeInvalid, "request id: at most %d bytes", storage.MaxRequestID)
	}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	result, err := s.submit(ctx, newOp(req))
	if err != nil {
		return storage.Result{}, err
	}
	return result, result.Err()
}

// bounded gives ctx a deadline when it has none.
func (s *Store) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, s.cfg.RequestTimeout)
}

// submit queues the op and waits for its end.
func (s *Store) submit(ctx context.Context, o *op) (storage.Result, error) {
	if err := ctx.Err(); err != nil {
		return storage.Result{}, notProposed(err, "the request ended before it was proposed")
	}
	select {
	case <-s.ctx.Done():
		return storage.Result{}, closedError()
	default:
	}
	select {
	case s.queue <- o:
	case <-ctx.Done():
		return storage.Result{}, notProposed(context.Cause(ctx), "too many writes wait for etcd")
	case <-s.ctx.Done():
		return storage.Result{}, closedError()
	}
	select {
	case <-o.done:
		return o.result, o.err
	case <-ctx.Done():
	case <-s.committed:
		// The committer has ended and finishes nothing any more.
		select {
		case <-o.done:
			return o.result, o.err
		default:
			return storage.Result{}, closedError()
		}
	}
	if o.state.CompareAndSwap(opWaiting, opAbandoned) {
		return storage.Result{}, notProposed(context.Cause(ctx), "etcd did not answer in time, nothing was written: %s", s.contactReason())
	}
	select {
	case <-o.done:
		return o.result, o.err
	default:
		o.left.Store(true)
		return storage.Result{}, unknownOutcome(context.Cause(ctx))
	}
}
