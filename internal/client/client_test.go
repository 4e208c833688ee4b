package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
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

// serve starts a server; its requests are what handler makes of them.
func serve(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

func newClient(t *testing.T, change func(*Config), servers ...string) *Client {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Servers = servers
	cfg.Timeout = 10 * time.Second
	if change != nil {
		change(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func answer(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

// refusing returns the URL of a server that is not there.
func refusing(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return "http://" + listener.Addr().String()
}

// A write is sent again with the same key until its outcome is known.
func TestWritesAreRepeatedWithTheSameKey(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var keys []string
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		keys = append(keys, r.Header.Get("Idempotency-Key"))
		attempt := len(keys)
		mu.Unlock()
		switch attempt {
		case 1:
			answer(w, 503, `{"error":"no leader","code":"unavailable"}`)
		case 2:
			answer(w, 504, `{"error":"not confirmed","code":"unknown_outcome"}`)
		case 3:
			panic(http.ErrAbortHandler) // the connection breaks
		default:
			w.Header().Set("X-Oprc-Index", "42")
			answer(w, 201, `{"id":"p","status":"created","message":"ok"}`)
		}
	})
	got, err := newClient(t, nil, server).PutPackage(t.Context(), model.Package{Name: "p"}, WriteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got.Status != "created" || got.Index != 42 {
		t.Errorf("got %+v", got)
	}
	if len(keys) != 4 || keys[0] == "" || slices.ContainsFunc(keys, func(k string) bool { return k != keys[0] }) {
		t.Errorf("keys of the attempts: %q", keys)
	}
}

// What may have happened in one attempt stays possible, whatever the next ones
// say.
func TestUnknownOutcomeIsNotForgotten(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]func(http.ResponseWriter){
		"broken":      func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
		"unconfirmed": func(w http.ResponseWriter) { answer(w, 504, `{"error":"not confirmed","code":"unknown_outcome"}`) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var once sync.Once
			server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				answered := false
				once.Do(func() { answered = true })
				if answered {
					first(w)
					return
				}
				answer(w, 503, `{"error":"no leader","code":"unavailable"}`)
			})
			c := newClient(t, func(cfg *Config) { cfg.Timeout = 600 * time.Millisecond }, server)
			_, err := c.PutPackage(t.Context(), model.Package{Name: "p"}, WriteOptions{})
			if got, want := model.CodeOf(err), model.CodeUnknownOutcome; got != want {
				t.Errorf("code: got %q (%v), want %q", got, err, want)
			}
		})
	}
}

func TestDecidedAnswersAreNotRepeated(t *testing.T) {
	t.Parallel()
	for status, code := range map[int]model.Code{
		400: model.CodeInvalid, 401: model.CodeUnauthenticated, 403: model.CodeForbidden, 404: model.CodeNotFound,
		409: model.CodeConflict, 412: model.CodeFailedPrecondition, 413: model.CodeTooLarge, 500: model.CodeInternal,
		410: model.CodeGone, 405: model.CodeInvalid, 302: model.CodeInternal,
	} {
		calls := 0
		server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			calls++
			answer(w, status, "<html>not ours</html>")
		})
		_, err := newClient(t, nil, server).PutPackage(t.Context(), model.Package{Name: "p"}, WriteOptions{})
		if got := model.CodeOf(err); got != code || calls != 1 {
			t.Errorf("status %d: got code %q after %d calls, want %q after 1 (%v)", status, got, calls, code, err)
		}
	}
}

func TestErrorIsWhatTheServerSaid(t *testing.T) {
	t.Parallel()
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 400, `{"error":"name: is empty","code":"invalid","problems":[{"path":"name","message":"is empty"}],"request_id":"r-1"}`)
	})
	_, err := newClient(t, nil, server).GetPackage(t.Context(), "p")
	var got *Error
	if !errors.As(err, &got) {
		t.Fatalf("got %v", err)
	}
	want := &Error{Status: 400, Code: model.CodeInvalid, Message: "name: is empty", RequestID: "r-1", Server: server,
		Problems: []model.Problem{{Path: "name", Message: "is empty"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var invalid *model.Error
	if !errors.As(err, &invalid) || len(invalid.Problems) != 1 {
		t.Errorf("there is no *model.Error in %v", err)
	}
}

// The next server is asked when one is not there or has no leader, and the one
// that answered is asked first from then on.
func TestServersAreTriedInTurn(t *testing.T) {
	t.Parallel()
	var busy, good int
	leaderless := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		busy++
		w.Header().Set("Retry-After", "60")
		answer(w, 503, `{"error":"no leader","code":"unavailable"}`)
	})
	working := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		good++
		answer(w, 200, `{"name":"p"}`)
	})
	c := newClient(t, nil, refusing(t), leaderless, working)
	begun := time.Now()
	for range 3 {
		if _, err := c.GetPackage(t.Context(), "p"); err != nil {
			t.Fatal(err)
		}
	}
	if busy != 1 || good != 3 {
		t.Errorf("calls: %d to the one without a leader, %d to the other; want 1 and 3", busy, good)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("it waited %v before it asked the next", took)
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	dead := refusing(t)
	c := newClient(t, func(cfg *Config) { cfg.RefusedRounds = 2 }, dead, dead)
	_, err := c.GetPackage(t.Context(), "p")
	var unreachable *UnreachableError
	if !errors.As(err, &unreachable) || unreachable.Sent || model.CodeOf(err) != model.CodeUnavailable {
		t.Errorf("read: got %v", err)
	}
	if _, err = c.PutPackage(t.Context(), model.Package{Name: "p"}, WriteOptions{}); model.CodeOf(err) != model.CodeUnavailable {
		t.Errorf("a write that was not sent: got %v", err)
	}
	breaking := serve(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	c = newClient(t, func(cfg *Config) { cfg.Timeout = 300 * time.Millisecond }, breaking)
	_, err = c.PutPackage(t.Context(), model.Package{Name: "p"}, WriteOptions{})
	if model.CodeOf(err) != model.CodeUnknownOutcome || !strings.Contains(err.Error(), "may or may not") {
		t.Errorf("a write that may have arrived: got %v", err)
	}
}

// A server that accepts and says nothing does not use up all the time.
func TestSilentServerIsLeft(t *testing.T) {
	t.Parallel()
	silent := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	working := serve(t, func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, `{"name":"p"}`) })
	c := newClient(t, func(cfg *Config) { cfg.AttemptTimeout = 50 * time.Millisecond }, silent, working)
	if _, err := c.GetPackage(t.Context(), "p"); err != nil {
		t.Error(err)
	}
}

func TestCancelledCallEndsAtOnce(t *testing.T) {
	t.Parallel()
	silent := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begun := time.Now()
	if _, err := newClient(t, nil, silent).GetPackage(ctx, "p"); err == nil {
		t.Error("there is no error")
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestListFollowsPages(t *testing.T) {
	t.Parallel()
	var asked []string
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		asked = append(asked, q.Get("cursor")+"/"+q.Get("limit")+"/"+q.Get("tags"))
		w.Header().Set("X-Oprc-Index", "9")
		switch q.Get("cursor") {
		case "":
			w.Header().Set("Link", `</api/v1/packages?cursor=one&tags=x&limit=2>; rel="next"`)
			answer(w, 200, `[{"name":"a"},{"name":"b"}]`)
		case "one":
			w.Header().Set("Link", `</api/v1/packages?cursor=two&tags=x>; rel="next"`)
			answer(w, 200, `[{"name":"c"}]`)
		default:
			answer(w, 200, `[]`)
		}
	})
	c := newClient(t, nil, server)
	packages, err := c.ListPackages(t.Context(), map[string][]string{"tags": {"x"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(packages) != 3 || packages[2].Name != "c" {
		t.Errorf("got %d packages", len(packages))
	}
	if diff := cmp.Diff([]string{"//x", "one/2/x", "two//x"}, asked); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	asked = nil
	list, err := c.ListRaw(t.Context(), Resource(Packages), nil, 3)
	if err != nil || len(list.Items) != 3 || !list.More || list.Index != 9 {
		t.Errorf("got %d items, more %v, index %d, %v", len(list.Items), list.More, list.Index, err)
	}
	if diff := cmp.Diff([]string{"/3/", "one/1/x"}, asked); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestRequestsAreWellFormed(t *testing.T) {
	t.Parallel()
	type seen struct{ Method, URI, Match, Type, Body string }
	var got seen
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = seen{r.Method, r.RequestURI, r.Header.Get("If-Match"), r.Header.Get("Content-Type"), string(body)}
		w.Header().Set("ETag", `"7"`)
		w.Header().Add("Warning", `299 - "unknown field a.b"`)
		answer(w, 200, `{"id":"x","status":"updated"}`)
	})
	c := newClient(t, nil, server+"/prefix/")
	result, err := c.DeletePackage(t.Context(), "a/b ü?", WriteOptions{IfMatch: 7, Cascade: true, Wait: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	want := seen{Method: "DELETE", URI: "/prefix/api/v1/packages/a%2Fb%20%C3%BC%3F?cascade=true&wait=1s", Match: `"7"`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("delete (-want +got):\n%s", diff)
	}
	if result.ResourceVersion != 7 || !slices.Equal(result.Warnings, []string{"unknown field a.b"}) {
		t.Errorf("result: %+v", result)
	}
	if _, err := c.PutDeployment(t.Context(), model.Deployment{Key: "d", PackageName: "p", ClassKey: "c"}, WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	var d model.Deployment
	if err := json.Unmarshal([]byte(got.Body), &d); err != nil || d.Key != "d" || got.Type != "application/json" || got.Method != "PUT" {
		t.Errorf("put: %v, %+v", err, got)
	}
}

func TestServerURLs(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"http://a:1": "http://a:1", " http://a:1/ ": "http://a:1", "a:1": "http://a:1", "https://a/x/": "https://a/x",
		"": "", "ftp://a": "", "http://": "", "http://a?x": "", "http://a b": "",
	} {
		got, err := baseURL(text)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("baseURL(%q): got %q, %v, want %q", text, got, err, want)
		}
	}
	if _, err := New(Config{}); err == nil {
		t.Error("a client without a server was made")
	}
}

func TestMessages(t *testing.T) {
	t.Parallel()
	const stream = "retry: 1000\r\n: alive\r\n\r\nid: 4\rdata: a\rdata:b\r\r" +
		"event: put\nignored: x\ndata: c\n\n\n\nid: 9\n\ndata: cut off"
	m := newMessages(strings.NewReader(stream))
	var got []string
	for {
		next, err := m.next()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.Error(err)
			}
			break
		}
		got = append(got, fmt.Sprintf("%s|%s|%s", next.event, next.id, next.data))
	}
	want := []string{"|4|a\nb", "put||c", "|9|"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func FuzzMessages(f *testing.F) {
	f.Add("id: 4\rdata: a\r\n\r\ndata:b\n\n")
	f.Fuzz(func(t *testing.T, stream string) {
		m := newMessages(strings.NewReader(stream))
		for range len(stream) + 1 {
			if _, err := m.next(); err != nil {
				return
			}
		}
		t.Error("more messages than bytes")
	})
}
