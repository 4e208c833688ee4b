package sim

import (
	"context"
	"errors"
	"fmt"
	"net"
)

// Addrs are where a Server listens, HOST:PORT with port 0 for any; empty: it does
// not.
type Addrs struct{ HTTP, GRPC, Control string }

// Server is a simulator that is served.
type Server struct {
	*Sim
	scheme string
	addrs  Addrs

	cancel context.CancelFunc
	done   chan struct{}
	// err is how it ended, once done is closed.
	err error
}

// Loopback is any free port of the loopback interface.
const Loopback = "127.0.0.1:0"

// Start opens the addresses and serves s there until Close.
func Start(s *Sim, addrs Addrs) (*Server, error) {
	e, opened, err := openEndpoints(addrs)
	if err != nil {
		return nil, fmt.Errorf("start simulated cluster %s: %w", s.cfg.Name, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	v := &Server{Sim: s, scheme: "http://", addrs: opened, cancel: cancel, done: make(chan struct{})}
	if s.cfg.TLS != nil {
		v.scheme = "https://"
	}
	go func() { // Close waits for it.
		defer close(v.done)
		v.err = s.Serve(ctx, e)
	}()
	return v, nil
}

func openEndpoints(addrs Addrs) (e Endpoints, opened Addrs, err error) {
	var all []net.Listener
	listen := func(addr string, into *net.Listener, at *string) {
		if addr == "" || err != nil {
			return
		}
		var l net.Listener
		var lc net.ListenConfig
		if l, err = lc.Listen(context.Background(), "tcp", addr); err == nil {
			all = append(all, l)
			*into, *at = l, l.Addr().String()
		}
	}
	listen(addrs.HTTP, &e.HTTP, &opened.HTTP)
	listen(addrs.GRPC, &e.GRPC, &opened.GRPC)
	listen(addrs.Control, &e.Control, &opened.Control)
	if err == nil && len(all) == 0 {
		err = errors.New("no address to listen at")
	}
	if err != nil {
		for _, l := range all {
			_ = l.Close() // Nobody has connected yet.
		}
	}
	return e, opened, err
}

// URL is where HTTP is spoken, GRPCURL where gRPC is, ControlURL where /sim/ is
// served that no fault refuses.
func (v *Server) URL() string { return v.scheme + v.addrs.HTTP }

// GRPCURL is where gRPC is spoken.
func (v *Server) GRPCURL() string { return v.scheme + v.addrs.GRPC }

// ControlURL is where what is below /sim/ can be said whatever the faults.
func (v *Server) ControlURL() string { return "http://" + v.addrs.Control }

// Close ends the server and waits for it. It may be called more than once.
func (v *Server) Close() error {
	v.cancel()
	<-v.done
	return v.err
}

// StartFor is Start for tests: any free ports for both protocols, closed by the
// cleanup of t, which is a *testing.T.
func StartFor(t interface {
	Helper()
	Fatal(args ...any)
	Errorf(format string, args ...any)
	Cleanup(func())
}, cfg Config) *Server {
	t.Helper()
	v, err := Start(New(cfg), Addrs{HTTP: Loopback, GRPC: Loopback})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Errorf("close simulated cluster: %v", err)
		}
	})
	return v
}
