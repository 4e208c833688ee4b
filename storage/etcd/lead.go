package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/oprc/oprc-pm/internal/wait"
	"github.com/oprc/oprc-pm/storage"
)

// Leadership is an etcd election: each candidate has a key on its lease, the oldest
// leads. Its term is the revision that made the key, so it grows with every
// election. A lease proves nothing to others; what fences a deposed leader is the
// head: a leader run begins with an entry that puts its term there, and from then on
// commands of an older one are rejected.

// leaderRun is a time in which this node leads.
type leaderRun struct {
	term uint64
	ctx  context.Context
	// calls are those of Lead that take part; nobody joins any more once closed.
	calls  sync.WaitGroup
	closed bool
}

// leaderRuns is the present run, and how to wait for the next.
type leaderRuns struct {
	mu      sync.Mutex // guards the fields below
	current *leaderRun
	changed chan struct{}
}

func newLeaderRuns() *leaderRuns { return &leaderRuns{changed: make(chan struct{})} }

func (l *leaderRuns) begin(ctx context.Context, term uint64) *leaderRun {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.current = &leaderRun{term: term, ctx: ctx}
	close(l.changed)
	l.changed = make(chan struct{})
	return l.current
}

// end closes the run to newcomers and waits for the calls in it.
func (l *leaderRuns) end(run *leaderRun) {
	l.mu.Lock()
	run.closed = true
	l.mu.Unlock()
	run.calls.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.current = nil
}

// join enters the present run if it is another than last, or returns what announces
// the next one.
func (l *leaderRuns) join(last *leaderRun) (*leaderRun, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current == nil || l.current == last || l.current.closed {
		return nil, l.changed
	}
	l.current.calls.Add(1)
	return l.current, nil
}

// Lead implements storage.Store.
func (s *Store) Lead(ctx context.Context, run func(ctx context.Context, term uint64)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(s.ctx, func() { cancel(storage.ErrClosed) })
	defer stop()
	var last *leaderRun
	for {
		current, changed := s.runs.join(last)
		if current == nil {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		last = current
		func() {
			defer current.calls.Done()
			both, end := context.WithCancelCause(current.ctx)
			defer end(nil)
			stop := context.AfterFunc(ctx, func() { end(context.Cause(ctx)) })
			defer stop()
			run(both, current.term)
		}()
	}
}

// runLeadership stands for leadership until the store closes.
func (s *Store) runLeadership(ctx context.Context) {
	for ctx.Err() == nil {
		if err := s.leadOnce(ctx); err != nil && ctx.Err() == nil {
			s.logger.Warn("the election was left", "err", err)
			wait.For(ctx, wait.Jitter(retryMin*5, 0.5))
		}
	}
}

// leadOnce stands for leadership once, and leads as long as it lasts.
func (s *Store) leadOnce(ctx context.Context) error {
	session, err := s.awaitSession(ctx)
	if err != nil {
		return err
	}
	election := concurrency.NewElection(session, s.keys.of(strings.TrimSuffix(electionPrefix, "/")))
	campaign, stop := withSession(ctx, session)
	defer stop(nil)
	if err := election.Campaign(campaign, encodeNode(s.cfg.Node)); err != nil {
		return fmt.Errorf("campaign: %w", errors.Join(err, context.Cause(campaign)))
	}
	defer s.giveUpLead(election)
	term, err := s.establish(campaign, uint64(election.Rev()))
	if err != nil {
		return err
	}
	s.leading.Store(term)
	s.logger.Info("leader run begins", "term", term)
	s.leadRun(campaign, stop, term)
	s.leading.Store(0)
	s.logger.Info("leader run ended", "term", term, "cause", context.Cause(campaign))
	return nil
}

// withSession ends with ctx, with the session, or when stop is called.
func withSession(ctx context.Context, session *concurrency.Session) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	context.AfterFunc(ctx, func() { close(done) })
	go func() {
		select {
		case <-session.Done():
			cancel(errSessionExpired)
		case <-done:
		}
	}()
	return ctx, cancel
}

// establish puts the term into the head. It grows even when the keys were brought
// from another etcd, whose revisions were larger.
func (s *Store) establish(ctx context.Context, revision uint64) (uint64, error) {
	for failures := 0; ; failures++ {
		o := newOp(storage.Request{Command: storage.Barrier{}})
		o.term = max(revision, s.current.Load().head.Term+1)
		bounded, cancel := s.bounded(ctx)
		_, err := s.submit(bounded, o)
		cancel()
		if err == nil {
			return o.term, nil
		}
		if !wait.For(ctx, wait.Jitter(min(retryMin<<min(failures, 6), retryMax), 0.3)) {
			return 0, fmt.Errorf("begin the term: %w", errors.Join(err, context.Cause(ctx)))
		}
	}
}

// leadRun lets calls of Lead take part, adopts what others leave behind, and returns
// when all have ended and leadership is over.
func (s *Store) leadRun(ctx context.Context, stop context.CancelCauseFunc, term uint64) {
	if err := s.adopt(ctx, term); err != nil {
		s.logger.Warn("not all could be taken over yet", "err", err)
	}
	if err := s.sweep(ctx); err != nil {
		s.logger.Warn("what unfinished entries left was not removed", "err", err)
	}
	run := s.runs.begin(ctx, term)
	var adopter sync.WaitGroup
	adopter.Go(func() { s.runAdopter(ctx, term) })
	var resigned chan struct{}
	select {
	case resigned = <-s.resign:
		stop(errResigned)
	case <-ctx.Done():
	}
	s.runs.end(run)
	adopter.Wait()
	if resigned != nil {
		close(resigned)
	}
}

var errResigned = errors.New("leadership was handed over")

// giveUpLead takes the candidate's key away, so that others need not wait for the
// lease.
func (s *Store) giveUpLead(election *concurrency.Election) {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := election.Resign(ctx); err != nil {
		s.logger.Debug("the election was not resigned", "err", err)
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
	done := make(chan struct{})
	for {
		leader, changed := s.register.leading()
		if leader.ID != s.cfg.Node.ID && leader.ID != "" {
			return nil
		}
		select {
		case ask <- done:
			ask = nil
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("no other node took over: %w", context.Cause(ctx))
		}
	}
}
