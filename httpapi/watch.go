package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// handleWatch answers with an endless stream of server-sent events, one per
// change, in index order (see watchStream). The stream takes the connection over
// so that each write has a deadline of its own.
func (s *Server) handleWatch(rq request) error {
	opts, err := rq.watchOptions()
	if err != nil {
		return err
	}
	h := &rq.ctx.Response.Header
	h.SetContentType("text/event-stream; charset=utf-8")
	h.Set(fasthttp.HeaderCacheControl, "no-store")
	h.Set("X-Accel-Buffering", "no")
	if rq.ctx.IsHead() {
		return nil
	}
	if opts.Since == 0 {
		// "From now on" is pinned to an index that the client learns.
		opts.Since = s.deps.Store.Status().AppliedIndex
	} else if err := rq.checkReached(opts.Since); err != nil {
		h.SetContentType(contentJSON)
		return err
	}
	stream, err := s.openWatch(rq.ctx.Conn(), opts)
	if err != nil {
		h.SetContentType(contentJSON)
		return err
	}
	rq.setIndex(opts.Since)
	h.SetContentLength(identityLength)
	stream.header = bytes.Clone(h.Header())
	rq.ctx.HijackSetNoResponse(true)
	rq.ctx.Hijack(stream.serve)
	return nil
}

// checkReached refuses an index that the cluster has not reached. Another node
// may have given it out before this one applied it, so the cluster is asked. One
// that is still ahead then comes from before the state was replaced, and a stream
// from it would silently leave out every change until it is reached again.
func (rq request) checkReached(since uint64) error {
	if since <= rq.s.deps.Store.Status().AppliedIndex {
		return nil
	}
	ctx := rq.deadline(rq.s.cfg.RequestTimeout)
	defer ctx.release()
	info, err := rq.s.deps.Store.View(ctx, storage.ReadOptions{}, func(storage.Reader) error { return nil })
	if err != nil || since <= info.Index {
		return err
	}
	return &model.Error{
		Code:    model.CodeGone,
		Message: fmt.Sprintf("index %d is ahead of the cluster, which is at %d; read the state again", since, info.Index),
		Err:     &storage.CompactedError{Since: since, Oldest: info.Index},
	}
}

// identityLength makes fasthttp announce a body that ends with the connection.
const identityLength = -2

// watchOptions reads ?since= or Last-Event-ID, and ?kind=.
func (rq request) watchOptions() (storage.WatchOptions, error) {
	var opts storage.WatchOptions
	var err error
	if opts.Since, err = rq.queryIndex("since"); err != nil {
		return opts, err
	}
	// A browser that reconnects repeats the old query but knows better.
	if last := rq.ctx.Request.Header.Peek("Last-Event-ID"); len(last) > 0 {
		if opts.Since, err = strconv.ParseUint(string(last), 10, 64); err != nil {
			return opts, invalidField("Last-Event-ID", "header Last-Event-ID must be a log index, not %q", printable(last))
		}
	}
	opts.Kinds, err = rq.queryKinds()
	return opts, err
}

// queryKinds reads ?kind=package,deployment; none means all.
func (rq request) queryKinds() ([]storage.Kind, error) {
	var kinds []storage.Kind
	for key, value := range rq.ctx.QueryArgs().All() {
		if string(key) != "kind" {
			continue
		}
		for text := range strings.SplitSeq(string(value), ",") {
			kind := storage.Kind(strings.TrimSpace(text))
			if !slices.Contains(watchKinds, kind) {
				return nil, invalidField("kind", "query parameter kind must be one of %s, not %q", joinKinds(watchKinds), printable([]byte(text)))
			}
			kinds = append(kinds, kind)
			if len(kinds) > 16 {
				return nil, invalidField("kind", "query parameter kind names too many kinds")
			}
		}
	}
	return kinds, nil
}

// watchKinds are the kinds of documents whose changes can be watched.
var watchKinds = []storage.Kind{
	storage.KindPackage, storage.KindDeployment, storage.KindUnit, storage.KindRuntimeState,
	storage.KindCluster, storage.KindClusterHealth, storage.KindEvent, storage.KindRevision,
}

func joinKinds(kinds []storage.Kind) string {
	names := make([]string, len(kinds))
	for i, kind := range kinds {
		names[i] = string(kind)
	}
	return strings.Join(names, ", ")
}

// openWatch reserves a place for a stream and opens the store's side of it.
func (s *Server) openWatch(conn net.Conn, opts storage.WatchOptions) (*watchStream, error) {
	stream := &watchStream{s: s, conn: conn, index: opts.Since}
	if err := s.watches.reserve(stream); err != nil {
		s.metrics.watchRefusals.Inc()
		return nil, err
	}
	watcher, err := s.deps.Store.Watch(s.watches.ctx, opts)
	if err != nil {
		s.watches.release(stream)
		return nil, err
	}
	stream.watcher = watcher
	return stream, nil
}

// watchStream is one client's stream:
//
//	id: 42                  on the last change of an index only, so that a stream
//	event: put              resumed from it never misses the rest of an index
//	data: {"index":42,"type":"put","kind":"package","key":"shop","document":{…}}
//
//	: heartbeat 57          while nothing happens; the id moves on, too
//	id: 57
//
// It ends with "event: end" when the node shuts down, and with "event: error"
// (data: an error object) when the client has fallen behind the kept changes. A
// client that does not read at all is cut off.
type watchStream struct {
	s       *Server
	conn    net.Conn
	header  []byte
	watcher storage.Watcher
	// index is the one up to which everything has been sent.
	index uint64
	buf   []byte
}

var (
	errClientGone = errors.New("client closed the stream")
	errSlowClient = errors.New("client does not read")
)

// serve owns the connection; fasthttp closes it afterwards.
func (w *watchStream) serve(conn net.Conn) {
	if !w.s.watches.start(w) {
		return
	}
	defer w.s.watches.release(w)
	defer func() {
		if p := recover(); p != nil {
			w.s.metrics.panics.Inc()
			w.s.deps.Logger.Error("watch stream panicked", "panic", p)
		}
	}()
	defer w.watcher.Close()
	ctx, cancel := context.WithCancelCause(w.s.watches.ctx)
	// A client says nothing after its request: whatever can be read is its end.
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		var b [1]byte
		_, _ = conn.Read(b[:])
		cancel(errClientGone)
	}()
	err := w.run(ctx, conn)
	w.finish(conn, err, context.Cause(ctx))
	cancel(nil)
	_ = conn.SetReadDeadline(time.Unix(1, 0))
	<-gone
}

// run sends until something ends the stream.
func (w *watchStream) run(ctx context.Context, conn net.Conn) error {
	w.buf = append(w.buf, w.header...)
	w.buf = append(w.buf, "retry: 1000\n"...)
	w.appendHeartbeat()
	if err := w.flush(conn); err != nil {
		return err
	}
	for {
		wait, cancel := context.WithTimeout(ctx, w.s.cfg.WatchHeartbeat)
		events, index, err := w.watcher.Next(wait)
		cancel()
		w.index = max(w.index, index)
		switch {
		case err == nil:
			err = w.send(conn, events)
		case ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
			w.appendHeartbeat()
			err = w.flush(conn)
		}
		if err != nil {
			return err
		}
	}
}

// flushBytes is how much is collected before it is written.
const flushBytes = 64 << 10

func (w *watchStream) send(conn net.Conn, events []storage.Event) error {
	for i, e := range events {
		w.appendEvent(e, i+1 == len(events) || events[i+1].Index != e.Index)
		if len(w.buf) >= flushBytes {
			if err := w.flush(conn); err != nil {
				return err
			}
		}
	}
	w.s.metrics.watchEvents.Add(len(events))
	return w.flush(conn)
}

func (w *watchStream) appendEvent(e storage.Event, lastOfIndex bool) {
	b := w.buf
	if lastOfIndex {
		b = append(b, "id: "...)
		b = strconv.AppendUint(b, e.Index, 10)
		b = append(b, '\n')
	}
	b = append(b, "event: "...)
	b = append(b, e.Type...)
	b = append(b, "\ndata: {\"index\":"...)
	b = strconv.AppendUint(b, e.Index, 10)
	b = append(b, `,"type":"`...)
	b = append(b, e.Type...)
	b = append(b, `","kind":"`...)
	b = append(b, e.Kind...)
	b = append(b, `","key":`...)
	b = appendText(b, e.Key, false)
	b = append(b, `,"document":`...)
	if e.Document == nil {
		b = append(b, "null"...)
	} else {
		// A newline would end the data line. In a stored document it is only
		// white space between two members.
		for line := range bytes.SplitSeq(e.Document, []byte{'\n'}) {
			b = append(b, line...)
		}
	}
	w.buf = append(b, "}\n\n"...)
}

func (w *watchStream) appendHeartbeat() {
	w.buf = append(w.buf, ": heartbeat "...)
	w.buf = strconv.AppendUint(w.buf, w.index, 10)
	w.buf = append(w.buf, "\nid: "...)
	w.buf = strconv.AppendUint(w.buf, w.index, 10)
	w.buf = append(w.buf, "\n\n"...)
}

// flush writes what is collected, within the deadline that cuts slow clients.
func (w *watchStream) flush(conn net.Conn) error {
	if len(w.buf) == 0 {
		return nil
	}
	if err := conn.SetWriteDeadline(time.Now().Add(w.s.cfg.WatchWriteTimeout)); err != nil {
		return errClientGone
	}
	_, err := conn.Write(w.buf)
	if cap(w.buf) > 4*flushBytes {
		w.buf = nil
	}
	w.buf = w.buf[:0]
	var timeout net.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &timeout) && timeout.Timeout():
		return errSlowClient
	default:
		return errClientGone
	}
}

// finish tells the client why the stream ends, if it can still be told.
func (w *watchStream) finish(conn net.Conn, err, cause error) {
	var compacted *storage.CompactedError
	switch {
	case errors.Is(err, errSlowClient):
		w.s.metrics.watchCuts.Inc()
		w.s.deps.Logger.Debug("watch stream cut", "err", err, "index", w.index)
		return
	case errors.Is(err, errClientGone), errors.Is(cause, errClientGone):
		return
	case errors.Is(cause, errShutdown):
		w.buf = append(w.buf[:0], `event: end`+"\n"+`data: {"reason":"shutting down","index":`...)
		w.buf = strconv.AppendUint(w.buf, w.index, 10)
		w.buf = append(w.buf, "}\n\n"...)
	default:
		if errors.As(err, &compacted) {
			w.s.metrics.watchCuts.Inc()
		}
		e := asModelError(err)
		message := e.Message
		if e.Code == model.CodeInternal {
			w.s.deps.Logger.Error("watch stream", "err", err)
			message = "internal error"
		}
		w.buf = append(w.buf[:0], "event: error\ndata: "...)
		w.buf = appendError(w.buf, status(e.Code), message, e, err, "")
		w.buf = append(w.buf, "\n"...)
	}
	// The client is leaving anyway: there is nobody to report a failure to.
	_ = w.flush(conn)
}
