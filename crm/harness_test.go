package crm

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"go.uber.org/goleak"

	"github.com/oprc/oprc-pm/crm/sim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait for a condition.
const patience = 20 * time.Second

// until waits for a condition, looking often.
func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited in vain for: %s", what)
		}
	}
}

// world is simulated clusters a and b behind real HTTP, with their clients.
type world struct {
	sims  map[string]*sim.Sim
	fleet *Fleet
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{sims: map[string]*sim.Sim{}}
	cfg := DefaultConfig()
	for _, name := range []string{"a", "b"} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := sim.New(sim.Config{Name: name})
		w.sims[name] = s
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := s.Run(ctx, listener); err != nil {
				t.Errorf("simulated cluster %s: %v", name, err)
			}
		})
		t.Cleanup(func() { cancel(); wg.Wait() })
		cluster := DefaultClusterConfig(name, "http://"+listener.Addr().String())
		cluster.RetryAttempts = 1
		cfg.Clusters[name] = cluster
	}
	w.fleet = newTestFleet(t, cfg, metrics.NewSet())
	return w
}

// newTestFleet makes a fleet with the clusters of a configuration.
func newTestFleet(t *testing.T, cfg Config, set *metrics.Set) *Fleet {
	t.Helper()
	fleet, err := NewFleet(cfg, set, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fleet.Close)
	if err := fleet.Sync(cfg.LocalClusters()); err != nil {
		t.Fatal(err)
	}
	return fleet
}

// clients are those of all clusters.
func (w *world) clients() map[string]Client {
	clients := map[string]Client{}
	for _, name := range w.fleet.Names() {
		clients[name], _ = w.fleet.Client(name)
	}
	return clients
}

func contains(t *testing.T, text, part string) {
	t.Helper()
	if !strings.Contains(text, part) {
		t.Errorf("got %q, want it to contain %q", text, part)
	}
}

// listen opens a port until the test ends.
func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener
}

// freeAddress is one where nobody listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener := listen(t)
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	return listener.Addr().String()
}

// newHTTPServer serves until the test ends, over TLS when it is given.
func newHTTPServer(t *testing.T, tlsConfig *tls.Config, handler http.Handler) (baseURL string) {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(server.Close)
	if tlsConfig == nil {
		server.Start()
		return server.URL
	}
	server.TLS = tlsConfig
	server.StartTLS()
	return server.URL
}

var discard = slog.New(slog.DiscardHandler)
