package httpapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strconv"

	"github.com/valyala/fasthttp"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// precondition is what If-Match asks for.
type precondition struct {
	// version, when not 0, is the resource version that must be present.
	version uint64
	// exists is set by If-Match: *.
	exists bool
}

// mode returns the put mode under the precondition.
func (p precondition) mode(mode storage.PutMode) (storage.PutMode, error) {
	switch {
	case !p.exists:
		return mode, nil
	case mode == storage.Create:
		return mode, model.Errorf(model.CodeFailedPrecondition, "header If-Match: * needs an existing resource, and this request creates one")
	}
	return storage.Update, nil
}

// explain turns "not found" into the 412 that If-Match: * stands for.
func (p precondition) explain(err error) error {
	// A not_found that names a field is about something else that is missing.
	if e := asModelError(err); p.exists && e.Code == model.CodeNotFound && len(e.Problems) == 0 {
		return &model.Error{Code: model.CodeFailedPrecondition, Message: "header If-Match: * needs an existing resource: " + e.Message, Err: err}
	}
	return err
}

// precondition reads If-Match: "7", 7 or *. If-None-Match is for reads: a write
// that ignored it would replace what its client wanted kept.
func (rq request) precondition() (precondition, error) {
	if len(rq.ctx.Request.Header.Peek(fasthttp.HeaderIfNoneMatch)) > 0 {
		return precondition{}, invalidField("If-None-Match", "header If-None-Match is not supported for writes")
	}
	raw := bytes.TrimSpace(rq.ctx.Request.Header.Peek(fasthttp.HeaderIfMatch))
	if len(raw) == 0 {
		return precondition{}, nil
	}
	if string(raw) == "*" {
		return precondition{exists: true}, nil
	}
	text := raw
	if len(text) >= 2 && text[0] == '"' && text[len(text)-1] == '"' {
		text = text[1 : len(text)-1]
	}
	version, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil || version == 0 {
		return precondition{}, invalidField("If-Match", `header If-Match must be a resource version such as "7", or *, not %q`, printable(raw))
	}
	return precondition{version: version}, nil
}

// maxKeyBytes bounds an Idempotency-Key.
const maxKeyBytes = 128

// idempotencyKey reads the header of that name.
func (rq request) idempotencyKey() (string, error) {
	raw := rq.ctx.Request.Header.Peek(headerIdempotency)
	if raw == nil {
		return "", nil
	}
	if !validToken(raw, maxKeyBytes) {
		return "", invalidField(headerIdempotency, "header %s must be 1 to %d bytes of visible ASCII", headerIdempotency, maxKeyBytes)
	}
	return string(raw), nil
}

// requestID makes the id of a command from the client's key: the same key always
// gives the same id. part tells apart the commands of one request. No key gives
// no id (the store then draws one).
func requestID(key, part string) string {
	switch {
	case key == "":
		return ""
	case part == "" && len(key)+len("k:") <= storage.MaxRequestID:
		return "k:" + key
	}
	sum := sha256.Sum256([]byte(part + "\x00" + key))
	return "h:" + hex.EncodeToString(sum[:])
}

// writeOptions reads the headers that every write understands.
func (rq request) writeOptions() (key string, pre precondition, err error) {
	if key, err = rq.idempotencyKey(); err != nil {
		return "", pre, err
	}
	pre, err = rq.precondition()
	return key, pre, err
}

// apply commits a command, and sets the headers that tell where.
func (rq request) apply(cmd storage.Command, id string) (storage.Result, error) {
	if err := rq.s.started(); err != nil {
		return storage.Result{}, err
	}
	ctx := rq.deadline(rq.s.cfg.RequestTimeout)
	defer ctx.release()
	res, err := rq.s.deps.Store.Apply(ctx, storage.Request{Command: cmd, ID: id})
	if res.Index > 0 {
		rq.setIndex(res.Index)
	}
	if err != nil {
		// A store says itself whether a write can have happened. A bare context
		// error says nothing, so the worst is assumed.
		var known *model.Error
		if !errors.As(err, &known) && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)) {
			err = &model.Error{Code: model.CodeUnknownOutcome, Message: "the write was not confirmed in time; it may still happen", Err: err}
		}
		return res, err
	}
	return res, nil
}

// outcomeWord is the status field of the answer to a put.
func outcomeWord(o storage.Outcome) string {
	switch o {
	case storage.Created:
		return "created"
	case storage.Unchanged:
		return "unchanged"
	default:
		return "updated"
	}
}

// createdOr200 is the HTTP status of the answer to an upsert.
func createdOr200(o storage.Outcome) int {
	if o == storage.Created {
		return fasthttp.StatusCreated
	}
	return fasthttp.StatusOK
}
