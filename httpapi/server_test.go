package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/httpapi"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// brokenStore is a store in which single calls go wrong.
type brokenStore struct {
	storage.Store
	apply  func(ctx context.Context) (storage.Result, error)
	view   func(ctx context.Context) error
	status func(storage.Status) storage.Status
}

func (b *brokenStore) Apply(ctx context.Context, req storage.Request) (storage.Result, error) {
	if b.apply != nil {
		return b.apply(ctx)
	}
	return b.Store.Apply(ctx, req)
}

func (b *brokenStore) View(ctx context.Context, opts storage.ReadOptions, fn func(storage.Reader) error) (storage.ReadInfo, error) {
	if b.view != nil {
		if err := b.view(ctx); err != nil {
			return storage.ReadInfo{}, err
		}
	}
	return b.Store.View(ctx, opts, fn)
}

func (b *brokenStore) Status() storage.Status {
	if b.status != nil {
		return b.status(b.Store.Status())
	}
	return b.Store.Status()
}

func startBroken(t testing.TB, b *brokenStore, config func(*httpapi.Config)) *api {
	t.Helper()
	return start(t, options{config: config, deps: func(d *httpapi.Deps) { b.Store, d.Store = d.Store, b }})
}

func TestPanicIsRecovered(t *testing.T) {
	t.Parallel()
	b := &brokenStore{view: func(context.Context) error { panic("secret detail") }}
	a := startBroken(t, b, nil)
	got := a.must(a.get(pkgs), 500)
	body := decode[errorBody](t, got.body)
	if body.Code != "internal" || strings.Contains(string(got.body), "secret") {
		t.Errorf("error %s", got.body)
	}
	if log := a.log.String(); !strings.Contains(log, "secret detail") || !strings.Contains(log, body.RequestID) {
		t.Error("the log does not explain the panic")
	}
	if n := a.metric("oprc_http_panics_total"); n != "1" {
		t.Errorf("panics %s, want 1", n)
	}
	a.must(a.get("/livez"), 200)
}

func TestStoreErrors(t *testing.T) {
	t.Parallel()
	internal := errors.New("disk on fire")
	tests := []struct {
		name   string
		err    error
		status int
		code   string
	}{
		{"no leader", model.Errorf(model.CodeUnavailable, "no leader"), 503, "unavailable"},
		{"not leader", model.Errorf(model.CodeNotLeader, "not me"), 503, "not_leader"},
		{"unknown outcome", model.Errorf(model.CodeUnknownOutcome, "lost"), 504, "unknown_outcome"},
		{"bare deadline", fmt.Errorf("apply: %w", context.DeadlineExceeded), 504, "unknown_outcome"},
		{"closed", storage.ErrClosed, 503, "unavailable"},
		{"internal", internal, 500, "internal"},
		{"text of 404", model.Errorf(model.CodeConflict, "package 40404 and 404 exist"), 409, "conflict"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := &brokenStore{apply: func(context.Context) (storage.Result, error) { return storage.Result{}, tt.err }}
			a := startBroken(t, b, nil)
			got := a.must(a.putPackage("p"), tt.status)
			body := decode[errorBody](t, got.body)
			if body.Code != tt.code {
				t.Errorf("code %q, want %q", body.Code, tt.code)
			}
			if has, want := got.header.Get("Retry-After") != "", tt.status == 503; has != want {
				t.Errorf("Retry-After given is %v, want %v", has, want)
			}
			if strings.Contains(string(got.body), "disk") || strings.Contains(string(got.body), "404") {
				t.Errorf("the body tells too much: %s", got.body)
			}
			if tt.name == "text of 404" && body.Error != "package 40404 and 404 exist" {
				t.Errorf("the decoded text changed: %q", body.Error)
			}
		})
	}
}

func TestReadErrors(t *testing.T) {
	t.Parallel()
	b := &brokenStore{view: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}
	a := startBroken(t, b, func(c *httpapi.Config) { c.RequestTimeout = 20 * time.Millisecond })
	for _, path := range []string{pkgs, pkgs + "/p", deps + "/d/units", "/api/v1/functions"} {
		if body := decode[errorBody](t, a.must(a.get(path), 503).body); body.Code != "unavailable" {
			t.Errorf("%s: code %q, want unavailable", path, body.Code)
		}
	}
}

// TestListBreaksOff: when a long list fails after its status was sent, the client
// sees a broken body, never a short list.
func TestListBreaksOff(t *testing.T) {
	t.Parallel()
	reads := 0
	b := &brokenStore{view: func(context.Context) error {
		if reads++; reads > 2 {
			return errors.New("disk on fire")
		}
		return nil
	}}
	a := startBroken(t, b, func(c *httpapi.Config) { c.ListChunkBytes = 100 })
	for i := range 5 {
		a.must(a.putPackage(fmt.Sprintf("p%d", i)), 201)
	}
	if got, err := a.try(call{"GET", pkgs, "", nil}); err == nil {
		t.Errorf("got a whole body of %d bytes, want an error", len(got.body))
	}
}

func TestHealthProbes(t *testing.T) {
	t.Parallel()
	ready := true
	b := &brokenStore{status: func(s storage.Status) storage.Status {
		if !ready {
			s.Ready, s.Reason = false, "no leader is known"
		}
		return s
	}}
	a := startBroken(t, b, nil)

	health := decode[map[string]any](t, a.must(a.get("/health"), 200).body)
	if _, err := time.Parse(time.RFC3339Nano, health["timestamp"].(string)); err != nil {
		t.Errorf("timestamp: %v", err)
	}
	delete(health, "timestamp")
	want := map[string]any{"status": "healthy", "service": "oprc-pm", "version": "1.2.3-test", "node": "n1", "storage": map[string]any{"status": "ok"}}
	if diff := cmp.Diff(want, health); diff != "" {
		t.Errorf("health (-want +got):\n%s", diff)
	}
	a.must(a.get("/readyz"), 200)

	ready = false
	health = decode[map[string]any](t, a.must(a.get("/health"), 503).body)
	if diff := cmp.Diff(map[string]any{"status": "error", "message": "no leader is known"}, health["storage"]); diff != "" || health["status"] != "unhealthy" {
		t.Errorf("unhealthy %v", health)
	}
	if got := decode[map[string]any](t, a.must(a.get("/readyz"), 503).body); got["reason"] != "no leader is known" || got["ready"] != false {
		t.Errorf("readyz %v", got)
	}
	a.must(a.get("/livez"), 200)

	ready = true
	a.server.SetDraining()
	if got := decode[map[string]any](t, a.must(a.get("/readyz"), 503).body); !strings.Contains(got["reason"].(string), "draining") {
		t.Errorf("readyz while draining: %v", got)
	}
	a.must(a.get("/health"), 200)
	a.must(a.putPackage("still-works"), 201)
}

// TestTooManyWaiters: a client that cannot wait gets its write and what is known.
func TestTooManyWaiters(t *testing.T) {
	t.Parallel()
	a := start(t, options{config: func(c *httpapi.Config) { c.MaxWaiters = 0 }})
	a.must(a.putPackage("shop"), 201)
	began := time.Now()
	got := a.must(a.do(call{"POST", deps + "?wait=1m", deploymentJSON("d", "shop", "e"), nil}), 202)
	if body := decode[map[string]any](t, got.body); body["condition"] != "PENDING" {
		t.Errorf("answer %s", got.body)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it waited %s", took)
	}
	a.must(a.get(deps+"/d"), 200)
}

// TestOldHTTP: HTTP/1.0 has no chunks, so a long list would look whole when it is
// not.
func TestOldHTTP(t *testing.T) {
	t.Parallel()
	a := start(t, options{config: func(c *httpapi.Config) { c.ListChunkBytes = 600 }})
	a.must(a.putPackage("p0"), 201)
	old := func(path string) answer { return a.rawAnswer("GET " + path + " HTTP/1.0\r\n\r\n") }
	a.must(old(pkgs+"/p0"), 200)
	if diff := cmp.Diff([]string{"p0"}, names(t, a.must(old(pkgs), 200).body)); diff != "" {
		t.Errorf("short list (-want +got):\n%s", diff)
	}
	for i := 1; i < 5; i++ {
		a.must(a.putPackage(fmt.Sprintf("p%d", i)), 201)
	}
	checkRefused(t, badInput{status: 413, field: "limit"}, old(pkgs))
}

func TestOverload(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	b := &brokenStore{view: func(context.Context) error { entered <- struct{}{}; <-release; return nil }}
	a := startBroken(t, b, func(c *httpapi.Config) { c.MaxInFlight, c.MaxWaiters = 1, 0 })
	done := make(chan struct{})
	go func() {
		defer close(done)
		if got, err := a.try(call{"GET", pkgs, "", nil}); err != nil || got.status != 200 {
			t.Errorf("slow request: %d %v", got.status, err)
		}
	}()
	<-entered
	got := a.must(a.get("/livez"), 503)
	if got.header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
	close(release)
	<-done
	waitFor(t, "there is room again", func() (bool, string) {
		got := a.get("/livez")
		return got.status == 200, string(got.body)
	})
}

// TestShutdownFinishesRequests: what runs when the shutdown begins gets its
// answer.
func TestShutdownFinishesRequests(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	b := &brokenStore{view: func(context.Context) error { close(entered); <-release; return nil }}
	a := startBroken(t, b, nil)
	done := make(chan answer, 1)
	go func() {
		got, err := a.try(call{"GET", pkgs, "", nil})
		if err != nil {
			t.Errorf("request: %v", err)
		}
		done <- got
	}()
	<-entered
	stopped := make(chan error, 1)
	go func() { stopped <- a.server.Shutdown(context.Background()) }()
	waitFor(t, "the listener is closed", func() (bool, string) {
		conn, err := net.Dial("tcp", a.addr)
		if err == nil {
			conn.Close()
		}
		return err != nil, "it accepts"
	})
	close(release)
	a.must(<-done, 200)
	if err := <-stopped; err != nil {
		t.Errorf("shut down: %v", err)
	}
}

// TestShutdownIsBounded: a client that sends half a request does not hold the
// process up.
func TestShutdownIsBounded(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	conn, err := net.Dial("tcp", a.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "POST /api/v1/packages HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the connection is served", func() (bool, string) {
		got := a.metric("oprc_http_connections_open")
		return got == "1", got
	})
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := a.server.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("shut down: %v, want deadline exceeded", err)
	}
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("shutdown took %s", took)
	}
	if _, err := io.ReadAll(conn); err != nil && !isReset(err) {
		t.Errorf("the connection was not closed: %v", err)
	}
	a.once.Do(func() {
		if err := <-a.served; err != nil {
			t.Errorf("serve: %v", err)
		}
		a.client.CloseIdleConnections()
		if err := a.store.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := a.server.Serve(listen(t)); err == nil {
		t.Error("Serve after Shutdown succeeded")
	}
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestMalformedHTTP: what is not a proper request gets the one error shape, too.
func TestMalformedHTTP(t *testing.T) {
	t.Parallel()
	a := start(t, options{config: func(c *httpapi.Config) {
		c.ReadTimeout = 300 * time.Millisecond
		c.MaxBodyBytes = 1000
	}})
	post := "POST /api/v1/packages HTTP/1.1\r\nHost: x\r\n"
	tests := []struct {
		name, request string
		status        int
	}{
		{"garbage", "hello\r\n\r\n", 400},
		{"bad version", "GET / HTTP/x\r\n\r\n", 400},
		{"two lengths", post + "Content-Length: 3\r\nContent-Length: 4\r\n\r\n{}{}", 400},
		{"length and chunked", post + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		{"unknown transfer encoding", post + "Transfer-Encoding: cow\r\n\r\n", 400},
		{"negative length", post + "Content-Length: -5\r\n\r\n", 400},
		{"broken chunk", post + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
		{"space before a colon", post + "Content-Length : 3\r\n\r\n{}{}", 400},
		{"folded header", "GET /livez HTTP/1.1\r\nHost: x\r\nA: 1\r\n Content-Length: 3\r\nB 3\r\n\r\n", 400},
		{"chunked body above the limit", post + "Transfer-Encoding: chunked\r\n\r\n7d0\r\n" + strings.Repeat("x", 2000) + "\r\n0\r\n\r\n", 413},
		{"announced body above the limit", post + "Content-Length: 99999999\r\n\r\n", 413},
		{"headers above the limit", "GET / HTTP/1.1\r\nX: " + strings.Repeat("h", 40000), 431},
		{"half a request", "GET /livez HTTP/1.1\r\nHost:", 408},
		{"half a body", post + "Content-Length: 20\r\n\r\n{", 408},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := a.rawAnswer(tt.request)
			checkRefused(t, badInput{status: tt.status}, got)
		})
	}
}

func TestConnectionLimits(t *testing.T) {
	t.Parallel()
	a := start(t, options{config: func(c *httpapi.Config) { c.MaxConnsPerIP = 2 }})
	for range 2 {
		conn, err := net.Dial("tcp", a.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	waitFor(t, "two connections are open", func() (bool, string) {
		got := a.metric("oprc_http_connections_open")
		return got == "2", got
	})
	if got := a.raw("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 429") {
		t.Errorf("third connection answered %q, want 429", got)
	}
}

func TestMetricsAreBounded(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	a.get("/livez")
	before := len(a.metrics.ListMetricNames())
	for i := range 30 {
		a.get(fmt.Sprintf("%s/p%d", pkgs, i))
		a.get(fmt.Sprintf("/nothing/%d", i))
		a.do(call{"PATCH", pkgs, "", nil})
	}
	if after := len(a.metrics.ListMetricNames()); after != before {
		t.Errorf("%d metrics, before %d", after, before)
	}
	text := string(a.must(a.get("/metrics"), 200).body)
	for _, want := range []string{
		`oprc_http_requests_total{route="getPackage",code="4xx"} 30`,
		`oprc_http_requests_total{route="none",code="4xx"} 60`,
		`oprc_http_request_duration_seconds_count{route="getPackage"} 30`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no line %q", want)
		}
	}
}
