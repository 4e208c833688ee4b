package cluster

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// serverInFlight bounds the unanswered requests of one connection; beyond
	// it the server stops reading.
	serverInFlight = 1024
	// serverIdle is how long a connection may be silent.
	serverIdle = 5 * time.Minute
	// slowCalls bounds, over all connections, the calls that need a goroutine.
	slowCalls = 16
)

// respond answers one request, exactly once. It never blocks.
type respond func(payload []byte, err error)

// handler serves one type of call. It must not block: it either answers at once
// or arranges that respond is called later.
type handler func(ctx context.Context, peer string, payload []byte, respond respond)

// rpcServer serves calls on accepted connections. Each connection has two
// goroutines, one reading and dispatching, one writing; requests have none.
type rpcServer struct {
	handlers map[frameType]handler
	limit    int // payload bytes
	timeout  time.Duration
	metrics  *nodeMetrics
	logger   *slog.Logger
	ctx      context.Context
	slow     chan struct{}
	wg       *sync.WaitGroup
}

// blocking makes a handler of a function that may block, within the bound of
// slow calls.
func (s *rpcServer) blocking(fn func(ctx context.Context, peer string, payload []byte) ([]byte, error)) handler {
	return func(ctx context.Context, peer string, payload []byte, respond respond) {
		select {
		case s.slow <- struct{}{}:
		default:
			respond(nil, remoteErrorf(remoteBusy, "too many calls are running"))
			return
		}
		s.wg.Go(func() {
			defer func() { <-s.slow }()
			ctx, cancel := context.WithTimeout(ctx, s.timeout)
			defer cancel()
			respond(fn(ctx, peer, payload))
		})
	}
}

// serverConn is one connection being served.
type serverConn struct {
	conn net.Conn
	// slots holds one token per unanswered request, answers at most as many
	// frames: so respond always finds room.
	slots   chan struct{}
	answers chan frame
	done    chan struct{}
}

// serve runs until the connection ends.
func (s *rpcServer) serve(c net.Conn, peer string) {
	sc := &serverConn{
		conn:    c,
		slots:   make(chan struct{}, serverInFlight),
		answers: make(chan frame, serverInFlight),
		done:    make(chan struct{}),
	}
	ctx, cancel := context.WithCancel(s.ctx)
	writerDone := make(chan struct{})
	go func() { // joined below
		defer close(writerDone)
		writeFrames(c, sc.answers, sc.done, s.timeout, func(frame) bool { return true }, func() { <-sc.slots })
		c.Close()
	}()
	err := s.read(ctx, sc, peer)
	cancel()
	close(sc.done)
	c.Close()
	<-writerDone
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) && s.ctx.Err() == nil {
		s.logger.Debug("call connection ended", "peer", peer, "err", err)
	}
}

func (s *rpcServer) read(ctx context.Context, sc *serverConn, peer string) error {
	r := bufio.NewReaderSize(sc.conn, 64<<10)
	for {
		sc.conn.SetReadDeadline(time.Now().Add(serverIdle))
		f, err := readFrame(r, s.limit)
		if err != nil {
			return err
		}
		select {
		case sc.slots <- struct{}{}:
		case <-ctx.Done():
			return net.ErrClosed
		}
		s.metrics.rpcRequests.Inc()
		s.dispatch(ctx, sc, peer, f)
	}
}

func (s *rpcServer) dispatch(ctx context.Context, sc *serverConn, peer string, f frame) {
	var answered atomic.Bool
	respond := func(payload []byte, err error) {
		if answered.Swap(true) {
			return
		}
		out := frame{id: f.id, kind: frameOK, payload: payload}
		if err != nil {
			out.kind, out.payload = frameError, toRemote(err).encode()
		}
		sc.answers <- out // never blocks: this request holds a slot
	}
	h := s.handlers[f.kind]
	if h == nil {
		respond(nil, remoteErrorf(remoteUnknownType, "call type %d is not known here", f.kind))
		return
	}
	h(ctx, peer, f.payload, respond)
}

// writeFrames writes queued frames until done closes or a write fails, and
// flushes only when the queue is empty, so that what comes together travels
// together. take may veto a frame at the last moment; after is called for each
// frame that left the queue.
func writeFrames(c net.Conn, queue <-chan frame, done <-chan struct{}, timeout time.Duration,
	take func(frame) bool, after func()) {
	w := bufio.NewWriterSize(c, 64<<10)
	var buf []byte
	for {
		var f frame
		select {
		case f = <-queue:
		case <-done:
			return
		}
		c.SetWriteDeadline(time.Now().Add(timeout))
		for more := true; more; {
			ok := take(f)
			after()
			if ok {
				buf = appendFrame(buf[:0], frame{id: f.id, kind: f.kind, payload: nil})
				putLength(buf, len(f.payload))
				if _, err := w.Write(buf); err != nil {
					return
				}
				if _, err := w.Write(f.payload); err != nil {
					return
				}
			}
			select {
			case f = <-queue:
			default:
				more = false
			}
		}
		if err := w.Flush(); err != nil {
			return
		}
	}
}
