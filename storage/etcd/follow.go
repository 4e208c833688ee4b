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

var (
	errHeadGone   = errors.New("the state was removed from etcd")
	errWatchEnded = errors.New("the watch ended")
)

// runFollower keeps the copy up with etcd until the store closes.
func (s *Store) runFollower(ctx context.Context) {
	failures := 0
	for ctx.Err() == nil {
		began := s.followed
		err := s.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		if s.followed > began {
			failures = 0
		}
		s.trouble(err)
		s.logger.Warn("the watch on etcd ended; beginning again", "err", err, "revision", s.followed)
		if errors.Is(err, rpctypes.ErrCompacted) || errors.Is(err, errDiverged) {
			if err := s.reload(ctx); err != nil {
				s.trouble(err)
				s.logger.Error("the state could not be loaded again", "err", err)
			}
		}
		failures++
		wait.For(ctx, wait.Jitter(min(retryMin<<min(failures-1, 10), retryMax), 0.3))
	}
}

// errDiverged tells that the copy cannot be continued.
var errDiverged = errors.New("the copy of the state does not fit what came next")

// follow watches from the revision after the last one that was followed.
func (s *Store) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	watch := s.client.Watch(ctx, s.keys.prefix, clientv3.WithPrefix(), clientv3.WithRev(s.followed+1), clientv3.WithProgressNotify())
	for resp := range watch {
		if err := resp.Err(); err != nil {
			return err
		}
		s.heard()
		for events := resp.Events; len(events) > 0; {
			n := sameRevision(events)
			err := s.absorb(events[:n])
			if err == nil || errors.Is(err, errHeadGone) {
				s.followed = events[0].Kv.ModRevision
			}
			if err != nil {
				return err
			}
			events = events[n:]
		}
		if resp.IsProgressNotify() {
			s.followed = max(s.followed, resp.Header.Revision)
		}
	}
	return errWatchEnded
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
				return s.lose()
			}
			decoded, err := decodeHead(event.Kv.Value)
			if err != nil {
				return err
			}
			h = &decoded
		case roomNode, roomElection:
			s.register.note(key, event.Kv, deleted)
		case roomStaged:
			if deleted {
				unstaged = append(unstaged, string(key))
			} else {
				s.staged[string(key)] = event.Kv.Value
			}
		case roomLegacyUnit:
			s.noteLegacyUnit(string(key), event.Kv.Value, deleted)
		default:
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
		s.noteForeign(changes)
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
	case s.lost.Load():
		return fmt.Errorf("%w: the state is back in etcd, at index %d", errDiverged, h.Index)
	case h.Index == base.head.Index && revision > base.revision:
		s.republish(base, h, revision)
		return nil
	case h.Index <= base.head.Index:
		// The committer was faster.
		return nil
	case h.Index != base.head.Index+1:
		return fmt.Errorf("%w: index %d came after %d", errDiverged, h.Index, base.head.Index)
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
		if event, ok := storage.EventOf(next.head.Index, c); ok {
			events = append(events, event)
		}
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

// reload replaces the copy by what etcd holds. Watchers are told to read again.
func (s *Store) reload(ctx context.Context) error {
	l, err := s.load(ctx)
	if err != nil {
		return err
	}
	if l.version.revision == 0 && s.current.Load().revision > 0 {
		return s.lose()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.speculative = nil
	if err := s.machine.Load(l.version.tree); err != nil {
		return fmt.Errorf("load the machine: %w", err)
	}
	s.install(l)
	s.history.Reset(l.version.head.Index)
	s.announce()
	s.metrics.reloads.Inc()
	s.logger.Info("the state was loaded again", "index", l.version.head.Index, "keys", l.version.tree.Len())
	return nil
}

// install takes over what was loaded. The caller holds mu, or nobody else is there.
func (s *Store) install(l *loaded) {
	s.current.Store(l.version)
	s.legacy, s.legacyUnits, s.foreign = l.legacy, l.legacyUnits, map[string][]byte{}
	s.staged = l.staged
	s.register.replace(l.nodes, l.candidates)
	s.followed = l.revision
	s.lost.Store(false)
}

// lose notes that somebody removed the head. The copy stays, for reads and for a
// backup; nothing is written until the keys are back.
func (s *Store) lose() error {
	s.lost.Store(true)
	s.logger.Error("the state was removed from etcd; this node keeps its copy, for reads and for a backup, and takes no writes")
	return errHeadGone
}
