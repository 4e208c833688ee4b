package storagetest

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/storage"
)

// RunStore checks the promises of storage.Store. open returns a store without
// documents and cleans up after itself; most tests share one store, with names
// of their own. A store that is an io.Closer is closed by the tests of a closed
// store (its Close must be idempotent).
func RunStore(t *testing.T, open func(t *testing.T) storage.Store, opts ...Option) {
	s := &suite{
		open:         open,
		leader:       func(_ *testing.T, store storage.Store) storage.Store { return store },
		patience:     30 * time.Second,
		historyBytes: 64 << 20,
	}
	for _, opt := range opts {
		opt(s)
	}
	t.Run("shared", func(t *testing.T) {
		store := open(t)
		for _, group := range [][]storeTest{
			packageTests, dependencyTests, cascadeTests, deploymentTests, unitTests, runtimeStateTests,
			clusterTests, eventTests, revisionTests, requestTests, viewTests, watchTests, leadTests, concurrencyTests,
		} {
			for _, test := range group {
				t.Run(test.name, func(t *testing.T) { test.run(s.env(t, store)) })
			}
		}
	})
	// These spend a store.
	for _, group := range [][]storeTest{ownStoreTests, restoreTests} {
		for _, test := range group {
			t.Run(test.name, func(t *testing.T) { test.run(s.env(t, open(t))) })
		}
	}
}

// Option fits the suite to a driver.
type Option func(*suite)

// HistoryBytes tells how many bytes of documents the store keeps for watchers at
// most. The default is that of the memory driver, 64 MiB.
func HistoryBytes(n int) Option { return func(s *suite) { s.historyBytes = n } }

// Patience is how long a single step may take. The default is 30 seconds.
func Patience(d time.Duration) Option { return func(s *suite) { s.patience = d } }

// Leader tells how to find the store of the node that leads now, given the one
// that open returned. The default is that one itself.
func Leader(find func(t *testing.T, s storage.Store) storage.Store) Option {
	return func(s *suite) { s.leader = find }
}

type suite struct {
	open         func(t *testing.T) storage.Store
	leader       func(t *testing.T, s storage.Store) storage.Store
	patience     time.Duration
	historyBytes int
	names        atomic.Uint64
}

type storeTest struct {
	name string
	run  func(e *env)
}

// env is what one test runs in.
type env struct {
	*testing.T
	*suite
	store storage.Store
	// ctx ends with the test, or when a step takes too long.
	ctx context.Context
}

func (s *suite) env(t *testing.T, store storage.Store) *env {
	ctx, cancel := context.WithTimeout(t.Context(), 10*s.patience)
	t.Cleanup(cancel)
	return &env{T: t, suite: s, store: store, ctx: ctx}
}

// name returns a name that no other test of the suite has.
func (e *env) name(base string) string {
	return fmt.Sprintf("%s-%d", base, e.names.Add(1))
}

// step is a context for one operation.
func (e *env) step() (context.Context, context.CancelFunc) {
	return context.WithTimeout(e.ctx, e.patience)
}

// closer returns how to close the store.
func (e *env) closer() io.Closer {
	closer, ok := e.store.(io.Closer)
	if !ok {
		e.Fatalf("the store %T cannot be closed", e.store)
	}
	return closer
}
