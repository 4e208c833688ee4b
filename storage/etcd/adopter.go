package etcd

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/oprc/oprc-pm/internal/wait"
	"github.com/oprc/oprc-pm/storage"
)

// adoptable counts the documents that are still to be adopted. The caller holds mu.
func (s *Store) adoptable() int {
	n := 0
	for key := range s.legacy {
		if s.pending(key) {
			n++
		}
	}
	return n
}

// pending says that a document of an earlier package manager is still to be adopted.
// The caller holds mu.
func (s *Store) pending(key string) bool {
	doc, there := s.legacy[key]
	return there && doc.revision > s.current.Load().head.Reviewed && !bytes.Equal(s.refused[key], doc.value)
}

// adopterPause is how often it is tried again to take over what could not be.
const adopterPause = 5 * time.Second

// runAdopter adopts and repairs what comes up during a leader run.
func (s *Store) runAdopter(ctx context.Context, term uint64) {
	for ctx.Err() == nil {
		var again <-chan time.Time
		if err := s.adopt(ctx, term); err != nil && ctx.Err() == nil {
			s.logger.Debug("not all could be taken over yet", "err", err)
			again = time.After(adopterPause)
		}
		select {
		case <-s.work:
		case <-again:
		case <-ctx.Done():
		}
	}
}

// adopt takes over all that others left so far.
func (s *Store) adopt(ctx context.Context, term uint64) error {
	s.mu.Lock()
	units, foreign, refused := maps.Clone(s.legacyUnits), maps.Clone(s.foreign), maps.Clone(s.refused)
	s.mu.Unlock()
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(foreign)) {
		errs = append(errs, s.repair(ctx, s.submitBounded, key, foreign[key]))
	}
	errs = append(errs, s.adoptDocuments(ctx, term, s.submitBounded), s.review(ctx, term))
	for _, key := range slices.Sorted(maps.Keys(units)) {
		if bytes.Equal(refused[key], units[key]) {
			continue
		}
		errs = append(errs, s.adoptUnit(ctx, term, key, string(units[key])))
	}
	return errors.Join(errs...)
}

// review tells the other nodes up to where documents were adopted, or cannot be.
func (s *Store) review(ctx context.Context, term uint64) error {
	s.mu.Lock()
	o := newOp(storage.Request{LeaderTerm: term})
	for key, doc := range s.legacy {
		if s.pending(key) {
			// It came meanwhile, or could not be adopted yet.
			s.mu.Unlock()
			return nil
		}
		o.reviewed = max(o.reviewed, doc.revision)
	}
	known := s.current.Load().head.Reviewed
	s.mu.Unlock()
	if o.reviewed <= known {
		return nil
	}
	_, err := s.submitBounded(ctx, o)
	return err
}

// committing is a way to have an op committed: through the queue, or at once by the
// committer itself. A rejection is an error as well.
type committing func(ctx context.Context, o *op) (storage.Result, error)

func (s *Store) submitBounded(ctx context.Context, o *op) (storage.Result, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	result, err := s.submit(ctx, o)
	if err == nil {
		err = result.Err()
	}
	return result, err
}

// commitNow commits an op ahead of those that the committer has at hand.
func (s *Store) commitNow(ctx context.Context, o *op) (storage.Result, error) {
	for failures := 0; ; {
		out, err := s.commitOnce(ctx, []*op{o})
		if out == uncertain {
			failures++
		}
		switch {
		case o.finished && o.err != nil:
			return o.result, o.err
		case o.finished:
			return o.result, o.result.Err()
		case failures == 3 || !wait.For(ctx, time.Duration(failures)*retryMin):
			return storage.Result{}, errors.Join(err, context.Cause(ctx))
		}
	}
}
