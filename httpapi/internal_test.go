package httpapi

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// TestStatusTableIsTotal reads the codes from the source of model, so that a new
// one cannot be forgotten here.
func TestStatusTableIsTotal(t *testing.T) {
	t.Parallel()
	codes := modelCodes(t)
	if len(codes) < 13 {
		t.Fatalf("found only %v", codes)
	}
	for _, code := range codes {
		s, ok := statusOf[code]
		if !ok {
			t.Errorf("code %q has no status", code)
		}
		if s < 400 || s > 599 {
			t.Errorf("code %q has status %d", code, s)
		}
	}
	want := map[model.Code]int{
		"invalid": 400, "unauthenticated": 401, "forbidden": 403, "not_found": 404, "conflict": 409,
		"failed_precondition": 412, "too_large": 413, "throttled": 429, "not_leader": 503, "unavailable": 503,
		"gone": 410, "unknown_outcome": 504, "disk_full": 507, "internal": 500,
		"cluster_failed": 502, "cluster_unavailable": 503, "cluster_timeout": 504,
		"method_not_allowed": 405, "unsupported_media_type": 415, "request_timeout": 408, "header_too_large": 431,
	}
	if diff := cmp.Diff(want, statusOf); diff != "" {
		t.Errorf("status table (-want +got):\n%s", diff)
	}
	if got := status("never heard of"); got != 500 {
		t.Errorf("status of an unknown code %d, want 500", got)
	}
}

func modelCodes(t *testing.T) []model.Code {
	t.Helper()
	var codes []model.Code
	for _, name := range []string{"error.go", "records.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), "../model/"+name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		codes = append(codes, codesOf(t, file)...)
	}
	return codes
}

func codesOf(t *testing.T, file *ast.File) []model.Code {
	t.Helper()
	var codes []model.Code
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); !ok || kind.Name != "Code" {
			return true
		}
		for _, value := range spec.Values {
			text, err := strconv.Unquote(value.(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			codes = append(codes, model.Code(text))
		}
		return true
	})
	return codes
}

// openAPIDocument is what the tests need of the description.
type openAPIDocument struct {
	Paths map[string]map[string]struct {
		OperationID string `yaml:"operationId"`
		Parameters  []struct {
			Ref string `yaml:"$ref"`
		} `yaml:"parameters"`
		RequestBody any            `yaml:"requestBody"`
		Responses   map[string]any `yaml:"responses"`
	} `yaml:"paths"`
	Components map[string]map[string]struct {
		In   string `yaml:"in"`
		Name string `yaml:"name"`
	} `yaml:"components"`
}

// verbs end the paths of actions that take no body.
var verbs = []string{"cordon", "uncordon", "drain", "pause", "resume", "leave", "remove", "run", "compact"}

// TestOpenAPIMatchesRoutes: the description and the route table name the same
// operations.
func TestOpenAPIMatchesRoutes(t *testing.T) {
	t.Parallel()
	var doc openAPIDocument
	if err := yaml.Unmarshal(openAPI, &doc); err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for _, r := range routes {
		want = append(want, r.method+" "+r.path+" "+r.name)
	}
	for path, operations := range doc.Paths {
		for method, op := range operations {
			got = append(got, strings.ToUpper(method)+" "+path+" "+op.OperationID)
			var params []string
			for _, p := range op.Parameters {
				name := strings.TrimPrefix(p.Ref, "#/components/parameters/")
				declared, ok := doc.Components["parameters"][name]
				if !ok {
					t.Errorf("%s: parameter %s is not declared", op.OperationID, p.Ref)
				}
				if declared.In == "path" {
					params = append(params, "{"+declared.Name+"}")
				}
			}
			for _, p := range params {
				if !strings.Contains(path, p) {
					t.Errorf("%s: path parameter %s is not in %s", op.OperationID, p, path)
				}
			}
			if n := strings.Count(path, "{"); n != len(params) {
				t.Errorf("%s: %d path parameters described, want %d", op.OperationID, len(params), n)
			}
			// What is done to a thing by name (its path ends in a verb) needs no body.
			withBody := method == "put" || method == "post" && !slices.Contains(verbs, path[strings.LastIndexByte(path, '/')+1:])
			if withBody != (op.RequestBody != nil) {
				t.Errorf("%s: a body is described for %s: %v", op.OperationID, method, op.RequestBody != nil)
			}
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("operations (-routes +openapi):\n%s", diff)
	}
	for _, ref := range references(t) {
		parts := strings.Split(strings.TrimPrefix(ref, "#/components/"), "/")
		if _, ok := doc.Components[parts[0]][parts[1]]; !ok {
			t.Errorf("%s leads nowhere", ref)
		}
	}
}

// references returns every $ref of the description.
func references(t *testing.T) []string {
	t.Helper()
	var root yaml.Node
	if err := yaml.Unmarshal(openAPI, &root); err != nil {
		t.Fatal(err)
	}
	var refs []string
	var walk func(n *yaml.Node)
	walk = func(n *yaml.Node) {
		for i, child := range n.Content {
			if n.Kind == yaml.MappingNode && i%2 == 0 && child.Value == "$ref" {
				refs = append(refs, n.Content[i+1].Value)
			}
			walk(child)
		}
	}
	walk(&root)
	if len(refs) == 0 {
		t.Fatal("no references found")
	}
	return refs
}

func TestRoutesSayWhetherTheyWrite(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	for _, r := range routes {
		if names[r.name] {
			t.Errorf("two routes are called %s", r.name)
		}
		names[r.name] = true
		if want := r.method != get; r.write != want {
			t.Errorf("%s: write is %v, want %v", r.name, r.write, want)
		}
	}
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("defaults: %v", err)
	}
	err := Config{CORSAllowOrigin: "a b", DefaultPage: 2, MaxPage: 1}.Validate()
	if err == nil {
		t.Fatal("the zero config is valid")
	}
	for _, name := range []string{
		"max_body_bytes", "max_header_bytes", "read_timeout", "write_timeout", "idle_timeout", "max_conns", "max_in_flight", "max_waiters",
		"request_timeout", "max_wait", "list_chunk_bytes", "watch_heartbeat", "watch_write_timeout", "cors_allow_origin", "default_page",
	} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not named: %v", name, err)
		}
	}
}

func TestRequestIDOfKey(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("k", maxKeyBytes)
	ids := map[string]string{
		"plain":      requestID("abc", ""),
		"part":       requestID("abc", "deployment d"),
		"other part": requestID("abc", "deployment e"),
		"long":       requestID(long, ""),
		"longer":     requestID(long[1:]+"x", ""),
	}
	if got := requestID("", "x"); got != "" {
		t.Errorf("id without a key %q, want none", got)
	}
	if got, want := ids["plain"], "k:abc"; got != want {
		t.Errorf("id %q, want %q: it must never change between releases", got, want)
	}
	seen := map[string]string{}
	for name, id := range ids {
		if len(id) == 0 || len(id) > storage.MaxRequestID {
			t.Errorf("%s: id has %d bytes", name, len(id))
		}
		if other, ok := seen[id]; ok {
			t.Errorf("%s and %s have the same id", name, other)
		}
		seen[id] = name
	}
}

func TestAppendText(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text string
		hide bool
		want string
	}{
		{"plain", false, `"plain"`},
		{"q\"b\\n\n\x7f<&>", false, `"q\"b\\n\u000a\u007f\u003c\u0026\u003e"`},
		{"ü€😀", false, `"ü€😀"`},
		{"a\xffb", false, "\"a\uFFFDb\""},
		{"404", false, `"404"`},
		{"404", true, `"4\u00304"`},
		{"40404 400 44", true, `"4\u00304\u00304 400 44"`},
	}
	for _, tt := range tests {
		if got := string(appendText(nil, tt.text, tt.hide)); got != tt.want {
			t.Errorf("appendText(%q, %v) = %s, want %s", tt.text, tt.hide, got, tt.want)
		}
	}
}

func TestCursorRoundTrip(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a", "shop.Cart", strings.Repeat("n", 253)} {
		got, ok := decodeCursor(encodeCursor(name))
		if !ok || got != name {
			t.Errorf("cursor of %q decodes to %q, %v", name, got, ok)
		}
	}
}

func TestDeadlineContext(t *testing.T) {
	t.Parallel()
	base, stop := context.WithCancel(context.Background())
	ctx := newDeadlineContext(base, time.Now().Add(time.Hour))
	if err := ctx.Err(); err != nil {
		t.Errorf("Err %v before the deadline", err)
	}
	child, cancel := context.WithCancel(ctx)
	defer cancel()
	stop()
	<-child.Done()
	if err := ctx.Err(); !errors.Is(err, context.Canceled) {
		t.Errorf("Err %v after the base ended, want canceled", err)
	}
	late := newDeadlineContext(context.Background(), time.Now().Add(-time.Second))
	if err := late.Err(); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Err %v after the deadline", err)
	}
	<-late.Done()
	released := newDeadlineContext(context.Background(), time.Now().Add(time.Hour))
	done := released.Done()
	released.release()
	<-done
	if deadline, ok := released.Deadline(); !ok || deadline.IsZero() {
		t.Errorf("Deadline %v %v", deadline, ok)
	}
}

func TestHashSource(t *testing.T) {
	t.Parallel()
	page := newWebPage(indexHTML)
	for _, want := range []string{"default-src 'none'", "script-src 'sha256-", "style-src 'sha256-", "connect-src 'self'"} {
		if !strings.Contains(page.policy, want) {
			t.Errorf("policy %q lacks %q", page.policy, want)
		}
	}
	for _, tag := range []string{"<script", "<style"} {
		if n := strings.Count(string(indexHTML), tag); n != 1 {
			t.Errorf("the page has %d elements %s, the policy covers one", n, tag)
		}
	}
	for _, forbidden := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", " style=", "http://", "https://", " onclick=\""} {
		if strings.Contains(string(indexHTML), forbidden) {
			t.Errorf("the page contains %q", forbidden)
		}
	}
}
