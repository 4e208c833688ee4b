package etcd

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// One request of a load asks for firstPage keys at first, then for as many as are
// likely to fill pageBytes.
const (
	firstPage = 100
	maxPage   = 5000
	pageBytes = 4 << 20
)

// loaded is everything under the prefix at one revision.
type loaded struct {
	version  *version
	revision int64
	// legacy documents and units are of an earlier package manager.
	legacy      map[string]legacyDoc
	legacyUnits map[string][]byte
	// staged are the parts of staged entries, by key.
	staged   map[string][]byte
	register map[string]*mvccpb.KeyValue
}

// load reads everything at one revision, in pages.
func (s *Store) load(ctx context.Context) (*loaded, error) {
	l := &loaded{
		version: emptyVersion(), legacy: map[string]legacyDoc{}, legacyUnits: map[string][]byte{},
		staged: map[string][]byte{}, register: map[string]*mvccpb.KeyValue{},
	}
	from, end := s.keys.prefix, clientv3.GetPrefixRangeEnd(s.keys.prefix)
	for limit := firstPage; ; {
		page, err := s.loadPage(ctx, from, end, l.revision, limit)
		if err != nil {
			return nil, fmt.Errorf("load the state: %w", err)
		}
		if l.revision == 0 {
			// The other pages are of the revision of the first.
			l.revision = page.Header.Revision
		}
		size := 0
		for _, kv := range page.Kvs {
			size += len(kv.Key) + len(kv.Value)
			if err := l.take(s.keys, kv); err != nil {
				return nil, fmt.Errorf("load the state: %w", err)
			}
		}
		if !page.More {
			if err := l.unstage(); err != nil {
				return nil, fmt.Errorf("load the state: %w", err)
			}
			return l, l.check()
		}
		from = string(page.Kvs[len(page.Kvs)-1].Key) + "\x00"
		limit = min(maxPage, max(1, limit*pageBytes/max(1, size)))
	}
}

func (s *Store) loadPage(ctx context.Context, from, end string, revision int64, limit int) (*clientv3.GetResponse, error) {
	ctx, cancel := context.WithTimeout(requireLeader(ctx), s.cfg.RequestTimeout)
	defer cancel()
	opts := []clientv3.OpOption{clientv3.WithRange(end), clientv3.WithLimit(int64(limit))}
	if revision > 0 {
		opts = append(opts, clientv3.WithRev(revision))
	}
	resp, err := s.client.Get(ctx, from, opts...)
	if err != nil {
		return nil, err
	}
	s.heard()
	return resp, nil
}

// take sorts one pair into its room.
func (l *loaded) take(keys keySpace, kv *mvccpb.KeyValue) error {
	key := keys.strip(kv.Key)
	switch roomOf(key) {
	case roomHead:
		h, err := decodeHead(kv.Value)
		if err != nil {
			return err
		}
		l.version.head, l.version.revision = h, kv.ModRevision
	case roomRegister:
		l.register[string(key)] = kv
	case roomStaged:
		l.staged[string(key)] = kv.Value
	case roomLegacyUnit:
		l.legacyUnits[string(key)] = kv.Value
	case roomState:
		if legacyDocument(key, kv.Value) {
			l.legacy[string(key)] = legacyDoc{value: kv.Value, revision: kv.ModRevision}
			return nil
		}
		if len(kv.Value) == 0 {
			return fmt.Errorf("key %q has no value", key)
		}
		l.version.digest.Add(key, kv.Value)
		return l.version.tree.Put(key, kv.Value)
	}
	return nil
}

// errChanged tells that the keys are not what the entries made of them.
var errChanged = errors.New("the keys in etcd were changed by something else than oprc-pm")

// check compares what was loaded with what the head says.
func (l *loaded) check() error {
	h := l.version.head
	if l.version.revision == 0 {
		if n := l.version.tree.Len(); n > 0 {
			return fmt.Errorf("%w: there are %d keys, but no %s", errChanged, n, headKey)
		}
		return nil
	}
	if got := l.version.digest.String(); got != h.Digest {
		return fmt.Errorf("%w: the digest of what is there is %s, and was %s at index %d; restore a backup, or remove the keys and import an export",
			errChanged, got, h.Digest, h.Index)
	}
	return nil
}
