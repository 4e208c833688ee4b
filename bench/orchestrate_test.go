package bench

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/oprc/oprc-pm/internal/testproc"
)

func TestOrchestrateRefuses(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*OrchestrateOptions){
		"no_nodes":            func(o *OrchestrateOptions) { o.Nodes = 0 },
		"too_many_clusters":   func(o *OrchestrateOptions) { o.Clusters = 10_000 },
		"no_deployments":      func(o *OrchestrateOptions) { o.Deployments = 0 },
		"more_units_than_fit": func(o *OrchestrateOptions) { o.UnitsEach = o.Clusters + 1 },
		"no_turns":            func(o *OrchestrateOptions) { o.PlanTurns = 0 },
		"no_limit":            func(o *OrchestrateOptions) { o.Limit = 0 },
		"no_quiet":            func(o *OrchestrateOptions) { o.Quiet = 0 },
		"no_clients":          func(o *OrchestrateOptions) { o.Plan.Clients = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := SmokeOrchestrateOptions()
			change(&o)
			if report, err := Orchestrate(t.Context(), Host{Dir: t.TempDir()}, o); err == nil || report != nil {
				t.Errorf("got report %v and error %v", report, err)
			}
		})
	}
	if err := DefaultOrchestrateOptions().Validate(); err != nil {
		t.Errorf("defaults: %v", err)
	}
}

// TestOrchestrateSmoke runs the shipped program: all comes to run, the clusters
// hold what is recorded, and then nothing is written any more.
func TestOrchestrateSmoke(t *testing.T) {
	t.Parallel()
	h := Host{
		Version: "1.2.3", Executable: testproc.Binary(t), SimVerb: []string{"crm-sim"}, Dir: t.TempDir(),
		Env: []string{"PATH=/usr/bin:/bin"}, Progress: t.Logf,
		ServerArgs: []string{"--config", writeFile(t, "config.yaml", "crm:\n  health_check_interval: 2s\n")},
	}
	o := SmokeOrchestrateOptions()
	report, err := Orchestrate(t.Context(), h, o)
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Runs) != 2 || len(report.Runs[0].Subjects) != 1 || report.Runs[0].Subjects[0].Turns[0].Operations != uint64(o.Deployments) {
		t.Fatalf("got %+v, want the deployments and the plans", report.Runs)
	}
	figures := map[string]float64{}
	for _, run := range report.Runs {
		for _, f := range run.Figures {
			figures[f.Name] = f.Value
		}
	}
	if got := figures["writes through Raft while nothing changes"]; got != 0 {
		t.Errorf("got %g writes a second while nothing changes, want none", got)
	}
	for _, name := range []string{"initial convergence", "calls to CRMs while nothing changes", "p99 of a plan, its answer included"} {
		if figures[name] <= 0 {
			t.Errorf("%s: got %g, want a figure", name, figures[name])
		}
	}
	if plans := report.Runs[1].Subjects[0]; plans.Latency.P99 <= 0 {
		t.Errorf("plans: got %+v, want a latency", plans.Latency)
	}
	var table strings.Builder
	if err := report.WriteTable(&table); err != nil || !strings.Contains(table.String(), "initial convergence: ") {
		t.Errorf("table: %v\n%s", err, table.String())
	}
}

// TestCompareUnits: what the clusters hold and what is recorded must be the same,
// one by one.
func TestCompareUnits(t *testing.T) {
	t.Parallel()
	const path = "/api/v1/clusters/a/units"
	for name, tt := range map[string]struct {
		recorded string
		held     map[string]string
		wrong    string
	}{
		"same":             {`[{"id":"u1","deployment_key":"d","phase":"RUNNING"}]`, map[string]string{"u1": "d"}, ""},
		"none":             {`[]`, nil, ""},
		"missing":          {`[{"id":"u1","deployment_key":"d","phase":"RUNNING"}]`, nil, "does not hold unit u1"},
		"orphan":           {`[]`, map[string]string{"u1": "d"}, "records 0 units, the cluster holds 1"},
		"other deployment": {`[{"id":"u1","deployment_key":"d","phase":"RUNNING"}]`, map[string]string{"u1": "e"}, "does not hold unit u1 of d"},
		"on its way":       {`[{"id":"u1","deployment_key":"d","phase":"PENDING"}]`, map[string]string{"u1": "d"}, "is PENDING"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newConnection(answering(t, path, tt.recorded), testTimeout)
			defer c.close()
			err := compareCluster(t.Context(), c, "a", tt.held)
			if got := errorText(err); (tt.wrong == "") != (err == nil) || !strings.Contains(got, tt.wrong) {
				t.Errorf("got %q, want %q", got, tt.wrong)
			}
		})
	}
}

// answering serves one path.
func answering(t *testing.T, path, body string) (addr string) {
	t.Helper()
	return serve(t, func(ctx *fasthttp.RequestCtx) {
		if string(ctx.Path()) != path {
			ctx.SetStatusCode(fasthttp.StatusNotFound)
			return
		}
		ctx.SetBodyString(body)
	})
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func writeFile(t *testing.T, name, content string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFigures(t *testing.T) {
	t.Parallel()
	most := 2.0
	for want, f := range map[string]Figure{
		"rate: 12.35 /s":                 {Name: "rate", Value: 12.3456, Unit: "/s"},
		"p99: 1.5 ms, at most 2: met":    {Name: "p99", Value: 1.5, Unit: "ms", Most: &most},
		"p99: 2.5 ms, at most 2: MISSED": {Name: "p99", Value: 2.5, Unit: "ms", Most: &most},
		"writes: 0 /s, at most 2: met":   {Name: "writes", Unit: "/s", Most: &most},
		"convergence: 1234 units/s":      {Name: "convergence", Value: 1234.4, Unit: "units/s"},
		"convergence: 12346 units/s":     {Name: "convergence", Value: 12345.6, Unit: "units/s"},
	} {
		if got := f.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestUntilGivesUp: what does not come about in time fails with how far it came.
func TestUntilGivesUp(t *testing.T) {
	t.Parallel()
	b := &orchestration{options: OrchestrateOptions{Limit: 20 * time.Millisecond}, local: &Local{nodes: []*child{{ready: ready{HTTPAddr: "127.0.0.1:1"}}}}}
	err := b.until(t.Context(), "the sky", time.Millisecond, func(*connection) (bool, string, error) { return false, "half way", nil })
	if got := errorText(err); !strings.Contains(got, "the sky") || !strings.Contains(got, "half way") {
		t.Errorf("got %q, want what and how far", got)
	}
}
