package bench

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

const testTimeout = 10 * time.Second

// storedDocuments is a server with a set of documents.
func storedDocuments(t *testing.T, count int) (*apiServer, *Documents) {
	t.Helper()
	server := startAPI(t)
	docs, err := NewDocuments([]string{server.addr}, "bench-test", count, 2048, testTimeout)
	if err != nil {
		t.Fatal(err)
	}
	if err := docs.Store(t.Context()); err != nil {
		t.Fatal(err)
	}
	return server, docs
}

// workloadsOf makes every workload over docs.
func workloadsOf(t *testing.T, docs *Documents) map[string]*Workload {
	t.Helper()
	workloads := make(map[string]*Workload)
	add := func(name string, w *Workload, err error) {
		if err != nil {
			t.Fatal(err)
		}
		workloads[name] = w
	}
	for _, consistency := range Consistencies {
		w, err := NewGet(docs, consistency)
		add("get_"+consistency, w, err)
	}
	w, err := NewList(t.Context(), docs, 5, "stale")
	add("list", w, err)
	w, err = NewPut(docs, shortLoad.Clients)
	add("put", w, err)
	w, err = NewMixed(docs, shortLoad.Clients, "linearizable", 50)
	add("mixed", w, err)
	return workloads
}

func (w *Workload) runOnce(t *testing.T, addr string) (Run, error) {
	t.Helper()
	s := w.Subject(w.Name, []string{addr}, testTimeout, nil)
	return Plan{Name: w.Name, Load: shortLoad, Turns: 1, Subjects: []*Subject{s}}.Run(t.Context())
}

func TestWorkloads(t *testing.T) {
	t.Parallel()
	server, docs := storedDocuments(t, 8)
	for name, w := range workloadsOf(t, docs) {
		if err := docs.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
		if w.Name == "list" {
			// The page that was learnt is older than what put stored since.
			fresh, err := NewList(t.Context(), docs, 5, "stale")
			if err != nil {
				t.Fatal(err)
			}
			w = fresh
		}
		run, err := w.runOnce(t, server.addr)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := run.Subjects[0].Turns[0].Operations; got == 0 {
			t.Errorf("%s: got no operations", name)
		}
	}
	if err := docs.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := len(server.docs); got != 0 {
		t.Errorf("got %d documents after removal, want none", got)
	}
}

// TestWorkloadsCatch: every workload notices every way of being wrong that it can
// meet.
func TestWorkloadsCatch(t *testing.T) {
	t.Parallel()
	onGet := func(f func(ctx *fasthttp.RequestCtx)) func(*fasthttp.RequestCtx) {
		return func(ctx *fasthttp.RequestCtx) {
			if ctx.IsGet() {
				f(ctx)
			}
		}
	}
	flip := func(ctx *fasthttp.RequestCtx) {
		body := bytes.Clone(ctx.Response.Body())
		body[len(body)-20] ^= 1
		ctx.SetBody(body)
	}
	spoils := []struct {
		name  string
		want  string
		spoil func(ctx *fasthttp.RequestCtx)
		// only are the workloads that can notice; none: all.
		only []string
	}{
		{"wrong_byte", "wrong answer", onGet(flip), []string{"get_stale", "get_linearizable", "list", "mixed"}},
		{"cut", "wrong answer", onGet(func(ctx *fasthttp.RequestCtx) { ctx.SetBody(ctx.Response.Body()[:100]) }), []string{"get_stale", "get_linearizable", "list", "mixed"}},
		{"empty", "wrong answer", func(ctx *fasthttp.RequestCtx) { ctx.Response.ResetBody() }, nil},
		{"not_found", "wrong answer", func(ctx *fasthttp.RequestCtx) { ctx.SetStatusCode(fasthttp.StatusNotFound) }, nil},
		{"no_content", "wrong answer", func(ctx *fasthttp.RequestCtx) { ctx.SetStatusCode(fasthttp.StatusNoContent) }, nil},
		{"unavailable", "errors, 0 allowed", func(ctx *fasthttp.RequestCtx) { ctx.SetStatusCode(fasthttp.StatusServiceUnavailable) }, nil},
		{"unchanged", "wrong answer", func(ctx *fasthttp.RequestCtx) {
			if ctx.IsPut() {
				ctx.SetBody(bytes.Replace(ctx.Response.Body(), []byte("updated"), []byte("unchanged"), 1))
			}
		}, []string{"put", "mixed"}},
	}
	for _, tt := range spoils {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server, docs := storedDocuments(t, 8)
			workloads := workloadsOf(t, docs)
			server.set(tt.spoil)
			for name, w := range workloads {
				if tt.only != nil && !slices.Contains(tt.only, name) {
					continue
				}
				if _, err := w.runOnce(t, server.addr); err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%s: got error %v, want %q", name, err, tt.want)
				}
			}
		})
	}
}

// TestMixedCatchesOldReads: a read that misses an acknowledged write is wrong,
// unless it asked for no better.
func TestMixedCatchesOldReads(t *testing.T) {
	t.Parallel()
	tests := []struct {
		consistency string
		want        string
	}{{"stale", ""}, {"lease", "wrong answer"}}
	for _, tt := range tests {
		t.Run(tt.consistency, func(t *testing.T) {
			t.Parallel()
			server, docs := storedDocuments(t, 4)
			server.mu.Lock()
			server.older = make(map[string][]byte)
			for name, doc := range server.docs {
				server.older[name] = doc
			}
			server.mu.Unlock()
			if tt.consistency != "stale" {
				server.set(func(ctx *fasthttp.RequestCtx) {
					if string(ctx.QueryArgs().Peek("consistency")) == tt.consistency {
						ctx.SetBody(server.older[string(ctx.Path()[len(packagesPath)+1:])])
					}
				})
			}
			w, err := NewMixed(docs, shortLoad.Clients, tt.consistency, 50)
			if err != nil {
				t.Fatal(err)
			}
			_, err = w.runOnce(t, server.addr)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want %q", err, tt.want)
			}
		})
	}
}

// TestPutCatchesLostWrites: what was acknowledged must be there at the end.
func TestPutCatchesLostWrites(t *testing.T) {
	t.Parallel()
	server, docs := storedDocuments(t, 4)
	w, err := NewPut(docs, shortLoad.Clients)
	if err != nil {
		t.Fatal(err)
	}
	kept := bytes.Clone(server.docs["bench-test-0000002"])
	server.set(func(ctx *fasthttp.RequestCtx) {
		if ctx.IsPut() {
			server.docs["bench-test-0000002"] = kept
		}
	})
	_, err = w.runOnce(t, server.addr)
	var wrong *WrongAnswerError
	if !errors.As(err, &wrong) || !strings.Contains(err.Error(), "bench-test-0000002") {
		t.Errorf("got error %v, want a wrong answer about bench-test-0000002", err)
	}
}

// TestPutDoubts: a write without an answer may happen at any later time, so what
// is read afterwards proves nothing.
func TestPutDoubts(t *testing.T) {
	t.Parallel()
	server, docs := storedDocuments(t, 4)
	w, err := NewPut(docs, shortLoad.Clients)
	if err != nil {
		t.Fatal(err)
	}
	var puts atomic.Int64
	server.set(func(ctx *fasthttp.RequestCtx) {
		if ctx.IsPut() && puts.Add(1)%3 == 0 {
			ctx.SetStatusCode(fasthttp.StatusGatewayTimeout)
		}
	})
	s := w.Subject("put", []string{server.addr}, testTimeout, nil)
	plan := Plan{Name: "put", Load: shortLoad, Turns: 2, Subjects: []*Subject{s}, AllowedErrors: 1 << 40}
	run, err := plan.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if run.Subjects[0].Turns[0].Errors == 0 {
		t.Error("got no errors, want some")
	}
}

func TestDocumentsRefuse(t *testing.T) {
	t.Parallel()
	server := startAPI(t)
	addrs := []string{server.addr}
	if _, err := NewDocuments(addrs, "bench", 0, 2048, testTimeout); err == nil {
		t.Error("no documents: got no error")
	}
	if _, err := NewDocuments(addrs, "bench", 1, 1, testTimeout); err == nil {
		t.Error("tiny documents: got no error")
	}
	docs, err := NewDocuments(addrs, "bench", 2, 2048, testTimeout)
	if err != nil {
		t.Fatal(err)
	}
	if err := docs.Settle(t.Context()); err == nil {
		t.Error("settle what is not stored: got no error")
	}
	if _, err := NewPut(docs, 3); err == nil {
		t.Error("more writers than documents: got no error")
	}
	if _, err := NewMixed(docs, 1, "linearizable", 101); err == nil {
		t.Error("101 % writes: got no error")
	}
	if _, err := NewGet(docs, "eventual"); err == nil {
		t.Error("unknown consistency: got no error")
	}
	if _, err := NewList(t.Context(), docs, 3, "stale"); err == nil {
		t.Error("page larger than the set: got no error")
	}
	if _, err := NewList(t.Context(), docs, 2, "stale"); err == nil {
		t.Error("page of what is not stored: got no error")
	}
}

func TestCheckPage(t *testing.T) {
	t.Parallel()
	item := func(name string) string { return `{"name":"` + name + `"}` }
	tests := []struct{ name, body, want string }{
		{"ok", "[" + item("a") + "," + item("b") + "]", ""},
		{"err_order", "[" + item("b") + "," + item("a") + "]", "comes after"},
		{"err_twice", "[" + item("a") + "," + item("a") + "]", "comes after"},
		{"err_short", "[" + item("a") + "]", "holds 1 packages"},
		{"err_object", item("a"), "not a list"},
		{"err_item", "[1,2]", "parse stored package"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := checkPage("/x", []byte(tt.body), 2)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// TestConnectionRedials: a server may close a connection whenever it likes.
func TestConnectionRedials(t *testing.T) {
	t.Parallel()
	server, docs := storedDocuments(t, 4)
	server.set(func(ctx *fasthttp.RequestCtx) { ctx.SetConnectionClose() })
	w, err := NewGet(docs, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.runOnce(t, server.addr); err != nil {
		t.Error(err)
	}
}

func TestParseServers(t *testing.T) {
	t.Parallel()
	got, err := ParseServers([]string{"http://a:1", "b", "http://[::1]/", "c:8080"})
	if want := "a:1 b:80 [::1]:80 c:8080"; err != nil || strings.Join(got, " ") != want {
		t.Errorf("got %v and error %v, want %s", got, err, want)
	}
	for _, bad := range []string{"https://a:1", "http://a/path", "http://", "http://a?x=1", ":x"} {
		if _, err := ParseServers([]string{bad}); err == nil {
			t.Errorf("%s: got no error", bad)
		}
	}
	if _, err := ParseServers(nil); err == nil {
		t.Error("none: got no error")
	}
}

func TestRoute(t *testing.T) {
	t.Parallel()
	server := startAPI(t)
	server.members = `[{"name":"n1","role":"leader","http_addr":"` + server.addr + `"},
		{"name":"n2","role":"follower","http_addr":"b:1"},{"name":"n3","role":"follower","http_addr":"c:1"}]`
	addrs := []string{server.addr, "b:1", "c:1"}
	for via, want := range map[string]string{
		"": strings.Join(addrs, " "), "all": strings.Join(addrs, " "), "leader": server.addr, "follower": "b:1 c:1",
	} {
		got, err := Route(t.Context(), addrs, via, testTimeout)
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("via %q: got %v and error %v, want %s", via, got, err, want)
		}
	}
	if _, err := Route(t.Context(), addrs, "proxy", testTimeout); err == nil {
		t.Error("unknown: got no error")
	}
	if _, err := Route(t.Context(), addrs[:1], "follower", testTimeout); err == nil {
		t.Error("no follower among the addresses: got no error")
	}
}
