package model_test

import (
	"strings"
	"testing"

	"github.com/oprc/oprc-pm/model"
)

func TestDecodeYAMLLeniency(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		body string
		got  func(model.Package) any
		want any
	}{
		{"version_float", "version: 1.0", version, ptr("1.0")},
		{"version_int", "version: 2", version, ptr("2")},
		{"version_octal", "version: 010", version, ptr("010")},
		{"version_date", "version: 2026-01-02", version, ptr("2026-01-02")},
		{"version_bool", "version: true", version, ptr("true")},
		{"version_quoted", `version: "1.10"`, version, ptr("1.10")},
		{"version_tagged", "version: !!str 1.10", version, ptr("1.10")},
		{"version_null", "version: null", version, (*string)(nil)},
		{"version_tilde", "version: ~", version, (*string)(nil)},
		{"version_bare", "version:", version, (*string)(nil)},
		{"version_empty_text", `version: ""`, version, ptr("")},
		{"version_null_text", `version: "null"`, version, ptr("null")},
		{"config_int", config("HTTP_PORT: 80"), values, map[string]string{"HTTP_PORT": "80"}},
		{"config_hex", config("A: 0x50"), values, map[string]string{"A": "0x50"}},
		{"config_bool", config("A: true"), values, map[string]string{"A": "true"}},
		{"config_null", config("A: null"), values, map[string]string{"A": "null"}},
		{"config_tilde", config("A: ~"), values, map[string]string{"A": "~"}},
		{"config_bare", config("A: "), values, map[string]string{"A": ""}},
		{"config_merge_text", config("A: <<"), values, map[string]string{"A": "<<"}},
		{"config_key_number", config("8080: x"), values, map[string]string{"8080": "x"}},
		{"config_literal", "functions:\n- key: f\n  config:\n    A: |\n      one\n      two\n", values, map[string]string{"A": "one\ntwo\n"}},
		{"config_bare_map", "functions:\n- key: f\n  config:\n", values, map[string]string{}},
		{"lists_bare", "classes:\nfunctions: ~\ndependencies: null\nmetadata:\n  tags:\n", func(p model.Package) any { return len(p.Classes) }, 0},
		{"metadata_bare", "metadata:", func(p model.Package) any { return p.Metadata.Tags }, []string{}},
		{"tags_plain", "metadata: {tags: [1, true, ~, a]}", func(p model.Package) any { return p.Metadata.Tags }, []string{"1", "true", "~", "a"}},
		{"enum_plain", "functions: [{key: f, function_type: WASM}]", func(p model.Package) any { return p.Functions[0].FunctionType }, model.FunctionWASM},
		{"bool", "disabled: True", func(p model.Package) any { return p.Disabled }, true},
		{"port_hex", "functions: [{key: f, provision_config: {port: 0x50}}]", port, ptr(uint16(80))},
		{"port_plus", "functions: [{key: f, provision_config: {port: +80}}]", port, ptr(uint16(80))},
		{"port_null", "functions: [{key: f, provision_config: {port: }}]", port, (*uint16)(nil)},
		{"quantity_number", "functions: [{key: f, provision_config: {cpu_limit: 2}}]", func(p model.Package) any { return p.Functions[0].ProvisionConfig.CPULimit }, ptr(model.Quantity("2"))},
		{"fraction_integer", "deployments: [{key: d, class_key: C, telemetry: {sampling_rate: 1}}]\nclasses: [{key: C}]", func(p model.Package) any { return p.Deployments[0].Telemetry.SamplingRate }, ptr(1.0)},
		{"alias", "metadata: {description: &d hello}\nversion: *d", version, ptr("hello")},
		{"merge", "functions:\n- key: f\n  config: &c {A: 1, B: 2}\n- key: g\n  config: {<<: *c, B: 3}", func(p model.Package) any { return p.Functions[1].Config }, map[string]string{"A": "1", "B": "3"}},
		{"merge_list", "functions:\n- key: f\n  config: &c {A: 1}\n- key: g\n  config: &d {A: 2, B: 2}\n- key: h\n  config: {<<: [*c, *d]}", func(p model.Package) any { return p.Functions[2].Config }, map[string]string{"A": "1", "B": "2"}},
		{"documents_empty_around", "---\n---\nversion: 1\nname: p\n---\n", version, ptr("1")},
		{"json_is_yaml", `{"version": "1"}`, version, ptr("1")},
		{"windows_line_ends", "version: 1.0\r\ndisabled: true\r\n", version, ptr("1.0")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			body := tt.body
			if !strings.Contains(body, "name: p") && body[0] != '{' {
				body = "name: p\n" + body
			}
			body = strings.Replace(body, `{"version"`, `{"name": "p", "version"`, 1)
			p, unknown, err := model.DecodePackage([]byte(body), model.YAML)
			if err != nil || unknown != nil {
				t.Fatalf("got unknown %v, error %v", unknown, err)
			}
			wantEqual(t, tt.got(p), tt.want)
		})
	}
}

func version(p model.Package) any  { return p.Version }
func values(p model.Package) any   { return p.Functions[0].Config }
func port(p model.Package) any     { return p.Functions[0].ProvisionConfig.Port }
func config(entries string) string { return "functions: [{key: f, config: {" + entries + "}}]" }
func portOf(value string) string {
	return "functions: [{key: f, provision_config: {port: " + value + "}}]"
}
func availability(text string) string {
	return "classes: [{key: C}]\ndeployments: [{key: d, class_key: C, nfr_requirements: {availability: " + text + "}}]"
}

func TestDecodeYAMLProblems(t *testing.T) {
	t.Parallel()
	const portPath = "functions[0].provision_config.port: "
	const availabilityPath = "deployments[0].nfr_requirements.availability: "
	tests := []struct{ name, body, want string }{
		{"quoted_integer", portOf(`"80"`), portPath + "must be a whole number, got text"},
		{"fraction", portOf("80.0"), portPath + "must be a whole number, got 80.0"},
		{"leading_zero", portOf("010"), portPath + "must be a whole number, got 010"},
		{"negative", portOf("-1"), portPath + "must not be negative, got -1"},
		{"underscore", portOf("1_000"), portPath + "must be a whole number, got 1_000"},
		{"hex_overflow", portOf("0x10000"), portPath + "must be at most 65535, got 0x10000"},
		{"tag_lies_integer", portOf("!!int x"), portPath + "must be a whole number, got x"},
		{"tag_lies_bool", "disabled: !!bool maybe", `disabled: must be true or false, got "maybe"`},
		{"old_boolean", "disabled: yes", "disabled: must be true or false, got text"},
		{"null_boolean", "disabled:", "disabled: must be true or false, got null"},
		{"not_a_number", availability(".nan"), availabilityPath + "must be a decimal number, got .nan"},
		{"infinite", availability(".inf"), availabilityPath + "must be a decimal number, got .inf"},
		{"list_for_text", "version: [1]", "version: must be text, got a list"},
		{"scalar_for_list", "dependencies: a", "dependencies: must be a list, got text"},
		{"duplicate", "version: 1\nversion: 2", "version: is given twice"},
		{"duplicate_in_map", config("A: 1, A: 2"), "functions[0].config.A: is given twice"},
		{"unknown_tag", "version: !custom 1", `line 2: the tag "!custom" is not supported`},
		{"binary", "version: !!binary aGk=", `line 2: the tag "!!binary" is not supported`},
		{"key_not_text", "? [a]\n: 1", "malformed YAML: line 2: the name of a field must be text"},
		{"merge_of_text", "<<: x", "malformed YAML: line 2: << must be given an object or a list of objects"},
		{"second_document", "version: 1\n---\nname: q", "must hold one document, there is more after it"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := model.DecodePackage([]byte("name: p\n"+tt.body), model.YAML)
			wantEqual(t, problemsOf(t, err), []string{tt.want})
		})
	}
}

func TestDecodeMalformedYAML(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, body, want string }{
		{"empty", "", "the body is empty"},
		{"comment", "# nothing\n", "the body is empty"},
		{"markers", "---\n---\n", "the body is empty"},
		{"list", "- a", "must be an object, got a list"},
		{"text", "hello", "must be an object, got text"},
		{"null", "~", "must be an object, got null"},
		{"not_utf8", "name: \xff", "not valid UTF-8 at byte offset 6"},
		{"utf16", "\xff\xfen\x00", "not valid UTF-8 at byte offset 0"},
		{"unknown_anchor", "name: *x", "malformed YAML: unknown anchor 'x' referenced"},
		{"indentation", "name: p\n version: 1", "malformed YAML: line 2: mapping values are not allowed in this context"},
		{"alias_of_itself", "x: &a [*a]", "nested deeper than 64 levels (line 1)"},
		{"too_deep", "x: " + nested(64), "nested deeper than 64 levels (line 1)"},
		{"billion_laughs", laughs(9), "more than 300000 values (line 2)"},
		{"long_laughs", "a: &a " + strings.Repeat("x", 1<<20) + "\nb: [" + strings.Repeat("*a,", 64) + "]", "more than 33554432 bytes of text (line 1)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := model.DecodePackage([]byte(tt.body), model.YAML)
			wantEqual(t, problemsOf(t, err), []string{tt.want})
		})
	}
}

// laughs is a small document that expands to 10^levels values.
func laughs(levels int) string {
	var b strings.Builder
	b.WriteString("name: p\na0: &a0 [x,x,x,x,x,x,x,x,x,x]\n")
	for i := 1; i < levels; i++ {
		last, this := string(rune('0'+i-1)), string(rune('0'+i))
		b.WriteString("a" + this + ": &a" + this + " [" + strings.TrimSuffix(strings.Repeat("*a"+last+",", 10), ",") + "]\n")
	}
	return b.String()
}
