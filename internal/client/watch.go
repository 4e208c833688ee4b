package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/oprc/oprc-pm/storage"
)

// stallTimeout is how long a stream may say nothing, not even that it is alive,
// before it is taken for dead and opened again.
const stallTimeout = time.Minute

// Change is one change of one document. Document is nil for a delete.
type Change struct {
	Index    uint64            `json:"index"`
	Type     storage.EventType `json:"type"`
	Kind     storage.Kind      `json:"kind"`
	Key      string            `json:"key"`
	Document json.RawMessage   `json:"document,omitempty"`
}

// Watch is a stream of changes in order, each exactly once, across any number of
// connections and servers. It is for one goroutine.
type Watch struct {
	c     *Client
	ctx   context.Context
	stop  context.CancelFunc
	kinds []storage.Kind

	// done is the index up to which all changes were handed out; seen is how
	// many of the next one were.
	done uint64
	seen struct {
		index uint64
		count int
	}
	// skip is how many changes of seen.index the present connection repeats.
	skip int

	conn     *stream
	server   int
	attempts int
	// lastContact is when a server last answered.
	lastContact time.Time
}

// Watch opens a stream of the changes after since to the given kinds (all, when
// none is given). It does no I/O; Next does. ctx's end and Close end it.
func (c *Client) Watch(ctx context.Context, since uint64, kinds ...storage.Kind) *Watch {
	ctx, stop := context.WithCancel(ctx)
	return &Watch{c: c, ctx: ctx, stop: stop, kinds: kinds, done: since,
		server: int(c.preferred.Load()), lastContact: time.Now()}
}

// Close ends the stream.
func (w *Watch) Close() {
	w.stop()
	w.disconnect()
}

// Next blocks until there is a change. It reconnects as often as needed, and
// gives up when no server answered for the client's Timeout. A CodeGone error
// means that the changes are not kept any more: list again, and watch from
// there.
func (w *Watch) Next() (Change, error) {
	for {
		change, ok, err := w.receive()
		if ok {
			return change, nil
		}
		w.disconnect()
		switch {
		case w.ctx.Err() != nil:
			return Change{}, context.Cause(w.ctx)
		case err == nil: // the server ended the stream in order
		case !again(err):
			return Change{}, err
		case w.c.cfg.Timeout > 0 && time.Since(w.lastContact) > w.c.cfg.Timeout:
			return Change{}, err
		}
		w.server = (w.server + 1) % len(w.c.servers)
		w.attempts++
		if !pause(w.ctx, backoff(w.attempts, err)) {
			return Change{}, context.Cause(w.ctx)
		}
	}
}

// receive returns the next change, connecting first where needed. Without a
// change and without an error the stream has ended.
func (w *Watch) receive() (Change, bool, error) {
	if w.conn == nil {
		if err := w.connect(); err != nil {
			return Change{}, false, err
		}
	}
	for {
		m, err := w.conn.messages.next()
		if errors.Is(err, io.EOF) {
			return Change{}, false, nil
		}
		if err != nil {
			return Change{}, false, &UnreachableError{Servers: w.c.servers[w.server : w.server+1], Err: plain(err)}
		}
		w.attempts, w.lastContact = 0, time.Now()
		change, ok, err := w.take(m)
		if ok || err != nil {
			return change, ok, err
		}
	}
}

// take turns a message into a change, unless it is something else, or was handed
// out before the connection broke.
func (w *Watch) take(m message) (Change, bool, error) {
	var wire struct {
		Change
		Error  string `json:"error"`
		Code   string `json:"code"`
		Oldest uint64 `json:"oldest"`
	}
	if len(m.data) > 0 {
		if err := json.Unmarshal(m.data, &wire); err != nil {
			return Change{}, false, fmt.Errorf("decode change: %w", err)
		}
	}
	switch {
	case wire.Error != "":
		// The stream's last words. Whatever it was, a new connection either goes
		// on or gets it as its answer.
		return Change{}, false, nil
	case wire.Kind == "":
		// Only the index advanced.
		w.done = max(w.done, wire.Index, indexOf(m.id))
		return Change{}, false, nil
	case wire.Index <= w.done:
		return Change{}, false, nil
	}
	if wire.Index != w.seen.index {
		if w.seen.index > w.done {
			w.done = w.seen.index
		}
		w.seen.index, w.seen.count, w.skip = wire.Index, 0, 0
	}
	// An id says that this was the last of everything up to it.
	w.done = max(w.done, indexOf(m.id))
	if w.skip > 0 {
		w.skip--
		return Change{}, false, nil
	}
	w.seen.count++
	if string(wire.Document) == "null" {
		wire.Document = nil
	}
	return wire.Change, true, nil
}

// indexOf reads the id of a message; 0 when it has none.
func indexOf(id string) uint64 {
	index, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		return 0
	}
	return index
}

// stream is one connection of a Watch.
type stream struct {
	body     io.ReadCloser
	messages *messages
	cancel   context.CancelFunc
	stall    *time.Timer
}

// Read notes that the server is alive.
func (s *stream) Read(b []byte) (int, error) {
	n, err := s.body.Read(b)
	if n > 0 {
		s.stall.Reset(stallTimeout)
	}
	return n, err
}

func (w *Watch) connect() error {
	server := w.c.servers[w.server]
	query := url.Values{"since": {strconv.FormatUint(w.done, 10)}}
	for _, kind := range w.kinds {
		query.Add("kind", string(kind))
	}
	ctx, cancel := context.WithCancel(w.ctx)
	request, err := w.c.newRequest(ctx, server, Request{Method: http.MethodGet, Path: Resource("watch"), Query: query,
		Header: http.Header{"Accept": {"text/event-stream"}}})
	if err != nil {
		cancel()
		return err
	}
	// The stall timer also bounds the wait for the answer.
	stall := time.AfterFunc(stallTimeout, cancel)
	response, err := w.c.http.Do(request)
	if err != nil {
		stall.Stop()
		cancel()
		return &UnreachableError{Servers: w.c.servers, Err: plain(err)}
	}
	s := &stream{body: response.Body, cancel: cancel, stall: stall}
	s.messages = newMessages(s)
	w.conn = s
	if response.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(response.Body, 1<<20))
		w.disconnect()
		return errorFrom(server, response, body)
	}
	w.c.preferred.Store(int64(w.server))
	w.lastContact = time.Now()
	w.skip = 0
	if w.seen.index > w.done {
		w.skip = w.seen.count
	}
	return nil
}

func (w *Watch) disconnect() {
	if w.conn == nil {
		return
	}
	w.conn.stall.Stop()
	w.conn.cancel()
	_ = w.conn.body.Close() // the connection is given up whatever it says
	w.conn = nil
}
