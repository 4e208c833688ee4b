// Package memory is the storage driver that forgets: a Store in one process, for
// tests and throw-away control planes. It runs the same commands with the same
// rules as the replicated drivers, behind a lock.
//
// Readers never wait for the writer: each applied command publishes a
// copy-on-write version of the tree. The only goroutine is the leader run that
// Lead starts and waits for.
package memory

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// History bounds of a memory store.
const (
	historyEvents = 100_000
	historyBytes  = 64 << 20
)

// term is the only one a memory store ever has.
const term = 1

// version is the state after one command.
type version struct {
	index uint64
	tree  *Tree
}

// Store implements storage.Store.
type Store struct {
	machine storage.Machine
	history *storage.History
	id      string

	// mu makes commands apply one after the other.
	mu      sync.Mutex
	current atomic.Pointer[version]
	// advanced is closed and replaced whenever current changes, restored when a
	// backup took its place; guarded by mu.
	advanced, restored chan struct{}

	closed    chan struct{}
	closeOnce sync.Once
}

var _ storage.Store = (*Store)(nil)

// New returns an empty store that applies commands with machine, which it owns
// from then on.
func New(machine storage.Machine) *Store {
	s := &Store{
		machine:  machine,
		history:  storage.NewHistory(historyEvents, historyBytes, 0),
		id:       rand.Text(),
		advanced: make(chan struct{}),
		restored: make(chan struct{}),
		closed:   make(chan struct{}),
	}
	s.current.Store(&version{tree: NewTree()})
	return s
}

// Apply runs the command. See storage.Store.
func (s *Store) Apply(ctx context.Context, req storage.Request) (storage.Result, error) {
	if err := ctx.Err(); err != nil {
		return storage.Result{}, &model.Error{Code: model.CodeUnavailable, Message: "the request ended before it was proposed", Err: err}
	}
	if len(req.ID) > storage.MaxRequestID {
		return storage.Result{}, model.Errorf(model.CodeInvalid, "request id: at most %d bytes", storage.MaxRequestID)
	}
	if req.ID == "" {
		req.ID = rand.Text()
	}
	result, err := s.apply(storage.Proposal{Request: req, At: time.Now().UTC()})
	if err != nil {
		return storage.Result{}, err
	}
	return result, result.Err()
}

func (s *Store) apply(p storage.Proposal) (storage.Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isClosed() {
		return storage.Result{}, closedError()
	}
	before := s.current.Load()
	proposals := []storage.Proposal{p}
	next := &version{index: max(before.index+1, storage.MinIndex(proposals)), tree: before.tree.Copy()}
	results, events, err := s.machine.Apply(next.tree, next.index, term, proposals)
	if err != nil {
		// The machine may know of writes that are now dropped.
		return storage.Result{}, fmt.Errorf("apply command: %w", errors.Join(err, s.machine.Load(before.tree)))
	}
	s.current.Store(next)
	s.history.Append(next.index, events)
	close(s.advanced)
	s.advanced = make(chan struct{})
	if storage.RestoreCommitted(proposals, results) {
		close(s.restored)
		s.restored = make(chan struct{})
	}
	return results[0], nil
}

// View calls fn with the newest version. Every consistency is linearizable here.
func (s *Store) View(ctx context.Context, opts storage.ReadOptions, fn func(storage.Reader) error) (storage.ReadInfo, error) {
	if err := s.waitFor(ctx, opts.MinIndex); err != nil {
		return storage.ReadInfo{}, err
	}
	v := s.current.Load()
	return storage.ReadInfo{Index: v.index}, fn(v.tree)
}

func (s *Store) waitFor(ctx context.Context, index uint64) error {
	for {
		if s.isClosed() {
			return closedError()
		}
		if s.current.Load().index >= index {
			return nil
		}
		s.mu.Lock()
		advanced := s.advanced
		s.mu.Unlock()
		if s.current.Load().index >= index {
			return nil
		}
		select {
		case <-advanced:
		case <-s.closed:
		case <-ctx.Done():
			return &model.Error{
				Code:    model.CodeUnavailable,
				Message: fmt.Sprintf("index %d is not applied yet, this node is at %d", index, s.current.Load().index),
				Err:     context.Cause(ctx),
			}
		}
	}
}

// Watch opens a stream of changes.
func (s *Store) Watch(_ context.Context, opts storage.WatchOptions) (storage.Watcher, error) {
	return s.history.Watch(opts)
}

// errRestored ends leader runs.
var errRestored = errors.New("the state was restored from a backup")

// Lead calls run at once: a memory store has no rivals. A restore ends a run, and the
// next one begins.
func (s *Store) Lead(ctx context.Context, run func(ctx context.Context, term uint64)) error {
	for {
		if err := s.leadOnce(ctx, run); !errors.Is(err, errRestored) {
			return err
		}
	}
}

func (s *Store) leadOnce(ctx context.Context, run func(ctx context.Context, term uint64)) error {
	runCtx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s.mu.Lock()
	restored := s.restored
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		run(runCtx, term)
	}()
	select {
	case <-s.closed:
		cancel(storage.ErrClosed)
	case <-restored:
		cancel(errRestored)
	case <-ctx.Done():
	}
	<-done
	return context.Cause(runCtx)
}

// Status describes the store as a cluster of one.
func (s *Store) Status() storage.Status {
	v := s.current.Load()
	status := storage.Status{
		NodeID: s.id, NodeName: "memory", ClusterID: s.id, LeaderID: s.id,
		Role: storage.RoleLeader, Term: term,
		CommitIndex: v.index, AppliedIndex: v.index, DigestIndex: v.index,
		Ready: !s.isClosed(),
	}
	if !status.Ready {
		status.Reason = "closed"
	}
	return status
}

// Close ends watchers, waiters and leader runs.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		close(s.closed)
		s.history.Close()
	})
	return nil
}

func (s *Store) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

func closedError() error {
	return &model.Error{Code: model.CodeUnavailable, Message: "the store is closed", Err: storage.ErrClosed}
}
