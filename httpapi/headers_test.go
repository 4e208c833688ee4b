package httpapi_test

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/httpapi"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	key := []string{"Idempotency-Key: " + strings.Repeat("k", 128)}
	first := a.must(a.do(call{"POST", pkgs, packageJSON("shop"), key}), 201)
	second := a.must(a.do(call{"POST", pkgs, packageJSON("shop"), key}), 201)
	if diff := cmp.Diff(string(first.body), string(second.body)); diff != "" {
		t.Errorf("answers differ (-first +second):\n%s", diff)
	}
	for _, h := range []string{"ETag", "X-Oprc-Index"} {
		if got, want := second.header.Get(h), first.header.Get(h); got != want {
			t.Errorf("%s %q, want %q", h, got, want)
		}
	}
	other := a.must(a.do(call{"POST", pkgs, packageJSON("other"), key}), 409)
	if body := decode[errorBody](t, other.body); !strings.Contains(body.Error, "idempotency key") {
		t.Errorf("error %q does not name the key", body.Error)
	}

	// The same key from many connections at once: applied once, one answer.
	var wg sync.WaitGroup
	bodies := make([]string, 8)
	for i := range bodies {
		wg.Go(func() {
			got, err := a.try(call{"POST", deps, deploymentJSON("d", "shop", "e"), []string{"Idempotency-Key: same"}})
			if err != nil || got.status != 200 {
				t.Errorf("post: %d %v", got.status, err)
			}
			bodies[i] = string(got.body)
		})
	}
	wg.Wait()
	slices.Sort(bodies)
	if got := slices.Compact(bodies); len(got) != 1 {
		t.Errorf("answers differ: %q", got)
	}

	// A delete that is sent again answers as the first time, not 404.
	for range 2 {
		a.must(a.do(call{"DELETE", pkgs + "/shop?cascade=true", "", []string{"Idempotency-Key: del"}}), 204)
	}

	// The deployments inside a package have ids of their own under the key.
	yaml := []string{"Content-Type: application/yaml", "Idempotency-Key: echo"}
	one := a.must(a.do(call{"POST", pkgs + "?apply_deployments=true", exampleYAML(t), yaml}), 201)
	two := a.must(a.do(call{"POST", pkgs + "?apply_deployments=true", exampleYAML(t), yaml}), 201)
	if diff := cmp.Diff(string(one.body), string(two.body)); diff != "" {
		t.Errorf("answers differ (-first +second):\n%s", diff)
	}
}

func TestIfMatch(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	tag := a.must(a.putPackage("shop"), 201).header.Get("ETag")
	version := strings.Trim(tag, `"`)
	put := func(doc string, match string) answer {
		return a.do(call{"PUT", pkgs + "/shop", doc, []string{"If-Match: " + match}})
	}
	a.must(put(packageJSON("shop", "x"), `"999"`), 412)
	second := a.must(put(packageJSON("shop", "x"), tag), 200).header.Get("ETag")
	if second == tag {
		t.Errorf("ETag %s did not change", tag)
	}
	a.must(put(packageJSON("shop", "y"), version), 412)
	a.must(put(packageJSON("shop", "y"), "*"), 200)
	a.must(a.do(call{"POST", pkgs + "/shop", packageJSON("shop", "z"), []string{"If-Match: " + second}}), 412)
	a.must(a.do(call{"DELETE", pkgs + "/shop", "", []string{"If-Match: " + second}}), 412)
	a.must(a.do(call{"POST", deps, deploymentJSON("d", "shop"), []string{"If-Match: *"}}), 412)
	a.must(a.do(call{"POST", deps, deploymentJSON("d", "nowhere"), []string{"If-Match: *"}}), 412)
	d := a.putDeployment("d", "shop", "e1").header.Get("ETag")
	a.must(a.do(call{"POST", deps, deploymentJSON("d", "shop", "e2"), []string{"If-Match: " + d}}), 200)
	// What is missing here is not what If-Match is about.
	a.must(a.do(call{"POST", deps, deploymentJSON("d", "nowhere"), []string{"If-Match: *"}}), 404)
	a.must(a.do(call{"DELETE", deps + "/d", "", []string{"If-Match: " + d}}), 412)
	a.must(a.do(call{"DELETE", deps + "/d", "", []string{"If-Match: *"}}), 200)
}

func TestConditionalGet(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	a.must(a.putPackage("shop"), 201)
	full := a.must(a.get(pkgs+"/shop"), 200)
	tag := full.header.Get("ETag")
	if want := `"` + strconv.FormatUint(storage.ResourceVersion(full.body), 10) + `"`; tag != want {
		t.Errorf("ETag %s, want %s", tag, want)
	}
	for header, want := range map[string]int{tag: 304, "W/" + tag: 304, "*": 304, `"0", ` + tag: 304, `"0"`: 200, "x": 200} {
		got := a.must(a.do(call{"GET", pkgs + "/shop", "", []string{"If-None-Match: " + header}}), want)
		if got.header.Get("ETag") != tag || (want == 304) != (len(got.body) == 0) {
			t.Errorf("If-None-Match %s: ETag %q, %d bytes", header, got.header.Get("ETag"), len(got.body))
		}
	}
}

func TestConsistency(t *testing.T) {
	t.Parallel()
	a := start(t, options{config: func(c *httpapi.Config) { c.RequestTimeout = 100_000_000 }})
	index := a.must(a.putPackage("shop"), 201).header.Get("X-Oprc-Index")
	for _, path := range []string{pkgs, pkgs + "/shop", deps, deps + "/none/env-mappings", "/api/v1/classes", rts} {
		for _, level := range []string{"linearizable", "lease", "stale"} {
			got := a.must(a.get(path+"?consistency="+level+"&min_index="+index), 200)
			if got.header.Get("X-Oprc-Index") != index {
				t.Errorf("%s at %s: X-Oprc-Index %q, want %s", path, level, got.header.Get("X-Oprc-Index"), index)
			}
			if has, want := got.header.Get("X-Oprc-Last-Contact-Ms") != "", level == "stale"; has != want {
				t.Errorf("%s at %s: last contact given is %v, want %v", path, level, has, want)
			}
		}
	}
	late := a.must(a.get(pkgs+"/shop?min_index=1000"), 503)
	if late.header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
	if body := decode[errorBody](t, late.body); body.Code != string(model.CodeUnavailable) {
		t.Errorf("code %q, want unavailable", body.Code)
	}
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	got := a.do(call{"GET", pkgs, "", []string{"X-Request-Id: my-id-7"}})
	if id := got.header.Get("X-Request-Id"); id != "my-id-7" {
		t.Errorf("X-Request-Id %q, want the client's", id)
	}
	seen := map[string]bool{}
	for _, header := range []string{"X-Other: 1", "X-Request-Id: has space", "X-Request-Id: " + strings.Repeat("x", 200)} {
		id := a.do(call{"GET", pkgs, "", []string{header}}).header.Get("X-Request-Id")
		if len(id) != 16 || seen[id] {
			t.Errorf("%s: X-Request-Id %q, want a fresh one", header, id)
		}
		seen[id] = true
	}
}

func TestUnknownFieldsWarn(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	body := `{"name":"shop","colour":"red","metadata":{"smell":"good"},"q\"\n":1}`
	got := a.must(a.do(call{"POST", pkgs, body, nil}), 201)
	warnings := got.header.Values("Warning")
	if !slices.Contains(warnings, `299 - "unknown field colour"`) || !slices.Contains(warnings, `299 - "unknown field metadata.smell"`) || len(warnings) != 3 {
		t.Errorf("warnings %q", warnings)
	}
	var many strings.Builder
	for i := range 50 {
		many.WriteString(`"f` + strconv.Itoa(i) + `":1,`)
	}
	got = a.must(a.do(call{"PUT", pkgs + "/shop", `{` + many.String() + `"name":"shop"}`, nil}), 200)
	if n := len(got.header.Values("Warning")); n > 10 {
		t.Errorf("%d warnings, want at most 10", n)
	}
	a.must(a.do(call{"PUT", pkgs + "/shop?strict=true", `{"name":"shop"}`, nil}), 200)
}

func TestContentTypes(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	yaml := "name: %\nversion: 1.0\n"
	tests := []struct {
		kind, body string
	}{
		{"", `{"name":"%"}`},
		{"application/json", `{"name":"%"}`},
		{"Application/JSON; charset=utf-8", `{"name":"%"}`},
		{"application/merge-patch+json", `{"name":"%"}`},
		{"application/yaml", yaml},
		{"text/yaml; charset=utf-8", yaml},
		{"application/x-yaml", yaml},
	}
	for i, tt := range tests {
		name := "p" + strconv.Itoa(i)
		var headers []string
		if tt.kind != "" {
			headers = []string{"Content-Type: " + tt.kind}
		}
		a.must(a.do(call{"POST", pkgs, strings.ReplaceAll(tt.body, "%", name), headers}), 201)
	}
}

func TestHeadOptionsAndCORS(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	a.must(a.putPackage("shop"), 201)
	full := a.must(a.get(pkgs+"/shop"), 200)
	head := a.must(a.do(call{"HEAD", pkgs + "/shop", "", nil}), 200)
	if len(head.body) != 0 || head.header.Get("Content-Length") != strconv.Itoa(len(full.body)) || head.header.Get("ETag") != full.header.Get("ETag") {
		t.Errorf("HEAD: %d bytes, headers %v", len(head.body), head.header)
	}
	for _, path := range []string{pkgs, deps, "/api/v1/classes", "/health", "/livez", "/readyz", "/metrics", "/openapi.yaml", "/", "/api/v1/watch"} {
		a.must(a.do(call{"HEAD", path, "", nil}), 200)
	}
	preflight := a.must(a.do(call{"OPTIONS", pkgs + "/shop", "", []string{"Origin: http://ui", "Access-Control-Request-Method: PUT"}}), 200)
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "*",
		"Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, DELETE, OPTIONS",
		"Allow":                        "DELETE, GET, HEAD, OPTIONS, POST, PUT",
	} {
		if got := preflight.header.Get(name); got != want {
			t.Errorf("%s %q, want %q", name, got, want)
		}
	}
	a.must(a.do(call{"OPTIONS", "/nothing", "", nil}), 404)
	if got := full.header.Get("Access-Control-Allow-Origin"); got != "*" {
		t.Errorf("Access-Control-Allow-Origin %q, want *", got)
	}
	if got := a.must(a.get("/nothing"), 404).header.Get("Access-Control-Allow-Origin"); got != "*" {
		t.Errorf("Access-Control-Allow-Origin of an error %q, want *", got)
	}
	wrong := a.must(a.do(call{"PUT", pkgs, "", nil}), 405)
	if got := wrong.header.Get("Allow"); got != "GET, HEAD, OPTIONS, POST" {
		t.Errorf("Allow %q", got)
	}
	if got := full.header.Get("Server"); got != "" {
		t.Errorf("Server %q, want none", got)
	}

	closed := start(t, options{config: func(c *httpapi.Config) { c.CORSAllowOrigin = "" }})
	for name := range closed.get(pkgs).header {
		if strings.HasPrefix(name, "Access-Control") {
			t.Errorf("%s is sent although CORS is off", name)
		}
	}
	if got := http.CanonicalHeaderKey("x-oprc-index"); got != "X-Oprc-Index" {
		t.Errorf("canonical header %q", got)
	}
}
