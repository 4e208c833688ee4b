package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/oprc/oprc-pm/internal/wait"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// maxBatch is how many commands share a transaction at most, if it has room.
const maxBatch = 64

// Pauses between attempts while etcd does not answer.
const (
	retryMin = 20 * time.Millisecond
	retryMax = 2 * time.Second
)

// runCommitter commits what is queued, one transaction at a time, until the store
// closes. What is under way then has an unknown outcome.
func (s *Store) runCommitter(ctx context.Context) {
	defer close(s.committed)
	var held *op
	for {
		first := held
		if held = nil; first == nil {
			select {
			case first = <-s.queue:
			case <-ctx.Done():
				return
			}
		}
		var batch []*op
		if batch, held = s.collect(first); len(batch) > 0 {
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
func (s *Store) commitAll(ctx context.Context, ops []*op) {
	n, failures := len(ops), 0
	for len(ops) > 0 {
		n = min(n, len(ops))
		outcome, err := s.commitOnce(ctx, ops[:n])
		switch outcome {
		case committed:
			ops, failures = ops[n:], 0
			n = len(ops)
		case overfull:
			n = (n + 1) / 2
		case answered:
			ops = ops[n:]
		case overtaken:
			s.metrics.conflicts.Inc()
		case uncertain:
			s.metrics.retries.Inc()
			failures++
			s.logger.Warn("etcd committed nothing that it tells of; trying again", "err", err, "attempt", failures)
			wait.For(ctx, wait.Jitter(min(retryMin<<min(failures-1, 10), retryMax), 0.3))
		}
		if ctx.Err() != nil {
			giveUp(ops, context.Cause(ctx), closedError())
			return
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
	// answered without being committed, for good.
	answered
	// overfull: fewer ops may fit.
	overfull
	// overtaken by another entry, which the copy shows by now.
	overtaken
	// uncertain: it may have been committed, or may be later; or it was not, and why
	// not has to go away first.
	uncertain
)

// commitOnce makes one entry of ops and tries to commit it.
func (s *Store) commitOnce(ctx context.Context, ops []*op) (outcome, error) {
	if v := s.current.Load(); v.head.Staged != "" {
		if out, err := s.settle(ctx, v); out != committed {
			return out, err
		}
	}
	e, conditions, then, otherwise, out := s.propose(ops)
	if e == nil {
		return out, nil
	}
	started := time.Now()
	err := s.putParts(ctx, e)
	var resp *clientv3.TxnResponse
	if err == nil {
		resp, err = s.transact(ctx, conditions, then, otherwise)
	}
	if err != nil {
		s.abandon(e)
		return s.failed(ctx, ops, e, err)
	}
	s.heard()
	if !resp.Succeeded {
		s.abandon(e)
		out, err := s.catchUp(ctx, e, resp)
		if errors.Is(err, errForeign) && ops[0].alone() {
			ops[0].finish(storage.Result{}, err)
			return answered, err
		}
		return out, err
	}
	s.metrics.commitSeconds.UpdateDuration(started)
	s.metrics.entryOps.Update(float64(len(then)))
	e.next.revision = resp.Header.Revision
	s.publishOwn(e, ops)
	for i, o := range ops {
		if o.proposal.Command == nil {
			o.finish(storage.Result{Index: e.next.head.Index}, nil)
			continue
		}
		o.finish(e.results[i], nil)
	}
	return committed, nil
}

// transact makes one attempt at a transaction.
func (s *Store) transact(ctx context.Context, conditions []clientv3.Cmp, then, otherwise []clientv3.Op) (*clientv3.TxnResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	return s.client.Txn(ctx).If(conditions...).Then(then...).Else(otherwise...).Commit()
}

// propose runs the commands of ops on the copy. Without an entry, out says why: the
// ops were answered, or they have to be fewer.
func (s *Store) propose(ops []*op) (e *entry, conditions []clientv3.Cmp, then, otherwise []clientv3.Op, out outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := s.build(ops)
	if err != nil {
		err = fmt.Errorf("apply commands: %w", errors.Join(err, s.machine.Load(s.current.Load().tree)))
		for _, o := range ops {
			o.finish(storage.Result{}, err)
		}
		return nil, nil, nil, nil, answered
	}
	if nops, bytes := e.size(s.keys); nops+len(ops[0].extra) > s.cfg.MaxOps || bytes > s.cfg.MaxBytes {
		if len(ops) > 1 {
			s.machine.Undo()
			return nil, nil, nil, nil, overfull
		}
		if largest := e.largest(); largest > s.partBytes() {
			s.machine.Undo()
			return nil, nil, nil, nil, s.tooMuch(ops, fmt.Sprintf("a value of %d bytes", largest))
		}
		e.stage(s.partBytes())
	}
	s.speculative = e
	conditions, then, otherwise = e.txn(s.keys, s.seen, ops[0].extra)
	return e, append(conditions, ops[0].conditions...), then, otherwise, committed
}

// tooMuch splits ops, or answers the only one that does not fit by itself.
func (s *Store) tooMuch(ops []*op, needs string) outcome {
	if len(ops) > 1 {
		return overfull
	}
	ops[0].finish(storage.Result{}, model.Errorf(model.CodeTooLarge,
		"the write needs %s in one etcd transaction; the limits are %d operations and %d bytes (storage.etcd.max_txn_ops and storage.etcd.max_request_bytes, which must be those of etcd)",
		needs, s.cfg.MaxOps, s.cfg.MaxBytes))
	return answered
}

// build runs the commands on a version of their own.
func (s *Store) build(ops []*op) (*entry, error) {
	base := s.current.Load()
	h := head{Format: format, Index: base.head.Index + 1, Term: base.head.Term, Node: s.cfg.Node.ID}
	proposals := make([]storage.Proposal, 0, len(ops))
	for _, o := range ops {
		h.Term = max(h.Term, o.term)
		if o.proposal.Command != nil {
			proposals = append(proposals, o.proposal)
		}
	}
	r := newRecorder(base)
	results, _, err := s.machine.Apply(r, h.Index, h.Term, proposals)
	if err != nil {
		return nil, err
	}
	h.Digest = r.digest.String()
	next := &version{head: h, tree: r.Tree, digest: r.digest}
	return &entry{base: base, next: next, changes: r.effective(), results: results}, nil
}

// failed says what the error of a transaction means for its ops.
func (s *Store) failed(ctx context.Context, ops []*op, e *entry, err error) (outcome, error) {
	if ctx.Err() == nil {
		s.trouble(err)
	}
	switch judge(err) {
	case tooLarge:
		return s.tooMuch(ops, "more operations or bytes than etcd takes ("+err.Error()+")"), err
	case refused:
		giveUp(ops, err, refusedError(err))
		return answered, err
	}
	for i, o := range ops {
		o.sent = true
		o.repeated = o.repeated || o.proposal.Command != nil && e.results[i].Duplicate
	}
	return uncertain, err
}

var errForeign = errors.New("a document was written by somebody else, or the condition of a repair does not hold any more")

// catchUp waits until the copy shows the head that was in the way of e.
func (s *Store) catchUp(ctx context.Context, e *entry, resp *clientv3.TxnResponse) (outcome, error) {
	kvs := resp.Responses[0].GetResponseRange().Kvs
	if len(kvs) == 0 {
		return uncertain, s.lose()
	}
	if at := kvs[0].ModRevision; at != e.base.revision {
		return overtaken, s.waitRevision(ctx, at)
	}
	return uncertain, errForeign
}

// abandon takes back what the machine learnt from an entry, unless the follower has.
func (s *Store) abandon(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.speculative == e {
		s.speculative = nil
		s.machine.Undo()
	}
}

// publishOwn makes a committed entry the current version, unless the follower did.
func (s *Store) publishOwn(e *entry, ops []*op) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.speculative != e {
		return
	}
	s.speculative = nil
	for _, key := range ops[0].repairs {
		s.forgetOthers(key)
	}
	for _, c := range e.changes {
		s.forgetOthers(string(c.Key))
	}
	s.publish(e.next, e.changes)
}
