package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"runtime/debug"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/oprc/oprc-pm/model"
)

const (
	headerIdempotency = "Idempotency-Key"
	headerWarning     = "Warning"
	headerLink        = "Link"

	contentJSON       = "application/json"
	maxRequestIDBytes = 128
	generatedIDBytes  = 16
	requestIDAlphabet = "abcdefghijklmnopqrstuvwxyz-_ABCD"

	corsMaxAgeSeconds   = "86400"
	corsAllowMethods    = "GET, HEAD, POST, PUT, DELETE, OPTIONS"
	corsAllowAnyHeaders = "*"
)

// Headers that nearly every answer carries, in canonical form: fasthttp would
// otherwise normalize their names for each answer.
var (
	headerRequestID   = []byte("X-Request-Id")
	headerIndex       = []byte("X-Oprc-Index")
	headerLastContact = []byte("X-Oprc-Last-Contact-Ms")
	headerETag        = []byte("Etag")
	headerNoSniff     = []byte("X-Content-Type-Options")
	headerAllowOrigin = []byte("Access-Control-Allow-Origin")
	headerExpose      = []byte("Access-Control-Expose-Headers")

	valueNoSniff = []byte("nosniff")
	valueAny     = []byte("*")
)

// wrap is the middleware chain, the same for every route and for what no route
// matches: request id, CORS, load shedding, recovery, errors, metrics, log.
func (s *Server) wrap(name string, m *routeMetrics, handle handler) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		rq := request{s: s, ctx: ctx}
		s.setCommonHeaders(ctx)
		if s.inFlight.Add(1) > int64(s.cfg.MaxInFlight) {
			s.metrics.overloads.Inc()
			s.writeError(ctx, rq.id(), model.Errorf(model.CodeUnavailable, "too many requests are being handled; try again"))
		} else {
			s.run(rq, name, handle)
		}
		s.inFlight.Add(-1)
		took := time.Since(ctx.Time())
		m.observe(ctx.Response.StatusCode(), took)
		if s.deps.Logger.Enabled(context.Background(), slog.LevelDebug) {
			s.deps.Logger.Debug("request", "route", name, "method", string(ctx.Method()), "path", string(ctx.Path()),
				"status", ctx.Response.StatusCode(), "request_id", rq.id(), "dur", took)
		}
	}
}

// run calls the handler and turns its error or panic into the answer. (fasthttp
// does not recover: a panic would end the process.)
func (s *Server) run(rq request, name string, handle handler) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		s.metrics.panics.Inc()
		s.deps.Logger.Error("handler panicked", "route", name, "request_id", rq.id(),
			"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		rq.ctx.Response.ResetBody()
		s.writeError(rq.ctx, rq.id(), fmt.Errorf("handler of %s panicked: %v", name, p))
	}()
	if err := handle(s, rq); err != nil {
		s.writeError(rq.ctx, rq.id(), err)
	}
}

// setCommonHeaders sets what every answer carries.
func (s *Server) setCommonHeaders(ctx *fasthttp.RequestCtx) {
	h := &ctx.Response.Header
	if id := ctx.Request.Header.PeekBytes(headerRequestID); validToken(id, maxRequestIDBytes) {
		h.SetCanonical(headerRequestID, id)
	} else {
		var id [generatedIDBytes]byte
		fillRequestID(&id)
		h.SetCanonical(headerRequestID, id[:])
	}
	h.SetCanonical(headerNoSniff, valueNoSniff)
	if len(s.corsOrigin) > 0 {
		h.SetCanonical(headerAllowOrigin, s.corsOrigin)
		h.SetCanonical(headerExpose, valueAny)
	}
}

// fillRequestID draws an id from letters only: an error body quotes it, and must
// not contain digits that clients take for a status (see appendError).
func fillRequestID(id *[generatedIDBytes]byte) {
	var bits uint64
	for i := range id {
		if i%12 == 0 {
			bits = rand.Uint64()
		}
		id[i] = requestIDAlphabet[bits&31]
		bits >>= 5
	}
}

// validToken reports whether b is 1 to limit bytes of visible ASCII.
func validToken(b []byte, limit int) bool {
	if len(b) == 0 || len(b) > limit {
		return false
	}
	for _, c := range b {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}

// handleOptions answers a preflight, or a question for the allowed methods.
func (s *Server) handleOptions(rq request) error {
	h := &rq.ctx.Response.Header
	if len(s.corsOrigin) > 0 {
		h.Set(fasthttp.HeaderAccessControlAllowMethods, corsAllowMethods)
		h.Set(fasthttp.HeaderAccessControlAllowHeaders, corsAllowAnyHeaders)
		h.Set(fasthttp.HeaderAccessControlMaxAge, corsMaxAgeSeconds)
	}
	rq.ctx.SetStatusCode(fasthttp.StatusOK)
	return nil
}

func (s *Server) handleMethodNotAllowed(rq request) error {
	return model.Errorf(codeMethodNotAllowed, "method %s is not allowed here; allowed: %s",
		printable(rq.ctx.Method()), rq.ctx.Response.Header.Peek(fasthttp.HeaderAllow))
}

func (s *Server) handleNoRoute(rq request) error {
	return model.Errorf(model.CodeNotFound, "no such path: %s", printable(rq.ctx.URI().PathOriginal()))
}

// handleMalformed answers what could not be read as a request.
func (s *Server) handleMalformed(ctx *fasthttp.RequestCtx, err error) {
	s.metrics.malformed.Inc()
	s.setCommonHeaders(ctx)
	var small *fasthttp.ErrSmallBuffer
	var network *net.OpError
	answer := &model.Error{Code: model.CodeInvalid, Message: "the request is not well-formed HTTP", Err: err}
	switch {
	case errors.As(err, &small):
		drain(ctx.Conn(), s.cfg.MaxBodyBytes)
		answer = model.Errorf(codeHeaderTooLarge, "request line and headers exceed %d bytes", s.cfg.MaxHeaderBytes)
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		drain(ctx.Conn(), s.cfg.MaxBodyBytes)
		answer = model.Errorf(model.CodeTooLarge, "the body exceeds %d bytes", s.cfg.MaxBodyBytes)
	case errors.As(err, &network) && network.Timeout():
		answer = model.Errorf(codeRequestTimeout, "the request did not arrive within %s", s.cfg.ReadTimeout)
	}
	s.writeError(ctx, string(ctx.Response.Header.PeekBytes(headerRequestID)), answer)
	s.unrouted.observe(ctx.Response.StatusCode(), 0)
}

const (
	// drainIdle ends a drain when nothing more arrives, drainTotal in any case.
	drainIdle  = 100 * time.Millisecond
	drainTotal = 2 * time.Second
)

// drain reads what a client still sends of a request that is refused. The
// connection is closed after the answer; closing it with unread bytes would reset
// it, and the client might never see why it was refused.
func drain(conn net.Conn, limit int) {
	end := time.Now().Add(drainTotal)
	buf := make([]byte, 16<<10)
	for limit > 0 && time.Now().Before(end) {
		if err := conn.SetReadDeadline(time.Now().Add(drainIdle)); err != nil {
			return
		}
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		limit -= n
	}
}

// printable shortens client input for an error text.
func printable(b []byte) string {
	const limit = 120
	b = bytes.ToValidUTF8(b, []byte("\uFFFD"))
	if len(b) > limit {
		return strings.ToValidUTF8(string(b[:limit]), "") + "…"
	}
	return string(b)
}
