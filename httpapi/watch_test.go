package httpapi_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/httpapi"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// sse is one block of an event stream.
type sse struct {
	id, event, data, comment string
}

// stream is an open watch.
type stream struct {
	t      testing.TB
	resp   *http.Response
	blocks *bufio.Reader
}

func (a *api) watch(query string, headers ...string) *stream {
	a.t.Helper()
	req, err := http.NewRequest("GET", "http://"+a.addr+"/api/v1/watch"+query, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := a.client.Do(req)
	if err != nil {
		a.t.Fatalf("watch: %v", err)
	}
	a.t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != 200 {
		a.t.Fatalf("watch: status %d", resp.StatusCode)
	}
	return &stream{a.t, resp, bufio.NewReader(resp.Body)}
}

// next reads one block; ok is false at the end of the stream.
func (s *stream) next() (block sse, ok bool) {
	s.t.Helper()
	for seen := false; ; seen = true {
		line, err := s.blocks.ReadString('\n')
		if err != nil {
			return block, false
		}
		line = strings.TrimSuffix(line, "\n")
		if line == "" {
			if seen {
				return block, true
			}
			continue
		}
		name, value, _ := strings.Cut(line, ": ")
		switch name {
		case "id":
			block.id = value
		case "event":
			block.event = value
		case "data":
			block.data = value
		case "":
			block.comment = value
		}
	}
}

// event skips heartbeats.
func (s *stream) event() sse {
	s.t.Helper()
	for {
		block, ok := s.next()
		if !ok {
			s.t.Fatal("the stream ended")
		}
		if block.event != "" {
			return block
		}
	}
}

// change is the data of a put or delete event.
type change struct {
	Index    uint64          `json:"index"`
	Type     string          `json:"type"`
	Kind     string          `json:"kind"`
	Key      string          `json:"key"`
	Document json.RawMessage `json:"document"`
}

func (s *stream) change() change {
	s.t.Helper()
	block := s.event()
	c := decode[change](s.t, []byte(block.data))
	if block.event != c.Type {
		s.t.Errorf("event %q with type %q", block.event, c.Type)
	}
	return c
}

func (c change) String() string { return fmt.Sprintf("%d %s %s %s", c.Index, c.Type, c.Kind, c.Key) }

func (s *stream) changes(n int) []string {
	s.t.Helper()
	var got []string
	for range n {
		got = append(got, s.change().String())
	}
	return got
}

func TestWatchOrderAndResume(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	pending := storage.RecordUnitStatus{Deployment: "d1", Generation: 1,
		Put:      []model.UnitStatus{unit("u1", "d1", "e", "", 1, model.UnitPending)},
		Observed: observed(1, model.DeploymentDeploying)}
	a.registerClustersOf(pending)
	a.must(a.putPackage("p0"), 201)
	live := a.watch("")
	if got := live.resp.Header.Get("X-Oprc-Index"); got != "2" {
		t.Errorf("X-Oprc-Index %q, want 2", got)
	}
	if ct := live.resp.Header.Get("Content-Type"); !strings.HasPrefix(ct, "text/event-stream") || live.resp.ContentLength >= 0 {
		t.Errorf("Content-Type %q, Content-Length %d", ct, live.resp.ContentLength)
	}
	a.must(a.putPackage("p1"), 201)
	a.putDeployment("d1", "p1", "e")
	a.record(pending)
	a.must(a.do(call{"DELETE", pkgs + "/p0", "", nil}), 204)
	want := []string{"3 put package p1", "4 put deployment d1", "5 put unit d1/e/u1", "5 put deployment d1", "6 delete package p0"}
	if diff := cmp.Diff(want, live.changes(5)); diff != "" {
		t.Errorf("live (-want +got):\n%s", diff)
	}

	tests := []struct {
		name, query string
		headers     []string
		want        []string
	}{
		{"since", "?since=4", nil, want[2:]},
		{"since the start", "?since=2", nil, want},
		{"one kind", "?since=2&kind=deployment", nil, []string{want[1], want[3]}},
		{"two kinds", "?since=2&kind=package,unit", nil, []string{want[0], want[2], want[4]}},
		{"kind twice", "?since=2&kind=package&kind=unit", nil, []string{want[0], want[2], want[4]}},
		{"last event id wins", "?since=2", []string{"Last-Event-ID: 5"}, want[4:]},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := a.watch(tt.query, tt.headers...)
			if diff := cmp.Diff(tt.want, s.changes(len(tt.want))); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
		})
	}

	t.Run("documents and ids", func(t *testing.T) {
		s := a.watch("?since=3")
		stored := decode[map[string]any](t, a.get(deps+"/d1").body)
		first := s.event()
		if first.id != "4" {
			t.Errorf("id %q, want 4", first.id)
		}
		// Two changes of one index: only the second moves the position.
		if got := s.event().id; got != "" {
			t.Errorf("id %q before the last change of an index, want none", got)
		}
		second := s.event()
		if second.id != "5" {
			t.Errorf("id %q, want 5", second.id)
		}
		var doc map[string]any
		if err := json.Unmarshal(decode[change](t, []byte(second.data)).Document, &doc); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(stored, doc); diff != "" {
			t.Errorf("document (-stored +event):\n%s", diff)
		}
		if got := s.change(); string(got.Document) != "null" {
			t.Errorf("document of a delete: %s", got.Document)
		}
	})
}

func TestWatchHeartbeat(t *testing.T) {
	t.Parallel()
	a := start(t, options{config: func(c *httpapi.Config) { c.WatchHeartbeat = 20 * time.Millisecond }})
	s := a.watch("?kind=deployment")
	a.must(a.putPackage("p"), 201)
	for {
		block, ok := s.next()
		if !ok {
			t.Fatal("the stream ended")
		}
		if block.event != "" {
			t.Fatalf("event %+v, want heartbeats only", block)
		}
		// The position moves on although no change was of the wanted kind.
		if block.id == "1" && block.comment == "heartbeat 1" {
			return
		}
	}
}

func TestWatchTooOld(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	a.overflowHistory()
	got := a.must(a.get("/api/v1/watch?since=1"), 410)
	body := decode[errorBody](t, got.body)
	if body.Code != "gone" || body.Oldest <= 1 {
		t.Errorf("error %s", got.body)
	}
	if ct := got.header.Get("Content-Type"); ct != "application/json" {
		t.Errorf("Content-Type %q", ct)
	}
	a.watch("?since=" + strconv.FormatUint(body.Oldest, 10))
}

// TestWatchAhead: an index that the cluster never gave out, because its state was
// replaced, must not become a stream that leaves changes out.
func TestWatchAhead(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	a.must(a.putPackage("p"), 201)
	for _, headers := range [][]string{nil, {"Last-Event-ID: 1000"}} {
		query := "?since=1000"
		if headers != nil {
			query = "?since=1"
		}
		got := a.must(a.do(call{"GET", "/api/v1/watch" + query, "", headers}), 410)
		if body := decode[errorBody](t, got.body); body.Code != "gone" || body.Oldest != 1 {
			t.Errorf("error %s, want gone with oldest 1", got.body)
		}
	}
	s := a.watch("?since=1")
	a.must(a.putPackage("q"), 201)
	if diff := cmp.Diff([]string{"2 put package q"}, s.changes(1)); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

// overflowHistory changes more than the memory store's history keeps (64 MiB).
func (a *api) overflowHistory() {
	a.t.Helper()
	text := strings.Repeat("x", 2<<20)
	for i := range 40 {
		cmd := storage.PutPackage{Name: "big", Document: fmt.Appendf(nil, `"name":"big","version":"%d%s"`, i, text)}
		if _, err := a.store.Apply(context.Background(), storage.Request{Command: cmd}); err != nil {
			a.t.Fatalf("put: %v", err)
		}
	}
}

// TestSlowWatcher: a reader that falls behind is told so and cut, and costs the
// writers nothing meanwhile.
func TestSlowWatcher(t *testing.T) {
	t.Parallel()
	a := start(t, options{config: func(c *httpapi.Config) { c.WatchWriteTimeout = time.Minute }})
	s := a.watch("")
	a.overflowHistory()
	var last sse
	for {
		block, ok := s.next()
		if !ok {
			break
		}
		last = block
	}
	if last.event != "error" {
		t.Fatalf("last event %q, want error", last.event)
	}
	body := decode[errorBody](t, []byte(last.data))
	if body.Code != "gone" || body.Oldest == 0 {
		t.Errorf("error event %s", last.data)
	}
	if got := a.metric("oprc_http_watch_cuts_total"); got != "1" {
		t.Errorf("cuts %s, want 1", got)
	}
}

// TestDeafWatcher: a client that never reads loses its stream, and its place.
func TestDeafWatcher(t *testing.T) {
	t.Parallel()
	a := start(t, options{config: func(c *httpapi.Config) {
		c.WatchWriteTimeout = 100 * time.Millisecond
		c.MaxWatchers = 1
	}})
	conn, err := net.Dial("tcp", a.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /api/v1/watch HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatalf("send request: %v", err)
	}
	waitFor(t, "the stream is open", func() (bool, string) {
		got := a.metric("oprc_http_watchers")
		return got == "1", got
	})
	if body := decode[errorBody](t, a.must(a.get("/api/v1/watch"), 503).body); body.Code != "unavailable" {
		t.Errorf("code %q beyond the limit, want unavailable", body.Code)
	}
	a.overflowHistory()
	waitFor(t, "the stream is cut", func() (bool, string) {
		got := a.metric("oprc_http_watchers")
		return got == "0", got
	})
	a.watch("")
}

func TestWatcherLeaves(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	s := a.watch("")
	if got := a.metric("oprc_http_watchers"); got != "1" {
		t.Errorf("watchers %s, want 1", got)
	}
	s.resp.Body.Close()
	waitFor(t, "the stream is closed", func() (bool, string) {
		got := a.metric("oprc_http_watchers")
		return got == "0", got
	})
}

func TestWatchEndsWithShutdown(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	a.must(a.putPackage("p"), 201)
	streams := []*stream{a.watch(""), a.watch("?since=1"), a.watch("?kind=unit")}
	began := time.Now()
	a.stop()
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("shutdown took %s", took)
	}
	for _, s := range streams {
		end := s.event()
		if end.event != "end" || end.data != `{"reason":"shutting down","index":1}` {
			t.Errorf("final event %+v", end)
		}
		if _, ok := s.next(); ok {
			t.Error("something follows the final event")
		}
	}
}

func TestWatchEndsWithStore(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	s := a.watch("")
	if err := a.store.Close(); err != nil {
		t.Fatal(err)
	}
	end := s.event()
	if body := decode[errorBody](t, []byte(end.data)); end.event != "error" || body.Code != "unavailable" {
		t.Errorf("final event %+v", end)
	}
}

// Clusters, their health, events and revisions can be watched like the rest.
func TestWatchKindsOfOrchestration(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	a.must(a.putPackage("shop"), 201)
	since := a.store.Status().AppliedIndex
	a.addCluster("edge-1", "http://crm:1")
	a.setHealth("edge-1", model.ClusterHealthy, nil)
	a.putDeployment("d", "shop", "edge-1")
	a.recordRevision("d", 1, "t", true)
	a.apply(storage.RecordEvents{Events: []model.Event{{Type: model.EventAlarm, Kind: "cluster", Name: "edge-1", Reason: "FailoverBraked"}}})
	for kind, key := range map[string]string{
		"cluster": "edge-1", "cluster_health": "edge-1", "event": "00000000000000000001", "revision": "d/00000000000000000001",
	} {
		change := a.watch(fmt.Sprintf("?kind=%s&since=%d", kind, since)).change()
		if change.Kind != kind || change.Key != key || change.Type != "put" || change.Document == nil {
			t.Errorf("watch of %s: %+v", kind, change)
		}
	}
}
