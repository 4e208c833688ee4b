package model_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/oprc/oprc-pm/model"
)

// Every example decodes with nothing unknown, its dependencies are met by what
// stands before it, and what it deploys exists.
func TestExamples(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../deploy/examples/*.yml")
	if err != nil || len(files) < 4 {
		t.Fatalf("got %d examples, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			manifests, err := model.DecodeManifests(data, model.YAML)
			if err != nil {
				t.Fatal(err)
			}
			checkManifests(t, manifests)
		})
	}
}

func checkManifests(t *testing.T, manifests []model.Manifest) {
	t.Helper()
	packages := make(map[string]bool)
	classes := make(map[string]bool)
	deployments := 0
	for _, m := range manifests {
		if m.Unknown != nil {
			t.Errorf("document %d: got unknown fields %v", m.Index, m.Unknown)
		}
		if p := m.Package; p != nil {
			for _, dependency := range p.Dependencies {
				if !packages[dependency] {
					t.Errorf("document %d: depends on %s, which does not stand before it", m.Index, dependency)
				}
			}
			packages[p.Name] = true
			for _, class := range p.Classes {
				classes[p.Name+"."+class.Key] = true
			}
		}
		for _, d := range m.Deployments {
			deployments++
			if !classes[d.PackageName+"."+d.ClassKey] {
				t.Errorf("document %d: deploys %s.%s, which does not stand before it", m.Index, d.PackageName, d.ClassKey)
			}
		}
	}
	if deployments == 0 {
		t.Error("got no deployment")
	}
}

// A package says the same in YAML, in JSON and as it is shown to people.
func TestExampleForms(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"echo.yml", "shop.yml", "thumbnails.yml"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want, unknown, err := model.DecodePackage(readExample(t, name), model.YAML)
			if err != nil || unknown != nil {
				t.Fatalf("got unknown %v, error %v", unknown, err)
			}
			shown, err := model.MarshalYAML(want)
			if err != nil {
				t.Fatal(err)
			}
			fromYAML, _, err := model.DecodePackage(shown, model.YAML)
			if err != nil {
				t.Fatal(err)
			}
			wantEqual(t, fromYAML, want)

			line, err := model.EncodePackage(want)
			if err != nil {
				t.Fatal(err)
			}
			fromJSON, _, err := model.DecodePackage(document(line), model.JSON)
			if err != nil {
				t.Fatal(err)
			}
			want.Deployments = []model.Deployment{}
			wantEqual(t, fromJSON, want)
		})
	}
}

// The example from the field, written as the JSON that the field's own client
// makes of it, is the same package.
func TestEchoAsJSON(t *testing.T) {
	t.Parallel()
	want, _, err := model.DecodePackage(readExample(t, "echo.yml"), model.YAML)
	if err != nil {
		t.Fatal(err)
	}
	got, unknown, err := model.DecodePackage([]byte(`{"name":"example","version":"1.0","metadata":{"author":null,"description":null,"tags":[]},
		"classes":[{"key":"Record","description":"A record service that can store and manipulate data.",
			"state_spec":{"consistency_model":"NONE","persistent":false,"serialization_format":""},
			"function_bindings":[{"name":"echo","function_key":"Record.echo","access_modifier":"PUBLIC","stateless":true,"parameters":[]}]}],
		"functions":[{"key":"Record.echo","function_type":"CUSTOM","description":"Echo back the provided data.",
			"provision_config":{"container_image":"ghcr.io/pawissanutt/oaas-rs/echo-fn:dev-alpha","port":null,"max_concurrency":0,"need_http2":false,
				"cpu_request":null,"memory_request":null,"cpu_limit":null,"memory_limit":null,"min_scale":null,"max_scale":null},
			"config":{"HTTP_PORT":"80","RUST_LOG":"info"}}],
		"dependencies":[],
		"deployments":[{"key":"Record","package_name":"example","class_key":"Record","target_envs":["oaas-1","oaas-2"],
			"nfr_requirements":{"min_throughput_rps":null,"availability":null,"cpu_utilization_target":null},
			"functions":[],"condition":"PENDING","odgm":{"log":"debug"}}]}`), model.JSON)
	if err != nil || unknown != nil {
		t.Fatalf("got unknown %v, error %v", unknown, err)
	}
	wantEqual(t, got, want)
	a, errA := model.EncodePackage(got)
	b, errB := model.EncodePackage(want)
	if errA != nil || errB != nil || !bytes.Equal(a, b) {
		t.Errorf("got %s (%v), want %s (%v)", a, errA, b, errB)
	}
}
