package etcd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/oprc/oprc-pm/internal/wait"
	"github.com/oprc/oprc-pm/storage"
)

// A read index is the index of the head, read from etcd with a quorum's word: a copy
// that has got that far shows every write acknowledged before. Readers that come
// while a read of the head is under way share the next one.

// readRound is one read of the head for all who joined it.
type readRound struct {
	done  chan struct{}
	index uint64
	err   error
}

type readRounds struct {
	mu   sync.Mutex // guards next
	next *readRound
	kick chan struct{}
}

func newReadRounds() *readRounds {
	return &readRounds{next: &readRound{done: make(chan struct{})}, kick: make(chan struct{}, 1)}
}

// join returns the next round to begin.
func (r *readRounds) join() *readRound {
	r.mu.Lock()
	round := r.next
	r.mu.Unlock()
	select {
	case r.kick <- struct{}{}:
	default:
	}
	return round
}

// begin closes the round to newcomers.
func (r *readRounds) begin() *readRound {
	r.mu.Lock()
	defer r.mu.Unlock()
	round := r.next
	r.next = &readRound{done: make(chan struct{})}
	return round
}

// runReader makes rounds until the store closes.
func (s *Store) runReader(ctx context.Context) {
	for {
		select {
		case <-s.reads.kick:
		case <-ctx.Done():
			round := s.reads.begin()
			round.err = closedError()
			close(round.done)
			return
		}
		round := s.reads.begin()
		round.index, round.err = s.readHead(ctx)
		close(round.done)
	}
}

// readHead asks etcd for the head's index, until it answers or Config.RequestTimeout
// is over.
func (s *Store) readHead(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	started := time.Now()
	for failures := 0; ; failures++ {
		if lost := s.lost.Load(); lost != nil {
			return 0, notProposed(*lost, "%v", *lost)
		}
		v := s.current.Load()
		h, revision, err := s.readHeadOnce(ctx)
		if err == nil {
			if err = follows(h, revision, v); err == nil {
				s.metrics.readSeconds.UpdateDuration(started)
				return h.Index, nil
			}
			s.demandReload(err)
		}
		if !wait.For(ctx, backOff(failures)) {
			return 0, notProposed(err, "etcd confirmed no read: %v", err)
		}
	}
}

// follows says whether a head that etcd has at revision can be what v was or became.
func follows(h head, revision int64, v *version) error {
	switch {
	case revision < v.revision:
		return fmt.Errorf("the head in etcd is of revision %d, and was of %d", revision, v.revision)
	case revision == v.revision && h.Digest != v.head.Digest:
		return errors.New("the head in etcd is another one of the same revision")
	}
	return nil
}

// readHeadOnce makes one attempt. Without a head, its revision is 0.
func (s *Store) readHeadOnce(ctx context.Context) (head, int64, error) {
	request, cancel := s.attempt(ctx)
	defer cancel()
	resp, err := s.client.Get(request, s.keys.of(headKey))
	if err != nil {
		if ctx.Err() == nil {
			s.trouble(err)
		}
		return head{}, 0, err
	}
	s.heard()
	if len(resp.Kvs) == 0 {
		return head{}, 0, nil
	}
	h, err := decodeHead(resp.Kvs[0].Value)
	return h, resp.Kvs[0].ModRevision, err
}

// View implements storage.Store. A lease is no cheaper than a linearizable read
// here, so it is one.
func (s *Store) View(ctx context.Context, opts storage.ReadOptions, fn func(storage.Reader) error) (storage.ReadInfo, error) {
	if s.ctx.Err() != nil {
		return storage.ReadInfo{}, closedError()
	}
	index := opts.MinIndex
	if opts.Consistency != storage.Stale {
		readIndex, err := s.readIndex(ctx)
		if err != nil {
			return storage.ReadInfo{}, err
		}
		index = max(index, readIndex)
	}
	if err := s.waitIndex(ctx, index); err != nil {
		return storage.ReadInfo{}, err
	}
	v := s.current.Load()
	return storage.ReadInfo{Index: v.head.Index, LastContact: s.lastContact()}, fn(v.tree)
}

func (s *Store) readIndex(ctx context.Context) (uint64, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	round := s.reads.join()
	select {
	case <-round.done:
		return round.index, round.err
	case <-ctx.Done():
		return 0, notProposed(context.Cause(ctx), "etcd did not confirm the read in time: %s", s.contactReason())
	case <-s.ctx.Done():
		return 0, closedError()
	}
}

// waitIndex waits until the copy shows index.
func (s *Store) waitIndex(ctx context.Context, index uint64) error {
	if s.current.Load().head.Index >= index {
		return nil
	}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	err := s.waitVersion(ctx, func(v *version) bool { return v.head.Index >= index })
	if err != nil && s.ctx.Err() == nil {
		return notProposed(err, "index %d is not applied on this node yet, it is at %d", index, s.current.Load().head.Index)
	}
	return err
}

// waitRevision waits until the copy shows the head that etcd wrote at revision.
func (s *Store) waitRevision(ctx context.Context, revision int64) error {
	return s.waitVersion(ctx, func(v *version) bool { return v.revision >= revision })
}

func (s *Store) waitVersion(ctx context.Context, wanted func(*version) bool) error {
	for {
		s.mu.Lock()
		advanced := s.advanced
		s.mu.Unlock()
		if wanted(s.current.Load()) {
			return nil
		}
		select {
		case <-advanced:
		case <-ctx.Done():
			return fmt.Errorf("wait for the watch on etcd: %w", context.Cause(ctx))
		case <-s.ctx.Done():
			return closedError()
		}
	}
}
