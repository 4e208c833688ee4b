package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// request is an entry as a transaction.
type request struct {
	conditions      []clientv3.Cmp
	then, otherwise []clientv3.Op
}

// transact makes one attempt at a transaction. The client repeats it only when it
// was never sent.
func (s *Store) transact(ctx context.Context, r request) (*clientv3.TxnResponse, error) {
	ctx, cancel := s.attempt(ctx)
	defer cancel()
	return s.client.Txn(ctx).If(r.conditions...).Then(r.then...).Else(r.otherwise...).Commit()
}

// commitOnce makes one entry of ops and tries to commit it.
func (s *Store) commitOnce(ctx context.Context, ops []*op) (outcome, error) {
	if lost := s.lost.Load(); lost != nil {
		giveUp(ops, *lost, notProposed(*lost, "nothing is written: %v", *lost))
		return answered, nil
	}
	if v := s.current.Load(); v.head.Staged != "" {
		if out, err := s.settle(ctx, ops, v); out != committed {
			return out, err
		}
	}
	e, r, out := s.propose(ops)
	if e == nil {
		return out, nil
	}
	if s.overwritesLegacy(e, ops) {
		s.abandon(e)
		if err := s.adoptDocuments(ctx, 0, s.commitNow); err != nil {
			return uncertain, err
		}
		return answered, nil
	}
	started := time.Now()
	err := s.putParts(ctx, e)
	var resp *clientv3.TxnResponse
	if err == nil {
		resp, err = s.transact(ctx, r)
	}
	if s.answer != nil {
		err = s.answer(err)
	}
	if err != nil {
		s.abandon(e)
		return s.failed(ctx, ops, e, err)
	}
	s.heard()
	if !resp.Succeeded {
		s.abandon(e)
		s.dropParts(ctx, e)
		return s.catchUp(ctx, ops, e.base, resp)
	}
	s.metrics.commitSeconds.UpdateDuration(started)
	s.metrics.entryOps.Update(float64(len(r.then)))
	return s.succeed(ctx, ops, e, resp.Header.Revision)
}

// succeed shows and answers a committed entry.
func (s *Store) succeed(ctx context.Context, ops []*op, e *entry, revision int64) (outcome, error) {
	s.endTurn()
	e.next.revision = revision
	if !s.publishOwn(e, ops) {
		// The watch was faster, or the copy was loaded anew, perhaps without this
		// entry: who is answered must find it here.
		if err := s.waitRevision(ctx, revision); err != nil {
			for i, o := range ops {
				o.try(e.results, i)
				o.sent = true
			}
			return uncertain, err
		}
	}
	for i, o := range ops {
		if o.proposal.Command == nil {
			o.finish(storage.Result{Index: e.next.head.Index}, nil)
			continue
		}
		o.finish(e.results[i], nil)
	}
	return committed, nil
}

// propose runs the commands of ops on the copy. Without an entry, out says why: some
// ops were answered, or they have to be fewer.
func (s *Store) propose(ops []*op) (e *entry, r request, out outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current.Load().head.Staged != "" {
		// It came since this was looked after. An entry on top of it would leave it
		// unsettled for ever.
		return nil, request{}, answered
	}
	e, err := s.build(ops)
	if err != nil {
		err = fmt.Errorf("apply commands: %w", errors.Join(err, s.machine.Load(s.current.Load().tree)))
		for _, o := range ops {
			o.finish(storage.Result{}, err)
		}
		return nil, request{}, answered
	}
	if ops[0].alone() && ops[0].proposal.Command != nil && e.results[0].Code != "" {
		// What the command is to replace must stay, and so the leader.
		s.machine.Undo()
		ops[0].finish(e.results[0], nil)
		return nil, request{}, answered
	}
	if answerRepeats(ops, e) {
		s.machine.Undo()
		return nil, request{}, answered
	}
	if e.rewritten && len(ops) > 1 {
		// A resource version is an index, and must name one content.
		s.machine.Undo()
		return nil, request{}, overfull
	}
	if nops, bytes := e.size(s.keys); nops+len(ops[0].extra) > s.cfg.MaxOps || bytes > s.cfg.MaxBytes {
		if len(ops) > 1 {
			s.machine.Undo()
			return nil, request{}, overfull
		}
		if err := e.stage(s.partBytes()); err != nil {
			s.machine.Undo()
			return nil, request{}, s.tooMuch(ops, err)
		}
	}
	s.speculative = e
	more := ops[0].extra
	s.turn.large = e.parts != nil
	if s.turn.taken {
		more = append(more[:len(more):len(more)], clientv3.OpDelete(s.turnKey()))
	}
	r = e.request(s.keys, s.seen, more)
	r.conditions = append(r.conditions, ops[0].conditions...)
	return e, r, committed
}

// answerRepeats answers those ops of which the copy shows that they were committed
// before, and says whether there were any.
func answerRepeats(ops []*op, e *entry) bool {
	found := false
	at := 0
	for _, o := range ops {
		if o.proposal.Command == nil {
			continue
		}
		result := e.results[at]
		at++
		if result.Duplicate && result.Index < e.next.head.Index && o.candidacy == 0 {
			o.finish(result, nil)
			found = true
		}
	}
	return found
}

// tooMuch splits ops, or answers the only one that does not fit by itself.
func (s *Store) tooMuch(ops []*op, err error) outcome {
	if len(ops) > 1 {
		return overfull
	}
	ops[0].finish(storage.Result{}, model.Errorf(model.CodeTooLarge,
		"the write is too large for etcd: %v; the limits are %d operations and %d bytes (storage.etcd.max_txn_ops and storage.etcd.max_request_bytes, which must be those of etcd)",
		err, s.cfg.MaxOps, s.cfg.MaxBytes))
	return answered
}

// build runs the commands on a version of their own.
func (s *Store) build(ops []*op) (*entry, error) {
	base := s.current.Load()
	h := head{Format: format, Index: base.head.Index + 1, Prev: base.head.Index, Term: base.head.Term, Node: s.cfg.Node.ID, Reviewed: base.head.Reviewed}
	proposals := make([]storage.Proposal, 0, len(ops))
	for _, o := range ops {
		if o.candidacy > 0 {
			// Larger than any before, at each attempt: nobody else began it.
			h.Term = max(h.Term+1, o.candidacy)
			o.term = h.Term
		}
		if o.restoring() {
			// What a leader run of before still proposes is rejected.
			h.Term++
		}
		h.Reviewed = max(h.Reviewed, o.reviewed)
		if o.proposal.Command != nil {
			proposals = append(proposals, o.proposal)
		}
	}
	// A restore leaves out indexes that the backup knows.
	h.Index = max(h.Index, storage.MinIndex(proposals))
	r := newRecorder(base)
	results, _, err := s.machine.Apply(r, h.Index, h.Term, proposals)
	if err != nil {
		return nil, err
	}
	h.Digest = r.digest.String()
	e := &entry{base: base, next: &version{head: h, tree: r.Tree, digest: r.digest}, changes: r.effective(), rewritten: r.rewritten, results: results}
	for _, c := range e.changes {
		if roomOf(c.Key) != roomState {
			return nil, fmt.Errorf("the key %q has no place in etcd", c.Key)
		}
	}
	return e, nil
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

// publishOwn makes a committed entry the current version, unless the follower did
// something since it was made, and says whether it did.
func (s *Store) publishOwn(e *entry, ops []*op) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.speculative != e {
		return false
	}
	s.speculative = nil
	for _, key := range ops[0].repairs {
		s.forgetOthers(key)
	}
	for _, c := range e.changes {
		s.forgetOthers(string(c.Key))
	}
	s.publish(e.next, e.changes)
	return true
}
