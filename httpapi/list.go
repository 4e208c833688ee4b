package httpapi

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// listing is a list of documents, or of what is made of them.
type listing struct {
	// scan visits the documents of the list from a name on, in key order.
	scan func(r storage.Reader, from string, visit storage.Visit) error
	// render, when not nil, appends the items made of one document, each preceded
	// by itemSeparator. Without it the document itself is the item.
	render func(dst, doc []byte) ([]byte, error)
	// unpaged lists are always whole: their items are not what is scanned.
	unpaged bool
}

const itemSeparator = ",\n"

// answerList answers with a bare array. What fits into one chunk is a consistent
// view of one index and sent at once. A longer list is read chunk by chunk while
// it is sent: each chunk is consistent and none is older than the index in the
// answer's header, so a watch from that index misses nothing.
func (rq request) answerList(l listing) error {
	opts, err := rq.readOptions()
	if err != nil {
		return err
	}
	var p page
	if !l.unpaged {
		if p, err = rq.page(); err != nil {
			return err
		}
	}
	c := newChunk(l, rq.s.cfg.ListChunkBytes)
	defer c.release()
	info, err := rq.view(opts, func(r storage.Reader) error {
		c.reset(p)
		return l.scan(r, p.from, c.visit)
	})
	if err != nil {
		return err
	}
	body, err := c.body()
	if err != nil {
		return err
	}
	if c.more {
		rq.linkNext(c.last)
	}
	if !c.overflow {
		rq.ctx.SetContentType(contentJSON)
		rq.ctx.Response.SetBody(append(body, ']', '\n'))
		return nil
	}
	if !rq.ctx.Request.Header.IsHTTP11() {
		// HTTP/1.0 has no chunks, and without them a broken list looks whole.
		return model.Errorf(model.CodeTooLarge, "the list is too long for HTTP/1.0; use limit and the Link header, or HTTP/1.1")
	}
	rq.ctx.SetContentType(contentJSON)
	rq.ctx.Response.SetBodyStream(&listStream{
		s: rq.s, conn: rq.ctx.Conn(), listing: l, unread: bytes.Clone(body), began: len(body) > len(`[`),
		opts: storage.ReadOptions{Consistency: storage.Stale, MinIndex: info.Index},
		from: storage.After(c.copied), until: c.until(),
	}, -1)
	return nil
}

// chunk collects the documents of a list that are held in memory at once.
type chunk struct {
	listing
	budget int
	page   page

	// raw holds an opening bracket and the documents one after the other, ends
	// where each ends. In a list without render the separators are there already
	// and ends is unused.
	raw  []byte
	ends []int
	// pooled is where raw came from.
	pooled *[]byte
	// last is the newest name that belongs to the page, copied the newest that is
	// in raw. They differ when the page overflows the budget.
	last, copied   string
	overflow, more bool
}

// chunkBuffers keeps what chunks grew to: without it most of the cost of a list
// is in growing a new buffer each time.
var chunkBuffers = sync.Pool{New: func() any { return new([]byte) }}

// newChunk makes an empty chunk; release it when its body is not needed any more.
func newChunk(l listing, budget int) chunk {
	pooled := chunkBuffers.Get().(*[]byte)
	return chunk{listing: l, budget: budget, raw: *pooled, pooled: pooled}
}

func (c *chunk) release() {
	*c.pooled = c.raw[:0]
	chunkBuffers.Put(c.pooled)
}

// reset prepares the chunk for a (repeated) scan.
func (c *chunk) reset(p page) {
	*c = chunk{listing: c.listing, budget: c.budget, page: p, raw: append(c.raw[:0], '['), ends: c.ends[:0], pooled: c.pooled}
}

func (c *chunk) visit(name string, doc []byte) (bool, error) {
	if c.page.skip > 0 {
		c.page.skip--
		return true, nil
	}
	if c.page.limited {
		if c.page.limit == 0 {
			c.more = c.last != ""
			return false, nil
		}
		c.page.limit--
	}
	c.last = name
	if c.overflow {
		// Only looking for the end of the page now.
		return true, nil
	}
	c.copied = name
	if c.render == nil {
		if len(c.raw) > len(`[`) {
			c.raw = append(c.raw, itemSeparator...)
		}
		c.raw = append(c.raw, doc...)
	} else {
		c.raw = append(c.raw, doc...)
		c.ends = append(c.ends, len(c.raw))
	}
	c.overflow = len(c.raw) >= c.budget
	return !c.overflow || c.page.limited, nil
}

// until is the last name of an overflowing page; empty means to the end.
func (c *chunk) until() string {
	if c.page.limited {
		return c.last
	}
	return ""
}

// body is an opening bracket and the items of the chunk. It may alias the chunk.
func (c *chunk) body() ([]byte, error) {
	if c.render == nil {
		return c.raw, nil
	}
	dst, start := []byte{'['}, len(`[`)
	var err error
	for _, end := range c.ends {
		if dst, err = c.render(dst, c.raw[start:end]); err != nil {
			return nil, err
		}
		start = end
	}
	if len(dst) > len(`[`) {
		dst = append(dst[:len(`[`)], dst[len(`[`)+len(itemSeparator):]...)
	}
	return dst, nil
}

// listStream is the body of a list that is longer than one chunk. fasthttp reads
// it while it writes to the socket, so a slow client makes it read later, not
// keep more.
type listStream struct {
	s       *Server
	conn    net.Conn
	listing listing
	opts    storage.ReadOptions

	unread []byte
	// from is where the next chunk begins, until the last name of the page.
	from, until string
	// began says that an item has been sent, so the next needs a separator.
	began bool
	ended bool
}

func (l *listStream) Read(p []byte) (int, error) {
	for len(l.unread) == 0 {
		if l.ended {
			return 0, io.EOF
		}
		if err := l.next(); err != nil {
			// The status is sent; breaking the body off is how the client learns.
			l.s.deps.Logger.Warn("list broken off", "err", err)
			return 0, err
		}
	}
	n := copy(p, l.unread)
	l.unread = l.unread[n:]
	return n, nil
}

// next reads one more chunk, or the end.
func (l *listStream) next() error {
	// Each chunk has the time to be sent that a whole response otherwise has.
	if err := l.conn.SetWriteDeadline(time.Now().Add(l.s.cfg.WriteTimeout)); err != nil {
		return fmt.Errorf("extend write deadline: %w", err)
	}
	ctx := newDeadlineContext(l.s.base, time.Now().Add(l.s.cfg.RequestTimeout))
	defer ctx.release()
	c := newChunk(l.listing, l.s.cfg.ListChunkBytes)
	defer c.release()
	_, err := l.s.deps.Store.View(ctx, l.opts, func(r storage.Reader) error {
		c.reset(page{})
		return l.listing.scan(r, l.from, func(name string, doc []byte) (bool, error) {
			if l.until != "" && name > l.until {
				return false, nil
			}
			return c.visit(name, doc)
		})
	})
	if err != nil {
		return fmt.Errorf("read next part of a list: %w", err)
	}
	body, err := c.body()
	if err != nil {
		return err
	}
	items := body[len(`[`):]
	body = nil
	if l.began && len(items) > 0 {
		body = append(body, itemSeparator...)
	}
	body = append(body, items...)
	l.began = l.began || len(items) > 0
	if c.overflow {
		l.from = storage.After(c.copied)
	} else {
		body = append(body, ']', '\n')
		l.ended = true
	}
	l.unread = body
	return nil
}

// Close is called by fasthttp when it is done with the body.
func (l *listStream) Close() error { return nil }
