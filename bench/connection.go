package bench

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"time"

	"github.com/valyala/fasthttp"
)

// connection is one keep-alive HTTP/1.1 connection with one request in flight at
// most. It is not fasthttp's client, which would hide a lost connection by
// sending a request again. It is for one goroutine.
type connection struct {
	addr    string
	timeout time.Duration

	conn net.Conn
	// release stops the watch that closes conn when its context ends.
	release func() bool
	br      *bufio.Reader
	bw      *bufio.Writer
	// armed is when the deadline of conn was set.
	armed time.Time

	req  fasthttp.Request
	resp fasthttp.Response
}

const connectionBuffer = 16 << 10

func newConnection(addr string, timeout time.Duration) *connection {
	return &connection{
		addr: addr, timeout: timeout,
		br: bufio.NewReaderSize(nil, connectionBuffer),
		bw: bufio.NewWriterSize(nil, connectionBuffer),
	}
}

// roundTrip sends c.req and reads c.resp, which is valid until the next call. It
// dials when there is no connection. After an error the connection is gone and
// whether the server acted on the request is unknown.
func (c *connection) roundTrip(ctx context.Context, now time.Time) error {
	if c.conn == nil {
		if err := c.dial(ctx); err != nil {
			return err
		}
	}
	if err := c.exchange(now); err != nil {
		c.close()
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return err
	}
	if c.resp.ConnectionClose() {
		c.close()
	}
	return nil
}

func (c *connection) exchange(now time.Time) error {
	// Moving the deadline costs about as much as sending a request, so it is
	// moved in larger steps; an operation has at least half of the timeout.
	if now.Sub(c.armed) > c.timeout/2 {
		if err := c.conn.SetDeadline(now.Add(c.timeout)); err != nil {
			return fmt.Errorf("set deadline: %w", err)
		}
		c.armed = now
	}
	if err := c.req.Write(c.bw); err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	if err := c.bw.Flush(); err != nil {
		return fmt.Errorf("send request: %w", err)
	}
	if err := c.resp.Read(c.br); err != nil {
		return fmt.Errorf("read response: %w", err)
	}
	return nil
}

// dial connects. The connection is closed when ctx ends, whatever it waits for.
func (c *connection) dial(ctx context.Context) error {
	dialer := net.Dialer{Timeout: c.timeout}
	conn, err := dialer.DialContext(ctx, "tcp", c.addr)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	c.conn = conn
	c.release = context.AfterFunc(ctx, func() { _ = conn.Close() })
	c.br.Reset(conn)
	c.bw.Reset(conn)
	c.armed = time.Time{}
	return nil
}

// close may be called more than once; the next roundTrip dials again.
func (c *connection) close() {
	if c.conn == nil {
		return
	}
	c.release()
	_ = c.conn.Close() // Nothing is in flight that could be lost.
	c.conn = nil
}
