package inventory

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/oprc/oprc-pm/internal/wait"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// Store is what an Inventory needs of a storage.Store.
type Store interface {
	View(ctx context.Context, opts storage.ReadOptions, fn func(storage.Reader) error) (storage.ReadInfo, error)
	Watch(ctx context.Context, opts storage.WatchOptions) (storage.Watcher, error)
}

// Inventory is the materialised view. Its methods may be called from many
// goroutines; before the first load it is empty.
type Inventory struct {
	store   Store
	logger  *slog.Logger
	metrics *inventoryMetrics

	current atomic.Pointer[snapshot]
	ready   chan struct{}
	// included is the index up to which the snapshot is complete and all
	// subscribers have been called.
	included atomic.Uint64

	// mu guards what follows.
	mu sync.Mutex
	// advanced is closed and replaced whenever included was looked at anew.
	advanced chan struct{}
	// interrupt ends the wait for the next change, so that the watcher tells
	// how far it has come; nil while there is no such wait. poked keeps an
	// interruption for the next one.
	interrupt   context.CancelFunc
	poked       bool
	subscribers []*subscriber
}

// New makes an inventory. It does no I/O. logger and set may be nil.
func New(store Store, logger *slog.Logger, set *metrics.Set) *Inventory {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	if set == nil {
		set = metrics.NewSet()
	}
	i := &Inventory{store: store, logger: logger, ready: make(chan struct{}), advanced: make(chan struct{})}
	i.current.Store(newSnapshot())
	i.metrics = newMetrics(set, i)
	return i
}

// Delays between two tries to follow a store that answers with errors.
const (
	retryMin = 50 * time.Millisecond
	retryMax = 5 * time.Second
)

// Run loads the state and follows the store's changes until ctx ends, and
// returns its error; or storage.ErrClosed when the store closed before. It is to
// be called once. While the store does not answer, what is known stays.
func (i *Inventory) Run(ctx context.Context) error {
	delay := retryMin
	for {
		loaded, err := i.follow(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, storage.ErrClosed) {
			return err
		}
		var compacted *storage.CompactedError
		if errors.As(err, &compacted) {
			i.logger.Info("inventory fell behind the kept changes and is loaded again", "since", compacted.Since, "oldest", compacted.Oldest)
		} else {
			i.logger.Warn("inventory lost the stream of changes", "err", err)
		}
		i.metrics.reloads.Inc()
		if loaded {
			delay = retryMin
		}
		wait.For(ctx, delay)
		delay = min(2*delay, retryMax)
	}
}

// Ready is closed when the first load is complete.
func (i *Inventory) Ready() <-chan struct{} { return i.ready }

// WaitFor returns once the inventory includes everything up to index, and all
// subscribers have been told. It fails with unavailable when ctx ends before.
func (i *Inventory) WaitFor(ctx context.Context, index uint64) error {
	if i.included.Load() >= index {
		return nil
	}
	// The store first: there is no use in asking the watcher before it can know.
	_, err := i.store.View(ctx, storage.ReadOptions{Consistency: storage.Stale, MinIndex: index}, func(storage.Reader) error { return nil })
	if err != nil {
		return fmt.Errorf("wait for index %d: %w", index, err)
	}
	for {
		advanced, done := i.poke(index)
		if done {
			return nil
		}
		select {
		case <-advanced:
			// A store may show a state a moment before it announces the
			// changes, so one look may have come too early.
			if i.included.Load() < index {
				wait.For(ctx, time.Millisecond)
			}
		case <-ctx.Done():
		}
		if ctx.Err() != nil && i.included.Load() < index {
			return &model.Error{
				Code:    model.CodeUnavailable,
				Message: fmt.Sprintf("the inventory is at index %d, not yet at %d", i.included.Load(), index),
				Err:     context.Cause(ctx),
			}
		}
	}
}

// poke makes Run look how far the stream has come. It returns what is closed
// afterwards, or true when index is already included.
func (i *Inventory) poke(index uint64) (<-chan struct{}, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.included.Load() >= index {
		return nil, true
	}
	i.poked = true
	if i.interrupt != nil {
		i.interrupt()
	}
	return i.advanced, false
}

// next waits for changes like the watcher's Next, and returns without any when
// it was poked.
func (i *Inventory) next(ctx context.Context, watcher storage.Watcher) ([]storage.Event, uint64, error) {
	waitCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	i.mu.Lock()
	if i.poked {
		cancel()
	}
	i.interrupt, i.poked = cancel, false
	i.mu.Unlock()
	events, index, err := watcher.Next(waitCtx)
	i.mu.Lock()
	i.interrupt = nil
	i.mu.Unlock()
	if err != nil && ctx.Err() == nil && waitCtx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil
	}
	return events, index, err
}

// include announces that everything up to index is in the snapshot.
func (i *Inventory) include(index uint64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if index > i.included.Load() {
		i.included.Store(index)
	}
	close(i.advanced)
	i.advanced = make(chan struct{})
}
