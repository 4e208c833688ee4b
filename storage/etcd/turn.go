package etcd

import (
	"context"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/oprc/oprc-pm/internal/wait"
)

// Nodes that write at the same time overtake each other, and nothing makes that fair:
// the one next to etcd's leader could win for ever, a large entry lose for ever. So a
// node that was overtaken a few times puts up a key, its turn; the others let it
// commit before they go on, for a moment, or as long as it keeps touching the key, as
// it does while it makes a large entry. That is courtesy, not a lock: nobody depends
// on it.

const (
	// turnAfter is how many conflicts in a row make a node ask for its turn.
	turnAfter = 3
	// turnWait is for how long others wait for the owner of a turn, or for it to
	// touch the key, which it does three times as often.
	turnWait = 600 * time.Millisecond
	// maxTurn is for how long an owner keeps touching it: as long as a large entry
	// may take.
	maxTurn = time.Minute
)

// turn is this node's place in the row. It is the committer's.
type turn struct {
	taken bool
	// large: the entry of the last attempt was staged, which takes long.
	large bool
	// ignored is the revision of another node's turn that was waited for in vain.
	ignored int64
	// end stops what touches the key, touching waits for it.
	end      context.CancelFunc
	touching sync.WaitGroup
}

func (s *Store) turnKey() string { return s.keys.of(turnPrefix + s.cfg.Node.ID) }

// takeTurn asks the others for the next turn after some conflicts.
func (s *Store) takeTurn(ctx context.Context, conflicts int) {
	session, _ := s.sessionNow()
	if s.turn.taken || conflicts < turnAfter && !s.turn.large || session == nil {
		return
	}
	asking, cancel := s.attempt(ctx)
	defer cancel()
	lease := clientv3.WithLease(session.Lease())
	if _, err := s.client.Put(asking, s.turnKey(), "", lease); err != nil {
		s.logger.Debug("no turn was asked for", "err", err)
		return
	}
	s.metrics.turns.Inc()
	s.turn.taken = true
	ctx, s.turn.end = context.WithTimeout(ctx, maxTurn)
	if !s.turn.large {
		// What takes longer than others wait is in trouble, and must not have them
		// wait on.
		return
	}
	s.turn.touching.Go(func() {
		for wait.For(ctx, turnWait/3) {
			// Only while it is there: an entry takes it down by itself.
			_, _ = s.transact(ctx, request{
				conditions: []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(s.turnKey()), ">", 0)},
				then:       []clientv3.Op{clientv3.OpPut(s.turnKey(), "", lease)},
			})
		}
	})
}

// endTurn notes that this node's turn was taken down.
func (s *Store) endTurn() {
	if s.turn.taken {
		s.turn.taken = false
		s.turn.end()
		s.turn.touching.Wait()
	}
}

// giveTurnBack takes down this node's turn, if no entry did.
func (s *Store) giveTurnBack(ctx context.Context) {
	if !s.turn.taken {
		return
	}
	s.endTurn()
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
	for seen := int64(0); ; {
		oldest, changed := s.register.turn()
		if oldest.key == "" || oldest.key == turnPrefix+s.cfg.Node.ID || oldest.touched == s.turn.ignored {
			return
		}
		if oldest.touched != seen {
			seen = oldest.touched
			timer.Reset(turnWait)
		}
		select {
		case <-changed:
		case <-timer.C:
			// It may be dead, or slow. It had its time.
			s.turn.ignored = oldest.touched
			return
		case <-ctx.Done():
			return
		}
	}
}
