package httpapi

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/oprc/oprc-pm/crm/plan"
	"github.com/oprc/oprc-pm/fsm"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/memory"
)

// planServer is a server that plans over so many clusters, without a socket.
func planServer(tb testing.TB, clusters int) *Server {
	tb.Helper()
	store := memory.New(fsm.NewMachine())
	tb.Cleanup(func() { _ = store.Close() })
	doc := `{"name":"shop","classes":[{"key":"Cart","function_bindings":[{"name":"add","function_key":"add","access_modifier":"PUBLIC"}]}],` +
		`"functions":[{"key":"add","provision_config":{"container_image":"img"}}]}`
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
	fleet := make([]plan.Cluster, clusters)
	for i := range fleet {
		nodes, ready, availability := uint32(20), uint32(19), 0.9+float64(i*7919%1000)/10000
		fleet[i] = plan.Cluster{
			Name: fmt.Sprintf("cluster-%04d", i), Labels: map[string]string{"zone": fmt.Sprintf("zone-%02d", i%30)}, Weight: 100,
			Status: []string{model.ClusterHealthy, model.ClusterHealthy, model.ClusterHealthy, model.ClusterDegraded, model.ClusterUnhealthy}[i%5],
			Nodes:  &nodes, ReadyNodes: &ready, Availability: &availability,
			Units: i * 31 % 400, Capacity: 500, CPU: i % 100, Memory: i * 3 % 100, Cordoned: i%33 == 0,
		}
	}
	return New(DefaultConfig(), Deps{
		Store: store, Logger: slog.New(slog.DiscardHandler),
		NewMachine: func() storage.Machine { return fsm.NewMachine() },
		PlanInput: func(d model.Deployment, p model.Package) plan.Input {
			return plan.Input{Deployment: d, Package: p, Clusters: slices.Clone(fleet), Policy: plan.DefaultPolicy()}
		},
	})
}

func dryRunRequest() *fasthttp.RequestCtx {
	var ctx fasthttp.RequestCtx
	ctx.Request.SetRequestURI("/api/v1/deployments?dry_run=true")
	ctx.Request.Header.SetMethod("POST")
	ctx.Request.Header.SetContentType("application/json")
	ctx.Request.SetBodyString(`{"key":"cart","package_name":"shop","class_key":"Cart","nfr_requirements":{"availability":0.9999},` +
		`"placement":{"spread":[{"label":"zone"}]}}`)
	return &ctx
}

// maxDryRunAllocs bounds what a dry run over a thousand clusters allocates. It is
// less than one for each of them.
const maxDryRunAllocs = 500

func TestDryRunAllocations(t *testing.T) {
	s := planServer(t, 1000)
	ctx := dryRunRequest()
	serve := func() {
		ctx.Response.Reset()
		ctx.ResetUserValues()
		s.http.Handler(ctx)
	}
	serve()
	if code := ctx.Response.StatusCode(); code != 200 || !bytes.Contains(ctx.Response.Body(), []byte(`"cluster":"cluster-0999"`)) {
		t.Fatalf("status %d: %s", code, ctx.Response.Body())
	}
	if got := testing.AllocsPerRun(50, serve); got > maxDryRunAllocs {
		t.Errorf("%.0f allocations per dry run, want at most %d", got, maxDryRunAllocs)
	}
}

func BenchmarkDryRun(b *testing.B) {
	s := planServer(b, 1000)
	ctx := dryRunRequest()
	b.ReportAllocs()
	for b.Loop() {
		ctx.Response.Reset()
		ctx.ResetUserValues()
		s.http.Handler(ctx)
	}
	if code := ctx.Response.StatusCode(); code != 200 {
		b.Fatalf("status %d: %s", code, ctx.Response.Body())
	}
	b.ReportMetric(float64(len(ctx.Response.Body())), "answer-B")
}
