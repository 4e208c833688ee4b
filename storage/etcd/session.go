package etcd

import (
	"context"
	"errors"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/oprc/oprc-pm/internal/wait"
)

// closeTimeout bounds what is courtesy towards others when this node stops.
const closeTimeout = time.Second

// runSession keeps a lease while etcd can be reached, and this node on the register
// with it, until ctx ends: that is after leadership, so that no other node is elected
// while a run of this one is still ending in good order.
func (s *Store) runSession(ctx context.Context) {
	for failures := 0; ctx.Err() == nil; failures++ {
		err := s.holdSession(ctx)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errSessionExpired) {
			failures = 0
		}
		s.trouble(err)
		s.logger.Log(ctx, repeated(failures), "no session with etcd", "err", err)
		wait.For(ctx, backOff(failures))
	}
}

var errSessionExpired = errors.New("the session with etcd expired")

// holdSession opens a session and returns when it is over.
func (s *Store) holdSession(ctx context.Context) error {
	asking, cancel := s.attempt(ctx)
	defer cancel()
	lease, err := s.client.Grant(asking, int64(s.cfg.SessionTTL/time.Second))
	if err != nil {
		return err
	}
	session, err := concurrency.NewSession(s.client, concurrency.WithLease(lease.ID), concurrency.WithContext(ctx))
	if err != nil {
		return err
	}
	defer s.giveBack(session)
	if _, err = s.client.Put(asking, s.keys.of(nodePrefix+s.cfg.Node.ID), encodeNode(s.cfg.Node), clientv3.WithLease(session.Lease())); err != nil {
		return err
	}
	s.setSession(session)
	defer s.setSession(nil)
	return s.watchSession(ctx, session)
}

// giveBack ends a session, so that others need not wait for the lease to expire.
func (s *Store) giveBack(session *concurrency.Session) {
	session.Orphan()
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if _, err := s.client.Revoke(ctx, session.Lease()); err != nil {
		s.logger.Debug("the lease was not given back", "err", err)
	}
}

// watchSession asks etcd for the head now and then, so that an idle node knows
// whether it could.
func (s *Store) watchSession(ctx context.Context, session *concurrency.Session) error {
	ticker := time.NewTicker(s.cfg.SessionTTL / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if _, err := s.readHead(ctx); err != nil {
				s.logger.Debug("etcd could not be read", "err", err)
			}
		case <-session.Done():
			return errSessionExpired
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *Store) setSession(session *concurrency.Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lease = session
	close(s.sessionChanged)
	s.sessionChanged = make(chan struct{})
}

// sessionNow returns the session, or nil, and what announces another one.
func (s *Store) sessionNow() (*concurrency.Session, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lease, s.sessionChanged
}

// awaitSession returns the session, once there is one.
func (s *Store) awaitSession(ctx context.Context) (*concurrency.Session, error) {
	for {
		session, changed := s.sessionNow()
		if session != nil {
			return session, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
