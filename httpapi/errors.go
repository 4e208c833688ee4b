package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// maxProblems bounds the problems listed in one answer.
const maxProblems = 200

// retryAfterSeconds is sent with every 503 and 429: about one election.
const retryAfterSeconds = "1"

// invalidField makes the error for a parameter, header or field that breaks a
// rule.
func invalidField(field, format string, args ...any) error {
	message := model.Errorf(model.CodeInvalid, format, args...).Message
	return model.Invalid([]model.Problem{{Path: field, Message: message}})
}

// asModelError turns any error of a handler into what the client will see. An
// error without a code is a defect or a failure of the host.
func asModelError(err error) *model.Error {
	var known *model.Error
	var compacted *storage.CompactedError
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &compacted):
		return &model.Error{Code: model.CodeGone, Message: compacted.Error(), Err: err}
	case errors.Is(err, storage.ErrClosed):
		return &model.Error{Code: model.CodeUnavailable, Message: "this node is shutting down", Err: err}
	case errors.Is(err, context.DeadlineExceeded):
		return &model.Error{Code: model.CodeUnavailable, Message: "the store did not answer in time", Err: err}
	case errors.Is(err, context.Canceled):
		return &model.Error{Code: model.CodeUnavailable, Message: "this node is shutting down", Err: err}
	default:
		return &model.Error{Code: model.CodeInternal, Message: err.Error(), Err: err}
	}
}

// writeError answers err in the one shape that all errors have:
//
//	{"error":text,"code":code,"problems":[{"path","message"}],"oldest":N,"cluster":name,"request_id":id}
//
// problems, oldest and cluster appear only where there are any.
func (s *Server) writeError(ctx *fasthttp.RequestCtx, requestID string, err error) {
	e := asModelError(err)
	code := status(e.Code)
	message := e.Message
	if code == fasthttp.StatusInternalServerError {
		s.deps.Logger.Error("handle request", "method", string(ctx.Method()), "path", string(ctx.Path()),
			"request_id", requestID, "err", err)
		message = "internal error; the log of node " + s.deps.NodeName + " has the cause under this request id"
	} else if s.deps.Logger.Enabled(ctx, slog.LevelDebug) {
		s.deps.Logger.Debug("reject request", "method", string(ctx.Method()), "path", string(ctx.Path()),
			"request_id", requestID, "code", string(e.Code), "err", err)
	}
	if code == fasthttp.StatusServiceUnavailable || code == fasthttp.StatusTooManyRequests {
		ctx.Response.Header.Set(fasthttp.HeaderRetryAfter, retryAfterSeconds)
	}
	ctx.Response.Header.Del(fasthttp.HeaderETag)
	ctx.SetStatusCode(code)
	ctx.SetContentType(contentJSON)
	ctx.SetBody(appendError(nil, code, message, e, err, requestID))
}

func appendError(dst []byte, code int, message string, e *model.Error, cause error, requestID string) []byte {
	// Existing command lines take any error whose text holds "404" for a missing
	// resource, so no other status may show these digits.
	hide := code != fasthttp.StatusNotFound
	dst = append(dst, `{"error":`...)
	dst = appendText(dst, message, hide)
	dst = append(dst, `,"code":`...)
	dst = appendText(dst, string(e.Code), hide)
	if len(e.Problems) > 0 {
		dst = append(dst, `,"problems":[`...)
		for i, p := range e.Problems[:min(len(e.Problems), maxProblems)] {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, `{"path":`...)
			dst = appendText(dst, p.Path, hide)
			dst = append(dst, `,"message":`...)
			dst = appendText(dst, p.Message, hide)
			dst = append(dst, '}')
		}
		dst = append(dst, ']')
	}
	var compacted *storage.CompactedError
	if errors.As(cause, &compacted) {
		dst = append(dst, `,"oldest":`...)
		dst = strconv.AppendUint(dst, compacted.Oldest, 10)
	}
	var failed *model.ClusterFailure
	if errors.As(cause, &failed) {
		dst = append(dst, `,"cluster":`...)
		dst = appendText(dst, failed.Cluster, hide)
	}
	dst = append(dst, `,"request_id":`...)
	dst = appendText(dst, requestID, hide)
	return append(dst, '}', '\n')
}

// appendText appends text as a JSON string. Invalid UTF-8 becomes U+FFFD. With
// hide, the digits 404 are written as 4\u00304: the same string once decoded,
// other bytes on the wire.
func appendText(dst []byte, text string, hide bool) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '0' && hide && i > 0 && text[i-1] == '4' && i+1 < len(text) && text[i+1] == '4':
			dst = append(dst, `\u0030`...)
		case c < ' ' || c == 0x7f || c == '<' || c == '>' || c == '&':
			// Markup is escaped too, for pages that show a body as it is.
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		case c < utf8.RuneSelf:
			dst = append(dst, c)
		default:
			r, size := utf8.DecodeRuneInString(text[i:])
			dst = utf8.AppendRune(dst, r)
			i += size
			continue
		}
		i++
	}
	return append(dst, '"')
}
