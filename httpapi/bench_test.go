package httpapi

import (
	"log/slog"
	"strings"
	"testing"

	"context"

	"github.com/valyala/fasthttp"

	"github.com/oprc/oprc-pm/fsm"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/memory"
)

// hotServer is a server over a store with one package, without a socket.
func hotServer(tb testing.TB) *Server {
	tb.Helper()
	store := memory.New(fsm.NewMachine())
	tb.Cleanup(func() { _ = store.Close() })
	doc := `{"name":"shop","metadata":{"description":"` + strings.Repeat("d", 900) + `"}}`
	pkg, _, err := model.DecodePackage([]byte(doc), model.JSON)
	if err != nil {
		tb.Fatal(err)
	}
	cmd, err := storage.NewPutPackage(pkg, storage.Create, 0)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := store.Apply(context.Background(), storage.Request{Command: cmd}); err != nil {
		tb.Fatal(err)
	}
	return New(DefaultConfig(), Deps{Store: store, Logger: slog.New(slog.DiscardHandler)})
}

func hotRequest(path string) *fasthttp.RequestCtx {
	var ctx fasthttp.RequestCtx
	ctx.Request.SetRequestURI(path)
	ctx.Request.Header.SetMethod("GET")
	return &ctx
}

// maxGetAllocs bounds what the read of one document may allocate: the path
// parameter (a string and its interface), the context of the request, the
// store's key.
const maxGetAllocs = 6

func TestGetAllocations(t *testing.T) {
	s := hotServer(t)
	ctx := hotRequest("/api/v1/packages/shop")
	serve := func() {
		ctx.Response.Reset()
		ctx.ResetUserValues()
		s.http.Handler(ctx)
	}
	serve()
	if code := ctx.Response.StatusCode(); code != 200 || !strings.Contains(string(ctx.Response.Body()), `"name":"shop"`) {
		t.Fatalf("status %d: %s", code, ctx.Response.Body())
	}
	if got := testing.AllocsPerRun(200, serve); got > maxGetAllocs {
		t.Errorf("%.1f allocations per read, want at most %d", got, maxGetAllocs)
	}
}

func BenchmarkGetPackage(b *testing.B) {
	for _, bm := range []struct{ name, path string }{
		{"default", "/api/v1/packages/shop"},
		{"stale", "/api/v1/packages/shop?consistency=stale"},
		{"missing", "/api/v1/packages/none"},
	} {
		b.Run(bm.name, func(b *testing.B) {
			s := hotServer(b)
			ctx := hotRequest(bm.path)
			b.ReportAllocs()
			for b.Loop() {
				ctx.Response.Reset()
				ctx.ResetUserValues()
				s.http.Handler(ctx)
			}
		})
	}
}

func BenchmarkNotModified(b *testing.B) {
	s := hotServer(b)
	ctx := hotRequest("/api/v1/packages/shop")
	ctx.Request.Header.Set("If-None-Match", `"1"`)
	b.ReportAllocs()
	for b.Loop() {
		ctx.Response.Reset()
		ctx.ResetUserValues()
		s.http.Handler(ctx)
	}
}
