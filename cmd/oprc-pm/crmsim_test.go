package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	"github.com/oprc/oprc-pm/crm/crmpb"
	"github.com/oprc/oprc-pm/internal/testtls"
)

type simAddrs struct {
	HTTP    string `json:"http_addr"`
	GRPC    string `json:"grpc_addr"`
	Control string `json:"control_addr"`
}

// startCRMSim runs crm-sim with args and returns where it listens.
func startCRMSim(t *testing.T, args ...string) (b *background, addrs simAddrs) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ready.json")
	b = inBackground(t, nil, append([]string{"crm-sim", "--name", "edge", "--listen", "127.0.0.1:0", "--ready-file", file}, args...)...)
	waitFor(t, "ready file", func() error {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		return json.Unmarshal(data, &addrs)
	})
	return b, addrs
}

// statusOf makes a request and returns its status; 0 when there is no answer.
func statusOf(t *testing.T, c *http.Client, url, authorization string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	response, err := c.Do(request)
	if err != nil {
		return 0
	}
	_ = response.Body.Close()
	return response.StatusCode
}

func simClient(t *testing.T, secured *tls.Config) *http.Client {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: secured}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

// TestCRMSimSecured: both protocols over TLS, for callers who prove who they are.
func TestCRMSimSecured(t *testing.T) {
	t.Parallel()
	dir, ca := t.TempDir(), testtls.NewCA(t)
	cert, key := testtls.WritePair(t, dir, "tls", ca.Server(t, "127.0.0.1"))
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b, addrs := startCRMSim(t, "--grpc-listen", "127.0.0.1:0", "--control-listen", "127.0.0.1:0", "--token-file", token,
		"--tls-cert", cert, "--tls-key", key, "--client-ca", ca.WriteCA(t, dir, "ca.crt"))

	shown := &tls.Config{RootCAs: ca.Pool(), Certificates: []tls.Certificate{ca.Client(t, "pm")}}
	hidden := &tls.Config{RootCAs: ca.Pool()}
	url := "https://" + addrs.HTTP + "/api/v1/health"
	for name, tt := range map[string]struct {
		secured       *tls.Config
		authorization string
		want          int
	}{
		"with both":             {shown, "Bearer secret", 200},
		"without a token":       {shown, "", 401},
		"without a certificate": {hidden, "Bearer secret", 401},
		"without trust":         {nil, "Bearer secret", 0},
	} {
		if got := statusOf(t, simClient(t, tt.secured), url, tt.authorization); got != tt.want {
			t.Errorf("%s: got %d, want %d", name, got, tt.want)
		}
	}
	if got := statusOf(t, simClient(t, nil), "http://"+addrs.Control+"/sim/units", ""); got != 200 {
		t.Errorf("control: got %d, want 200", got)
	}

	conn, err := grpc.NewClient(addrs.GRPC, grpc.WithTransportCredentials(credentials.NewTLS(shown)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer secret"), 10*time.Second)
	defer cancel()
	health, err := crmpb.NewCrmInfoServiceClient(conn).GetEnvHealth(ctx, &crmpb.CrmEnvRequest{})
	if err != nil || health.GetEnvName() != "edge" {
		t.Errorf("gRPC: got %v, %v, want the health of edge", health, err)
	}
	if code := b.end(t); code != exitOK {
		t.Errorf("got exit code %d, want %d\n%s", code, exitOK, b.err.String())
	}
}

// TestCRMSimCount: many clusters on one port.
func TestCRMSimCount(t *testing.T) {
	t.Parallel()
	b, addrs := startCRMSim(t, "--count", "3")
	c := simClient(t, nil)
	for name, want := range map[string]int{"edge-0001": 200, "edge-0003": 200, "edge-0004": 404} {
		if got := statusOf(t, c, "http://"+addrs.HTTP+"/c/"+name+"/api/v1/health", ""); got != want {
			t.Errorf("%s: got %d, want %d", name, got, want)
		}
	}
	if code := b.end(t); code != exitOK {
		t.Errorf("got exit code %d, want %d\n%s", code, exitOK, b.err.String())
	}
}

func TestCRMSimUsage(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"absent certificate": {"--tls-cert", "/nowhere", "--tls-key", "/nowhere"},
		"authority alone":    {"--client-ca", "/nowhere"},
		"absent token":       {"--token-file", "/nowhere"},
		"count and gRPC":     {"--count", "2", "--grpc-listen", "127.0.0.1:0"},
		"unknown call":       {"--unimplemented", "fly"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cli(t, "http://127.0.0.1:1", "", append([]string{"crm-sim", "--name", "x"}, args...)...).want(t, exitUsage)
		})
	}
}
