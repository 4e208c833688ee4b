package httpapi_test

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/httpapi"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

func TestPackageFilters(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	for name, tags := range map[string][]string{"alpha": {"red", "round"}, "beta": {"blue"}, "gamma": {"red"}, "delta": nil} {
		a.must(a.putPackage(name, tags...), 201)
	}
	a.must(a.do(call{"PUT", pkgs + "/off", `{"name":"off","disabled":true,"metadata":{"tags":["blue"]}}`, nil}), 201)

	tests := []struct {
		query string
		want  []string
	}{
		{"", []string{"alpha", "beta", "delta", "gamma", "off"}},
		{"?name_pattern=a", []string{"alpha", "beta", "delta", "gamma"}},
		{"?name_pattern=lph", []string{"alpha"}},
		{"?name_pattern=ALPHA", []string{}},
		{"?tags=red", []string{"alpha", "gamma"}},
		{"?tags=blue,round", []string{"alpha", "beta", "off"}},
		{"?tags=blue&tags=red", []string{"alpha", "beta", "gamma", "off"}},
		{"?tags=red,red,round", []string{"alpha", "gamma"}},
		{"?tags=none", []string{}},
		{"?tags=", []string{"alpha", "beta", "delta", "gamma", "off"}},
		{"?disabled=true", []string{"off"}},
		{"?disabled=false&tags=blue", []string{"beta"}},
		{"?tags=red&name_pattern=mm", []string{"gamma"}},
		{"?limit=2", []string{"alpha", "beta"}},
		{"?limit=2&offset=2", []string{"delta", "gamma"}},
		{"?offset=4", []string{"off"}},
		{"?offset=9", []string{}},
		{"?limit=0", []string{}},
		{"?tags=red&limit=1&offset=1", []string{"gamma"}},
		{"?whatever=1", []string{"alpha", "beta", "delta", "gamma", "off"}},
	}
	for _, tt := range tests {
		t.Run(tt.query, func(t *testing.T) {
			got := a.must(a.get(pkgs+tt.query), 200)
			if diff := cmp.Diff(tt.want, names(t, got.body)); diff != "" {
				t.Errorf("names (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDeploymentFilters(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	a.must(a.putPackage("p1"), 201)
	a.must(a.do(call{"POST", pkgs, `{"name":"p2","classes":[{"key":"K"},{"key":"L"}]}`, nil}), 201)
	a.putDeployment("a", "p1", "oaas-1")
	a.putDeployment("b", "p1", "oaas-1", "oaas-2")
	a.putDeployment("c", "p2", "oaas-2")
	a.must(a.do(call{"POST", deps, `{"key":"d","package_name":"p2","class_key":"L"}`, nil}), 200)
	a.record(storage.RecordUnitStatus{Deployment: "c", Generation: 1,
		Observed: &model.DeploymentObserved{ObservedGeneration: 1, Condition: model.DeploymentRunning}})

	tests := []struct {
		query string
		want  []string
	}{
		{"", []string{"a", "b", "c", "d"}},
		{"?package_name=p1", []string{"a", "b"}},
		{"?package_name=p", []string{}},
		{"?target_env=oaas-2", []string{"b", "c"}},
		{"?target_cluster=oaas-2", []string{"b", "c"}},
		{"?target_env=oaas-1&target_cluster=oaas-1", []string{"a", "b"}},
		{"?package_name=p2&target_env=oaas-2", []string{"c"}},
		{"?package_name=p1&target_env=oaas-2", []string{"b"}},
		{"?class_key=L", []string{"d"}},
		{"?condition=RUNNING", []string{"c"}},
		{"?status=running", []string{"c"}},
		{"?condition=PENDING&package_name=p1", []string{"a", "b"}},
		{"?package_name=p1&limit=1&offset=1", []string{"b"}},
	}
	for _, tt := range tests {
		t.Run(tt.query, func(t *testing.T) {
			got := a.must(a.get(deps+tt.query), 200)
			if diff := cmp.Diff(tt.want, names(t, got.body)); diff != "" {
				t.Errorf("keys (-want +got):\n%s", diff)
			}
		})
	}
}

var nextLink = regexp.MustCompile(`^<([^>]+)>; rel="next"$`)

// pages follows the Link headers from path on, calling between after each page.
func (a *api) pages(path string, between func(page int)) (all [][]string) {
	a.t.Helper()
	for path != "" {
		got := a.must(a.get(path), 200)
		all = append(all, names(a.t, got.body))
		path = ""
		if m := nextLink.FindStringSubmatch(got.header.Get("Link")); m != nil {
			path = m[1]
		}
		if between != nil {
			between(len(all))
		}
		if len(all) > 1000 {
			a.t.Fatal("the pages do not end")
		}
	}
	return all
}

func TestPagesAreStable(t *testing.T) {
	t.Parallel()
	a := start(t, options{config: func(c *httpapi.Config) { c.MaxPage = 4 }})
	for i := range 10 {
		a.must(a.putPackage(fmt.Sprintf("p%02d", i*2), "t"), 201)
	}
	// While the client pages, packages vanish and appear on both sides of it: it
	// still sees every other package exactly once.
	got := a.pages(pkgs+"?limit=3&tags=t&offset=1", func(page int) {
		if page == 1 {
			a.must(a.do(call{"DELETE", pkgs + "/p02", "", nil}), 204)
			a.must(a.do(call{"DELETE", pkgs + "/p06", "", nil}), 204)
			a.must(a.putPackage("p01", "t"), 201)
			a.must(a.putPackage("p09", "t"), 201)
		}
	})
	want := [][]string{{"p02", "p04", "p06"}, {"p08", "p09", "p10"}, {"p12", "p14", "p16"}, {"p18"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}

	t.Run("limit is capped", func(t *testing.T) {
		got := a.must(a.get(pkgs+"?limit=100"), 200)
		if n := len(names(t, got.body)); n != 4 || got.header.Get("Link") == "" {
			t.Errorf("%d items and Link %q, want 4 and a link", n, got.header.Get("Link"))
		}
	})
	t.Run("last full page has no link", func(t *testing.T) {
		got := a.must(a.get(pkgs+"?limit=4&offset=6"), 200)
		if n := len(names(t, got.body)); n != 4 || got.header.Get("Link") != "" {
			t.Errorf("%d items and Link %q, want 4 and none", n, got.header.Get("Link"))
		}
	})
	t.Run("link keeps the other parameters", func(t *testing.T) {
		link := a.must(a.get(pkgs+"?limit=1&name_pattern=p%200"), 200).header.Get("Link")
		if link != "" {
			t.Errorf("Link %q for an empty list, want none", link)
		}
		link = a.must(a.get(pkgs+"?limit=1&name_pattern=p1&offset=2&consistency=stale"), 200).header.Get("Link")
		m := nextLink.FindStringSubmatch(link)
		if m == nil {
			t.Fatalf("Link %q", link)
		}
		next, err := url.Parse(m[1])
		if err != nil {
			t.Fatal(err)
		}
		q := next.Query()
		q.Del("cursor")
		if got, want := q.Encode(), "consistency=stale&limit=1&name_pattern=p1"; got != want {
			t.Errorf("query %q, want %q", got, want)
		}
	})
}

// TestLongListIsStreamed reads lists many times longer than what the server may
// hold at once: the answers are the same.
func TestLongListIsStreamed(t *testing.T) {
	t.Parallel()
	whole := start(t, options{})
	parts := start(t, options{config: func(c *httpapi.Config) { c.ListChunkBytes = 700; c.MaxPage = 25 }})
	for i := range 60 {
		for _, a := range []*api{whole, parts} {
			a.must(a.putPackage(fmt.Sprintf("p%02d", i), "t"), 201)
		}
	}
	stamp := regexp.MustCompile(`"(created|updated)_at":"[^"]*"`)
	for _, path := range []string{
		pkgs, pkgs + "?limit=25", pkgs + "?tags=t&limit=20&offset=3", pkgs + "?name_pattern=zzz",
		"/api/v1/classes", "/api/v1/functions", "/api/v1/classes?filter=p5", "/api/v1/classes?package=p07",
	} {
		t.Run(path, func(t *testing.T) {
			want, got := whole.must(whole.get(path), 200), parts.must(parts.get(path), 200)
			w, g := stamp.ReplaceAllString(string(want.body), ""), stamp.ReplaceAllString(string(got.body), "")
			if diff := cmp.Diff(w, g); diff != "" {
				t.Errorf("body (-whole +streamed):\n%.2000s", diff)
			}
			if diff := cmp.Diff(want.header.Get("Link"), got.header.Get("Link")); diff != "" {
				t.Errorf("Link (-whole +streamed):\n%s", diff)
			}
			decode[[]any](t, got.body)
		})
	}
	got := parts.pages(pkgs+"?limit=7", nil)
	if n := len(slices.Concat(got...)); n != 60 || len(got) != 9 {
		t.Errorf("%d items on %d pages, want 60 on 9", n, len(got))
	}
}

// TestListsTakeDocumentsAsStored: an item of a list has the bytes of the document.
func TestListsTakeDocumentsAsStored(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	a.must(a.putPackage("one"), 201)
	a.must(a.putPackage("two"), 201)
	one, two := a.must(a.get(pkgs+"/one"), 200), a.must(a.get(pkgs+"/two"), 200)
	want := "[" + string(one.body) + ",\n" + string(two.body) + "]\n"
	if diff := cmp.Diff(want, string(a.must(a.get(pkgs), 200).body)); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
}

func TestCatalogues(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	a.must(a.putPackage("shop"), 201)
	a.must(a.do(call{"POST", pkgs, `{"name":"bank","classes":[{"key":"Account","description":"<b>"},{"key":"K"}],"functions":[{"key":"Account.pay"}]}`, nil}), 201)
	tests := []struct {
		path string
		want []string
	}{
		{"/api/v1/classes", []string{"bank.Account", "bank.K", "shop.K"}},
		{"/api/v1/classes?filter=K", []string{"bank.K", "shop.K"}},
		{"/api/v1/classes?filter=bank.", []string{"bank.Account", "bank.K"}},
		{"/api/v1/classes?package=shop", []string{"shop.K"}},
		{"/api/v1/classes?package=none", []string{}},
		{"/api/v1/functions", []string{"Account.pay", "F"}},
		{"/api/v1/functions?filter=pay", []string{"Account.pay"}},
		{"/api/v1/functions?package=shop&filter=x", []string{}},
	}
	for _, tt := range tests {
		t.Run(tt.path, func(t *testing.T) {
			got := a.must(a.get(tt.path), 200)
			if diff := cmp.Diff(tt.want, names(t, got.body)); diff != "" {
				t.Errorf("keys (-want +got):\n%s", diff)
			}
		})
	}
	classes := decode[[]model.Class](t, a.get("/api/v1/classes").body)
	if got := classes[0].Description; got == nil || *got != "<b>" || classes[2].FunctionBindings[0].FunctionKey != "F" {
		t.Errorf("class members got lost: %+v", classes)
	}
	if body := string(a.get("/api/v1/classes").body); !strings.Contains(body, `"function_bindings":[]`) {
		t.Errorf("a class without bindings must have an empty array: %s", body)
	}
}
