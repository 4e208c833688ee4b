package etcd

import (
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/oprc/oprc-pm/storage"
)

// What a node finds when it must load the state again is usually what came after its
// copy. But somebody may have removed the keys, or restored a backup of etcd, or put
// another state there. A copy never becomes something else under its readers:
//
//   - Nothing there, or the state of another cluster: the copy is kept, for stale
//     reads and for a backup. The node is not ready and writes nothing until its state
//     is back; a restart makes it take what is there.
//   - An older state of the same cluster: the node stops with a fault. Indexes would run
//     backwards under watchers; started anew, it takes the older state.

var (
	errHeadGone     = errors.New("the state was removed from etcd")
	errOtherCluster = errors.New("etcd holds the state of another cluster")
	errOlder        = errors.New("etcd holds an older state than this node has seen; it must be started anew")
)

// reload replaces the copy by what etcd holds. Watchers that missed something are
// told to read again.
func (s *Store) reload(ctx context.Context) error {
	if err := s.peek(ctx); err != nil {
		return err
	}
	l, err := s.load(ctx)
	if err != nil {
		return err
	}
	id, err := l.version.tree.Get(storage.ClusterIDKey)
	if err != nil {
		return err
	}
	if err := s.continues(l.version.head, l.version.revision, string(id)); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.current.Load().head
	s.speculative = nil
	if err := s.machine.Load(l.version.tree); err != nil {
		return fmt.Errorf("load the machine: %w", errors.Join(err, s.machine.Load(s.current.Load().tree)))
	}
	s.install(l)
	if before.Index != l.version.head.Index {
		s.history.Reset(l.version.head.Index)
	}
	s.announce()
	s.metrics.reloads.Inc()
	s.logger.Info("the state was loaded again", "index", l.version.head.Index, "keys", l.version.tree.Len())
	return nil
}

// peek looks whether it is worth loading.
func (s *Store) peek(ctx context.Context) error {
	ctx, cancel := s.attempt(ctx)
	defer cancel()
	resp, err := s.client.Txn(ctx).Then(clientv3.OpGet(s.keys.of(headKey)), clientv3.OpGet(s.keys.of(string(storage.ClusterIDKey)))).Commit()
	if err != nil {
		return fmt.Errorf("look for the state: %w", err)
	}
	s.heard()
	var h head
	var revision int64
	var id string
	if kvs := resp.Responses[0].GetResponseRange().Kvs; len(kvs) > 0 {
		revision = kvs[0].ModRevision
		if h, err = decodeHead(kvs[0].Value); err != nil {
			return err
		}
	}
	if kvs := resp.Responses[1].GetResponseRange().Kvs; len(kvs) > 0 {
		id = string(kvs[0].Value)
	}
	return s.continues(h, revision, id)
}

// continues says whether a head that was found in etcd, with the id of its cluster, can
// be what became of the copy.
func (s *Store) continues(h head, revision int64, id string) error {
	v := s.current.Load()
	own, err := v.tree.Get(storage.ClusterIDKey)
	switch {
	case err != nil:
		return err
	case v.revision == 0:
		return nil
	case revision == 0:
		return s.lose(errHeadGone)
	case own != nil && string(own) != id:
		return s.lose(errOtherCluster)
	case h.Index < v.head.Index, h.Index == v.head.Index && h.Digest != v.head.Digest:
		return s.stop(fmt.Errorf("%w: it is at index %d there, and %d here", errOlder, h.Index, v.head.Index))
	}
	return nil
}

// install takes over what was loaded. The caller holds mu, or nobody else is there.
func (s *Store) install(l *loaded) {
	s.current.Store(l.version)
	s.legacy, s.legacyUnits, s.foreign = l.legacy, l.legacyUnits, map[string][]byte{}
	s.staged = l.staged
	s.register.replace(l.register)
	s.followed.Store(l.revision)
	s.lost.Store(nil)
	s.stuck.Store(nil)
}

// lose notes that the state is not in etcd any more, ends leadership, and returns why.
func (s *Store) lose(why error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if before := s.lost.Swap(&why); before == nil || !errors.Is(*before, why) {
		s.logger.Error("the state is not in etcd any more; this node keeps its copy, for stale reads and for a backup, and writes nothing", "why", why)
	}
	s.depose(why)
	return why
}

// stop notes that this node cannot go on.
func (s *Store) stop(why error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault == nil {
		s.fault = why
		close(s.faulted)
		s.logger.Error("the node cannot go on", "why", why)
	}
	s.lost.Store(&why)
	s.depose(why)
	return why
}

// Done is closed when the store cannot go on; Err says why.
func (s *Store) Done() <-chan struct{} { return s.faulted }

// Err is why the store cannot go on, or nil.
func (s *Store) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fault
}
