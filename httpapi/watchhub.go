package httpapi

import (
	"context"
	"maps"
	"net"
	"slices"
	"sync"

	"github.com/oprc/oprc-pm/model"
)

// watchHub owns the watch streams: it bounds their number, ends them, and waits
// for them.
type watchHub struct {
	// ctx ends when the server shuts down; streams and ?wait= requests hang on
	// it.
	ctx    context.Context
	cancel context.CancelCauseFunc
	limit  int
	// drained is closed once the hub is closed and no stream is left.
	drained chan struct{}

	// mu guards the fields below.
	mu     sync.Mutex
	closed bool
	// streams holds every stream that has a place, and whether it has begun. One
	// that has not may never do so: its connection can fail before.
	streams map[*watchStream]bool
	byConn  map[net.Conn]*watchStream
}

func newWatchHub(limit int) *watchHub {
	h := &watchHub{
		limit:   limit,
		drained: make(chan struct{}),
		streams: map[*watchStream]bool{},
		byConn:  map[net.Conn]*watchStream{},
	}
	h.ctx, h.cancel = context.WithCancelCause(context.Background())
	return h
}

// reserve takes a place for w.
func (h *watchHub) reserve(w *watchStream) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed:
		return model.Errorf(model.CodeUnavailable, "this node is shutting down")
	case len(h.streams) >= h.limit:
		return model.Errorf(model.CodeUnavailable, "all %d watch streams of this node are taken", h.limit)
	}
	h.streams[w] = false
	h.byConn[w.conn] = w
	return nil
}

// start marks w as running; release must follow. It reports false when w lost
// its place.
func (h *watchHub) start(w *watchStream) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, reserved := h.streams[w]; !reserved {
		return false
	}
	// A closed hub still lets w begin: it will say goodbye and end at once.
	h.streams[w] = true
	return true
}

// release gives the place of w back.
func (h *watchHub) release(w *watchStream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, reserved := h.streams[w]; !reserved {
		return
	}
	delete(h.streams, w)
	delete(h.byConn, w.conn)
	if h.closed && len(h.streams) == 0 {
		close(h.drained)
	}
}

// abandon gives back the place of a stream whose connection closed before it
// began.
func (h *watchHub) abandon(conn net.Conn) {
	h.mu.Lock()
	w, ok := h.byConn[conn]
	begun := ok && h.streams[w]
	h.mu.Unlock()
	if ok && !begun {
		w.watcher.Close()
		h.release(w)
	}
}

func (h *watchHub) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.streams)
}

// close ends all streams and lets no new one begin. It may be called once.
func (h *watchHub) close() {
	h.mu.Lock()
	h.closed = true
	if len(h.streams) == 0 {
		close(h.drained)
	}
	h.mu.Unlock()
	h.cancel(errShutdown)
}

// wait waits for the streams to end. When ctx ends first, their connections are
// closed under them, which ends them at once.
func (h *watchHub) wait(ctx context.Context) error {
	select {
	case <-h.drained:
		return nil
	case <-ctx.Done():
	}
	h.mu.Lock()
	conns := slices.Collect(maps.Keys(h.byConn))
	h.mu.Unlock()
	for _, conn := range conns {
		_ = conn.Close()
	}
	<-h.drained
	return ctx.Err()
}
