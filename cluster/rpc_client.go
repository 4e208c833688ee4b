package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// clientQueue bounds the requests of one lane that wait to be written.
	clientQueue = 1024
	// Pause after a failed dial: doubles from min to max, with jitter.
	redialMin = 20 * time.Millisecond
	redialMax = time.Second
)

// lane separates calls that carry much from calls that must be quick: each has
// its own connection, so that a read index never queues behind a megabyte.
type lane int

const (
	laneBulk lane = iota
	laneQuick
	lanes
)

// rpcClient makes calls to peers over few shared connections: one per peer and
// lane, made on demand.
type rpcClient struct {
	mux     *mux
	addr    func(id string) string
	limit   int
	timeout time.Duration
	wg      sync.WaitGroup

	mu     sync.Mutex // guards links, closed
	links  map[linkKey]*link
	closed bool
}

type linkKey struct {
	peer string
	lane lane
}

func newRPCClient(m *mux, addr func(string) string, limit int, timeout time.Duration) *rpcClient {
	return &rpcClient{mux: m, addr: addr, limit: limit, timeout: timeout, links: make(map[linkKey]*link)}
}

// States of a call. The writer and the caller race for callQueued: whoever moves
// it away decides whether the request is ever sent.
const (
	callQueued int32 = iota
	callTaken        // may have been sent
	callDropped
)

// call is one request under way.
type call struct {
	kind    frameType
	payload []byte
	state   atomic.Int32
	done    chan struct{}
	answer  []byte
	err     error
	once    sync.Once
	// notify, if any, gets the call itself when it ended; it has room.
	notify chan<- *call
}

func (c *call) finish(answer []byte, err error) {
	c.once.Do(func() {
		c.answer, c.err = answer, err
		close(c.done)
		if c.notify != nil {
			c.notify <- c
		}
	})
}

// errNotSent marks failures before the first byte of a request was written.
var errNotSent = errors.New("request was not sent")

// fail ends a call with err, and says so when it was never sent.
func (c *call) fail(err error) {
	if c.state.CompareAndSwap(callQueued, callDropped) || c.state.Load() == callDropped {
		err = fmt.Errorf("%w: %w", errNotSent, err)
	}
	c.finish(nil, err)
}

// call makes one call. Errors: *remoteError when the peer answered with one;
// errNotSent in the chain when the request certainly did not leave; anything
// else means that the peer may have acted on it.
func (rc *rpcClient) call(ctx context.Context, peer string, ln lane, kind frameType, payload []byte) ([]byte, error) {
	c := rc.start(peer, ln, kind, payload, nil)
	select {
	case <-c.done:
	case <-ctx.Done():
		c.fail(context.Cause(ctx))
		<-c.done
	}
	return c.answer, c.err
}

// start begins a call; its done channel closes when it ended, and notify, if not
// nil, then gets the call: it must have room for every call that it is given to.
// A call that nobody waits for any more must be failed by its owner.
func (rc *rpcClient) start(peer string, ln lane, kind frameType, payload []byte, notify chan<- *call) *call {
	c := &call{kind: kind, payload: payload, done: make(chan struct{}), notify: notify}
	l := rc.link(peer, ln)
	if l == nil {
		c.fail(ErrClosed)
		return c
	}
	if err := l.enqueue(c); err != nil {
		c.fail(err)
	}
	return c
}

// link returns the peer's link, with a goroutine behind it.
func (rc *rpcClient) link(peer string, ln lane) *link {
	key := linkKey{peer, ln}
	rc.mu.Lock()
	defer rc.mu.Unlock()
	if rc.closed {
		return nil
	}
	l := rc.links[key]
	if l == nil {
		l = &link{client: rc, peer: peer, queue: make(chan *call, clientQueue)}
		rc.links[key] = l
		rc.wg.Go(l.run)
	}
	return l
}

// close ends all links; the mux must be shut already, so that nothing blocks.
func (rc *rpcClient) close() {
	rc.mu.Lock()
	rc.closed = true
	rc.mu.Unlock()
	rc.wg.Wait()
}

// link is the path to one peer on one lane: a queue that survives connections.
type link struct {
	client *rpcClient
	peer   string
	queue  chan *call

	mu     sync.Mutex // guards closed against enqueue
	closed bool
}

var errQueueFull = errors.New("too many calls are waiting for this peer")

func (l *link) enqueue(c *call) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	select {
	case l.queue <- c:
		return nil
	default:
		return errQueueFull
	}
}

// run connects whenever there is something to send, and fails what waits while
// the peer cannot be reached: callers have better things to do than queue.
func (l *link) run() {
	ctx := l.client.mux.ctx
	var pause time.Duration
	var retryAt time.Time
	var unreachable error // why the last dial failed
	for {
		var first *call
		select {
		case first = <-l.queue:
		case <-ctx.Done():
			l.shut()
			return
		}
		if wait := time.Until(retryAt); wait > 0 {
			first.fail(fmt.Errorf("unreachable %s ago: %w", (pause - wait).Round(time.Millisecond), unreachable))
			continue
		}
		conn, err := l.dial(ctx)
		if err != nil {
			pause = min(max(2*pause, redialMin), redialMax)
			pause = pause/2 + rand.N(pause/2+1)
			retryAt, unreachable = time.Now().Add(pause), err
			first.fail(err)
			l.failQueued(err)
			continue
		}
		pause, retryAt = 0, time.Time{}
		newLinkConn(l, conn).run(ctx, first)
	}
}

func (l *link) dial(ctx context.Context) (net.Conn, error) {
	addr := l.client.addr(l.peer)
	if addr == "" {
		return nil, fmt.Errorf("no address is known of server %s", l.peer)
	}
	return l.client.mux.dial(ctx, protocolRPC, l.peer, addr)
}

func (l *link) failQueued(err error) {
	for {
		select {
		case c := <-l.queue:
			c.fail(err)
		default:
			return
		}
	}
}

func (l *link) shut() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.failQueued(ErrClosed)
}

// linkConn is one connection of a link.
type linkConn struct {
	link *link
	conn net.Conn
	done chan struct{}

	mu      sync.Mutex // guards pending, since, nextID, closed
	pending map[uint64]*call
	// since is when the peer last answered, or began to owe an answer.
	since  time.Time
	nextID uint64
	closed bool
}

func newLinkConn(l *link, c net.Conn) *linkConn {
	return &linkConn{link: l, conn: c, done: make(chan struct{}), pending: make(map[uint64]*call)}
}

// run serves the connection until it breaks; first goes out first.
func (lc *linkConn) run(ctx context.Context, first *call) {
	readerDone := make(chan error, 1)
	go func() { // joined below
		err := lc.read()
		close(lc.done)
		lc.conn.Close()
		readerDone <- err
	}()
	werr := lc.write(ctx, first)
	lc.conn.Close()
	err := <-readerDone
	if werr != nil {
		err = werr
	}
	if err == nil {
		err = errors.New("connection ended")
	}
	lc.mu.Lock()
	lc.closed = true
	pending := lc.pending
	lc.pending = nil
	lc.mu.Unlock()
	for _, c := range pending {
		c.fail(err)
	}
}

// register gives the call an id, unless its caller gave up already.
func (lc *linkConn) register(c *call) (uint64, bool) {
	if !c.state.CompareAndSwap(callQueued, callTaken) {
		return 0, false
	}
	lc.mu.Lock()
	defer lc.mu.Unlock()
	if len(lc.pending) == 0 {
		lc.since = time.Now()
	}
	lc.nextID++
	lc.pending[lc.nextID] = c
	return lc.nextID, true
}

func (lc *linkConn) write(ctx context.Context, first *call) error {
	w := bufio.NewWriterSize(lc.conn, 64<<10)
	var head []byte
	for c := first; ; {
		lc.conn.SetWriteDeadline(time.Now().Add(lc.link.client.timeout))
		for more := true; more; {
			if id, ok := lc.register(c); ok {
				head = appendFrame(head[:0], frame{id: id, kind: c.kind})
				putLength(head, len(c.payload))
				if _, err := w.Write(head); err != nil {
					return err
				}
				if _, err := w.Write(c.payload); err != nil {
					return err
				}
			}
			select {
			case c = <-lc.link.queue:
			default:
				more = false
			}
		}
		if err := w.Flush(); err != nil {
			return err
		}
		select {
		case c = <-lc.link.queue:
		case <-lc.done:
			return nil
		case <-ctx.Done():
			return ErrClosed
		}
	}
}

// read hands answers to their calls. A peer that owes answers and says nothing
// for longer than the timeout is taken for dead.
func (lc *linkConn) read() error {
	r := bufio.NewReaderSize(lc.conn, 64<<10)
	for {
		lc.conn.SetReadDeadline(time.Now().Add(lc.link.client.timeout))
		if _, err := r.Peek(1); err != nil {
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() && !lc.overdue() {
				continue
			}
			return err
		}
		f, err := readFrame(r, lc.link.client.limit)
		if err != nil {
			return err
		}
		lc.mu.Lock()
		c := lc.pending[f.id]
		delete(lc.pending, f.id)
		lc.since = time.Now()
		lc.mu.Unlock()
		if c == nil {
			return errors.New("answer to no question")
		}
		switch f.kind {
		case frameOK:
			c.finish(f.payload, nil)
		case frameError:
			c.finish(nil, decodeRemoteError(f.payload))
		default:
			err := fmt.Errorf("answer of unknown type %d", f.kind)
			c.fail(err)
			return err
		}
	}
}

// overdue reports whether the peer has owed an answer for the whole timeout. The
// silence of a connection that was idle until just now says nothing.
func (lc *linkConn) overdue() bool {
	lc.mu.Lock()
	defer lc.mu.Unlock()
	return len(lc.pending) > 0 && time.Since(lc.since) >= lc.link.client.timeout
}
