package etcd

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Nodes that write at the same time overtake each other, and nothing makes that fair:
// the one next to etcd's leader could win for ever, a large entry lose for ever. So a
// node that was overtaken a few times puts up a key, its turn; the others let it
// commit before they go on. That is courtesy, not a lock: nobody depends on it, and
// nobody waits for long.

const (
	// turnAfter is how many conflicts in a row make a node ask for its turn.
	turnAfter = 3
	// turnWait is for how long others let the owner of a turn go first.
	turnWait = 500 * time.Millisecond
)

func (s *Store) turnKey() string { return s.keys.of(turnPrefix + s.cfg.Node.ID) }

// takeTurn asks the others for the next turn after some conflicts. Only the committer
// calls it.
func (s *Store) takeTurn(ctx context.Context, conflicts int) {
	session, _ := s.sessionNow()
	if s.turnTaken || conflicts < turnAfter || session == nil {
		return
	}
	ctx, cancel := s.attempt(ctx)
	defer cancel()
	if _, err := s.client.Put(ctx, s.turnKey(), "", clientv3.WithLease(session.Lease())); err != nil {
		s.logger.Debug("no turn was asked for", "err", err)
		return
	}
	s.turnTaken = true
	s.metrics.turns.Inc()
}

// giveTurnBack takes down this node's turn, if that is up: an entry does it by itself.
func (s *Store) giveTurnBack(ctx context.Context) {
	if !s.turnTaken {
		return
	}
	s.turnTaken = false
	ctx, cancel := s.attempt(ctx)
	defer cancel()
	if _, err := s.client.Delete(ctx, s.turnKey()); err != nil {
		s.logger.Debug("the turn was not given back", "err", err)
	}
}

// awaitTurn lets the owner of the oldest turn go first.
func (s *Store) awaitTurn(ctx context.Context) {
	timer := time.NewTimer(turnWait)
	defer timer.Stop()
	for {
		oldest, changed := s.register.turn()
		if oldest.key == "" || oldest.key == turnPrefix+s.cfg.Node.ID || oldest.revision == s.turnIgnored {
			return
		}
		select {
		case <-changed:
		case <-timer.C:
			// It may be dead, or slow. It had its time.
			s.turnIgnored = oldest.revision
			return
		case <-ctx.Done():
			return
		}
	}
}
