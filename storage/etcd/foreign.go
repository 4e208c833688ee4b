package etcd

import (
	"bytes"
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/oprc/oprc-pm/storage"
)

// A change that is not an entry is put back by the leader to what the entries made,
// unless it is a document of an earlier package manager: see legacy.go.

// noteForeign notes changes that came without an entry.
func (s *Store) noteForeign(changes []storage.Change, revision int64) {
	if len(changes) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	tree := s.current.Load().tree
	for _, c := range changes {
		key := string(c.Key)
		delete(s.foreign, key)
		delete(s.legacy, key)
		ours, _ := tree.Get(c.Key)
		switch {
		case bytes.Equal(ours, c.Value):
		case c.Value != nil && legacyDocument(c.Key, c.Value):
			s.legacy[key] = legacyDoc{value: c.Value, revision: revision}
			s.logger.Info("an earlier package manager wrote a document", "key", key)
		default:
			s.foreign[key] = c.Value
			s.metrics.foreign.Inc()
			s.logger.Warn("somebody else changed a key in etcd; it is put back", "key", key, "removed", c.Value == nil)
		}
	}
	s.wakeAdopter()
}

func (s *Store) noteLegacyUnit(key string, value []byte, deleted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if deleted {
		delete(s.legacyUnits, key)
		return
	}
	s.legacyUnits[key] = value
	s.wakeAdopter()
}

func (s *Store) wakeAdopter() {
	select {
	case s.work <- struct{}{}:
	default:
	}
}

// seen tells what somebody else made of a shared key. The caller holds mu.
func (s *Store) seen(key []byte) (value []byte, known bool) {
	if value, known = s.foreign[string(key)]; known {
		return value, true
	}
	doc, known := s.legacy[string(key)]
	return doc.value, known
}

// forgetOthers notes that a key is ours again. The caller holds mu.
func (s *Store) forgetOthers(key string) {
	delete(s.foreign, key)
	delete(s.legacy, key)
	delete(s.legacyUnits, key)
	delete(s.refused, key)
}

// repair puts a key back to what the entries made of it.
func (s *Store) repair(ctx context.Context, commit committing, key string, found []byte) error {
	ours, err := s.current.Load().tree.Get([]byte(key))
	if err != nil {
		return err
	}
	full := s.keys.of(key)
	o := newOp(storage.Request{})
	o.repairs, o.conditions = []string{key}, []clientv3.Cmp{holds(full, found)}
	switch {
	case ours != nil:
		o.extra = []clientv3.Op{clientv3.OpPut(full, string(ours))}
	case found != nil:
		o.extra = []clientv3.Op{clientv3.OpDelete(full)}
	}
	if _, err := commit(ctx, o); err != nil {
		return fmt.Errorf("put back %q: %w", key, err)
	}
	s.logger.Info("a key in etcd was put back", "key", key)
	return nil
}
