package storage

import (
	"context"
	"slices"
	"sort"
	"sync"
)

// History keeps the newest change events, bounded by number and by bytes, and
// serves watchers from them. There is no buffer per watcher: a watcher is a
// position, and one that falls behind the kept events is told so. So neither
// many nor slow watchers cost the applier anything.
//
// Append and Reset are called by one goroutine, the applier; everything else by
// many.
type History struct {
	maxEvents int
	maxBytes  int

	mu sync.RWMutex
	// batches holds one element per index that had events, in index order.
	batches []eventBatch
	events  int
	bytes   int
	// oldest is the smallest Since that can be served; last is the index up to
	// which the history is complete.
	oldest, last uint64
	closed       bool
	// changed is closed and replaced when events arrive or the history is reset
	// or closed.
	changed chan struct{}
}

type eventBatch struct {
	index  uint64
	events []Event
	bytes  int
}

// eventOverhead approximates the memory of an event besides its document.
const eventOverhead = 128

// NewHistory makes an empty history that is complete from index on.
func NewHistory(maxEvents, maxBytes int, index uint64) *History {
	return &History{
		maxEvents: maxEvents,
		maxBytes:  maxBytes,
		oldest:    index,
		last:      index,
		changed:   make(chan struct{}),
	}
}

// Append adds all events of one index. Indexes must grow. The events must not
// be modified afterwards. More events than the history keeps at all are not kept:
// watchers are told to read the state again, as by Reset.
func (h *History) Append(index uint64, events []Event) {
	size := 0
	for _, e := range events {
		size += len(e.Document) + len(e.Key) + eventOverhead
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(events) > h.maxEvents || size > h.maxBytes {
		h.reset(index)
		return
	}
	h.last = index
	if len(events) == 0 {
		return
	}
	h.batches = append(h.batches, eventBatch{index: index, events: events, bytes: size})
	h.events += len(events)
	h.bytes += size
	h.evict()
	h.wake()
}

// evict drops the oldest batches beyond the bounds.
func (h *History) evict() {
	drop := 0
	for drop < len(h.batches)-1 && (h.events > h.maxEvents || h.bytes > h.maxBytes) {
		h.events -= len(h.batches[drop].events)
		h.bytes -= h.batches[drop].bytes
		h.oldest = h.batches[drop].index
		h.batches[drop] = eventBatch{}
		drop++
	}
	h.batches = h.batches[drop:]
}

func (h *History) wake() {
	close(h.changed)
	h.changed = make(chan struct{})
}

// Reset forgets everything: the state was replaced by that of a later index.
// Watchers behind it are told to read the state again.
func (h *History) Reset(index uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reset(index)
}

func (h *History) reset(index uint64) {
	h.batches, h.events, h.bytes = nil, 0, 0
	h.oldest, h.last = index, index
	h.wake()
}

// Close ends all watchers with ErrClosed.
func (h *History) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.closed = true
		h.wake()
	}
}

// Watch opens a stream of the events after opts.Since.
func (h *History) Watch(opts WatchOptions) (Watcher, error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.closed {
		return nil, ErrClosed
	}
	since := opts.Since
	if since == 0 {
		since = h.last
	}
	if since < h.oldest {
		return nil, &CompactedError{Since: since, Oldest: h.oldest}
	}
	return &historyWatcher{history: h, position: since, kinds: slices.Clone(opts.Kinds)}, nil
}

// historyWatcher is a position in a History.
type historyWatcher struct {
	history  *History
	position uint64
	kinds    []Kind
	closed   bool
}

// maxEventsPerNext bounds what one Next returns, so that one watcher does not
// hold the read lock for long.
const maxEventsPerNext = 256

func (w *historyWatcher) Next(ctx context.Context) ([]Event, uint64, error) {
	if w.closed {
		return nil, w.position, ErrClosed
	}
	for {
		events, changed, err := w.collect()
		if err != nil || len(events) > 0 {
			return events, w.position, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			// One last look, so that an event and the deadline at the same time
			// do not lose the event.
			if events, _, err := w.collect(); err != nil || len(events) > 0 {
				return events, w.position, err
			}
			return nil, w.position, ctx.Err()
		}
	}
}

// collect moves the position over what is kept and returns the wanted events,
// or, when there are none, the channel that announces more.
func (w *historyWatcher) collect() ([]Event, <-chan struct{}, error) {
	h := w.history
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.closed {
		return nil, nil, ErrClosed
	}
	if w.position < h.oldest {
		return nil, nil, &CompactedError{Since: w.position, Oldest: h.oldest}
	}
	var events []Event
	first := sort.Search(len(h.batches), func(i int) bool { return h.batches[i].index > w.position })
	for _, batch := range h.batches[first:] {
		for _, e := range batch.events {
			if len(w.kinds) == 0 || slices.Contains(w.kinds, e.Kind) {
				events = append(events, e)
			}
		}
		w.position = batch.index
		if len(events) >= maxEventsPerNext {
			return events, nil, nil
		}
	}
	w.position = max(w.position, h.last)
	return events, h.changed, nil
}

func (w *historyWatcher) Close() { w.closed = true }
