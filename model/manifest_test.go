package model_test

import (
	"strings"
	"testing"

	"github.com/oprc/oprc-pm/model"
)

func TestDecodeManifests(t *testing.T) {
	t.Parallel()
	type summary struct {
		Package     string
		Deployments []string // package/key
		Clusters    []string // name protocol
		Unknown     []string
		Line, Index int
	}
	tests := []struct {
		name   string
		format model.Format
		body   string
		want   []summary
	}{
		{"nothing", model.YAML, "", nil},
		{"nothing_json", model.JSON, " ", nil},
		{"only_comments", model.YAML, "# a\n---\n# b\n---\n", nil},
		{"package", model.YAML, "name: p\nversion: 1\n", []summary{{Package: "p", Line: 1, Index: 1}}},
		{"package_name_only", model.YAML, "name: p\n", []summary{{Package: "p", Line: 1, Index: 1}}},
		{
			"package_with_deployments", model.YAML,
			"name: p\nclasses: [{key: C}]\ndeployments:\n- {key: a, class_key: C}\n- {key: b, package_name: q, class_key: D, colour: red}\n",
			[]summary{{Package: "p", Deployments: []string{"p/a", "q/b"}, Unknown: []string{"deployments[1].colour"}, Line: 1, Index: 1}},
		},
		{
			"deployments_only", model.YAML,
			"name: p\nmetadata: {}\ndeployments:\n- {key: a, class_key: C}\n- {key: b, package_name: q, class_key: D}\n",
			[]summary{{Deployments: []string{"p/a", "q/b"}, Line: 1, Index: 1}},
		},
		{"deployments_none", model.YAML, "name: p\ndeployments:\n", []summary{{Line: 1, Index: 1}}},
		{"deployment", model.YAML, "key: a\npackage_name: p\nclass_key: C\n", []summary{{Deployments: []string{"p/a"}, Line: 1, Index: 1}}},
		{"deployment_with_functions", model.YAML, "key: a\npackage_name: p\nclass_key: C\nfunctions: [{function_key: f}]\n", []summary{{Deployments: []string{"p/a"}, Line: 1, Index: 1}}},
		{
			"deployment_as_read_from_the_api", model.JSON,
			`{"resource_version":3,"generation":1,"condition":"RUNNING","status":{"replication_factor":1},"key":"a","package_name":"p","class_key":"C","functions":[]}`,
			[]summary{{Deployments: []string{"p/a"}, Line: 1, Index: 1}},
		},
		{"package_of_functions", model.YAML, "name: p\nfunctions: [{key: f}]\n", []summary{{Package: "p", Line: 1, Index: 1}}},
		{
			"package_of_functions_with_deployments", model.YAML, "name: p\nfunctions: [{key: f}]\ndeployments: [{key: a, package_name: q, class_key: C}]\n",
			[]summary{{Package: "p", Deployments: []string{"q/a"}, Line: 1, Index: 1}},
		},
		{"cluster", model.YAML, "name: c\nbase_url: http://c\nprotocol: grpc\n", []summary{{Clusters: []string{"c grpc"}, Line: 1, Index: 1}}},
		{"cluster_url", model.JSON, `{"name": "c", "url": "http://c", "colour": 1}`, []summary{{Clusters: []string{"c http"}, Unknown: []string{"colour"}, Line: 1, Index: 1}}},
		{
			"clusters", model.YAML, "clusters:\n- {name: a, url: http://a}\n- {name: b, base_url: http://b, shape: round}\n",
			[]summary{{Clusters: []string{"a http", "b http"}, Unknown: []string{"clusters[1].shape"}, Line: 1, Index: 1}},
		},
		{"clusters_none", model.YAML, "clusters:\n", []summary{{Line: 1, Index: 1}}},
		{
			"clusters_in_a_package", model.YAML, "name: p\nclasses: []\nclusters: [{name: a, url: http://a}]\n",
			[]summary{{Package: "p", Unknown: []string{"clusters"}, Line: 1, Index: 1}},
		},
		{
			"many", model.YAML, "---\n# first\nname: p\nversion: 1\n---\n---\nkey: a\npackage_name: p\nclass_key: C\n...\n",
			[]summary{{Package: "p", Line: 3, Index: 1}, {Deployments: []string{"p/a"}, Line: 7, Index: 3}},
		},
		{
			"many_json", model.JSON, "{\"name\":\"p\",\"version\":\"1\"}\n\n{\"key\":\"a\",\"package_name\":\"p\",\"class_key\":\"C\"}",
			[]summary{{Package: "p", Line: 1, Index: 1}, {Deployments: []string{"p/a"}, Line: 3, Index: 2}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			manifests, err := model.DecodeManifests([]byte(tt.body), tt.format)
			if err != nil {
				t.Fatal(err)
			}
			var got []summary
			for _, m := range manifests {
				s := summary{Unknown: m.Unknown, Line: m.Line, Index: m.Index}
				if m.Package != nil {
					s.Package = m.Package.Name
					if m.Package.Deployments == nil || len(m.Package.Deployments) > 0 {
						t.Errorf("got embedded deployments %v, want an empty list", m.Package.Deployments)
					}
				}
				for _, d := range m.Deployments {
					s.Deployments = append(s.Deployments, d.PackageName+"/"+d.Key)
				}
				for _, c := range m.Clusters {
					s.Clusters = append(s.Clusters, c.Name+" "+string(c.Protocol))
				}
				got = append(got, s)
			}
			wantEqual(t, got, tt.want)
		})
	}
}

func TestDecodeManifestsProblems(t *testing.T) {
	t.Parallel()
	const noKind = "is neither a package (name, classes, functions) nor a deployment (key, package_name, class_key) nor a cluster (name, base_url)"
	tests := []struct {
		name   string
		format model.Format
		body   string
		want   []string
	}{
		{"list", model.YAML, "- a", []string{"document 1: must be an object, got a list"}},
		{"unknown_kind", model.YAML, "apiVersion: v1\nkind: Pod\n", []string{"document 1: " + noKind}},
		{"not_utf8", model.YAML, "\xff", []string{"document 1: not valid UTF-8 at byte offset 0"}},
		{"malformed", model.JSON, "{", []string{"document 1: malformed JSON: ends too early, at line 1, column 2"}},
		{"deployments_without_name", model.YAML, "deployments: [{key: a, class_key: C}]", []string{"document 1: deployments[0].package_name: is required"}},
		{"deployments_twice", model.YAML, "name: p\ndeployments: [{key: a, class_key: C}, {key: a, class_key: D}]", []string{`document 1: deployments[1].key: "a" is used a second time`}},
		{"cluster_without_name", model.YAML, "base_url: http://c", []string{"document 1: name: is required"}},
		{"clusters_twice", model.YAML, "clusters: [{name: a, url: http://a}, {name: a, url: b}]", []string{
			"document 1: clusters[1].base_url: must begin with http:// or https://", `document 1: clusters[1].name: "a" is used a second time`,
		}},
		{"clusters_are_a_list", model.YAML, "clusters: {a: {url: http://a}}", []string{"document 1: clusters: must be a list, got an object"}},
		{"clusters_many", model.YAML, "clusters: [" + strings.Repeat("{}, ", 1001) + "]", []string{"document 1: clusters: must not have more than 1000 items, got 1001"}},
		{"deployment_incomplete", model.YAML, "class_key: C", []string{"document 1: key: is required", "document 1: package_name: is required"}},
		{
			"all_documents", model.YAML, "name: a b\nversion: 1\n---\nkey: x\n---\nname: [\n",
			[]string{
				`document 1: name: may only hold letters, digits, '.', '_' and '-', got "a b"`,
				"document 2: package_name: is required",
				"document 2: class_key: is required",
				"document 3: malformed YAML: line 6: did not find expected node content",
			},
		},
		{"too_many", model.YAML, strings.Repeat("name: p\n---\n", 1001), []string{"document 1001: the file has more than 1000 documents"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			manifests, err := model.DecodeManifests([]byte(tt.body), tt.format)
			wantEqual(t, problemsOf(t, err), tt.want)
			if manifests != nil {
				t.Errorf("got %d manifests with an error, want none", len(manifests))
			}
		})
	}
}
