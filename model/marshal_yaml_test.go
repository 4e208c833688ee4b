package model_test

import (
	"encoding/json"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/oprc/oprc-pm/model"
)

func TestMarshalYAML(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		in   any
		want string
	}{
		{"scalars", json.RawMessage(`{"b":true,"a":null,"n":-1.5e3,"t":"text"}`), "b: true\na: null\n\"n\": -1.5e3\nt: text\n"},
		{"empty", json.RawMessage(`{"l":[],"o":{}}`), "l: []\no: {}\n"},
		{"nested", json.RawMessage(`{"l":[{"a":1,"b":[2]}]}`), "l:\n  - a: 1\n    b:\n      - 2\n"},
		{"list", []string{"a", "b"}, "- a\n- b\n"},
		{"looks_like_another_type", []string{"80", "1.0", "true", "null", "~", "", "yes", "off", "0x50", "1:20", "2026-01-02", "-", ".inf"},
			"- \"80\"\n- \"1.0\"\n- \"true\"\n- \"null\"\n- \"~\"\n- \"\"\n- \"yes\"\n- \"off\"\n- \"0x50\"\n- \"1:20\"\n- \"2026-01-02\"\n- \"-\"\n- \".inf\"\n"},
		{"lines", []string{"one\ntwo\n"}, "- |\n  one\n  two\n"},
		{"control", []string{"a\x00b"}, "- \"a\\0b\"\n"},
		{"struct", model.NFRRequirements{Availability: ptr(0.5)}, "min_throughput_rps: null\navailability: 0.5\ncpu_utilization_target: null\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := model.MarshalYAML(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			wantEqual(t, string(got), tt.want)
		})
	}
}

// What is shown of a cluster or a deployment can be applied again.
func TestMarshalYAMLOfWhatIsApplied(t *testing.T) {
	t.Parallel()
	for _, in := range []any{validCluster(), placedDeployment()} {
		shown, err := model.MarshalYAML(in)
		if err != nil {
			t.Fatal(err)
		}
		manifests, err := model.DecodeManifests(shown, model.YAML)
		if err != nil || len(manifests) != 1 || manifests[0].Unknown != nil {
			t.Fatalf("decode %s: got %+v, %v, want one document", shown, manifests, err)
		}
		switch in := in.(type) {
		case model.Cluster:
			in.ManagedBy = ""
			wantEqual(t, manifests[0].Clusters, []model.Cluster{in})
		case model.Deployment:
			wantEqual(t, manifests[0].Deployments, []model.Deployment{in})
		}
	}
}

// The limits of input do not apply to what is shown: a long list is longer than
// any document.
func TestMarshalYAMLLongList(t *testing.T) {
	t.Parallel()
	got, err := model.MarshalYAML(make([]int, 300_001))
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, len(got), 300_001*len("- 0\n"))
}

func TestMarshalYAMLErrors(t *testing.T) {
	t.Parallel()
	for _, in := range []any{json.RawMessage("{"), func() {}, "\xff"} {
		if got, err := model.MarshalYAML(in); err == nil {
			t.Errorf("got %s, want an error", got)
		}
	}
}

// FuzzMarshalYAML checks that any text, as a value and as a name, comes back
// from YAML as it was.
func FuzzMarshalYAML(f *testing.F) {
	for _, text := range []string{
		"", "a", " a", "a ", "\ta", "a\n", "\na", "a\n\n", "\n", " a\nb", "a\n b\n", "a \nb", "#a", "a # b", "a: b", "- a", "? a", "*a", "&a",
		"!a", "|", ">", "%", "@", "`", "'", `"`, "{a}", "[a]", "a,b", "\u0085", "\u2028", "\ufeff", "\x7f", "é", "😀", "<<", "=", "1e3", "0b1", "---", "...", "a\r\nb", "a\tb",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		in := map[string][]string{text: {text}}
		data, err := model.MarshalYAML(in)
		if err != nil {
			return
		}
		var out any
		if err := yaml.Unmarshal(data, &out); err != nil {
			t.Fatalf("%v in %q", err, data)
		}
		wantEqual(t, out, any(map[string]any{text: []any{text}}))
	})
}
