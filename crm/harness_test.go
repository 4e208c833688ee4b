package crm

import (
	"crypto/tls"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"go.uber.org/goleak"
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
