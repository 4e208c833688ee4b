package etcd

import (
	"context"
	"errors"
	"fmt"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/oprc/oprc-pm/internal/wait"
	"github.com/oprc/oprc-pm/storage"
)

// Leadership is an election: each candidate has a key on its lease, the oldest
// leads. A lease proves nothing to others; what fences a deposed leader is the head:
// a leader run begins with an entry that puts its term there, and from then on
// commands of an older one are rejected. The term is the revision that made the
// candidate's key, or one more than the last term if that is larger, as after a
// restore into another etcd.

// runLeadership stands for leadership until the store closes.
func (s *Store) runLeadership(ctx context.Context) {
	for failures := 0; ctx.Err() == nil; failures++ {
		err := s.leadOnce(ctx)
		if err == nil {
			failures = 0
			continue
		}
		s.logger.Log(ctx, repeated(failures), "the election was left", "err", err)
		wait.For(ctx, backOff(failures))
	}
}

var (
	errResigned = errors.New("leadership was handed over")
	errDeposed  = errors.New("another candidate is first")
	// errRestored ends a leader run: the state that it began with is gone.
	errRestored = errors.New("the state was restored from a backup")
)

// leadOnce stands for leadership once, and leads as long as it lasts.
func (s *Store) leadOnce(ctx context.Context) error {
	session, err := s.awaitSession(ctx)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	expired := context.AfterFunc(session.Ctx(), func() { stop(errSessionExpired) })
	defer expired()
	// A node without a state of its own has nothing to lead.
	if err := s.setDeposer(ctx, stop); err != nil {
		return err
	}
	defer s.forgetDeposer()

	key, revision, err := s.stand(ctx, session)
	if err != nil {
		return fmt.Errorf("stand for leadership: %w", err)
	}
	defer s.withdraw(session, key)
	if err := s.awaitElection(ctx, key, revision); err != nil {
		return fmt.Errorf("wait for the election: %w", err)
	}
	term, err := s.establish(ctx, uint64(revision))
	if err != nil {
		return err
	}
	s.leading.Store(term)
	s.logger.Info("leader run begins", "term", term)
	s.leadRun(ctx, stop, key, term)
	s.leading.Store(0)
	s.logger.Info("leader run ended", "term", term, "cause", context.Cause(ctx))
	return nil
}

// setDeposer makes known how to end what leadOnce does. It waits while the state is
// lost.
func (s *Store) setDeposer(ctx context.Context, stop context.CancelCauseFunc) error {
	for {
		s.mu.Lock()
		lost, advanced := s.lost.Load() != nil, s.advanced
		if !lost {
			s.deposer = stop
		}
		s.mu.Unlock()
		if !lost {
			return nil
		}
		select {
		case <-advanced:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (s *Store) forgetDeposer() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deposer = nil
}

// depose ends the candidacy or the leader run of this node. The caller holds mu.
func (s *Store) depose(cause error) {
	if s.deposer != nil {
		s.deposer(cause)
	}
}

// stand makes this node a candidate, and returns its key and the revision of that.
func (s *Store) stand(ctx context.Context, session *concurrency.Session) (key string, revision int64, err error) {
	ctx, cancel := s.attempt(ctx)
	defer cancel()
	key = fmt.Sprintf("%s%x", electionPrefix, session.Lease())
	full := s.keys.of(key)
	// It may be there, when an answer was lost.
	resp, err := s.client.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(full), "=", 0)).
		Then(clientv3.OpPut(full, encodeNode(s.cfg.Node), clientv3.WithLease(session.Lease()))).
		Else(clientv3.OpGet(full)).Commit()
	if err != nil {
		return "", 0, err
	}
	if resp.Succeeded {
		return key, resp.Header.Revision, nil
	}
	return key, resp.Responses[0].GetResponseRange().Kvs[0].CreateRevision, nil
}

// withdraw takes the candidate's key away, so that others need not wait for the
// lease. When the store closes, the lease takes it along.
func (s *Store) withdraw(session *concurrency.Session, key string) {
	if s.ctx.Err() != nil || session.Ctx().Err() != nil {
		return
	}
	ctx, cancel := s.attempt(s.ctx)
	defer cancel()
	if _, err := s.client.Delete(ctx, s.keys.of(key)); err != nil {
		s.logger.Debug("the candidacy was not withdrawn", "err", err)
	}
}

var errCandidacyGone = errors.New("the candidate's key was removed from etcd")

// awaitElection waits until the candidate behind key, made at revision, is first.
func (s *Store) awaitElection(ctx context.Context, key string, revision int64) error {
	for {
		oldest, changed := s.register.leading()
		if oldest.key == key {
			return nil
		}
		if s.followed.Load() >= revision && !s.register.stands(key) {
			return errCandidacyGone
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// establish puts a new term into the head.
func (s *Store) establish(ctx context.Context, revision uint64) (uint64, error) {
	for failures := 0; ; failures++ {
		o := newOp(storage.Request{Command: storage.Barrier{}})
		o.candidacy = revision
		bounded, cancel := s.bounded(ctx)
		_, err := s.submit(bounded, o)
		cancel()
		if err == nil {
			return o.term, nil
		}
		if !wait.For(ctx, backOff(failures)) {
			return 0, fmt.Errorf("begin the term: %w", errors.Join(err, context.Cause(ctx)))
		}
	}
}

// leadRun lets calls of Lead take part, adopts what others leave behind, and returns
// when all have ended and leadership is over.
func (s *Store) leadRun(ctx context.Context, stop context.CancelCauseFunc, key string, term uint64) {
	if err := s.adopt(ctx, term); err != nil {
		s.logger.Warn("not all could be taken over yet", "err", err)
	}
	if err := s.sweep(ctx); err != nil {
		s.logger.Warn("what unfinished entries left was not removed", "err", err)
	}
	run := s.runs.begin(ctx, term)
	var adopter sync.WaitGroup
	adopter.Go(func() { s.runAdopter(ctx, term) })
	s.awaitEnd(ctx, stop, key)
	s.runs.end(run)
	adopter.Wait()
}

// awaitEnd returns when leadership is over, and stop was called.
func (s *Store) awaitEnd(ctx context.Context, stop context.CancelCauseFunc, key string) {
	for {
		oldest, changed := s.register.leading()
		if oldest.key != key {
			stop(errDeposed)
			return
		}
		select {
		case <-changed:
		case <-s.resign:
			stop(errResigned)
			return
		case <-ctx.Done():
			return
		}
	}
}

// Resign ends this node's leader run, if there is one, and returns when another node
// leads or ctx ends.
func (s *Store) Resign(ctx context.Context) error {
	if s.leading.Load() == 0 {
		return nil
	}
	if s.register.rivals() == 0 {
		return errors.New("no other node stands for leadership")
	}
	ask := s.resign
	for {
		leader, changed := s.register.leading()
		if leader.node.ID != s.cfg.Node.ID && leader.node.ID != "" {
			return nil
		}
		select {
		case ask <- struct{}{}:
			ask = nil
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("no other node took over: %w", context.Cause(ctx))
		case <-s.ctx.Done():
			return closedError()
		}
	}
}
