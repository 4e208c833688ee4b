package httpapi

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/valyala/fasthttp"
)

// lentBody is an answer whose memory is used again once it was written. fasthttp
// closes it then, and also when the connection breaks or another answer is given.
type lentBody struct{ bytes.Buffer }

// maxLentBytes bounds what is kept for the next answer.
const maxLentBytes = 1 << 20

var lentBodies = sync.Pool{New: func() any { return new(lentBody) }}

// Close gives the memory back.
func (b *lentBody) Close() error {
	if b.Cap() <= maxLentBytes {
		b.Reset()
		lentBodies.Put(b)
	}
	return nil
}

// answerLarge is answerValue for what is long and asked for often: the plan over a
// thousand clusters is 150 KB, and what such an answer takes is bound by the
// garbage that it makes.
func (rq request) answerLarge(v any) error {
	body := lentBodies.Get().(*lentBody)
	if err := json.MarshalWrite(&body.Buffer, v); err != nil {
		_ = body.Close()
		return fmt.Errorf("encode answer: %w", err)
	}
	body.WriteByte('\n')
	rq.ctx.SetStatusCode(fasthttp.StatusOK)
	rq.ctx.SetContentType(contentJSON)
	rq.ctx.Response.SetBodyStream(body, body.Len())
	return nil
}
