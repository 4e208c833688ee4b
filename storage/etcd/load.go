package etcd

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// loadPage is how many keys one request of a load asks for.
const loadPage = 1000

// loaded is everything under the prefix at one revision.
type loaded struct {
	version  *version
	revision int64
	// legacy documents and units are of an earlier package manager.
	legacy      map[string][]byte
	legacyUnits map[string][]byte
	// staged are the parts of staged entries, by key.
	staged     map[string][]byte
	nodes      map[string]Node
	candidates map[string]candidate
}

// load reads everything at one revision, in pages.
func (s *Store) load(ctx context.Context) (*loaded, error) {
	l := &loaded{
		version: emptyVersion(), legacy: map[string][]byte{}, legacyUnits: map[string][]byte{},
		staged: map[string][]byte{},
		nodes:  map[string]Node{}, candidates: map[string]candidate{},
	}
	from, end := s.keys.prefix, clientv3.GetPrefixRangeEnd(s.keys.prefix)
	for {
		page, more, err := s.loadPage(ctx, from, end, l.revision)
		if err != nil {
			return nil, fmt.Errorf("load the state: %w", err)
		}
		if l.revision == 0 {
			// The other pages are of the revision of the first.
			l.revision = page.Header.Revision
		}
		for _, kv := range page.Kvs {
			if err := l.take(s.keys, kv); err != nil {
				return nil, fmt.Errorf("load the state: %w", err)
			}
		}
		if !more {
			if err := l.unstage(); err != nil {
				return nil, fmt.Errorf("load the state: %w", err)
			}
			return l, l.check()
		}
		from = string(page.Kvs[len(page.Kvs)-1].Key) + "\x00"
	}
}

func (s *Store) loadPage(ctx context.Context, from, end string, revision int64) (*clientv3.GetResponse, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	opts := []clientv3.OpOption{clientv3.WithRange(end), clientv3.WithLimit(loadPage)}
	if revision > 0 {
		opts = append(opts, clientv3.WithRev(revision))
	}
	resp, err := s.client.Get(ctx, from, opts...)
	if err != nil {
		return nil, false, err
	}
	s.heard()
	return resp, resp.More, nil
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
	case roomNode:
		l.nodes[string(key)] = decodeNode(kv.Value)
	case roomElection:
		l.candidates[string(key)] = candidate{revision: kv.CreateRevision, node: decodeNode(kv.Value)}
	case roomStaged:
		l.staged[string(key)] = kv.Value
	case roomLegacyUnit:
		l.legacyUnits[string(key)] = kv.Value
	default:
		if legacyDocument(key, kv.Value) {
			l.legacy[string(key)] = kv.Value
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
