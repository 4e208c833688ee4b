package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/httpapi"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

func ptr[T any](v T) *T { return &v }

func TestEmptyServer(t *testing.T) {
	t.Parallel()
	empty := start(t, options{})
	for _, path := range []string{
		"/api/v1/envs", clusters, "/api/v1/envs/health", "/api/v1/members", pkgs, deps, rts, "/api/v1/classes", "/api/v1/functions",
		"/api/v1/deployment-records", "/api/v1/class-runtimes", "/api/v1/events",
	} {
		if got := string(empty.must(empty.get(path), 200).body); got != "[]\n" {
			t.Errorf("%s of an empty server: %q, want []", path, got)
		}
	}
	empty.must(empty.get("/api/v1/envs/edge-1/health"), 404)
	empty.must(empty.get(clusters+"/edge-1"), 404)
	if got := empty.must(empty.get("/api/v1/deployment-records/x"), 503); decode[errorBody](t, got.body).Code != "cluster_unavailable" {
		t.Errorf("record without clusters: %s", got.body)
	}
}

func TestMembers(t *testing.T) {
	t.Parallel()
	members := []storage.Member{{Name: "n1", ID: "x", Role: storage.RoleLeader, Voter: true, Alive: true, HTTPAddr: "h:1", AppliedIndex: 7}}
	var fail error
	a := start(t, options{deps: func(d *httpapi.Deps) {
		d.Members = func(context.Context) ([]storage.Member, error) { return members, fail }
	}})
	got := decode[[]storage.Member](t, a.must(a.get("/api/v1/members"), 200).body)
	if diff := cmp.Diff(members, got); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
	fail = errors.New("gossip is silent")
	a.must(a.get("/api/v1/members"), 500)
}

// TestPackageShape holds a stored package to the shape that existing clients
// read.
func TestPackageShape(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	in := `{"name":"shop","version":"2.1","metadata":{"description":"demo","tags":["a"]},
	 "classes":[{"key":"Cart","state_spec":{"consistency_model":"STRONG"},
	   "function_bindings":[{"name":"add","function_key":"Cart.add","access_modifier":"PUBLIC"}]}],
	 "functions":[{"key":"Cart.add","provision_config":{"container_image":"registry.local/cart:1"},"config":{"HTTP_PORT":"80"}}]}`
	a.must(a.do(call{"POST", pkgs, in, nil}), 201)
	want := `[{"name":"shop","version":"2.1","metadata":{"author":null,"description":"demo","tags":["a"]},
     "classes":[{"key":"Cart","description":null,
       "state_spec":{"consistency_model":"STRONG","persistent":false,"serialization_format":""},
       "function_bindings":[{"name":"add","function_key":"Cart.add","access_modifier":"PUBLIC","stateless":false,"parameters":[]}]}],
     "functions":[{"key":"Cart.add","function_type":"CUSTOM","description":null,
       "provision_config":{"container_image":"registry.local/cart:1","port":null,"max_concurrency":0,"need_http2":false,
         "cpu_request":null,"memory_request":null,"cpu_limit":null,"memory_limit":null,"min_scale":null,"max_scale":null},
       "config":{"HTTP_PORT":"80"}}],
     "dependencies":[],"deployments":[]}]`
	got := decode[[]map[string]any](t, a.must(a.get(pkgs), 200).body)
	if got[0]["resource_version"] != 1.0 || got[0]["generation"] != 1.0 {
		t.Errorf("versions: %v %v", got[0]["resource_version"], got[0]["generation"])
	}
	for _, name := range []string{"resource_version", "generation", "created_at", "updated_at"} {
		if _, ok := got[0][name]; !ok {
			t.Errorf("%s is missing", name)
		}
		delete(got[0], name)
	}
	if diff := cmp.Diff(decode[[]map[string]any](t, []byte(want)), got); diff != "" {
		t.Errorf("package (-want +got):\n%s", diff)
	}
	classes := a.must(a.get("/api/v1/classes"), 200)
	if got := decode[[]map[string]any](t, classes.body)[0]["key"]; got != "shop.Cart" {
		t.Errorf("class key %v, want shop.Cart", got)
	}
	functions := a.must(a.get("/api/v1/functions"), 200)
	if diff := cmp.Diff(got[0]["functions"], any(decode[[]any](t, functions.body))); diff != "" {
		t.Errorf("functions (-package +catalogue):\n%s", diff)
	}
}

// TestDeploymentShape holds a stored deployment to the shape that existing
// clients read.
func TestDeploymentShape(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	a.must(a.putPackage("shop"), 201)
	a.must(a.do(call{"POST", deps, `{"key":"shop.K","package_name":"shop","class_key":"K"}`, nil}), 200)
	a.record(storage.RecordUnitStatus{Deployment: "shop.K", Generation: 1, Observed: &model.DeploymentObserved{
		ObservedGeneration: 1, Condition: model.DeploymentRunning,
		Status: &model.DeploymentStatusSummary{ReplicationFactor: 2, SelectedEnvs: []string{"e1", "e2"}},
	}})
	got := decode[[]map[string]json.RawMessage](t, a.must(a.get(deps), 200).body)[0]
	for name, want := range map[string]string{
		"key": `"shop.K"`, "package_name": `"shop"`, "class_key": `"K"`, "condition": `"RUNNING"`, "functions": `[]`,
		"nfr_requirements": `{"min_throughput_rps":null,"availability":null,"cpu_utilization_target":null}`,
		"status":           `{"replication_factor":2,"selected_envs":["e1","e2"]}`,
	} {
		if string(got[name]) != want {
			t.Errorf("%s is %s, want %s", name, got[name], want)
		}
	}
	if _, ok := got["target_envs"]; ok {
		t.Error("empty target_envs must be omitted")
	}
}

func TestWebPage(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	got := a.must(a.get("/"), 200)
	if ct := got.header.Get("Content-Type"); ct != "text/html; charset=utf-8" {
		t.Errorf("Content-Type %q", ct)
	}
	csp := got.header.Get("Content-Security-Policy")
	if !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") || strings.Contains(csp, "'none'; style-src 'none'") {
		t.Errorf("policy %q", csp)
	}
	for _, want := range []string{"<!doctype html>", "EventSource"} {
		if !strings.Contains(string(got.body), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer"} {
		if got := got.header.Get(name); got != want {
			t.Errorf("%s %q, want %q", name, got, want)
		}
	}
	spec := a.must(a.get("/openapi.yaml"), 200)
	if ct := spec.header.Get("Content-Type"); !strings.HasPrefix(ct, "application/yaml") || !strings.HasPrefix(string(spec.body), "openapi: 3") {
		t.Errorf("openapi: %q %.40q", ct, spec.body)
	}
}
