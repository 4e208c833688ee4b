package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/oprc/oprc-pm/model"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testClock is a clock that the test moves.
type testClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *testClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *testClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// call makes a request without a network and returns status and decoded body.
func call(t *testing.T, s *Sim, method, path, body string, headers ...string) (int, map[string]any) {
	t.Helper()
	status, raw := callRaw(t, s, method, path, body, headers...)
	var decoded map[string]any
	if err := json.Unmarshal(raw, &decoded); err != nil {
		t.Fatalf("%s %s: answer %q is not an object: %v", method, path, raw, err)
	}
	return status, decoded
}

func callRaw(t *testing.T, s *Sim, method, path, body string, headers ...string) (int, []byte) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Code, w.Body.Bytes()
}

func unitJSON(id, deployment string) string {
	return fmt.Sprintf(`{"id":%q,"deployment_key":%q,"package_name":"shop","class_key":"Cart","target_env":"edge",
		"functions":[{"function_key":"f"}],"function_bindings":[]}`, id, deployment)
}

func deploy(t *testing.T, s *Sim, id string) {
	t.Helper()
	if status, body := call(t, s, "POST", "/api/v1/deployments", unitJSON(id, "cart")); status != 200 {
		t.Fatalf("deploy %s: got %d %v, want 200", id, status, body)
	}
}

func TestStatesFollowTheClock(t *testing.T) {
	t.Parallel()
	clock := &testClock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	s := New(Config{Name: "edge", TimeToRunning: 40 * time.Second, Now: clock.Now})
	deploy(t, s, "u1")
	for _, step := range []struct {
		advance       time.Duration
		status, phase string
	}{
		{0, "Pending", "RESOURCE_PROVISIONING"},
		{9 * time.Second, "Pending", "RESOURCE_PROVISIONING"},
		{time.Second, "Deploying", "RESOURCE_PROVISIONING"},
		{29 * time.Second, "Deploying", "RESOURCE_PROVISIONING"},
		{time.Second, "Running", "RUNNING"},
		{time.Hour, "Running", "RUNNING"},
	} {
		clock.advance(step.advance)
		_, got := call(t, s, "GET", "/api/v1/deployments/u1", "")
		if got["status"] != step.status || got["phase"] != step.phase {
			t.Errorf("after %v more: got %v %v, want %s %s", step.advance, got["status"], got["phase"], step.status, step.phase)
		}
	}
}

func TestDeployIsCreateOnly(t *testing.T) {
	t.Parallel()
	s := New(Config{Name: "edge"})
	deploy(t, s, "u1")
	accepted := s.Units()
	changed := strings.Replace(unitJSON("u1", "cart"), `"Cart"`, `"Other"`, 1)
	if status, body := call(t, s, "POST", "/api/v1/deployments", changed); status != 200 || body["status"] != "accepted" || body["id"] != "u1" {
		t.Errorf("again: got %d %v, want 200 accepted", status, body)
	}
	if diff := cmp.Diff(accepted, s.Units()); diff != "" {
		t.Errorf("the unit changed (-before +after):\n%s", diff)
	}
	if status, body := call(t, s, "POST", "/api/v1/deployments", unitJSON("u1", "another")); status != 409 || body["code"] != "already_exists" {
		t.Errorf("of another deployment: got %d %v, want 409 already_exists", status, body)
	}
	var effects []Effect
	for _, c := range s.Calls(0) {
		effects = append(effects, c.Effect)
	}
	if want := []Effect{EffectCreated, EffectUnchanged, EffectRefused}; !slices.Equal(effects, want) {
		t.Errorf("effects: got %v, want %v", effects, want)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	s := New(Config{Name: "edge", Capacity: 1})
	deploy(t, s, "u1")
	cases := []struct {
		method, path, body string
		status             int
		code               string
	}{
		{"POST", "/api/v1/deployments", unitJSON("u2", "cart"), 507, "capacity_exceeded"},
		{"POST", "/api/v1/deployments", "nonsense", 400, "invalid"},
		{"POST", "/api/v1/deployments", unitJSON("../u2", "cart"), 422, "invalid"},
		{"POST", "/api/v1/deployments", unitJSON("", "cart"), 422, "invalid"},
		{"POST", "/api/v1/deployments", unitJSON("-u2", "cart"), 422, "invalid"},
		{"POST", "/api/v1/deployments", unitJSON(strings.Repeat("u", 64), "cart"), 422, "invalid"},
		{"POST", "/api/v1/deployments", `{"id":"u2"}`, 422, "invalid"},
		{"POST", "/api/v1/deployments", strings.Repeat(" ", maxBody+1), 413, "too_large"},
		{"GET", "/api/v1/deployments/other", "", 404, "not_found"},
		{"DELETE", "/api/v1/deployments/other", "", 404, "not_found"},
		{"GET", "/api/v1/deployment-records/other", "", 404, "not_found"},
		{"GET", "/api/v1/deployment-records?limit=-1", "", 400, "invalid"},
		{"GET", "/api/v1/deployment-records?offset=x", "", 400, "invalid"},
		{"GET", "/nothing", "", 404, "no_route"},
		{"PUT", "/sim/faults", `{"error_rate":2}`, 400, "invalid"},
		{"PUT", "/sim/faults", `{"hank":true}`, 400, "invalid"},
		{"PUT", "/sim/faults", `{"calls":["fly"]}`, 400, "invalid"},
		{"GET", "/sim/calls?since=x", "", 400, "invalid"},
	}
	for _, c := range cases {
		status, body := call(t, s, c.method, c.path, c.body)
		if status != c.status || body["code"] != c.code || body["error"] == "" {
			t.Errorf("%s %s %.40s: got %d %v, want %d %s", c.method, c.path, c.body, status, body, c.status, c.code)
		}
	}
	if got := len(s.Units()); got != 1 {
		t.Errorf("units: got %d, want still 1", got)
	}
}

func TestStaleTermIsRefused(t *testing.T) {
	t.Parallel()
	s := New(Config{Name: "edge"})
	term := func(n string) []string { return []string{"X-Oprc-Term", n} }
	if status, _ := call(t, s, "POST", "/api/v1/deployments", unitJSON("u1", "cart"), term("5")...); status != 200 {
		t.Fatalf("term 5: got %d, want 200", status)
	}
	for _, c := range []struct{ method, path, body string }{
		{"POST", "/api/v1/deployments", unitJSON("u2", "cart")},
		{"GET", "/api/v1/deployments/u1", ""},
		{"DELETE", "/api/v1/deployments/u1", ""},
	} {
		status, body := call(t, s, c.method, c.path, c.body, term("4")...)
		if status != 409 || body["code"] != "stale_term" {
			t.Errorf("%s %s in term 4: got %d %v, want 409 stale_term", c.method, c.path, status, body)
		}
	}
	if status, _ := call(t, s, "GET", "/api/v1/deployments/u1", "", term("5")...); status != 200 {
		t.Errorf("term 5 again: got %d, want 200", status)
	}
	if status, _ := call(t, s, "GET", "/api/v1/deployments/u1", ""); status != 200 {
		t.Errorf("without a term: got %d, want 200", status)
	}
	if status, _ := call(t, s, "GET", "/api/v1/deployments/u1", "", term("six")...); status != 400 {
		t.Errorf("malformed term: got %d, want 400", status)
	}
	if got := s.Term(); got != 5 {
		t.Errorf("term: got %d, want 5", got)
	}
	last := s.Calls(0)[1]
	if last.Effect != EffectRefused || last.Term != 4 || last.Status != 409 {
		t.Errorf("journal: got %+v, want term 4 refused with 409", last)
	}
}

func TestRestartKeepsState(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	clock := &testClock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	cfg := Config{Name: "edge", StateDir: dir, TimeToRunning: time.Minute, Now: clock.Now}
	first := New(cfg)
	for _, id := range []string{"u1", "u2", "u3"} {
		deploy(t, first, id)
	}
	if status, _ := call(t, first, "DELETE", "/api/v1/deployments/u2", "", "X-Oprc-Term", "9"); status != 200 {
		t.Fatalf("delete: got %d, want 200", status)
	}
	// What a crash in the middle of a write leaves behind is not a unit.
	if err := os.WriteFile(filepath.Join(dir, "units", ".tmp-1"), []byte("half a un"), 0o600); err != nil {
		t.Fatal(err)
	}

	clock.advance(time.Minute)
	second := New(cfg)
	if _, got := call(t, second, "GET", "/api/v1/deployments/u1", ""); got["status"] != "Running" {
		t.Errorf("u1: got %v, want Running: its time went on", got["status"])
	}
	if diff := cmp.Diff(first.Units(), second.Units()); diff != "" {
		t.Errorf("units (-before +after):\n%s", diff)
	}
	if status, _ := call(t, second, "GET", "/api/v1/deployments/u1", "", "X-Oprc-Term", "8"); status != 409 {
		t.Errorf("term 8 after 9 and a restart: got %d, want 409", status)
	}
}

func TestDamagedStateIsReported(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "units"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "units", "u1.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := New(Config{Name: "edge", StateDir: dir})
	if status, body := call(t, s, "GET", "/api/v1/health", ""); status != 500 || body["error"] == "" {
		t.Errorf("got %d %v, want 500 with an error", status, body)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run(t.Context(), listener); err == nil || !strings.Contains(err.Error(), "u1") {
		t.Errorf("run: got %v, want an error that names the unit", err)
	}
}

func TestRecordsAreFiltered(t *testing.T) {
	t.Parallel()
	s := New(Config{Name: "edge"})
	for _, id := range []string{"u3", "u1", "u2"} {
		deploy(t, s, id)
	}
	for query, want := range map[string][]string{
		"":                                   {"u1", "u2", "u3"},
		"?package=shop&class=Cart":           {"u1", "u2", "u3"},
		"?package=other":                     {},
		"?class=Other":                       {},
		"?env=edge&status=Running":           {"u1", "u2", "u3"},
		"?status=Pending":                    {},
		"?limit=2":                           {"u1", "u2"},
		"?offset=1&limit=1":                  {"u2"},
		"?offset=9":                          {},
		"?limit=0":                           {},
		"?package=shop&offset=2&limit=10000": {"u3"},
	} {
		status, raw := callRaw(t, s, "GET", "/api/v1/deployment-records"+query, "")
		var records []model.DeploymentRecord
		if err := json.Unmarshal(raw, &records); err != nil || status != 200 {
			t.Fatalf("%s: got %d %s (%v)", query, status, raw, err)
		}
		got := []string{}
		for _, record := range records {
			got = append(got, record.ID)
			if record.ClusterName == nil || *record.ClusterName != "edge" || len(record.ResourceRefs) != 1 {
				t.Errorf("%s: got %+v, want cluster edge and one resource", query, record)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", query, got, want)
		}
	}
}

func TestErrorRateIsSeeded(t *testing.T) {
	t.Parallel()
	outcomes := func(seed uint64) (statuses []int, failures int) {
		s := New(Config{Name: "edge", ErrorRate: 0.5, Seed: seed})
		for range 200 {
			status, _ := call(t, s, "GET", "/api/v1/health", "")
			statuses = append(statuses, status)
			if status == 503 {
				failures++
			}
		}
		return statuses, failures
	}
	first, failures := outcomes(1)
	if failures < 60 || failures > 140 {
		t.Errorf("failures: got %d of 200, want about half", failures)
	}
	if again, _ := outcomes(1); !slices.Equal(first, again) {
		t.Error("the same seed gave another sequence")
	}
	if other, _ := outcomes(2); slices.Equal(first, other) {
		t.Error("another seed gave the same sequence")
	}
}

func TestJournalIsBounded(t *testing.T) {
	t.Parallel()
	s := New(Config{Name: "edge", JournalSize: 10})
	for i := range 35 {
		callRaw(t, s, "GET", fmt.Sprintf("/api/v1/deployments/u%d", i), "")
	}
	calls := s.Calls(0)
	if len(calls) != 10 || calls[0].Seq != 26 || calls[9].Seq != 35 || calls[9].Unit != "u34" {
		t.Errorf("got %d calls, want the last 10: %+v", len(calls), calls)
	}
	if got := s.Calls(33); len(got) != 2 || got[0].Seq != 34 {
		t.Errorf("since 33: got %+v, want 34 and 35", got)
	}
	status, raw := callRaw(t, s, "GET", "/sim/calls?since=30&unit=u33", "")
	var served []Call
	if err := json.Unmarshal(raw, &served); err != nil || status != 200 || len(served) != 1 || served[0].Seq != 34 {
		t.Errorf("served: got %d %s, want call 34 alone", status, raw)
	}
}

// serve runs s on loopback until the test ends.
func serve(t *testing.T, s *Sim) (base string, stop func()) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Run(ctx, listener); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	stop = func() { cancel(); wg.Wait() }
	t.Cleanup(stop)
	return "http://" + listener.Addr().String(), stop
}

func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func client(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

func TestHangEndsWhenFaultIsLifted(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]string{
		"before the effect": `{"hang":true,"calls":["deploy"]}`,
		"after the effect":  `{"hang_reply":true,"calls":["deploy"]}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := New(Config{Name: "edge"})
			base, _ := serve(t, s)
			c := client(t)
			setFaults(t, c, base, fault)
			answered := make(chan int, 1)
			go func() {
				response, err := c.Post(base+"/api/v1/deployments", "application/json", strings.NewReader(unitJSON("u1", "cart")))
				if err != nil {
					t.Error(err)
					answered <- 0
					return
				}
				_ = response.Body.Close()
				answered <- response.StatusCode
			}()
			if s.Faults().HangReply {
				until(t, "the effect comes without the answer", func() bool { return len(s.Units()) == 1 })
			}
			response, err := c.Get(base + "/api/v1/health") // other calls go on
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
			select {
			case status := <-answered:
				t.Fatalf("the call was answered %d, want it to hang", status)
			default:
			}
			setFaults(t, c, base, `{}`)
			if got := <-answered; got != 200 {
				t.Errorf("got %d, want 200", got)
			}
		})
	}
}

func setFaults(t *testing.T, c *http.Client, base, faults string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), "PUT", base+"/sim/faults", bytes.NewBufferString(faults))
	if err != nil {
		t.Fatal(err)
	}
	response, err := c.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, _ := io.ReadAll(response.Body); response.StatusCode != 200 {
		t.Fatalf("set faults: got %d %s", response.StatusCode, body)
	}
}

func TestRunEndsWhileCallsHang(t *testing.T) {
	t.Parallel()
	s := New(Config{Name: "edge"})
	s.SetFaults(Faults{HangReply: true})
	base, stop := serve(t, s)
	c := client(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if response, err := c.Get(base + "/api/v1/health"); err == nil {
			_ = response.Body.Close()
		}
	}()
	until(t, "the call has had its effect", func() bool { return len(s.Calls(0)) == 1 })
	stop() // fails the test by its timeout if the hung call holds it up
	<-done
}

func TestLatencyEndsWithTheCaller(t *testing.T) {
	t.Parallel()
	s := New(Config{Name: "edge", Latency: time.Hour})
	base, _ := serve(t, s)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, "POST", base+"/api/v1/deployments", strings.NewReader(unitJSON("u1", "cart")))
	if err != nil {
		t.Fatal(err)
	}
	if response, err := client(t).Do(request); err == nil {
		_ = response.Body.Close()
		t.Fatal("got an answer, want the caller's timeout")
	}
	if got := len(s.Units()); got != 0 {
		t.Errorf("units: got %d, want none: the latency comes before the effect", got)
	}
}

func TestGarbageComesAfterTheEffect(t *testing.T) {
	t.Parallel()
	s := New(Config{Name: "edge"})
	s.SetFaults(Faults{Garbage: true})
	status, raw := callRaw(t, s, "POST", "/api/v1/deployments", unitJSON("u1", "cart"))
	if status != 200 || json.Valid(raw) {
		t.Errorf("got %d %s, want 200 with nonsense", status, raw)
	}
	if got := len(s.Units()); got != 1 {
		t.Errorf("units: got %d, want 1", got)
	}
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]Config{
		"name": {}, "nodes": {Name: "x", Nodes: -1}, "capacity": {Name: "x", Capacity: -1}, "latency": {Name: "x", Latency: -1},
		"time to running": {Name: "x", TimeToRunning: -1}, "error rate": {Name: "x", ErrorRate: 1.1}, "availability": {Name: "x", Availability: 2},
	} {
		if err := cfg.Validate(); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
	if err := (Config{Name: "x"}).Validate(); err != nil {
		t.Errorf("minimal: %v", err)
	}
	if status, body := call(t, New(Config{}), "GET", "/api/v1/health", ""); status != 500 || body["error"] == "" {
		t.Errorf("unusable configuration: got %d %v, want 500", status, body)
	}
}

func TestLose(t *testing.T) {
	t.Parallel()
	s := New(Config{Name: "edge", StateDir: t.TempDir()})
	deploy(t, s, "u1")
	for _, want := range []bool{true, false} {
		if got, err := s.Lose("u1"); got != want || err != nil {
			t.Errorf("got %v, %v, want %v, nil", got, err, want)
		}
	}
	if status, _ := call(t, s, "GET", "/api/v1/deployments/u1", ""); status != 404 {
		t.Errorf("status: got %d, want 404", status)
	}
}
