package sim

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/model"
)

// TestControl: all that can be said to the simulator over HTTP.
func TestControl(t *testing.T) {
	t.Parallel()
	s := New(Config{Name: "edge", StateDir: t.TempDir()})
	s.SetAuth(Auth{Token: "secret"}) // nobody is asked here
	for _, step := range []struct {
		method, path, body string
		status             int
	}{
		{"POST", "/sim/units", unitJSON("foreign", "cart"), 200},
		{"POST", "/sim/units", unitJSON("foreign", "cart"), 409},
		{"POST", "/sim/units", `{"id":"--"}`, 422},
		{"POST", "/sim/units", `nonsense`, 400},
		{"DELETE", "/sim/units/none", "", 404},
		{"PUT", "/sim/term", `{"term":7}`, 200},
		{"PUT", "/sim/term", `7`, 400},
		{"PATCH", "/sim/vitals", `{"ready_nodes":1,"cpu":0.5}`, 200},
		{"PATCH", "/sim/vitals", `{"status":"Fine"}`, 400},
		{"PATCH", "/sim/vitals", `{"memory":2}`, 400},
		{"PATCH", "/sim/vitals", `{"capacity":-1}`, 400},
		{"PUT", "/sim/schedule", `[{"for":"1h","faults":{"hang":true}},{"for":"1s","faults":{}}]`, 200},
		{"PUT", "/sim/schedule", `[{"for":"-1h"}]`, 400},
		{"PUT", "/sim/schedule", `{}`, 400},
		{"PUT", "/sim/faults", `{"units":[{"class":"shop.*","condition":"Down"}]}`, 200},
	} {
		if status, raw := callRaw(t, s, step.method, step.path, step.body); status != step.status {
			t.Errorf("%s %s %s: got %d %s, want %d", step.method, step.path, step.body, status, raw, step.status)
		}
	}
	if s.Term() != 7 || len(s.Units()) != 1 || s.Vitals().ReadyNodes != 1 || s.Vitals().Nodes != 3 || *s.Vitals().CPU != 0.5 {
		t.Errorf("got term %d, units %v, vitals %+v", s.Term(), s.Units(), s.Vitals())
	}
	want := Faults{Units: []UnitFault{{Class: "shop.*", Condition: "Down"}}}
	if diff := cmp.Diff(want, s.Faults()); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
	for path, want := range map[string]string{"/sim/term": `{"term":7}`, "/sim/counts": `{}`} {
		if _, raw := callRaw(t, s, "GET", path, ""); string(raw) != want+"\n" {
			t.Errorf("%s: got %s, want %s", path, raw, want)
		}
	}
	if status, raw := callRaw(t, s, "DELETE", "/sim/units/foreign", ""); status != 200 || len(s.Units()) != 0 {
		t.Errorf("lose: got %d %s, want 200 and no unit", status, raw)
	}
	again := New(s.cfg)
	if err := again.open(); err != nil || again.Term() != 7 || len(again.Units()) != 0 {
		t.Errorf("after a restart: got %v, term %d, units %v", err, again.Term(), again.Units())
	}
}

// TestHealthReportsVitals: what is told and what is not.
func TestHealthReportsVitals(t *testing.T) {
	t.Parallel()
	s := New(Config{Name: "edge", Capacity: 8})
	deploy(t, s, "u1")
	share := func(f float64) *float64 { return &f }
	number := func(n uint32) *uint32 { return &n }
	ask := func() (h model.ClusterHealth) {
		_, raw := callRaw(t, s, "GET", "/api/v1/health", "")
		if err := json.Unmarshal(raw, &h); err != nil {
			t.Fatal(err)
		}
		return h
	}
	if diff := cmp.Diff(&model.ClusterLoad{Units: number(1), Capacity: number(8)}, ask().Load); diff != "" {
		t.Errorf("load with a capacity (-want +got):\n%s", diff)
	}
	s.SetVitals(Vitals{Version: "9", Status: model.ClusterUnhealthy, Nodes: 5, ReadyNodes: 0, CPU: share(0.25), Memory: share(1)})
	got := ask()
	if got.Status != "Unhealthy" || *got.CRMVersion != "9" || *got.NodeCount != 5 || *got.ReadyNodes != 0 || got.Availability != nil {
		t.Errorf("got %+v", got)
	}
	if diff := cmp.Diff(&model.ClusterLoad{Units: number(1), CPU: share(0.25), Memory: share(1)}, got.Load); diff != "" {
		t.Errorf("load (-want +got):\n%s", diff)
	}
	s.SetVitals(Vitals{Status: model.ClusterHealthy, Nodes: -1, ReadyNodes: -1})
	if got := ask(); got.NodeCount != nil || got.ReadyNodes != nil || got.Load != nil {
		t.Errorf("a cluster that tells nothing: got %+v", got)
	}
	defer func() {
		if recover() == nil {
			t.Error("invalid vitals: got no panic")
		}
	}()
	s.SetVitals(Vitals{Status: "Fine"})
}
