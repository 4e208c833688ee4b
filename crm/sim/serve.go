package sim

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc"
)

// Endpoints are the listeners that a simulator serves. At least one is set.
type Endpoints struct {
	HTTP net.Listener
	GRPC net.Listener
	// Control is where what is below /sim/ can be said while the others refuse.
	Control net.Listener
}

const (
	// endGrace is what calls under way have at the end.
	endGrace = 2 * time.Second
	// reopenInterval is how often a port is tried that somebody else has taken.
	reopenInterval = 20 * time.Millisecond
)

// Run serves HTTP on l, see Serve.
func (s *Sim) Run(ctx context.Context, l net.Listener) error {
	return s.Serve(ctx, Endpoints{HTTP: l})
}

// Serve serves the endpoints until ctx ends, and returns nil then. It closes them
// and waits for their connections; calls that still hang are cut off. While the
// faults refuse, the ports of HTTP and gRPC are closed, and opened again after.
func (s *Sim) Serve(ctx context.Context, e Endpoints) error {
	ports := s.ports(e)
	if err := s.open(); err != nil {
		for _, p := range ports {
			err = errors.Join(err, p.listener.Close())
		}
		return err
	}
	s.faults.follow(1)
	defer s.faults.follow(-1)
	failed := make(chan error, 1) // the first failure ends all
	for _, p := range ports {
		p.start(failed)
		s.cfg.Logger.Info("simulated crm serves", "cluster", s.cfg.Name, "protocol", p.name, "addr", p.addr.String())
	}
	err := s.play(ctx, ports, failed)
	var stopping sync.WaitGroup
	for _, p := range ports {
		stopping.Go(func() { p.stop(endGrace) })
	}
	stopping.Wait()
	if err != nil {
		return fmt.Errorf("serve simulated cluster %s: %w", s.cfg.Name, err)
	}
	return nil
}

// play opens and closes the ports as the faults want them, until ctx ends.
func (s *Sim) play(ctx context.Context, ports []*port, failed chan error) error {
	for {
		m := s.faults.watch()
		for _, p := range ports {
			p.follow(ctx, m.Refuse, failed)
		}
		s.faults.playedAs(m.version)
		if err := m.waitOr(ctx, failed); err != nil || ctx.Err() != nil {
			return err
		}
	}
}

// server is one run of a protocol on a port.
type server interface {
	serve(l net.Listener) error
	// stop ends serve. Calls under way have grace to end; after it they are cut
	// off. It returns when all are gone.
	stop(grace time.Duration)
}

// port is an address and what is served there.
type port struct {
	name string
	addr net.Addr
	// constant: faults do not close it.
	constant  bool
	newServer func() server

	listener net.Listener
	running  server
	done     chan struct{}
}

func (s *Sim) ports(e Endpoints) []*port {
	var ports []*port
	add := func(name string, l net.Listener, constant bool, newServer func() server) {
		if l != nil {
			ports = append(ports, &port{name: name, addr: l.Addr(), constant: constant, listener: l, newServer: newServer})
		}
	}
	add(protocolHTTP, e.HTTP, false, func() server { return newHTTPServer(s, s.cfg.TLS, s.cfg.Logger) })
	add(protocolGRPC, e.GRPC, false, func() server { return &grpcServer{s.newGRPCServer()} })
	add("control", e.Control, true, func() server { return newHTTPServer(s.ControlHandler(), nil, s.cfg.Logger) })
	return ports
}

// start serves the port's listener.
func (p *port) start(failed chan<- error) {
	running, listener, done := p.newServer(), p.listener, make(chan struct{})
	p.running, p.done = running, done
	go func() { // Ends with stop, which waits for it.
		defer close(done)
		if err := running.serve(listener); err != nil {
			select {
			case failed <- err:
			default:
			}
		}
	}()
}

func (p *port) stop(grace time.Duration) {
	if p.running == nil {
		return
	}
	p.running.stop(grace)
	<-p.done
	p.running = nil
}

// follow closes or opens the port. Somebody else may have taken it meanwhile: it
// is tried until it opens, or ctx ends.
func (p *port) follow(ctx context.Context, refuse bool, failed chan<- error) {
	if refuse && !p.constant {
		p.stop(0)
		return
	}
	var lc net.ListenConfig
	for p.running == nil {
		listener, err := lc.Listen(ctx, p.addr.Network(), p.addr.String())
		if err == nil {
			p.listener = listener
			p.start(failed)
			return
		}
		timer := time.NewTimer(reopenInterval)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// httpServer serves a handler.
type httpServer struct {
	server http.Server
	cancel context.CancelFunc
}

func newHTTPServer(handler http.Handler, secured *tls.Config, logger *slog.Logger) *httpServer {
	base, cancel := context.WithCancel(context.Background())
	if secured != nil {
		secured = secured.Clone() // the server adds to it
	}
	return &httpServer{cancel: cancel, server: http.Server{
		Handler:           handler,
		TLSConfig:         secured,
		BaseContext:       func(net.Listener) context.Context { return base },
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      2 * time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}}
}

func (h *httpServer) serve(l net.Listener) error {
	var err error
	if h.server.TLSConfig != nil {
		err = h.server.ServeTLS(l, "", "")
	} else {
		err = h.server.Serve(l)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func (h *httpServer) stop(grace time.Duration) {
	h.cancel() // what hangs on purpose must not hold up the end
	limit, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if h.server.Shutdown(limit) != nil {
		_ = h.server.Close() // out of patience; its error is the listener's, closed already
	}
}

// grpcServer serves gRPC.
type grpcServer struct{ server *grpc.Server }

func (g *grpcServer) serve(l net.Listener) error {
	err := g.server.Serve(l)
	if errors.Is(err, grpc.ErrServerStopped) {
		return nil // stopped before it began
	}
	return err
}

// stop cuts off what is under way: what hangs on purpose must not hold up the
// end, and the rest takes no time.
func (g *grpcServer) stop(time.Duration) { g.server.Stop() }
