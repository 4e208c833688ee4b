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
const closeTimeout = 2 * time.Second

// runSession keeps a lease while etcd can be reached, and this node on the register
// with it, until the store closes.
func (s *Store) runSession(ctx context.Context) {
	for ctx.Err() == nil {
		if err := s.holdSession(ctx); err != nil && ctx.Err() == nil {
			s.trouble(err)
			s.logger.Warn("no session with etcd", "err", err)
			wait.For(ctx, wait.Jitter(s.cfg.SessionTTL/10, 0.3))
		}
	}
}

var errSessionExpired = errors.New("the session with etcd expired")

// holdSession opens a session and returns when it is over.
func (s *Store) holdSession(ctx context.Context) error {
	// The session outlives ctx for as long as it takes to give the lease back.
	alive, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(closeTimeout, end) })
	defer stop()
	asking, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	lease, err := s.client.Grant(asking, int64(s.cfg.SessionTTL/time.Second))
	cancel()
	if err != nil {
		return err
	}
	session, err := concurrency.NewSession(s.client, concurrency.WithLease(lease.ID), concurrency.WithTTL(int(s.cfg.SessionTTL/time.Second)), concurrency.WithContext(alive))
	if err != nil {
		return err
	}
	defer func() {
		// Others need not wait for the lease to expire.
		if err := session.Close(); err != nil {
			s.logger.Debug("the lease was not given back", "err", err)
		}
	}()
	asking, cancel = context.WithTimeout(ctx, s.cfg.RequestTimeout)
	_, err = s.client.Put(asking, s.keys.of(nodePrefix+s.cfg.Node.ID), encodeNode(s.cfg.Node), clientv3.WithLease(session.Lease()))
	cancel()
	if err != nil {
		return err
	}
	s.setSession(session)
	defer s.setSession(nil)
	return s.watchSession(ctx, session)
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
	s.session = session
	close(s.sessionChanged)
	s.sessionChanged = make(chan struct{})
}

// awaitSession returns the session, once there is one.
func (s *Store) awaitSession(ctx context.Context) (*concurrency.Session, error) {
	for {
		s.mu.Lock()
		session, changed := s.session, s.sessionChanged
		s.mu.Unlock()
		if session != nil {
			return session, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-s.ctx.Done():
			return nil, closedError()
		}
	}
}
