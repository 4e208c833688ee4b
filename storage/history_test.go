package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// eventsOf makes n events of an index.
func eventsOf(index uint64, n int) []Event {
	var events []Event
	for i := range n {
		events = append(events, Event{Index: index, Type: EventPut, Kind: KindPackage, Key: fmt.Sprint(i), Document: []byte("x")})
	}
	return events
}

func mustWatch(t *testing.T, h *History, opts WatchOptions) Watcher {
	t.Helper()
	w, err := h.Watch(opts)
	if err != nil {
		t.Fatalf("watch %+v: %v", opts, err)
	}
	t.Cleanup(w.Close)
	return w
}

// ended is a context that is over.
func ended(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// wantNext checks the indexes of the next events and where the stream is then.
func wantNext(t *testing.T, w Watcher, at uint64, wantErr error, want ...uint64) {
	t.Helper()
	events, index, err := w.Next(ended(t))
	var got []uint64
	for _, e := range events {
		got = append(got, e.Index)
	}
	if !errors.Is(err, wantErr) || index != at {
		t.Errorf("next: got index %d, error %v, want %d, %v", index, err, at, wantErr)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("indexes (-want +got):\n%s", diff)
	}
}

func wantCompacted(t *testing.T, err error, since, oldest uint64) {
	t.Helper()
	var compacted *CompactedError
	if !errors.As(err, &compacted) || compacted.Since != since || compacted.Oldest != oldest {
		t.Errorf("got error %v, want a *CompactedError{%d, %d}", err, since, oldest)
	}
}

func TestWatchSince(t *testing.T) {
	t.Parallel()
	// The history begins at 10, as after a restart.
	h := NewHistory(100, 1<<20, 10)
	for _, index := range []uint64{12, 15, 20} {
		h.Append(index, eventsOf(index, 1))
	}
	h.Append(25, nil)
	for _, since := range []uint64{1, 9} {
		_, err := h.Watch(WatchOptions{Since: since})
		wantCompacted(t, err, since, 10)
	}
	tests := []struct {
		since uint64
		want  []uint64
	}{
		{10, []uint64{12, 15, 20}}, // The oldest that can be served.
		{11, []uint64{12, 15, 20}},
		{12, []uint64{15, 20}},
		{19, []uint64{20}},
	}
	for _, tt := range tests {
		wantNext(t, mustWatch(t, h, WatchOptions{Since: tt.since}), 25, nil, tt.want...)
	}
	// Up to date, from now on, and in the future.
	wantNext(t, mustWatch(t, h, WatchOptions{Since: 20}), 25, context.Canceled)
	wantNext(t, mustWatch(t, h, WatchOptions{Since: 25}), 25, context.Canceled)
	now, future := mustWatch(t, h, WatchOptions{}), mustWatch(t, h, WatchOptions{Since: 30})
	wantNext(t, now, 25, context.Canceled)
	wantNext(t, future, 30, context.Canceled)
	h.Append(28, eventsOf(28, 1))
	wantNext(t, now, 28, nil, 28)
	wantNext(t, future, 30, context.Canceled)
	h.Append(30, eventsOf(30, 1))
	h.Append(31, eventsOf(31, 1))
	wantNext(t, now, 31, nil, 30, 31)
	wantNext(t, future, 31, nil, 31)
}

func TestHistoryEvicts(t *testing.T) {
	t.Parallel()
	t.Run("by_number", func(t *testing.T) {
		t.Parallel()
		h := NewHistory(5, 1<<20, 0)
		slow, quick := mustWatch(t, h, WatchOptions{Since: 0}), mustWatch(t, h, WatchOptions{Since: 0})
		for index := uint64(1); index <= 4; index++ {
			h.Append(index, eventsOf(index, 2))
			wantNext(t, quick, index, nil, index, index)
		}
		// Eight events came, whole indexes are kept: 3 and 4.
		_, _, err := slow.Next(t.Context())
		wantCompacted(t, err, 0, 2)
		_, err = h.Watch(WatchOptions{Since: 1})
		wantCompacted(t, err, 1, 2)
		wantNext(t, mustWatch(t, h, WatchOptions{Since: 2}), 4, nil, 3, 3, 4, 4)
		if h.events != 4 || len(h.batches) != 2 {
			t.Errorf("kept: %d events in %d batches, want 4 in 2", h.events, len(h.batches))
		}
		// The newest stay together as long as there is room for them,
		h.Append(5, eventsOf(5, 5))
		wantNext(t, mustWatch(t, h, WatchOptions{Since: 4}), 5, nil, slices.Repeat([]uint64{5}, 5)...)
		_, err = h.Watch(WatchOptions{Since: 3})
		wantCompacted(t, err, 3, 4)
		// and more than that are as good as a new state.
		behind := mustWatch(t, h, WatchOptions{Since: 5})
		h.Append(6, eventsOf(6, 6))
		_, _, err = behind.Next(t.Context())
		wantCompacted(t, err, 5, 6)
		h.Append(7, eventsOf(7, 1))
		wantNext(t, mustWatch(t, h, WatchOptions{Since: 6}), 7, nil, 7)
	})
	t.Run("by_bytes", func(t *testing.T) {
		t.Parallel()
		h := NewHistory(1000, 10_000, 0)
		big := func(index uint64) []Event {
			return []Event{{Index: index, Kind: KindPackage, Key: "k", Document: make([]byte, 4_000)}}
		}
		for index := uint64(1); index <= 5; index++ {
			h.Append(index, big(index))
		}
		if h.bytes > 10_000 || h.oldest != 3 {
			t.Errorf("kept %d bytes since index %d, want at most 10000 since 3", h.bytes, h.oldest)
		}
		h.Append(6, []Event{{Index: 6, Document: make([]byte, 50_000)}})
		_, err := h.Watch(WatchOptions{Since: 5})
		wantCompacted(t, err, 5, 6)
		h.Append(7, big(7))
		if h.bytes > 10_000 || h.events != 1 {
			t.Errorf("after the giant: kept %d bytes in %d events, want one small one", h.bytes, h.events)
		}
	})
}

func TestHistoryReset(t *testing.T) {
	t.Parallel()
	h := NewHistory(100, 1<<20, 0)
	h.Append(1, eventsOf(1, 1))
	behind := mustWatch(t, h, WatchOptions{Since: 1})
	ahead := mustWatch(t, h, WatchOptions{Since: 60})
	exact := mustWatch(t, h, WatchOptions{Since: 50})
	h.Reset(50)
	_, _, err := behind.Next(t.Context())
	wantCompacted(t, err, 1, 50)
	wantNext(t, exact, 50, context.Canceled)
	wantNext(t, ahead, 60, context.Canceled)
	wantNext(t, mustWatch(t, h, WatchOptions{}), 50, context.Canceled)
	_, err = h.Watch(WatchOptions{Since: 49})
	wantCompacted(t, err, 49, 50)
	h.Append(51, eventsOf(51, 1))
	wantNext(t, exact, 51, nil, 51)
	if h.events != 1 {
		t.Errorf("kept %d events, want 1", h.events)
	}
}

func TestHistoryClose(t *testing.T) {
	t.Parallel()
	h := NewHistory(100, 1<<20, 0)
	w := mustWatch(t, h, WatchOptions{})
	var done sync.WaitGroup
	done.Go(func() {
		if _, _, err := w.Next(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("next: got %v, want %v", err, ErrClosed)
		}
	})
	h.Close()
	h.Close()
	done.Wait()
	h.Append(1, eventsOf(1, 1)) // The applier may be a little late.
	if _, err := h.Watch(WatchOptions{}); !errors.Is(err, ErrClosed) {
		t.Errorf("watch: got %v, want %v", err, ErrClosed)
	}
}

func TestWatcherKinds(t *testing.T) {
	t.Parallel()
	h := NewHistory(100, 1<<20, 0)
	kinds := []Kind{KindUnit}
	w := mustWatch(t, h, WatchOptions{Kinds: kinds})
	kinds[0] = KindPackage // The watcher has its own copy.
	h.Append(1, eventsOf(1, 3))
	wantNext(t, w, 1, context.Canceled)
	h.Append(2, append(eventsOf(2, 2), Event{Index: 2, Kind: KindUnit}))
	wantNext(t, w, 2, nil, 2)
	w.Close()
	wantNext(t, w, 2, ErrClosed)
}

// TestWatcherHandsOutPieces: one call returns whole indexes, but not everything.
func TestWatcherHandsOutPieces(t *testing.T) {
	t.Parallel()
	h := NewHistory(10_000, 1<<30, 0)
	w := mustWatch(t, h, WatchOptions{})
	for index := uint64(1); index <= 100; index++ {
		h.Append(index, eventsOf(index, 50))
	}
	next := uint64(1)
	for next <= 100 {
		events, index, err := w.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(events) >= maxEventsPerNext+50 {
			t.Errorf("one call returned %d events", len(events))
		}
		if want := int(index-next+1) * 50; len(events) != want {
			t.Errorf("indexes %d to %d came with %d events, want %d", next, index, len(events), want)
		}
		next = index + 1
	}
}

// TestWatchersBesideAppends: many watchers, each sees everything once.
func TestWatchersBesideAppends(t *testing.T) {
	t.Parallel()
	const last = 2000
	h := NewHistory(10*last, 1<<30, 0)
	h.Append(1, nil)
	var done sync.WaitGroup
	for range 8 {
		w := mustWatch(t, h, WatchOptions{Since: 1})
		done.Go(func() {
			next := uint64(2)
			for next <= last {
				events, index, err := w.Next(t.Context())
				if err != nil {
					t.Errorf("next: %v", err)
					return
				}
				for _, e := range events {
					if e.Index != next {
						t.Errorf("got index %d, want %d", e.Index, next)
						return
					}
					next++
				}
				if index+1 != next {
					t.Errorf("complete up to %d, want %d", index, next-1)
				}
			}
		})
	}
	for index := uint64(2); index <= last; index++ {
		h.Append(index, eventsOf(index, 1))
	}
	done.Wait()
}
