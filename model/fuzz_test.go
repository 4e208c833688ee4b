package model_test

import (
	"bytes"
	"testing"

	"github.com/oprc/oprc-pm/model"
)

// What decodes must encode, parse back and encode to the same bytes, and what
// is stored must decode again without a problem.
func checkDecoded(t *testing.T, data []byte, f model.Format) {
	t.Helper()
	if p, _, err := model.DecodePackage(data, f); err == nil {
		line := checkFixedPoint(t, p, model.EncodePackage, model.ParsePackage)
		again, _, err := model.DecodePackage(document(line), model.JSON)
		if err != nil {
			t.Fatalf("decode what was encoded: %v in %s", err, line)
		}
		checkSameLine(t, line, again, model.EncodePackage)
		checkYAML(t, p, line)
		for _, d := range p.Deployments {
			checkFixedPoint(t, d, model.EncodeDeployment, model.ParseDeployment)
		}
	}
	if d, _, err := model.DecodeDeployment(data, f); err == nil {
		line := checkFixedPoint(t, d, model.EncodeDeployment, model.ParseDeployment)
		again, _, err := model.DecodeDeployment(document(line), model.JSON)
		if err != nil {
			t.Fatalf("decode what was encoded: %v in %s", err, line)
		}
		checkSameLine(t, line, again, model.EncodeDeployment)
	}
	if c, _, err := model.DecodeCluster(data, f); err == nil {
		line := checkFixedPoint(t, c, model.EncodeCluster, model.ParseCluster)
		again, _, err := model.DecodeCluster(document(line), model.JSON)
		if err != nil {
			t.Fatalf("decode what was encoded: %v in %s", err, line)
		}
		checkSameLine(t, line, again, model.EncodeCluster)
	}
	if s, _, err := model.DecodeRuntimeState(data, f); err == nil {
		checkFixedPoint(t, s, model.EncodeRuntimeState, model.ParseRuntimeState)
	}
	if _, err := model.DecodeManifests(data, f); err != nil {
		problemsOf(t, err)
	}
}

// checkYAML checks that a package shown as YAML can be applied again.
func checkYAML(t *testing.T, p model.Package, line []byte) {
	t.Helper()
	shown, err := model.MarshalYAML(p)
	if err != nil {
		t.Fatalf("show as YAML: %v", err)
	}
	again, unknown, err := model.DecodePackage(shown, model.YAML)
	if err != nil || unknown != nil {
		t.Fatalf("decode what was shown: unknown %v, error %v in %s", unknown, err, shown)
	}
	checkSameLine(t, line, again, model.EncodePackage)
}

func checkFixedPoint[T any](t *testing.T, v T, encode func(T) ([]byte, error), parse func([]byte) (T, error)) []byte {
	t.Helper()
	line, err := encode(v)
	if err != nil {
		t.Fatalf("encode what was decoded: %v", err)
	}
	if bytes.IndexByte(line, '\n') >= 0 {
		t.Fatalf("line holds a newline: %q", line)
	}
	parsed, err := parse(document(line))
	if err != nil {
		t.Fatalf("parse what was encoded: %v in %s", err, line)
	}
	checkSameLine(t, line, parsed, encode)
	return line
}

func checkSameLine[T any](t *testing.T, want []byte, v T, encode func(T) ([]byte, error)) {
	t.Helper()
	got, err := encode(v)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("got %s, want %s", got, want)
	}
}

func FuzzDecodeJSON(f *testing.F) {
	f.Add(packageOf(f, 1))
	for _, seed := range []string{
		``, `null`, `{}`, `[]`, `{"name":"p"}`, `{"name":"p","name":"q"}`, `{"name":"p","version":"\ud83d\ude00"}`, `{"name":"p"} {}`,
		`{"key":"k","package_name":"p","class_key":"C","odgm":{"env_node_ids":{"e":[1]},"log":null},"telemetry":{},
			"nfr_requirements":{"availability":0.99},"functions":[{"function_key":"f","qos_requirement":{"availability":1}}],"env_templates":{"e":"dev"}}`,
		`{"key":"k","class_key":"C","deployment_id":"d","metrics":{"cpu_usage":1e-7},"last_updated":"2026-01-02T03:04:05.123+01:00"}`,
		`{"name":"c","url":"https://c:1/x","protocol":"GRPC","labels":{"a/b":"c"},"timeout":1,"auth":{"auth_type":"Basic","username":"u"},"managed_by":"x"}`,
		`{"clusters":[{"name":"c","base_url":"http://c","weight":0,"tls":{"insecure":true}}]}`,
		`{"key":"k","package_name":"p","class_key":"C","placement":{"requirements":[{"key":"a","operator":"In","values":["b"]}],"spread":[{"label":"z"}],
			"affinity":[{"class":"p.C"}],"weights":{"a":1}},"failover":{"enabled":true,"toleration":5,"backups":["b"]},
			"rollout":{"wave":"5%","max_unavailable":1,"soak":"1h","on_failure":"rollback"}}`,
		`{"name":"p","functions":[{"key":"f","provision_config":{"cpu_request":"1e3","port":65535},"config":{"":""}}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) { checkDecoded(t, data, model.JSON) })
}

func FuzzDecodeYAML(f *testing.F) {
	for _, name := range []string{"echo.yml", "shop.yml", "dependencies.yml", "thumbnails.yml"} {
		f.Add(readExample(f, name))
	}
	for _, seed := range []string{
		"", "---\n...\n", "name: p\n---\nkey: k", "a: &a [*a]", "name: &n p\nversion: *n", "{<<: {name: p}}", "name: p\nversion: !!int 1",
		"name: c\nurl: http://c\ntimeout: 0x10", "clusters:\n- {name: c, url: http://c}\n---\nkey: k\nrollout: {wave: 50%, soak: 1.5}",
		"name: |-\n  p\nmetadata: {tags: [1, ~, 'x', \"\\u00e9\"]}", "? name\n: p", laughs(3),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) { checkDecoded(t, data, model.YAML) })
}
