package crm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/crm/sim"
	"github.com/oprc/oprc-pm/model"
)

func newTestClient(t *testing.T, baseURL string, change func(*ClusterConfig)) *HTTPClient {
	t.Helper()
	cfg := DefaultClusterConfig("edge", baseURL)
	cfg.RetryAttempts = 1
	if change != nil {
		change(&cfg)
	}
	client, err := NewHTTPClient(cfg, metrics.NewSet(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func testUnit(id string) model.DeploymentUnit {
	return model.DeploymentUnit{
		ID: id, DeploymentKey: "cart", PackageName: "shop", ClassKey: "Cart", TargetEnv: "edge", TargetCluster: "edge",
		Functions: []model.FunctionDeploymentSpec{}, FunctionBindings: []model.FunctionBinding{},
	}
}

func TestClientAgainstSimulator(t *testing.T) {
	t.Parallel()
	s := sim.New(sim.Config{Name: "edge", Nodes: 2})
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	client := newTestClient(t, server.URL+"/", nil)
	ctx, from := t.Context(), Origin{Term: 3, Generation: 5, CorrelationID: "c1", IdempotencyKey: "k1"}

	health, err := client.Health(ctx)
	if err != nil || health.Status != model.ClusterHealthy || *health.NodeCount != 2 {
		t.Fatalf("health: got %+v, %v, want Healthy with 2 nodes", health, err)
	}
	for range 2 { // the second changes nothing
		response, err := client.Deploy(ctx, from, testUnit("cart-1"))
		if err != nil || response.ID != "cart-1" || response.Status != "accepted" {
			t.Fatalf("deploy: got %+v, %v, want cart-1 accepted", response, err)
		}
	}
	if _, err := client.Deploy(ctx, from, testUnit("cart-2")); err != nil {
		t.Fatal(err)
	}
	status, err := client.Status(ctx, from, "cart-1")
	if err != nil || status.ID != "cart-1" || status.Status != "Running" {
		t.Fatalf("status: got %+v, %v, want cart-1 Running", status, err)
	}
	record, err := client.Record(ctx, Origin{}, "cart-1")
	if err != nil || record.PackageName != "shop" || record.Status.Condition != "Running" {
		t.Fatalf("record: got %+v, %v, want one of shop, Running", record, err)
	}
	filter := RecordFilter{Package: "shop", Class: "Cart", Environment: "edge", Status: "Running", Limit: 1, Offset: 1}
	records, err := client.Records(ctx, Origin{}, filter)
	if err != nil || len(records) != 1 || records[0].ID != "cart-2" {
		t.Fatalf("records: got %+v, %v, want cart-2", records, err)
	}
	if records, err = client.Records(ctx, Origin{}, RecordFilter{Package: "other"}); err != nil || len(records) != 0 {
		t.Fatalf("records of other: got %+v, %v, want none", records, err)
	}
	for range 2 { // the second finds nothing, which is a success
		if err := client.Delete(ctx, from, "cart-1"); err != nil {
			t.Fatalf("delete: %v", err)
		}
	}
	if _, err := client.Status(ctx, from, "cart-1"); ClassOf(err) != ClassNotFound {
		t.Errorf("status of a deleted unit: got %v, want class not_found", err)
	}
	if _, err := client.Status(ctx, Origin{Term: 2}, "cart-2"); ClassOf(err) != ClassFenced {
		t.Errorf("call of an older term: got %v, want class fenced", err)
	}

	type seen struct {
		Name, Unit, Key, Correlation string
		Term, Generation             uint64
		Effect                       sim.Effect
	}
	var got []seen
	for _, c := range s.Calls(0) {
		if c.Name == "deploy" || c.Name == "delete" {
			got = append(got, seen{c.Name, c.Unit, c.IdempotencyKey, c.CorrelationID, c.Term, c.Generation, c.Effect})
		}
	}
	want := []seen{
		{"deploy", "cart-1", "k1", "c1", 3, 5, sim.EffectCreated},
		{"deploy", "cart-1", "k1", "c1", 3, 5, sim.EffectUnchanged},
		{"deploy", "cart-2", "k1", "c1", 3, 5, sim.EffectCreated},
		{"delete", "cart-1", "k1", "c1", 3, 5, sim.EffectDeleted},
		{"delete", "cart-1", "k1", "c1", 3, 5, sim.EffectAbsent},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestClientClassifiesAnswers(t *testing.T) {
	t.Parallel()
	const body = `{"error":"no such luck","code":"some_code"}`
	cases := []struct {
		status int
		body   string
		want   Class
		reason string
	}{
		{200, `{"id":"x","status":"Running"}`, ClassOK, ""},
		{500, body, ClassRetryable, "answered 500 Internal Server Error: no such luck"},
		{503, "", ClassRetryable, "answered 503 Service Unavailable, but not as a CRM does"},
		{503, body, ClassRetryable, "answered 503 Service Unavailable: no such luck"},
		{507, body, ClassRetryable, "no such luck"},
		{429, body, ClassRetryable, "no such luck"},
		{408, body, ClassRetryable, "no such luck"},
		{400, body, ClassTerminal, "no such luck"},
		{401, body, ClassTerminal, "answered 401 Unauthorized"},
		{409, body, ClassTerminal, "no such luck"},
		{409, `{"error":"old","code":"stale_term"}`, ClassFenced, "old"},
		{412, `{"error":"old","code":"stale_term"}`, ClassFenced, "old"},
		{412, body, ClassTerminal, "no such luck"},
		{404, body, ClassRetryable, "no such luck"},
		{404, `{"error":"no such unit","code":"not_found"}`, ClassNotFound, "no such unit"},
		{410, `{"error":"no such unit"}`, ClassNotFound, "no such unit"},
		{422, `{"message":"other shape"}`, ClassTerminal, "other shape"},
		{422, `not json`, ClassRetryable, "answered 422 Unprocessable Entity, but not as a CRM does"},
		{301, "", ClassRetryable, "but not as a CRM does; redirects are not followed"},
		{307, body, ClassRetryable, "but not as a CRM does; redirects are not followed"},
		{200, `{"id":`, ClassRetryable, "not of the agreed form"},
		{200, `{"id":17}`, ClassRetryable, "not of the agreed form"},
		{200, ``, ClassRetryable, "not of the agreed form"},
		{200, `<html>welcome</html>`, ClassRetryable, "answered 200 OK, but not as a CRM does"},
		{400, `{"error":"two\nlines` + strings.Repeat("x", 1000) + `"}`, ClassTerminal, "two lines"},
	}
	for _, c := range cases {
		t.Run(fmt.Sprintf("%d %.30s", c.status, c.body), func(t *testing.T) {
			t.Parallel()
			var elsewhere atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/elsewhere" {
					elsewhere.Add(1)
				}
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			}))
			t.Cleanup(server.Close)
			_, err := newTestClient(t, server.URL, nil).Status(t.Context(), Origin{}, "u1")
			if got := ClassOf(err); got != c.want {
				t.Fatalf("class: got %s (%v), want %s", got, err, c.want)
			}
			if elsewhere.Load() != 0 {
				t.Error("the redirect was followed")
			}
			if err == nil {
				return
			}
			wantStatus := c.status
			if strings.Contains(c.reason, "not as a CRM does") {
				wantStatus = 0 // it was not the CRM that answered
			}
			var call *CallError
			if !errors.As(err, &call) || call.Cluster != "edge" || call.Call != CallStatus || call.Status != wantStatus {
				t.Errorf("got %+v, want cluster edge, call status, status %d", call, wantStatus)
			}
			contains(t, call.Reason, c.reason)
			contains(t, err.Error(), "status call to cluster edge")
			if len(call.Reason) > 300 || strings.ContainsAny(call.Reason, "\n\r") {
				t.Errorf("reason is not fit for a record: %q", call.Reason)
			}
		})
	}
}

func TestClientSurvivesMisbehaviour(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		handler http.HandlerFunc
		want    Class
		reason  string
	}{
		"hangs": {
			func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
			ClassRetryable, "no answer in time",
		},
		"drips": {
			func(w http.ResponseWriter, r *http.Request) {
				ticker := time.NewTicker(5 * time.Millisecond)
				defer ticker.Stop()
				for {
					select {
					case <-ticker.C:
						_, _ = io.WriteString(w, " ")
						w.(http.Flusher).Flush()
					case <-r.Context().Done():
						return
					}
				}
			},
			ClassRetryable, "no answer in time",
		},
		"never ends": {
			func(w http.ResponseWriter, r *http.Request) {
				page := strings.Repeat("x", 4096)
				for r.Context().Err() == nil {
					if _, err := io.WriteString(w, page); err != nil {
						return
					}
				}
			},
			ClassRetryable, "exceeds 65536 bytes",
		},
		"fails without end": {
			func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusBadRequest)
				_, _ = io.WriteString(w, `{"error":"`+strings.Repeat("x", 1<<20)+`"}`)
			},
			// Whose words these are cannot be told.
			ClassRetryable, "answered 400 Bad Request, but not as a CRM does",
		},
		"hangs up": {
			func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
			ClassRetryable, "connection was lost",
		},
		"sends too many headers": {
			func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Large", strings.Repeat("x", 1<<20)) },
			ClassRetryable, "connection was lost",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(c.handler)
			t.Cleanup(server.Close)
			client := newTestClient(t, server.URL, func(cfg *ClusterConfig) {
				cfg.Timeout, cfg.MaxResponseBytes = patience, 64<<10
				if c.reason == "no answer in time" {
					cfg.Timeout = 50 * time.Millisecond
				}
			})
			_, err := client.Status(t.Context(), Origin{}, "u1")
			if got := ClassOf(err); got != c.want {
				t.Fatalf("class: got %s (%v), want %s", got, err, c.want)
			}
			var call *CallError
			errors.As(err, &call)
			contains(t, call.Reason, c.reason)
			if call.NotSent {
				t.Error("not sent: got true, want false")
			}
		})
	}
}

func TestClientTellsWhatWasNotSent(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	client := newTestClient(t, "http://"+address, nil)
	_, err = client.Deploy(t.Context(), Origin{Term: 1}, testUnit("u1"))
	var call *CallError
	if !errors.As(err, &call) || !call.NotSent || call.Reason != "cannot connect" || call.Class != ClassRetryable {
		t.Errorf("got %+v, want cannot connect, retryable, not sent", call)
	}
	if MayArrive(err) {
		t.Error("may arrive: got true, want false")
	}
}

func TestClientEndsWithItsCaller(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	client := newTestClient(t, server.URL, nil)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		_, err := client.Status(ctx, Origin{Term: 1}, "u1")
		result <- err
	}()
	<-arrived
	cancel()
	if err := <-result; ClassOf(err) != ClassCanceled {
		t.Errorf("got %v, want class canceled", err)
	}
}

func TestClientBoundsConcurrency(t *testing.T) {
	t.Parallel()
	const limit = 3
	var inFlight, most atomic.Int32
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/v1/health" {
			_, _ = io.WriteString(w, `{"status":"Healthy"}`)
			return
		}
		now := inFlight.Add(1)
		defer inFlight.Add(-1)
		for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
		}
		<-release
		_, _ = io.WriteString(w, `{"id":"u1"}`)
	}))
	t.Cleanup(server.Close)
	client := newTestClient(t, server.URL, func(c *ClusterConfig) { c.MaxConcurrency = limit })
	results := make(chan error, 20)
	for i := range 20 {
		go func() {
			_, err := client.Status(t.Context(), Origin{Term: uint64(i % 2)}, "u1")
			results <- err
		}()
	}
	until(t, "the dispatcher's slots and the others' are in use", func() bool { return inFlight.Load() == 2*limit })
	// The probe has a way of its own, or a busy cluster would look dead.
	if _, err := client.Health(t.Context()); err != nil {
		t.Errorf("health: %v", err)
	}
	close(release)
	for range 20 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if got := most.Load(); got != 2*limit {
		t.Errorf("most calls in flight: got %d, want %d", got, 2*limit)
	}
}

func TestClientRepeatsReadsOnly(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if calls.Add(1)%3 != 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, `{"status":"Healthy"}`)
	}))
	t.Cleanup(server.Close)
	client := newTestClient(t, server.URL, func(c *ClusterConfig) { c.RetryAttempts = 3 })
	if _, err := client.Health(t.Context()); err != nil {
		t.Errorf("health: got %v, want success at the third attempt", err)
	}
	if _, err := client.Deploy(t.Context(), Origin{Term: 1}, testUnit("u1")); ClassOf(err) != ClassRetryable {
		t.Errorf("deploy: got %v, want retryable at the first attempt", err)
	}
	if got := calls.Load(); got != 4 {
		t.Errorf("calls: got %d, want 4", got)
	}
}

// The library would send a request with an idempotency key again by itself when
// a connection that was used before breaks.
func TestClientSendsChangesOnce(t *testing.T) {
	t.Parallel()
	var changes atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			_, _ = io.WriteString(w, `{"status":"Healthy"}`)
			return
		}
		changes.Add(1)
		if r.Header.Get("Idempotency-Key") != "k1" {
			t.Errorf("idempotency key: got %q, want k1", r.Header.Get("Idempotency-Key"))
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_ = conn.Close()
	}))
	t.Cleanup(server.Close)
	client := newTestClient(t, server.URL, nil)
	for _, change := range []func() error{
		func() error {
			_, err := client.Deploy(t.Context(), Origin{Term: 1, IdempotencyKey: "k1"}, testUnit("u1"))
			return err
		},
		func() error { return client.Delete(t.Context(), Origin{Term: 1, IdempotencyKey: "k1"}, "u1") },
	} {
		if _, err := client.Health(t.Context()); err != nil {
			t.Fatal(err)
		}
		changes.Store(0)
		if err := change(); ClassOf(err) != ClassRetryable || !MayArrive(err) {
			t.Errorf("got %v, want a retryable error whose call may arrive", err)
		}
		if got := changes.Load(); got != 1 {
			t.Errorf("got %d requests, want 1", got)
		}
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		err  error
		want bool
	}{
		"success":               {nil, false},
		"no answer":             {&CallError{Class: ClassRetryable}, false},
		"bad request":           {&CallError{Class: ClassTerminal, Status: 400}, true},
		"not offered":           {&CallError{Class: ClassNotSupported, Status: 501}, true},
		"caller not known":      {&CallError{Class: ClassTerminal, Status: 401}, false},
		"caller may not":        {&CallError{Class: ClassTerminal, Status: 403}, false},
		"settings of this node": {&CallError{Class: ClassTerminal, NotSent: true}, false},
		"other error":           {io.EOF, false},
	} {
		if got := Refused(test.err); got != test.want {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}

func TestClientAuthenticates(t *testing.T) {
	t.Parallel()
	for want, auth := range map[string]AuthConfig{
		"":                   {Type: AuthNone},
		"Bearer t0ken":       {Type: AuthBearer, Token: "t0ken"},
		"Basic dXNlcjpwYXNz": {Type: AuthBasic, Username: "user", Password: "pass"},
	} {
		var got atomic.Value
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got.Store(r.Header.Get("Authorization"))
			_, _ = io.WriteString(w, `{}`)
		}))
		client := newTestClient(t, server.URL, func(c *ClusterConfig) { c.Auth = auth })
		if _, err := client.Health(t.Context()); err != nil {
			t.Error(err)
		}
		if got.Load() != want {
			t.Errorf("got %q, want %q", got.Load(), want)
		}
		server.Close()
	}
}

// TestClientBoundsIDs: what a CRM calls a unit is recorded, so it must not be of
// any size or form.
func TestClientBoundsIDs(t *testing.T) {
	t.Parallel()
	var id atomic.Value
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(model.CRMResponse{ID: id.Load().(string), Status: "accepted"})
	}))
	t.Cleanup(server.Close)
	client := newTestClient(t, server.URL, nil)
	cases := map[string]Class{
		"":                       ClassOK, // the unit's own id is meant
		"cart-7":                 ClassOK,
		"ns/cart 7":              ClassOK,
		strings.Repeat("x", 253): ClassOK,
		strings.Repeat("x", 254): ClassRetryable,
		"..":                     ClassRetryable,
		"cart\n7":                ClassRetryable,
	}
	for given, want := range cases {
		id.Store(given)
		if _, err := client.Deploy(t.Context(), Origin{Term: 1}, testUnit("cart-1")); ClassOf(err) != want {
			t.Errorf("id %.20q: got %v, want class %s", given, err, want)
		}
	}
}

func TestClientEscapesIDs(t *testing.T) {
	t.Parallel()
	var path atomic.Value
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path.Store(r.RequestURI)
		_, _ = io.WriteString(w, `{}`)
	}))
	t.Cleanup(server.Close)
	client := newTestClient(t, server.URL+"/crm/", nil)
	if _, err := client.Status(t.Context(), Origin{}, "a/../b?c#d"); err != nil {
		t.Fatal(err)
	}
	if got, want := path.Load(), "/crm/api/v1/deployments/a%2F..%2Fb%3Fc%23d"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, id := range []string{"", ".", ".."} {
		if err := client.Delete(t.Context(), Origin{Term: 1}, id); ClassOf(err) != ClassTerminal {
			t.Errorf("delete %q: got %v, want terminal", id, err)
		}
	}
}

func TestClientMetrics(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(sim.New(sim.Config{Name: "edge"}))
	t.Cleanup(server.Close)
	set := metrics.NewSet()
	cfg := DefaultConfig()
	cfg.Clusters["edge"] = DefaultClusterConfig("", server.URL)
	cfg.DefaultCluster = "edge"
	fleet := newTestFleet(t, cfg, set)
	client, known := fleet.Client("")
	if !known {
		t.Fatal("default cluster: got none, want edge")
	}
	if _, err := client.Status(t.Context(), Origin{}, "nothing"); ClassOf(err) != ClassNotFound {
		t.Fatalf("got %v, want not_found", err)
	}
	var text strings.Builder
	set.WritePrometheus(&text)
	contains(t, text.String(), `oprc_crm_calls_total{cluster="edge",call="status",class="not_found"} 1`)
	contains(t, text.String(), `oprc_crm_call_duration_seconds_count{cluster="edge"} 1`)
	if other, known := fleet.Client("other"); known || other != nil {
		t.Errorf("got %v, %v, want nil, false", other, known)
	}
}

func TestSecretIsMasked(t *testing.T) {
	t.Parallel()
	cfg := DefaultClusterConfig("edge", "http://edge")
	cfg.Auth = AuthConfig{Type: AuthBearer, Token: "canary"}
	encoded, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{string(encoded), fmt.Sprint(cfg), fmt.Sprintf("%+v %#v %s", cfg, cfg, cfg.Auth.Token)} {
		if strings.Contains(text, "canary") {
			t.Errorf("the token shows in %s", text)
		}
	}
}
