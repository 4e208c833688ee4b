package etcd

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/oprc/oprc-pm/internal/wait"
	"github.com/oprc/oprc-pm/storage"
)

var errWatchEnded = errors.New("the watch ended")

// requireLeader makes members that know no leader refuse what is asked with ctx.
func requireLeader(ctx context.Context) context.Context { return clientv3.WithRequireLeader(ctx) }

// runFollower keeps the copy up with etcd until the store closes.
func (s *Store) runFollower(ctx context.Context) {
	for failures := 0; ctx.Err() == nil; failures++ {
		began := s.followed.Load()
		err := s.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		if s.followed.Load() > began {
			failures = 0
		}
		s.trouble(err)
		s.logger.Log(ctx, repeated(failures), "the watch on etcd ended; beginning again", "err", err, "revision", s.followed.Load())
		if errors.Is(err, rpctypes.ErrCompacted) || errors.Is(err, errDiverged) {
			s.catchUpAnew(ctx)
		} else {
			s.stuck.Store(&err)
		}
		wait.For(ctx, backOff(failures))
	}
}

// catchUpAnew loads the state again until that works.
func (s *Store) catchUpAnew(ctx context.Context) {
	for failures := 0; ctx.Err() == nil; failures++ {
		err := s.reload(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		s.stuck.Store(&err)
		if failures == 0 {
			s.logger.Error("the state could not be loaded again; trying on", "err", err)
		}
		wait.For(ctx, backOff(failures+2))
	}
}

// errDiverged tells that the copy cannot be continued.
var errDiverged = errors.New("the copy of the state does not fit what came next")

// demandReload makes the follower load the state again.
func (s *Store) demandReload(why error) {
	select {
	case s.reloads <- why:
	default:
	}
}

// follow watches from the revision after the last one that was followed.
func (s *Store) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(requireLeader(ctx))
	defer cancel()
	watch := s.client.Watch(ctx, s.keys.prefix, clientv3.WithPrefix(), clientv3.WithRev(s.followed.Load()+1),
		clientv3.WithProgressNotify(), clientv3.WithCreatedNotify())
	for {
		select {
		case resp, open := <-watch:
			if !open {
				return errWatchEnded
			}
			if err := s.take(resp); err != nil {
				return err
			}
		case why := <-s.reloads:
			return fmt.Errorf("%w: %w", errDiverged, why)
		}
	}
}

// take takes in one message of the watch. All that one transaction changed is in one
// message, since it was not asked for in fragments.
func (s *Store) take(resp clientv3.WatchResponse) error {
	if err := resp.Err(); err != nil {
		return err
	}
	s.heard()
	s.stuck.Store(nil)
	for events := resp.Events; len(events) > 0; {
		n := sameRevision(events)
		if err := s.absorb(events[:n]); err != nil {
			return err
		}
		s.followed.Store(events[0].Kv.ModRevision)
		events = events[n:]
	}
	if resp.IsProgressNotify() {
		s.followed.Store(max(s.followed.Load(), resp.Header.Revision))
	}
	return nil
}

// sameRevision is how many events belong to the transaction of the first.
func sameRevision(events []*clientv3.Event) int {
	n := 1
	for n < len(events) && events[n].Kv.ModRevision == events[0].Kv.ModRevision {
		n++
	}
	return n
}

// absorb takes in what one transaction changed.
func (s *Store) absorb(events []*clientv3.Event) error {
	var h *head
	var unstaged []string
	changes := make([]storage.Change, 0, len(events))
	for _, event := range events {
		key := s.keys.strip(event.Kv.Key)
		deleted := event.Type == mvccpb.DELETE
		switch roomOf(key) {
		case roomHead:
			if deleted {
				return fmt.Errorf("%w: %w", errDiverged, errHeadGone)
			}
			decoded, err := decodeHead(event.Kv.Value)
			if err != nil {
				return err
			}
			h = &decoded
		case roomRegister:
			s.register.note(string(key), event.Kv, deleted)
		case roomStaged:
			if deleted {
				unstaged = append(unstaged, string(key))
			} else {
				s.staged[string(key)] = event.Kv.Value
			}
		case roomLegacyUnit:
			s.noteLegacyUnit(string(key), event.Kv.Value, deleted)
		case roomState:
			c := storage.Change{Key: bytes.Clone(key)}
			if !deleted {
				c.Value = event.Kv.Value
			}
			changes = append(changes, c)
		}
	}
	for _, key := range unstaged {
		delete(s.staged, key)
	}
	if h == nil {
		s.noteForeign(changes, events[0].Kv.ModRevision)
		return nil
	}
	if h.Staged != "" {
		var err error
		if changes, err = h.unstage(s.staged); err != nil {
			return fmt.Errorf("%w: %w", errDiverged, err)
		}
	}
	return s.advance(*h, events[0].Kv.ModRevision, changes)
}

// advance makes an entry current that this node or another one made.
func (s *Store) advance(h head, revision int64, changes []storage.Change) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	base := s.current.Load()
	switch {
	case revision <= base.revision:
		// The committer was faster. What others wrote before is written over.
		for _, c := range changes {
			s.forgetOthers(string(c.Key))
		}
		return nil
	case h.Index == base.head.Index && h.Digest == base.head.Digest:
		s.republish(base, h, revision)
		return nil
	case h.Prev != base.head.Index || h.Index <= base.head.Index:
		return fmt.Errorf("%w: index %d, which follows %d, came after %d", errDiverged, h.Index, h.Prev, base.head.Index)
	}
	if s.speculative != nil {
		s.speculative = nil
		s.machine.Undo()
	}
	for _, c := range changes {
		s.forgetOthers(string(c.Key))
	}
	next, changes, err := apply(base, h, revision, changes)
	if err != nil {
		return fmt.Errorf("%w: %w", errDiverged, err)
	}
	if h.Staged != "" {
		next.unsettled = changes
	}
	if err := s.machine.Absorb(changes); err != nil {
		return fmt.Errorf("%w: %w", errDiverged, err)
	}
	s.publish(next, changes)
	return nil
}

// publish makes next the current version and tells watchers. The caller holds mu.
func (s *Store) publish(next *version, changes []storage.Change) {
	events := make([]storage.Event, 0, len(changes))
	for _, c := range changes {
		if storage.ReplacesState(c) {
			s.depose(errRestored)
		}
		event, ok := storage.EventOf(next.head.Index, c)
		if !ok {
			continue
		}
		events = append(events, event)
		if event.Kind == storage.KindCluster && len(s.legacyUnits) > 0 {
			s.wakeAdopter()
		}
	}
	if term := s.leading.Load(); term != 0 && next.head.Term > term {
		s.depose(errDeposed)
	}
	s.current.Store(next)
	s.history.Append(next.head.Index, events)
	s.announce()
}

// announce wakes those who wait for a version. The caller holds mu.
func (s *Store) announce() {
	close(s.advanced)
	s.advanced = make(chan struct{})
}
