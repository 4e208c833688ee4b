package bench

import (
	"bytes"
	"fmt"
	"net"
	"path"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/valyala/fasthttp"
)

// apiServer answers as the API does, over real HTTP, and can be made to do what a
// correct control plane never does. What a correct one does, the gate's smoke
// run of the shipped binary shows.
type apiServer struct {
	addr string

	mu   sync.Mutex // guards what follows
	docs map[string][]byte
	// older is what stale reads answer, when not nil.
	older   map[string][]byte
	index   uint64
	members string
	// spoil, when not nil, may change an answer before it is sent.
	spoil func(ctx *fasthttp.RequestCtx)
}

func startAPI(t *testing.T) *apiServer {
	t.Helper()
	s := &apiServer{docs: map[string][]byte{}}
	s.addr = serve(t, s.handle)
	return s
}

// serve runs a handler on a port of its own until the test ends.
func serve(t testing.TB, handler fasthttp.RequestHandler) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &fasthttp.Server{Handler: handler, NoDefaultServerHeader: true, CloseOnShutdown: true}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		_ = listener.Close() // Connections end with their clients.
		t.Logf("server ended: %v", <-done)
	})
	return listener.Addr().String()
}

func (s *apiServer) set(spoil func(ctx *fasthttp.RequestCtx)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spoil = spoil
}

func (s *apiServer) handle(ctx *fasthttp.RequestCtx) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := path.Base(string(ctx.Path()))
	switch {
	case string(ctx.Path()) == packagesPath:
		s.list(ctx)
	case string(ctx.Path()) == "/api/v1/members":
		ctx.SetBodyString(s.members)
	case ctx.IsPut():
		status := "updated"
		if s.docs[name] == nil {
			status = "created"
			ctx.SetStatusCode(fasthttp.StatusCreated)
		}
		s.index++
		s.docs[name] = append(fmt.Appendf(nil, `{"resource_version":%d,`, s.index), ctx.PostBody()[1:]...)
		fmt.Fprintf(ctx, `{"id":%q,"status":%q,"message":"Package %s successfully"}`, name, status, status)
	case ctx.IsDelete():
		delete(s.docs, name)
		ctx.SetStatusCode(fasthttp.StatusNoContent)
	default:
		s.get(ctx, name)
	}
	if s.spoil != nil {
		s.spoil(ctx)
	}
}

func (s *apiServer) get(ctx *fasthttp.RequestCtx, name string) {
	doc := s.docs[name]
	if s.older != nil && string(ctx.QueryArgs().Peek("consistency")) == "stale" {
		doc = s.older[name]
	}
	if doc == nil {
		ctx.SetStatusCode(fasthttp.StatusNotFound)
		return
	}
	ctx.SetContentType("application/json")
	ctx.Response.Header.Set("Etag", `"7"`)
	ctx.SetBody(doc)
}

func (s *apiServer) list(ctx *fasthttp.RequestCtx) {
	names := make([]string, 0, len(s.docs))
	for name := range s.docs {
		names = append(names, name)
	}
	slices.Sort(names)
	limit, _ := strconv.Atoi(string(ctx.QueryArgs().Peek("limit")))
	var page [][]byte
	for _, name := range names[:min(limit, len(names))] {
		page = append(page, s.docs[name])
	}
	ctx.SetBody(slices.Concat([]byte("["), bytes.Join(page, []byte(",")), []byte("]")))
}
