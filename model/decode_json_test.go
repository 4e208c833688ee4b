package model_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/oprc/oprc-pm/model"
)

func TestDecodePackageJSONDefaults(t *testing.T) {
	t.Parallel()
	got, unknown, err := model.DecodePackage([]byte(`{"name":"shop",
		"classes":[{"key":"Cart","state_spec":{},"function_bindings":[{"name":"add","function_key":"add","access_modifier":"PUBLIC"}]}],
		"functions":[{"key":"add"}],
		"deployments":[{"key":"c","class_key":"Cart"}]}`), model.JSON)
	if err != nil || unknown != nil {
		t.Fatalf("got unknown %v, error %v", unknown, err)
	}
	wantEqual(t, got, model.Package{
		Name:         "shop",
		Metadata:     model.PackageMetadata{Tags: []string{}},
		Dependencies: []string{},
		Classes: []model.Class{{
			Key:       "Cart",
			StateSpec: &model.StateSpecification{ConsistencyModel: model.ConsistencyNone},
			FunctionBindings: []model.FunctionBinding{{
				Name: "add", FunctionKey: "add", AccessModifier: model.AccessPublic, Parameters: []string{},
			}},
		}},
		Functions: []model.Function{{Key: "add", FunctionType: model.FunctionCustom, Config: map[string]string{}}},
		Deployments: []model.Deployment{{
			Key: "c", PackageName: "shop", ClassKey: "Cart", Functions: []model.FunctionDeploymentSpec{},
		}},
	})
}

// The web UI sends no more than this.
func TestDecodeDeploymentMinimal(t *testing.T) {
	t.Parallel()
	got, unknown, err := model.DecodeDeployment([]byte(`{"key":"shop.Cart","package_name":"shop","class_key":"Cart"}`), model.JSON)
	if err != nil || unknown != nil {
		t.Fatalf("got unknown %v, error %v", unknown, err)
	}
	want := model.Deployment{Key: "shop.Cart", PackageName: "shop", ClassKey: "Cart", Functions: []model.FunctionDeploymentSpec{}}
	wantEqual(t, got, want)
}

// A document that was read from the API can be sent back: what the store wrote
// into it is skipped, whatever it is.
func TestDecodeIgnoresSystemFields(t *testing.T) {
	t.Parallel()
	got, unknown, err := model.DecodeDeployment([]byte(`{"resource_version":7,"generation":2,"created_at":null,"updated_at":"2026-01-02T03:04:05Z",
		"observed_generation":1,"deletion_requested_at":null,"condition":"RUNNING","conditions":[{}],
		"status":{"replication_factor":1},"key":"c","package_name":"p","class_key":"C"}`), model.JSON)
	if err != nil || unknown != nil {
		t.Fatalf("got unknown %v, error %v", unknown, err)
	}
	wantEqual(t, got.Meta, model.Meta{})
	wantEqual(t, got.DeploymentObserved, model.DeploymentObserved{})
}

func TestDecodeUnknownFields(t *testing.T) {
	t.Parallel()
	_, unknown, err := model.DecodePackage([]byte(`{"name":"p","color":1,
		"classes":[{"key":"C"},{"key":"D","odd\u00e9 \nname":{"x":1}}],
		"deployments":[{"key":"d","class_key":"C","odgm":{"features":[]}}]}`), model.JSON)
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, unknown, []string{"color", `classes[1]["odd\u00e9 \nname"]`, "deployments[0].odgm.features"})
}

func TestDecodePackageJSONProblems(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		body string // members of a package named p
		want []string
	}{
		{"number_for_text", `"version":1.0`, []string{"version: must be text, got a number"}},
		{"boolean_for_text", `"version":true`, []string{"version: must be text, got a boolean"}},
		{"object_for_text", `"version":{}`, []string{"version: must be text, got an object"}},
		{"null_for_list", `"classes":null`, []string{"classes: must be a list, got null"}},
		{"null_for_object", `"metadata":null`, []string{"metadata: must be an object, got null"}},
		{"null_for_bool", `"disabled":null`, []string{"disabled: must be true or false, got null"}},
		{"null_for_map", `"functions":[{"key":"f","config":null}]`, []string{"functions[0].config: must be an object, got null"}},
		{"null_in_list", `"dependencies":[null]`, []string{"dependencies[0]: must be text, got null"}},
		{"text_for_bool", `"disabled":"true"`, []string{"disabled: must be true or false, got text"}},
		{"object_for_list", `"classes":{}`, []string{"classes: must be a list, got an object"}},
		{"text_for_object", `"metadata":"x"`, []string{"metadata: must be an object, got text"}},
		{"number_for_object_in_list", `"classes":[1]`, []string{"classes[0]: must be an object, got a number"}},
		{"number_in_map", `"functions":[{"key":"f","config":{"HTTP_PORT":80}}]`, []string{"functions[0].config.HTTP_PORT: must be text, got a number"}},
		{"fraction_for_integer", provision(`"port":1.0`), []string{"functions[0].provision_config.port: must be a whole number, got 1.0"}},
		{"exponent_for_integer", provision(`"port":1e2`), []string{"functions[0].provision_config.port: must be a whole number, got 1e2"}},
		{"text_for_integer", provision(`"port":"80"`), []string{"functions[0].provision_config.port: must be a whole number, got text"}},
		{"negative", provision(`"port":-1`), []string{"functions[0].provision_config.port: must not be negative, got -1"}},
		{"overflow_16", provision(`"port":65536`), []string{"functions[0].provision_config.port: must be at most 65535, got 65536"}},
		{"overflow_32", provision(`"max_concurrency":4294967296`), []string{"functions[0].provision_config.max_concurrency: must be at most 4294967295, got 4294967296"}},
		{"overflow_64", provision(`"max_scale":99999999999999999999`), []string{"functions[0].provision_config.max_scale: must be at most 4294967295, got 99999999999999999999"}},
		{"null_for_integer", provision(`"max_concurrency":null`), []string{"functions[0].provision_config.max_concurrency: must be a whole number, got null"}},
		{"list_long", `"classes":[` + zeros(10_001) + `]`, []string{"classes: must not have more than 10000 items, got 10001"}},
		{"object_large", `"functions":[{"key":"f","config":{` + members(10_001) + `}}]`, []string{"functions[0].config: must not have more than 10000 fields, got 10001"}},
		{"enum_case", `"functions":[{"key":"f","function_type":"custom"}]`, []string{`functions[0].function_type: must be one of BUILTIN, CUSTOM, MACRO, LOGICAL, WASM, got "custom"`}},
		{"enum_empty", `"functions":[{"key":"f","function_type":""}]`, []string{`functions[0].function_type: must be one of BUILTIN, CUSTOM, MACRO, LOGICAL, WASM, got ""`}},
		{"enum_null", `"functions":[{"key":"f","function_type":null}]`, []string{`functions[0].function_type: must be one of BUILTIN, CUSTOM, MACRO, LOGICAL, WASM, got null`}},
		{"enum_consistency", `"classes":[{"key":"C","state_spec":{"consistency_model":"EVENTUAL"}}]`, []string{`classes[0].state_spec.consistency_model: must be one of NONE, READ_YOUR_WRITE, BOUNDED_STALENESS, STRONG, got "EVENTUAL"`}},
		{"timestamp", `"metadata":{"created_at":"yesterday"}`, []string{`metadata.created_at: must be an RFC 3339 time such as 2006-01-02T15:04:05Z, got "yesterday"`}},
		{"timestamp_without_zone", `"metadata":{"updated_at":"2026-01-02T03:04:05"}`, []string{`metadata.updated_at: must be an RFC 3339 time such as 2006-01-02T15:04:05Z, got "2026-01-02T03:04:05"`}},
		{"duplicate", `"version":"1","version":"2"`, []string{"version: is given twice"}},
		{"duplicate_unknown", `"x":1,"x":2`, []string{"x: is given twice"}},
		{"duplicate_in_map", `"functions":[{"key":"f","config":{"a b":"1","a b":"2"}}]`, []string{`functions[0].config["a b"]: is given twice`}},
		{"duplicate_in_element", `"classes":[{"key":"C","key":"D"}]`, []string{"classes[0].key: is given twice"}},
		{"duplicate_escaped", `"version":"1","\u0076ersion":"2"`, []string{"version: is given twice"}},
		{"case_matters", `"classes":[{"Key":"C"}]`, []string{"classes[0].key: is required"}},
		{
			"required", `"classes":[{"state_spec":{"key_specs":[{}]},"function_bindings":[{}]}],"functions":[{}]`,
			[]string{
				"classes[0].state_spec.key_specs[0].key_type: is required",
				"functions[0].key: is required",
				"classes[0].key: is required",
				"classes[0].state_spec.key_specs[0].name: is required",
				"classes[0].function_bindings[0].name: is required",
				"classes[0].function_bindings[0].function_key: is required",
				"classes[0].function_bindings[0].access_modifier: is required",
			},
		},
		{
			"all_at_once", `"version":1,"classes":[{"key":5}],"functions":[{"key":"f","provision_config":{"port":-1,"min_scale":3,"max_scale":2}}]`,
			[]string{
				"version: must be text, got a number",
				"classes[0].key: must be text, got a number",
				"functions[0].provision_config.port: must not be negative, got -1",
				"functions[0].provision_config.min_scale: must not exceed max_scale 2, got 3",
			},
		},
		{
			"no_follow_up_of_what_did_not_fit", provision(`"min_scale":5,"max_scale":"x"`),
			[]string{"functions[0].provision_config.max_scale: must be a whole number, got text"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := model.DecodePackage([]byte(`{"name":"p",`+tt.body+`}`), model.JSON)
			wantEqual(t, problemsOf(t, err), tt.want)
		})
	}
}

func zeros(count int) string { return strings.TrimSuffix(strings.Repeat("0,", count), ",") }

func members(count int) string {
	var b strings.Builder
	for i := range count {
		fmt.Fprintf(&b, `,"n%d":"x"`, i)
	}
	return b.String()[1:]
}

func provision(members string) string {
	return `"functions":[{"key":"f","provision_config":{` + members + `}}]`
}

func TestDecodeDeploymentJSONProblems(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		body string
		want []string
	}{
		{"float_text", `"nfr_requirements":{"availability":"0.9"}`, []string{"nfr_requirements.availability: must be a number, got text"}},
		{"float_range", `"nfr_requirements":{"availability":1e999}`, []string{"nfr_requirements.availability: is out of range: 1e999"}},
		{"float_null", `"functions":[{"function_key":"f","qos_requirement":{"availability":null}}]`, []string{"functions[0].qos_requirement.availability: must be a number, got null"}},
		{"fractional_rps", `"nfr_requirements":{"min_throughput_rps":1.5}`, []string{"nfr_requirements.min_throughput_rps: must be a whole number, got 1.5"}},
		{"qos_required", `"functions":[{"function_key":"f","qos_requirement":{}}]`, []string{"functions[0].qos_requirement.availability: is required"}},
		{"map_of_lists", `"odgm":{"env_node_ids":{"e":[1,-1],"f":3}}`, []string{
			"odgm.env_node_ids.e[1]: must not be negative, got -1",
			"odgm.env_node_ids.f: must be a list, got a number",
		}},
		{"map_of_lists_twice", `"odgm":{"env_node_ids":{"e":[1],"e":[2]}}`, []string{"odgm.env_node_ids.e: is given twice"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := model.DecodeDeployment([]byte(`{"key":"k","package_name":"p","class_key":"C",`+tt.body+`}`), model.JSON)
			wantEqual(t, problemsOf(t, err), tt.want)
		})
	}
}

func TestDecodeJSONNullableFields(t *testing.T) {
	t.Parallel()
	_, _, err := model.DecodePackage([]byte(`{"name":"p","version":null,"metadata":{"author":null,"description":null},
		"classes":[{"key":"C","description":null,"state_spec":null}],
		"functions":[{"key":"f","description":null,"provision_config":null},
			{"key":"g","provision_config":{"container_image":null,"wasm_module_url":null,"port":null,"cpu_request":null,
			"memory_request":null,"cpu_limit":null,"memory_limit":null,"min_scale":null,"max_scale":null}}],
		"deployments":[{"key":"d","class_key":"C","odgm":null,"telemetry":null,
			"nfr_requirements":{"min_throughput_rps":null,"availability":null,"cpu_utilization_target":null}}]}`), model.JSON)
	if err != nil {
		t.Fatal(err)
	}
}

func TestDecodeRuntimeStateJSON(t *testing.T) {
	t.Parallel()
	const body = `{"key":"cart-1","class_key":"shop.Cart","deployment_id":"shop.Cart","status":"Running","health":"Healthy",
		"metrics":{"cpu_usage":1,"memory_usage":2e6,"request_count":10,"error_count":0,"average_latency":1.5},"last_updated":%q}`
	t.Run("ok", func(t *testing.T) {
		t.Parallel()
		got, unknown, err := model.DecodeRuntimeState(fmt.Appendf(nil, body, "2026-01-02T04:04:05.5+01:00"), model.JSON)
		if err != nil || unknown != nil {
			t.Fatalf("got unknown %v, error %v", unknown, err)
		}
		wantEqual(t, got.LastUpdated.String(), "2026-01-02 03:04:05.5 +0000 UTC")
		wantEqual(t, got.Metrics, model.RuntimeMetrics{CPUUsage: 1, MemoryUsage: 2e6, RequestCount: 10, AverageLatency: 1.5})
	})
	// The last is year 10000 in UTC, which could not be written back.
	for i, at := range []string{"", "2026-01-02", "2026-01-02T03:04:05,5Z", "9999-12-31T23:59:59-01:00"} {
		t.Run(fmt.Sprintf("err_time_%d", i), func(t *testing.T) {
			t.Parallel()
			_, _, err := model.DecodeRuntimeState(fmt.Appendf(nil, body, at), model.JSON)
			wantEqual(t, problemsOf(t, err), []string{fmt.Sprintf("last_updated: must be an RFC 3339 time such as 2006-01-02T15:04:05Z, got %q", at)})
		})
	}
}

func TestDecodeMalformedJSON(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, body, want string }{
		{"empty", "", "the body is empty"},
		{"blank", " \n\t", "the body is empty"},
		{"byte_order_mark_only", "\uFEFF", "the body is empty"},
		{"list", "[]", "must be an object, got a list"},
		{"text", `"x"`, "must be an object, got text"},
		{"null", "null", "must be an object, got null"},
		{"unfinished", "{\"name\":\n \"p\"", "malformed JSON: ends too early, at line 2, column 5"},
		{"unfinished_text", `{"name":"p`, "malformed JSON: ends too early, at line 1, column 11"},
		{"unfinished_literal", `nul`, "malformed JSON: ends too early, at line 1, column 4"},
		{"missing_value", "{\n  \"name\":}", "malformed JSON at line 2, column 10: missing value after object name"},
		{"column_in_characters", `{"é":}`, "malformed JSON at line 1, column 6: missing value after object name"},
		{"name_not_text", `{1:2}`, "malformed JSON at line 1, column 2: object member name must be a string"},
		{"trailing_comma", `{"name":"p",}`, "malformed JSON at line 1, column 12: invalid character ',' at start of value"},
		{"trailing_text", `{"name":"p"} x`, "malformed JSON at line 1, column 14: invalid character 'x' at start of value"},
		{"second_document", `{"name":"p"}{}`, "must hold one document, there is more after it"},
		{"yaml", "name: p", "malformed JSON at line 1, column 2: invalid character 'a' in literal null (expecting 'u')"},
		{"not_utf8", "{\"name\":\"\xff\"}", "not valid UTF-8 at byte offset 9"},
		{"lone_surrogate", `{"name":"\ud800"}`, "malformed JSON at line 1, column 10: invalid surrogate pair `\\ud800\"}` in string"},
		{"too_deep", `{"x":` + nested(64) + `}`, "nested deeper than 64 levels"},
		{"very_deep", strings.Repeat("[", 1_000_000), "nested deeper than 64 levels"},
		{"too_many_values", `{"x":[` + zeros(300_001) + `]}`, "more than 300000 values"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := model.DecodePackage([]byte(tt.body), model.JSON)
			wantEqual(t, problemsOf(t, err), []string{tt.want})
		})
	}
}

func TestDecodeJSONAtTheLimits(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, body string }{
		{"deep", `{"name":"p","x":` + nested(63) + `}`},
		{"byte_order_mark", "\uFEFF{\"name\":\"p\"}"},
		{"space_around", " \r\n{\"name\":\"p\"}\n\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, _, err := model.DecodePackage([]byte(tt.body), model.JSON); err != nil {
				t.Error(err)
			}
		})
	}
}

// However much is wrong, the answer stays short.
func TestDecodeBoundsProblems(t *testing.T) {
	t.Parallel()
	_, _, err := model.DecodePackage([]byte(`{"name":"p","dependencies":[`+zeros(1000)+`]}`), model.JSON)
	got := problemsOf(t, err)
	wantEqual(t, len(got), 101)
	wantEqual(t, got[99:], []string{"dependencies[99]: must be text, got a number", "900 more problems are not listed"})

	var unknown strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&unknown, `,"x%d":1`, i)
	}
	_, paths, err := model.DecodePackage([]byte(`{"name":"p"`+unknown.String()+`}`), model.JSON)
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, len(paths), 100)

	long := strings.Repeat("é", 100)
	_, _, err = model.DecodePackage([]byte(`{"name":"`+long+`"}`), model.JSON)
	wantEqual(t, problemsOf(t, err), []string{`name: may only hold letters, digits, '.', '_' and '-', got "` + strings.Repeat("é", 32) + `..."`})

}
