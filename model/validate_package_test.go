package model_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/oprc/oprc-pm/model"
)

// validPackage is a package that breaks no rule and uses every field.
func validPackage() model.Package {
	p := model.Package{
		Name:    "shop",
		Version: ptr("1.0"),
		Metadata: model.PackageMetadata{
			Author: ptr("me"), Description: ptr("two\nlines"), Tags: []string{"a", "b c"},
			CreatedAt: ptr("2026-01-02T03:04:05Z"), UpdatedAt: ptr("2026-01-02T03:04:05.5+01:00"),
		},
		Dependencies: []string{"users", "billing"},
		Classes: []model.Class{{
			Key: "Cart",
			StateSpec: &model.StateSpecification{
				KeySpecs:         []model.KeySpecification{{Name: "id", KeyType: "string"}},
				ConsistencyModel: model.ConsistencyStrong,
			},
			FunctionBindings: []model.FunctionBinding{
				{Name: "add", FunctionKey: "Cart.add", AccessModifier: model.AccessPublic, Parameters: []string{"a"}},
				{Name: "also-add", FunctionKey: "Cart.add", AccessModifier: model.AccessInternal},
			},
		}, {Key: "Record"}},
		Functions: []model.Function{{
			Key: "Cart.add", FunctionType: model.FunctionCustom,
			ProvisionConfig: &model.ProvisionConfig{
				ContainerImage: ptr("img"), Port: ptr(uint16(0)),
				CPURequest: ptr(model.Quantity("500m")), CPULimit: ptr(model.Quantity("0.5")),
				MemoryRequest: ptr(model.Quantity("1Gi")), MemoryLimit: ptr(model.Quantity("1Gi")),
				MinScale: ptr(uint32(1)), MaxScale: ptr(uint32(1)),
			},
			Config: map[string]string{"HTTP_PORT": "80"},
		}},
		Deployments: []model.Deployment{{Key: "shop.Cart", ClassKey: "Cart", TargetEnvs: []string{"oaas-1", "oaas_2"}}},
	}
	p.SetDefaults()
	return p
}

func TestValidatePackage(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*model.Package)
		want   []string
	}{
		{"ok", func(*model.Package) {}, nil},
		{"ok_longest_name", func(p *model.Package) { p.Name = strings.Repeat("x", 253) }, nil},
		{"ok_names", func(p *model.Package) { p.Name = "-A.b_9..x" }, nil},
		{"ok_no_functions", func(p *model.Package) { *p = model.Package{Name: "p"} }, nil},
		{"ok_same_tag_twice", func(p *model.Package) { p.Metadata.Tags = []string{"a", "a"} }, nil},
		{"ok_scale_open", func(p *model.Package) { p.Functions[0].ProvisionConfig.MaxScale = nil }, nil},
		{"ok_request_alone", func(p *model.Package) { p.Functions[0].ProvisionConfig.CPULimit = nil }, nil},
		{"ok_wasm_without_module", func(p *model.Package) { p.Functions[0].FunctionType = model.FunctionWASM }, nil},
		{"ok_deployment_of_another_package", func(p *model.Package) {
			p.Deployments[0].PackageName, p.Deployments[0].ClassKey = "other", "Other"
		}, nil},

		{"name_empty", renamed(""), []string{"name: is required"}},
		{"name_space", renamed("my shop"), []string{`name: may only hold letters, digits, '.', '_' and '-', got "my shop"`}},
		{"name_slash", renamed("a/b"), []string{`name: may only hold letters, digits, '.', '_' and '-', got "a/b"`}},
		{"name_escape", renamed("a%2fb"), []string{`name: may only hold letters, digits, '.', '_' and '-', got "a%2fb"`}},
		{"name_nul", renamed("a\x00b"), []string{`name: may only hold letters, digits, '.', '_' and '-', got "a\x00b"`}},
		{"name_unicode", renamed("café"), []string{`name: may only hold letters, digits, '.', '_' and '-', got "café"`}},
		{"name_dot", renamed("."), []string{`name: must not be ".", which cannot be addressed in a URL`}},
		{"name_dots", renamed(".."), []string{`name: must not be "..", which cannot be addressed in a URL`}},
		{"name_long", renamed(strings.Repeat("x", 254)), []string{"name: must be at most 253 characters, got 254"}},
		{"version_control", func(p *model.Package) { p.Version = ptr("1\n2") }, []string{`version: must not hold control characters, got "1\n2"`}},

		{"tag_empty", func(p *model.Package) { p.Metadata.Tags[1] = "" }, []string{"metadata.tags[1]: must not be empty"}},
		{"tag_long", func(p *model.Package) { p.Metadata.Tags[0] = strings.Repeat("x", 129) }, []string{"metadata.tags[0]: must be at most 128 bytes, got 129"}},
		{"tag_control", func(p *model.Package) { p.Metadata.Tags[0] = "a\tb" }, []string{`metadata.tags[0]: must not hold control characters, got "a\tb"`}},
		{"tags_many", func(p *model.Package) { p.Metadata.Tags = numbered(1001) }, []string{"metadata.tags: must not have more than 1000 items, got 1001"}},
		{"author_control", func(p *model.Package) { p.Metadata.Author = ptr("\x7f") }, []string{`metadata.author: must not hold control characters, got "\x7f"`}},
		{"author_long", func(p *model.Package) { p.Metadata.Author = ptr(strings.Repeat("x", 4097)) }, []string{"metadata.author: must be at most 4096 bytes, got 4097"}},
		{"description_long", func(p *model.Package) { p.Metadata.Description = ptr(strings.Repeat("x", 65537)) }, []string{"metadata.description: must be at most 65536 bytes, got 65537"}},
		{"description_nul", func(p *model.Package) { p.Metadata.Description = ptr("a\x00") }, []string{"metadata.description: must not hold NUL"}},
		{"created_at", func(p *model.Package) { p.Metadata.CreatedAt = ptr("now") }, []string{`metadata.created_at: must be an RFC 3339 time such as 2006-01-02T15:04:05Z, got "now"`}},

		{"dependency_self", func(p *model.Package) { p.Dependencies[1] = "shop" }, []string{"dependencies[1]: must not be the package itself"}},
		{"dependency_twice", func(p *model.Package) { p.Dependencies[1] = "users" }, []string{`dependencies[1]: names "users" a second time`}},
		{"dependency_empty", func(p *model.Package) { p.Dependencies[0] = "" }, []string{"dependencies[0]: must not be empty"}},
		{"dependency_name", func(p *model.Package) { p.Dependencies[0] = "a b" }, []string{`dependencies[0]: may only hold letters, digits, '.', '_' and '-', got "a b"`}},
		{"dependencies_many", func(p *model.Package) { p.Dependencies = numbered(1001) }, []string{"dependencies: must not have more than 1000 items, got 1001"}},

		{"class_twice", func(p *model.Package) { p.Classes[1].Key = "Cart" }, []string{`classes[1].key: "Cart" is used a second time`}},
		{"class_key", func(p *model.Package) { p.Classes[1].Key = "../x" }, []string{`classes[1].key: may only hold letters, digits, '.', '_' and '-', got "../x"`}},
		{"classes_many", func(p *model.Package) { p.Classes = make([]model.Class, 1001) }, []string{"classes: must not have more than 1000 items, got 1001"}},
		{"state_spec", func(p *model.Package) {
			p.Classes[0].StateSpec = &model.StateSpecification{
				KeySpecs: []model.KeySpecification{{}}, DefaultProvider: "\n", ConsistencyModel: "strong", SerializationFormat: "\n",
			}
		}, []string{
			`classes[0].state_spec.default_provider: must not hold control characters, got "\n"`,
			`classes[0].state_spec.consistency_model: must be one of NONE, READ_YOUR_WRITE, BOUNDED_STALENESS, STRONG, got "strong"`,
			`classes[0].state_spec.serialization_format: must not hold control characters, got "\n"`,
			"classes[0].state_spec.key_specs[0].name: is required",
		}},
		{"binding_unknown_function", func(p *model.Package) { p.Classes[0].FunctionBindings[1].FunctionKey = "Cart.sub" }, []string{
			`classes[0].function_bindings[1].function_key: names no function of this package: "Cart.sub"`,
		}},
		{"binding_twice", func(p *model.Package) { p.Classes[0].FunctionBindings[1].Name = "add" }, []string{
			`classes[0].function_bindings[1].name: "add" is used a second time`,
		}},
		{"binding_access", func(p *model.Package) { p.Classes[0].FunctionBindings[0].AccessModifier = "OPEN" }, []string{
			`classes[0].function_bindings[0].access_modifier: must be one of PUBLIC, INTERNAL, PRIVATE, got "OPEN"`,
		}},
		{"binding_parameter", func(p *model.Package) { p.Classes[0].FunctionBindings[0].Parameters[0] = "\r" }, []string{
			`classes[0].function_bindings[0].parameters[0]: must not hold control characters, got "\r"`,
		}},
		{"bindings_many", func(p *model.Package) { p.Classes[0].FunctionBindings = make([]model.FunctionBinding, 1001) }, []string{
			"classes[0].function_bindings: must not have more than 1000 items, got 1001",
		}},

		{"function_twice", func(p *model.Package) { p.Functions = append(p.Functions, p.Functions[0]) }, []string{`functions[1].key: "Cart.add" is used a second time`}},
		{"function_type", func(p *model.Package) { p.Functions[0].FunctionType = "X" }, []string{`functions[0].function_type: must be one of BUILTIN, CUSTOM, MACRO, LOGICAL, WASM, got "X"`}},
		// Which functions exist is not known then, so no binding is reported.
		{"functions_many", func(p *model.Package) {
			p.Functions = make([]model.Function, 10_001)
		}, []string{"functions: must not have more than 10000 items, got 10001"}},
		{"image", provisioned(func(c *model.ProvisionConfig) { c.ContainerImage = ptr("a\nb") }), []string{`functions[0].provision_config.container_image: must not hold control characters, got "a\nb"`}},
		{"module", provisioned(func(c *model.ProvisionConfig) { c.WasmModuleURL = ptr("a\nb") }), []string{`functions[0].provision_config.wasm_module_url: must not hold control characters, got "a\nb"`}},
		{"quantity", provisioned(func(c *model.ProvisionConfig) { c.CPURequest = ptr(model.Quantity("fast")) }), []string{`functions[0].provision_config.cpu_request: is not a quantity such as 500m, 2 or 1Gi, got "fast"`}},
		{"quantity_negative", provisioned(func(c *model.ProvisionConfig) { c.MemoryRequest = ptr(model.Quantity("-1Gi")) }), []string{"functions[0].provision_config.memory_request: must not be negative, got -1Gi"}},
		{"request_over_limit", provisioned(func(c *model.ProvisionConfig) { c.CPULimit = ptr(model.Quantity("499m")) }), []string{"functions[0].provision_config.cpu_request: must not exceed cpu_limit 499m, got 500m"}},
		{"memory_over_limit", provisioned(func(c *model.ProvisionConfig) { c.MemoryLimit = ptr(model.Quantity("1G")) }), []string{"functions[0].provision_config.memory_request: must not exceed memory_limit 1G, got 1Gi"}},
		{"scale", provisioned(func(c *model.ProvisionConfig) { c.MinScale = ptr(uint32(2)) }), []string{"functions[0].provision_config.min_scale: must not exceed max_scale 1, got 2"}},
		{"config_key", func(p *model.Package) { p.Functions[0].Config = map[string]string{"": "x", "a\n": "y", "b": "\x00"} }, []string{
			`functions[0].config[""]: the name must not be empty`,
			`functions[0].config["a\n"]: the name must not hold control characters, got "a\n"`,
			"functions[0].config.b: must not hold NUL",
		}},
		{"config_many", func(p *model.Package) { p.Functions[0].Config = numberedMap(1001) }, []string{"functions[0].config: must not have more than 1000 items, got 1001"}},

		{"deployment_class", func(p *model.Package) { p.Deployments[0].ClassKey = "Nothing" }, []string{`deployments[0].class_key: names no class of this package: "Nothing"`}},
		{"deployment_class_name", func(p *model.Package) { p.Deployments[0].ClassKey = "a b" }, []string{`deployments[0].class_key: may only hold letters, digits, '.', '_' and '-', got "a b"`}},
		{"deployment_twice", func(p *model.Package) { p.Deployments = append(p.Deployments, p.Deployments[0]) }, []string{`deployments[1].key: "shop.Cart" is used a second time`}},
		{"deployments_many", func(p *model.Package) { p.Deployments = make([]model.Deployment, 1001) }, []string{"deployments: must not have more than 1000 items, got 1001"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := validPackage()
			tt.change(&p)
			p.SetDefaults()
			wantEqual(t, textsOf(p.Validate()), tt.want)
		})
	}
}

func renamed(name string) func(*model.Package) {
	return func(p *model.Package) { p.Name, p.Deployments = name, nil }
}

func provisioned(change func(*model.ProvisionConfig)) func(*model.Package) {
	return func(p *model.Package) { change(p.Functions[0].ProvisionConfig) }
}

func numbered(count int) []string {
	names := make([]string, count)
	for i := range names {
		names[i] = fmt.Sprintf("n%d", i)
	}
	return names
}

func numberedMap(count int) map[string]string {
	m := make(map[string]string, count)
	for _, name := range numbered(count) {
		m[name] = name
	}
	return m
}

// Validation does not depend on SetDefaults to be safe: what is missing is
// reported.
func TestValidatePackageWithoutDefaults(t *testing.T) {
	t.Parallel()
	p := model.Package{Name: "p", Functions: []model.Function{{Key: "f"}}}
	wantEqual(t, textsOf(p.Validate()), []string{"functions[0].function_type: is required"})
}

func TestIndexTerms(t *testing.T) {
	t.Parallel()
	p := validPackage()
	p.Metadata.Tags = []string{"b", "a", "b"}
	tags, dependencies, classes := p.IndexTerms()
	wantEqual(t, tags, []string{"a", "b"})
	wantEqual(t, dependencies, []string{"billing", "users"})
	wantEqual(t, classes, []string{"Cart", "Record"})
	wantEqual(t, p.Metadata.Tags, []string{"b", "a", "b"})

	d := model.Deployment{TargetEnvs: []string{"oaas-2", "oaas-1", "oaas-2"}}
	wantEqual(t, d.Environments(), []string{"oaas-1", "oaas-2"})
}
