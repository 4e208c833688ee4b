package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/oprc/oprc-pm/fsm"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

const (
	// Pause between attempts to find a leader that takes a command; a change of
	// leader ends it early.
	retryMin = 5 * time.Millisecond
	retryMax = 250 * time.Millisecond
)

// stamper gives proposals the time. It never goes back on one node, whatever
// the wall clock does.
type stamper struct {
	mu   sync.Mutex // guards last
	last time.Time
}

func (s *stamper) now() time.Time {
	now := time.Now().UTC().Round(0)
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Before(s.last) {
		now = s.last
	}
	s.last = now
	return now
}

// encode stamps and encodes a request, once: every retry sends the same bytes,
// and the request id in them makes the command apply at most once.
func (n *Node) encode(req storage.Request) ([]byte, error) {
	if req.Command == nil || len(req.ID) > storage.MaxRequestID {
		return nil, model.Errorf(model.CodeInvalid, "a request needs a command and an id of at most %d bytes", storage.MaxRequestID)
	}
	if req.ID == "" {
		req.ID = randomID()
	}
	data, err := fsm.EncodeProposal(storage.Proposal{Request: req, At: n.stamp.now()})
	if err != nil {
		return nil, fmt.Errorf("encode proposal: %w", err)
	}
	if len(data) > n.cfg.MaxEntryBytes {
		return nil, model.Errorf(model.CodeTooLarge, "the change has %d bytes, the limit is %d", len(data), n.cfg.MaxEntryBytes)
	}
	return data, nil
}

// Apply implements storage.Store.
func (n *Node) Apply(ctx context.Context, req storage.Request) (storage.Result, error) {
	if !n.serving.Load() {
		return storage.Result{}, unavailable(ErrClosed, "this node is not running")
	}
	if ctx.Err() != nil {
		return storage.Result{}, unavailable(context.Cause(ctx), "the request ended before it was proposed; nothing was changed")
	}
	data, err := n.encode(req)
	if err != nil {
		return storage.Result{}, err
	}
	ctx, cancel := n.bounded(ctx)
	defer cancel()
	propose := n.propose
	if _, ok := req.Command.(storage.CommitRestore); ok {
		propose = n.applyRestore
	}
	result, err := propose(ctx, data)
	if err != nil {
		return storage.Result{}, err
	}
	if err := n.fsm.WaitApplied(ctx, result.Index); err != nil {
		n.metrics.unknownOutcomes.Inc()
		return result, &model.Error{Code: model.CodeUnknownOutcome, Err: err,
			Message: fmt.Sprintf("the change was decided at index %d but this node has not applied it in time", result.Index)}
	}
	return result, result.Err()
}

// propose tries until some leader decided on the command or ctx ends. Sending it
// again is safe after any failure, because the bytes carry the request id.
func (n *Node) propose(ctx context.Context, data []byte) (storage.Result, error) {
	return n.proposeBy(ctx, data, n.attempt)
}

// attemptFunc proposes once. hint is who leads, as the node says that refused last.
type attemptFunc func(ctx context.Context, data []byte, hint string) (storage.Result, error)

func (n *Node) proposeBy(ctx context.Context, data []byte, attempt attemptFunc) (storage.Result, error) {
	proposed, hint := false, ""
	pause := retryMin
	for {
		changed := n.changed.wait()
		result, err := attempt(ctx, data, hint)
		if err == nil {
			return result, nil
		}
		var failed *attemptError
		if !errors.As(err, &failed) {
			return storage.Result{}, n.refused(proposed, err)
		}
		proposed = proposed || failed.proposed
		hint = failed.hint
		if ctx.Err() != nil {
			return storage.Result{}, n.giveUp(ctx, proposed, err)
		}
		n.metrics.retries.Inc()
		timer := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return storage.Result{}, n.giveUp(ctx, proposed, err)
		}
		timer.Stop()
		pause = min(2*pause, retryMax)
	}
}

// refused is the end by a refusal that no other attempt can change: too large,
// malformed. It says nothing about an earlier attempt that may have reached a log.
func (n *Node) refused(proposed bool, err error) error {
	if proposed {
		return n.giveUp(context.Background(), true, err)
	}
	return err
}

// giveUp words the end of all attempts. It says unknown_outcome exactly when
// some attempt may have reached a log.
func (n *Node) giveUp(ctx context.Context, proposed bool, last error) error {
	if proposed {
		n.metrics.unknownOutcomes.Inc()
		return &model.Error{Code: model.CodeUnknownOutcome, Err: last,
			Message: "the change was proposed but it is not known whether it was committed; sending it again with the same request id is safe"}
	}
	if errors.Is(context.Cause(ctx), ErrClosed) {
		return unavailable(last, "this node is shutting down; nothing was changed")
	}
	if errors.Is(last, errBusy) {
		return unavailable(last, "too many writes are waiting; nothing was changed")
	}
	return unavailable(last, "there is no leader; nothing was changed")
}

// attempt proposes once, here or at the leader. A hint from the node that
// refused last is better than what this node believes.
func (n *Node) attempt(ctx context.Context, data []byte, hint string) (storage.Result, error) {
	if n.raft.State() == raft.Leader {
		if err := n.admissible(data); err != nil {
			return storage.Result{}, err
		}
		return n.tryLocal(ctx, data)
	}
	return n.tryLeader(ctx, framePropose, data, hint)
}

// tryLeader proposes once at the node that leads, if that is another one.
func (n *Node) tryLeader(ctx context.Context, kind frameType, data []byte, hint string) (storage.Result, error) {
	leader := hint
	if leader == "" || leader == n.id.serverID {
		leader = n.leaderID()
	}
	if leader == "" || leader == n.id.serverID {
		return storage.Result{}, notProposed(errors.New("no leader is known"))
	}
	return n.tryForward(ctx, leader, kind, data)
}

// leaderID is the server id of the leader as this node knows it, or "".
func (n *Node) leaderID() string {
	_, id := n.raft.LeaderWithID()
	return string(id)
}

type outcome struct {
	result storage.Result
	err    error
}

// tryLocal proposes on this node and waits for the outcome.
func (n *Node) tryLocal(ctx context.Context, data []byte) (storage.Result, error) {
	done := make(chan outcome, 1)
	pr, err := newProposal(data, n.cfg.MaxEntryBytes, func(r storage.Result, err error) { done <- outcome{r, err} })
	if err != nil {
		return storage.Result{}, err
	}
	if err := n.proposer.propose(ctx, pr, true); err != nil {
		return storage.Result{}, err
	}
	select {
	case o := <-done:
		return o.result, o.err
	case <-ctx.Done():
		return storage.Result{}, maybeProposed(context.Cause(ctx))
	}
}

// tryForward sends the command to the leader. The receiver never sends it on.
func (n *Node) tryForward(ctx context.Context, leader string, kind frameType, data []byte) (storage.Result, error) {
	n.metrics.forwarded.Inc()
	answer, err := n.callLeader(ctx, leader, kind, data)
	var remote *remoteError
	switch {
	case err == nil:
	case errors.As(err, &remote):
		return storage.Result{}, fromRemote(remote)
	case errors.Is(err, errNotSent):
		return storage.Result{}, notProposed(err)
	default:
		return storage.Result{}, maybeProposed(err)
	}
	result, err := fsm.DecodeResult(answer)
	if err != nil {
		return storage.Result{}, maybeProposed(fmt.Errorf("decode result: %w", err))
	}
	return result, nil
}

var errLeaderMoved = errors.New("another node became the leader")

// callLeader waits for the answer of the leader no longer than until another one
// is known: the one that was asked may have gone without a word, and with the
// same request id it is safe to ask the next.
func (n *Node) callLeader(ctx context.Context, leader string, kind frameType, data []byte) ([]byte, error) {
	before := n.leaderID()
	c := n.client.start(leader, laneBulk, kind, data, nil)
	for {
		changed := n.changed.wait()
		if now := n.leaderID(); now != "" && now != before && now != leader {
			c.fail(errLeaderMoved)
		}
		select {
		case <-c.done:
			return c.answer, c.err
		case <-changed:
		case <-ctx.Done():
			c.fail(context.Cause(ctx))
			<-c.done
			return c.answer, c.err
		}
	}
}

// servePropose takes a forwarded command: here or not at all.
func (n *Node) servePropose(ctx context.Context, _ string, payload []byte, respond respond) {
	if n.raft.State() != raft.Leader {
		respond(nil, &remoteError{code: remoteNotLeader, leader: n.leaderID(), message: "this node is not the leader"})
		return
	}
	if err := n.admissible(payload); err != nil {
		respond(nil, n.withHint(err))
		return
	}
	pr, err := newProposal(payload, n.cfg.MaxEntryBytes, func(r storage.Result, err error) {
		if err != nil {
			respond(nil, n.withHint(err))
			return
		}
		respond(fsm.AppendResult(nil, r), nil)
	})
	if err == nil {
		err = n.proposer.propose(ctx, pr, false)
	}
	if err != nil {
		respond(nil, n.withHint(err))
	}
}

// admissible is the error of a command that this leader must not take now, or nil.
func (n *Node) admissible(data []byte) error {
	if err := n.writable(); err != nil {
		return err
	}
	return n.understood(data)
}

// withHint adds who leads to a refusal.
func (n *Node) withHint(err error) error {
	var failed *attemptError
	if errors.As(err, &failed) && !failed.proposed && failed.hint == "" {
		return &attemptError{err: failed.err, hint: n.leaderID()}
	}
	return err
}

// bounded gives ctx the default deadline if it has none, and ends it when the
// node closes.
func (n *Node) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); !ok {
		var cancelTimeout context.CancelFunc
		ctx, cancelTimeout = context.WithTimeout(ctx, n.cfg.DefaultTimeout)
		out, cancel := n.untilClosed(ctx)
		return out, func() { cancel(); cancelTimeout() }
	}
	return n.untilClosed(ctx)
}

func (n *Node) untilClosed(ctx context.Context) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(n.ctx, func() { cancel(context.Cause(n.ctx)) })
	return out, func() { stop(); cancel(nil) }
}
