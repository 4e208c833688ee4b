package etcd

import (
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/oprc/oprc-pm/storage"
)

// failed says what the error of a transaction means for its ops.
func (s *Store) failed(ctx context.Context, ops []*op, e *entry, err error) (outcome, error) {
	if ctx.Err() == nil {
		s.trouble(err)
	}
	switch judge(err) {
	case tooLarge:
		return s.tooMuch(ops, err), err
	case refused:
		// etcd may say so of a transaction that it has carried out: that it has no
		// space left, of the one that took the last. The head tells.
		if at, known := s.headRevision(ctx); known {
			if at == e.base.revision {
				giveUp(ops, err, refusedError(err))
				return answered, err
			}
			// This entry, or another one. The copy will tell.
			for i, o := range ops {
				o.try(e.results, i)
			}
			return s.catchUpTo(ctx, e.base, at)
		}
	}
	for i, o := range ops {
		o.try(e.results, i)
		o.sent = true
	}
	return uncertain, err
}

// headRevision asks etcd of which revision the head is; 0 without one.
func (s *Store) headRevision(ctx context.Context) (revision int64, known bool) {
	ctx, cancel := s.attempt(ctx)
	defer cancel()
	resp, err := s.client.Get(ctx, s.keys.of(headKey))
	if err != nil {
		return 0, false
	}
	if len(resp.Kvs) > 0 {
		revision = resp.Kvs[0].ModRevision
	}
	return revision, true
}

var errForeign = errors.New("a document was written by somebody else, or the condition of a repair does not hold any more")

// catchUp waits until the copy shows the head that was in the way of ops on base.
func (s *Store) catchUp(ctx context.Context, ops []*op, base *version, resp *clientv3.TxnResponse) (outcome, error) {
	at := int64(0)
	if kvs := resp.Responses[0].GetResponseRange().Kvs; len(kvs) > 0 {
		at = kvs[0].ModRevision
	}
	switch {
	case at != base.revision:
		return s.catchUpTo(ctx, base, at)
	case ops[0].repairing():
		ops[0].finish(storage.Result{}, errForeign)
		return answered, errForeign
	}
	return uncertain, errForeign
}

// catchUpTo waits until the copy shows the head of a revision that is not that of base.
func (s *Store) catchUpTo(ctx context.Context, base *version, revision int64) (outcome, error) {
	if revision < base.revision {
		s.demandReload(fmt.Errorf("the head in etcd is of revision %d, and was of %d", revision, base.revision))
		return uncertain, errors.New("etcd went back in time")
	}
	return overtaken, s.waitRevision(ctx, revision)
}
