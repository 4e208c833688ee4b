package bench

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
	"golang.org/x/sync/errgroup"
)

// Documents is the set of packages that a run reads and writes. It knows which
// version of each has been sent and which acknowledged, and so what a read may
// answer. Several workloads may share it.
type Documents struct {
	addrs   []string
	timeout time.Duration
	docs    []*document
}

// document is one package and the history of its writes. At most one write of it
// is under way at a time.
type document struct {
	*template
	path string
	// proposed is the newest version that was ever sent, acked the newest that
	// was acknowledged.
	proposed, acked atomic.Uint64
	// doubtful is set when a write got no answer: it may still happen, even
	// after the next one, so that nothing is known of the order any more.
	doubtful atomic.Bool
	// answer is what a GET answered when the set was last settled.
	answer answer
}

// answer is a response to be compared with, and to be served by the plain
// server.
type answer struct {
	// URI is path and query of the request.
	URI     string      `json:"uri"`
	Headers [][2]string `json:"headers"`
	Body    []byte      `json:"body"`
}

// preparers is how many documents are written or read at a time while nothing is
// measured.
const preparers = 16

// NewDocuments makes a set of count packages of size bytes, for the control plane
// at addrs (HOST:PORT). Their names begin with prefix. It does no I/O.
func NewDocuments(addrs []string, prefix string, count, size int, timeout time.Duration) (*Documents, error) {
	if count < 1 {
		return nil, fmt.Errorf("number of documents is %d, must be at least 1", count)
	}
	set := &Documents{addrs: addrs, timeout: timeout}
	for i := range count {
		t, err := newTemplate(fmt.Sprintf("%s-%07d", prefix, i), size)
		if err != nil {
			return nil, err
		}
		set.docs = append(set.docs, &document{template: t, path: packagesPath + "/" + t.name})
	}
	return set, nil
}

const packagesPath = "/api/v1/packages"

// Store writes a version of every document, and settles the set: every server
// has them all, and what a read answers is known.
func (s *Documents) Store(ctx context.Context) error {
	err := s.each(ctx, func(c *connection, d *document) error {
		seq := d.proposed.Add(1)
		body, err := c.call(ctx, fasthttp.MethodPut, d.path, d.appendVersion(nil, seq))
		if err != nil {
			return err
		}
		if err := checkPutAnswer(d, body); err != nil {
			return err
		}
		d.acked.Store(seq)
		return nil
	})
	if err != nil {
		return fmt.Errorf("store documents: %w", err)
	}
	return s.Settle(ctx)
}

// Settle reads every document, waits until every server has applied what was
// acknowledged, and remembers the answers. Nothing may be writing.
func (s *Documents) Settle(ctx context.Context) error {
	err := s.each(ctx, func(c *connection, d *document) error {
		body, err := c.call(ctx, fasthttp.MethodGet, d.path, nil)
		if err != nil {
			return err
		}
		if err := d.learn(body); err != nil {
			return wrongf("GET "+d.path, "%v", err)
		}
		if err := d.checkVersion(body, d.acked.Load()); err != nil {
			return err
		}
		d.answer = captureAnswer(d.path, &c.resp)
		return nil
	})
	if err != nil {
		return fmt.Errorf("read documents: %w", err)
	}
	return s.awaitAll(ctx)
}

// awaitAll reads once from every server at the strongest consistency: it answers
// when it has applied all that was acknowledged before.
func (s *Documents) awaitAll(ctx context.Context) error {
	for _, addr := range s.addrs {
		c := newConnection(addr, s.timeout)
		_, err := c.call(ctx, fasthttp.MethodGet, s.docs[0].path, nil)
		c.close()
		if err != nil {
			return fmt.Errorf("await %s: %w", addr, err)
		}
	}
	return nil
}

// Verify reads every document from every server and compares it with what was
// acknowledged.
func (s *Documents) Verify(ctx context.Context) error {
	for _, addr := range s.addrs {
		err := s.eachAt(ctx, []string{addr}, func(c *connection, d *document) error {
			body, err := c.call(ctx, fasthttp.MethodGet, d.path, nil)
			if err != nil {
				return err
			}
			return d.checkVersion(body, d.acked.Load())
		})
		if err != nil {
			return fmt.Errorf("read back from %s: %w", addr, err)
		}
	}
	return nil
}

// Remove deletes the documents.
func (s *Documents) Remove(ctx context.Context) error {
	err := s.each(ctx, func(c *connection, d *document) error {
		if d.proposed.Load() == 0 {
			return nil
		}
		_, err := c.call(ctx, fasthttp.MethodDelete, d.path, nil)
		return err
	})
	if err != nil {
		return fmt.Errorf("remove documents: %w", err)
	}
	return nil
}

// checkVersion checks that an answer holds a version that a read may see which
// began when version acked was acknowledged.
func (d *document) checkVersion(body []byte, acked uint64) error {
	seq, err := d.recognise(body)
	if err != nil {
		return wrongf("GET "+d.path, "%v", err)
	}
	if d.doubtful.Load() {
		acked = 0
	}
	if proposed := d.proposed.Load(); seq < acked || seq > proposed {
		return wrongf("GET "+d.path, "holds version %d, but %d was acknowledged before and %d is the newest", seq, acked, proposed)
	}
	return nil
}

// each calls fn for every document, several at a time.
func (s *Documents) each(ctx context.Context, fn func(c *connection, d *document) error) error {
	return s.eachAt(ctx, s.addrs, fn)
}

func (s *Documents) eachAt(ctx context.Context, addrs []string, fn func(c *connection, d *document) error) error {
	return forEach(ctx, addrs, s.timeout, len(s.docs), func(c *connection, i int) error { return fn(c, s.docs[i]) })
}

// forEach calls fn for 0 to n-1, several at a time, over connections to addrs.
func forEach(ctx context.Context, addrs []string, timeout time.Duration, n int, fn func(c *connection, i int) error) error {
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for i := range min(preparers, n) {
		group.Go(func() error {
			c := newConnection(addrs[i%len(addrs)], timeout)
			defer c.close()
			for ctx.Err() == nil {
				at := int(next.Add(1)) - 1
				if at >= n {
					return nil
				}
				if err := fn(c, at); err != nil {
					return err
				}
			}
			return context.Cause(ctx)
		})
	}
	return group.Wait()
}
