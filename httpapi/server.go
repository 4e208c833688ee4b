package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/valyala/fasthttp"
)

// Server is the HTTP side of one node. Its methods may be called from many
// goroutines.
type Server struct {
	cfg     Config
	deps    Deps
	http    *fasthttp.Server
	metrics *serverMetrics
	// unrouted counts what no route matches and what is not HTTP.
	unrouted *routeMetrics
	watches  *watchHub
	conns    connections
	ui       webPage
	// starting is the store, if that takes time to start; nil: it does not.
	starting starter
	// corsOrigin is Config.CORSAllowOrigin.
	corsOrigin []byte

	// restoring is held while a backup is restored through this node.
	restoring sync.Mutex

	inFlight atomic.Int64
	waiting  atomic.Int64
	draining atomic.Bool

	// base is the parent of all request contexts; stop ends it.
	base context.Context
	stop context.CancelCauseFunc

	shutdown sync.Once
	// shutdownErr is set by shutdown, before Shutdown returns.
	shutdownErr error
}

// idleWorker is how long fasthttp keeps a goroutine without a connection. Its
// pool also takes that long to notice that it was stopped.
const idleWorker = 500 * time.Millisecond

// keptBodyBytes is how large a body's buffer may be that fasthttp keeps for the
// next request of the connection. Without a limit, every idle connection would
// hold on to the largest request and the largest answer it has seen.
const keptBodyBytes = 64 << 10

var errShutdown = errors.New("http server is shutting down")

// New makes a server. It neither listens nor starts anything. cfg must be valid.
func New(cfg Config, deps Deps) *Server {
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	deps.Logger = deps.Logger.With("component", "http")
	if deps.Metrics == nil {
		deps.Metrics = metrics.NewSet()
	}
	if deps.WriteMetrics == nil {
		deps.WriteMetrics = deps.Metrics.WritePrometheus
	}
	if deps.Clusters == nil {
		deps.Clusters = withoutClusters{}
	}
	s := &Server{cfg: cfg, deps: deps, ui: newWebPage(indexHTML), corsOrigin: []byte(cfg.CORSAllowOrigin)}
	s.base, s.stop = context.WithCancelCause(context.Background())
	s.watches = newWatchHub(cfg.MaxWatchers)
	s.starting, _ = deps.Store.(starter)
	fasthttp.SetBodySizePoolLimit(keptBodyBytes, keptBodyBytes) // of the process; there is no other way
	s.http = &fasthttp.Server{
		Handler:                      s.newRouter(),
		ErrorHandler:                 s.handleMalformed,
		Logger:                       &libraryLogger{deps.Logger},
		MaxRequestBodySize:           cfg.MaxBodyBytes,
		HeaderReceived:               s.limitsOf,
		ReadBufferSize:               cfg.MaxHeaderBytes,
		ReadTimeout:                  cfg.ReadTimeout,
		WriteTimeout:                 cfg.WriteTimeout,
		IdleTimeout:                  cfg.IdleTimeout,
		Concurrency:                  cfg.MaxConns,
		MaxConnsPerIP:                cfg.MaxConnsPerIP,
		MaxIdleWorkerDuration:        idleWorker,
		NoDefaultServerHeader:        true,
		NoDefaultContentType:         true,
		DisablePreParseMultipartForm: true,
		SecureErrorLogMessage:        true,
		CloseOnShutdown:              true,
		TCPKeepalive:                 true,
		ConnState:                    s.noteConn,
	}
	s.metrics = newServerMetrics(deps.Metrics, s)
	return s
}

// Serve answers requests from l until Shutdown, and then returns nil. It closes
// l.
func (s *Server) Serve(l net.Listener) error {
	if !s.conns.listen(l) {
		return fmt.Errorf("serve http: %w", errors.Join(errShutdown, l.Close()))
	}
	if err := s.http.Serve(l); err != nil {
		return fmt.Errorf("serve http: %w", err)
	}
	return nil
}

// SetDraining makes /readyz answer 503, so that load balancers stop sending
// requests before the server stops taking them.
func (s *Server) SetDraining() { s.draining.Store(true) }

// forcedClose is how long connections that were closed under their handlers get
// to notice.
const forcedClose = 2 * time.Second

// Shutdown stops accepting, ends the watch streams with a final event, lets
// running requests finish until ctx ends, and closes what is left then. It may
// be called more than once.
func (s *Server) Shutdown(ctx context.Context) error {
	s.shutdown.Do(func() {
		s.SetDraining()
		s.conns.closeListeners()
		// Streams and waits never end by themselves, so they are told first;
		// plain requests have their own deadlines and are left to finish.
		s.watches.close()
		err := s.http.ShutdownWithContext(ctx)
		if errors.Is(err, net.ErrClosed) {
			err = nil // the listener, which is what was asked for
		}
		s.stop(errShutdown)
		if err != nil {
			s.conns.closeAll()
			forced, cancel := context.WithTimeout(context.WithoutCancel(ctx), forcedClose)
			err = fmt.Errorf("drain http requests: %w", errors.Join(err, s.http.ShutdownWithContext(forced)))
			cancel()
		}
		if werr := s.watches.wait(ctx); werr != nil {
			err = errors.Join(err, fmt.Errorf("end watch streams: %w", werr))
		}
		s.shutdownErr = err
	})
	return s.shutdownErr
}

// noteConn follows the state of connections.
func (s *Server) noteConn(c net.Conn, state fasthttp.ConnState) {
	switch state {
	case fasthttp.StateNew:
		s.conns.add(c)
	case fasthttp.StateHijacked:
		s.conns.remove(c)
	case fasthttp.StateClosed:
		s.conns.remove(c)
		s.watches.abandon(c)
	}
}

// libraryLogger hands what fasthttp logs to slog. These are failures of single
// connections, so they are of no interest to an operator.
type libraryLogger struct{ logger *slog.Logger }

func (l *libraryLogger) Printf(format string, args ...any) {
	if l.logger.Enabled(context.Background(), slog.LevelDebug) {
		l.logger.Debug("http library", "message", fmt.Sprintf(format, args...))
	}
}
