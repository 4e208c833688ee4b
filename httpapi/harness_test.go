package httpapi_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"go.uber.org/goleak"

	"github.com/oprc/oprc-pm/fsm"
	"github.com/oprc/oprc-pm/httpapi"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/memory"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if err := leaks(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// leaks waits for the goroutines of all servers to end. goleak by itself gives up
// before the janitor of fasthttp's workers has noticed that its server is closed:
// it looks twice a second.
func leaks() (err error) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		// The clock of fasthttp's Date header runs for the life of the process.
		if err = goleak.Find(goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1")); err == nil {
			return nil
		}
	}
	return err
}

// patience is how long a test waits for something that must happen.
const patience = 10 * time.Second

// api is a real server on loopback over a memory store with the real machine.
type api struct {
	t       testing.TB
	store   *memory.Store
	fleet   *fleet
	server  *httpapi.Server
	metrics *metrics.Set
	addr    string
	client  *http.Client
	served  chan error
	log     *syncBuffer
	once    sync.Once
}

type options struct {
	config func(*httpapi.Config)
	deps   func(*httpapi.Deps)
}

func start(t testing.TB, opts options) *api {
	t.Helper()
	cfg := httpapi.DefaultConfig()
	if opts.config != nil {
		opts.config(&cfg)
	}
	if err := cfg.Validate(); err != nil {
		t.Fatalf("config: %v", err)
	}
	a := &api{
		t: t, store: memory.New(fsm.NewMachine()), metrics: metrics.NewSet(),
		served: make(chan error, 1), log: &syncBuffer{},
		client: &http.Client{
			Transport:     &http.Transport{MaxIdleConnsPerHost: 16},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	a.fleet = startFleet(t, a.store)
	deps := httpapi.Deps{
		Store: a.store, Metrics: a.metrics, Version: "1.2.3-test", NodeName: "n1",
		Logger: slog.New(slog.NewTextHandler(a.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	a.fleet.deps(&deps)
	if opts.deps != nil {
		opts.deps(&deps)
	}
	a.server = httpapi.New(cfg, deps)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	a.addr = listener.Addr().String()
	go func() { a.served <- a.server.Serve(listener) }()
	t.Cleanup(a.stop)
	return a
}

// stop shuts the server down and checks that everything ended.
func (a *api) stop() {
	a.once.Do(func() {
		a.client.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := a.server.Shutdown(ctx); err != nil {
			a.t.Errorf("shut down: %v", err)
		}
		select {
		case err := <-a.served:
			if err != nil {
				a.t.Errorf("serve: %v", err)
			}
		case <-ctx.Done():
			a.t.Error("Serve did not return after Shutdown")
		}
		a.fleet.stop()
		if err := a.store.Close(); err != nil {
			a.t.Errorf("close store: %v", err)
		}
	})
}

// answer is a response that has been read.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// call is a request, with headers as "Name: value".
type call struct {
	method, path string
	body         string
	headers      []string
}

func (a *api) do(c call) answer {
	a.t.Helper()
	got, err := a.try(c)
	if err != nil {
		a.t.Fatalf("%s %s: %v", c.method, c.path, err)
	}
	return got
}

func (a *api) try(c call) (answer, error) {
	var body io.Reader
	if c.body != "" {
		body = strings.NewReader(c.body)
	}
	req, err := http.NewRequest(c.method, "http://"+a.addr+"/", body)
	if err != nil {
		return answer{}, err
	}
	// The path goes out as it is written, tricks included.
	path, query, _ := strings.Cut(c.path, "?")
	req.URL.Opaque, req.URL.RawQuery = path, query
	for _, h := range c.headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Add(name, value)
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	read, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, read}, err
}

func (a *api) get(path string) answer { a.t.Helper(); return a.do(call{method: "GET", path: path}) }

// must fails the test unless the answer has the status.
func (a *api) must(got answer, status int) answer {
	a.t.Helper()
	if got.status != status {
		a.t.Fatalf("status %d, want %d: %s", got.status, status, got.body)
	}
	return got
}

func decode[T any](t testing.TB, body []byte) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatalf("body is not JSON of %T: %v: %.300s", v, err, body)
	}
	return v
}

// errorBody is the one shape of errors.
type errorBody struct {
	Error     string          `json:"error"`
	Code      string          `json:"code"`
	Problems  []model.Problem `json:"problems"`
	Oldest    uint64          `json:"oldest"`
	RequestID string          `json:"request_id"`
}

// names of the documents of a list.
func names(t testing.TB, body []byte) []string {
	t.Helper()
	docs := decode[[]struct {
		Name string `json:"name"`
		Key  string `json:"key"`
	}](t, body)
	out := []string{}
	for _, d := range docs {
		out = append(out, d.Name+d.Key)
	}
	return out
}

// putPackage stores a package with one class K and the given tags.
func (a *api) putPackage(name string, tags ...string) answer {
	a.t.Helper()
	return a.do(call{"POST", "/api/v1/packages", packageJSON(name, tags...), nil})
}

func packageJSON(name string, tags ...string) string {
	encoded, _ := json.Marshal(append([]string{}, tags...))
	return fmt.Sprintf(`{"name":%q,"version":"1","metadata":{"tags":%s},"classes":[{"key":"K","function_bindings":`+
		`[{"name":"f","function_key":"F","access_modifier":"PUBLIC"}]}],"functions":[{"key":"F"}]}`, name, encoded)
}

func deploymentJSON(key, pkg string, envs ...string) string {
	encoded, _ := json.Marshal(append([]string{}, envs...))
	return fmt.Sprintf(`{"key":%q,"package_name":%q,"class_key":"K","target_envs":%s}`, key, pkg, encoded)
}

func (a *api) putDeployment(key, pkg string, envs ...string) answer {
	a.t.Helper()
	return a.must(a.do(call{"POST", "/api/v1/deployments", deploymentJSON(key, pkg, envs...), nil}), 200)
}

// record applies what the dispatcher would: unit records and an observed state.
func (a *api) record(cmd storage.RecordUnitStatus) storage.Result {
	a.t.Helper()
	a.registerClustersOf(cmd)
	res, err := a.store.Apply(context.Background(), storage.Request{Command: cmd})
	if err != nil {
		a.t.Fatalf("record unit status: %v", err)
	}
	return res
}

// registerClustersOf makes the clusters in which a command records units, as far
// as they do not exist: a dispatcher plans for no other.
func (a *api) registerClustersOf(cmd storage.Command) {
	a.t.Helper()
	record, ok := cmd.(storage.RecordUnitStatus)
	if !ok {
		return
	}
	for _, unit := range record.Put {
		if a.hasCluster(unit.Cluster) {
			continue
		}
		c := model.Cluster{Name: unit.Cluster, BaseURL: "http://" + unit.Cluster + ".invalid", ManagedBy: model.ManagedByAPI}
		c.SetDefaults()
		document, err := model.EncodeCluster(c)
		if err != nil {
			a.t.Fatal(err)
		}
		put := storage.PutCluster{Name: c.Name, Document: document, ManagedBy: c.ManagedBy}
		if _, err := a.store.Apply(context.Background(), storage.Request{Command: put}); err != nil {
			a.t.Fatalf("register cluster %s: %v", c.Name, err)
		}
	}
}

func (a *api) hasCluster(name string) (exists bool) {
	a.t.Helper()
	_, err := a.store.View(context.Background(), storage.ReadOptions{}, func(r storage.Reader) error {
		document, err := r.Get(storage.ClusterKey(name))
		exists = document != nil
		return err
	})
	if err != nil {
		a.t.Fatal(err)
	}
	return exists
}

// dump is every replicated key and value but the request table, which remembers
// rejected requests, too.
func (a *api) dump() map[string]string {
	a.t.Helper()
	all := map[string]string{}
	_, err := a.store.View(context.Background(), storage.ReadOptions{}, func(r storage.Reader) error {
		return r.Scan(nil, nil, func(key, value []byte) (bool, error) {
			if !bytes.HasPrefix(key, []byte(storage.RequestPrefix)) {
				all[string(key)] = string(value)
			}
			return true, nil
		})
	})
	if err != nil {
		a.t.Fatalf("dump: %v", err)
	}
	return all
}

// waitFor waits until cond reports true; it fails with what cond saw last.
func waitFor(t testing.TB, what string, cond func() (bool, string)) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, last := cond()
		if ok {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("%s: not within %s; last: %s", what, patience, last)
		}
	}
}

// metric returns the value of a metric, as written for Prometheus.
func (a *api) metric(name string) string {
	var text bytes.Buffer
	a.metrics.WritePrometheus(&text)
	for line := range strings.SplitSeq(text.String(), "\n") {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return value
		}
	}
	return ""
}

// raw sends bytes over a fresh connection and returns what comes back until the
// server closes it.
func (a *api) raw(request string) string {
	a.t.Helper()
	conn, err := net.Dial("tcp", a.addr)
	if err != nil {
		a.t.Fatalf("dial: %v", err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		a.t.Fatalf("set deadline: %v", err)
	}
	// The server may answer and close before it has read everything.
	_, _ = io.WriteString(conn, request)
	got, err := io.ReadAll(conn)
	if err != nil && !isReset(err) {
		a.t.Fatalf("read answer: %v", err)
	}
	return string(got)
}

func isReset(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && !op.Timeout()
}

// rawAnswer parses the answer to a raw request.
func (a *api) rawAnswer(request string) answer {
	a.t.Helper()
	text := a.raw(request)
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(text)), nil)
	if err != nil {
		a.t.Fatalf("parse answer %.200q: %v", text, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatalf("read body: %v", err)
	}
	return answer{resp.StatusCode, resp.Header, body}
}

// syncBuffer is a log that a test can read while others write.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func exampleYAML(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile("testdata/echo.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
