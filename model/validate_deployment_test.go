package model_test

import (
	"math"
	"strings"
	"testing"

	"github.com/oprc/oprc-pm/model"
)

func validDeployment() model.Deployment {
	d := model.Deployment{
		Key: "shop.Cart", PackageName: "shop", ClassKey: "Cart",
		TargetEnvs: []string{"oaas-1", "Edge_2"}, AvailableEnvs: []string{"oaas-1"},
		NFRRequirements: model.NFRRequirements{MinThroughputRPS: ptr(uint32(1)), Availability: ptr(1.0), CPUUtilizationTarget: ptr(0.0)},
		EnvTemplates:    map[string]string{"oaas-1": "knative"},
		Functions: []model.FunctionDeploymentSpec{{
			FunctionKey: "Cart.add", QoSRequirement: &model.QoSRequirement{Availability: 0.5},
			ProvisionConfig: &model.ProvisionConfig{}, Config: map[string]string{"A": "b"},
		}},
		ODGM: &model.ODGMDataSpec{
			Collections: []string{"shop.Cart"}, PartitionCount: ptr(uint32(1)), ReplicaCount: ptr(uint32(1)),
			ShardType: ptr("mst"), EnvNodeIDs: map[string][]uint64{"oaas-1": {0, 7}}, Log: ptr("info"),
		},
		Telemetry: &model.TelemetryConfig{SamplingRate: ptr(0.1), ServiceName: ptr("cart"), ResourceAttributes: map[string]string{"team": "a"}},
	}
	d.SetDefaults()
	return d
}

func TestValidateDeployment(t *testing.T) {
	t.Parallel()
	const environmentRule = "may only hold letters, digits, '_' and '-', got "
	tests := []struct {
		name   string
		change func(*model.Deployment)
		want   []string
	}{
		{"ok", func(*model.Deployment) {}, nil},
		{"ok_minimal", func(d *model.Deployment) { *d = model.Deployment{Key: "k", PackageName: "p", ClassKey: "C"} }, nil},
		{"ok_telemetry_empty", func(d *model.Deployment) { d.Telemetry = &model.TelemetryConfig{} }, nil},
		{"ok_longest_environment", func(d *model.Deployment) { d.TargetEnvs = []string{strings.Repeat("x", 63)} }, nil},
		{"ok_many_environments", func(d *model.Deployment) { d.TargetEnvs = numbered(10_000) }, nil},

		{"empty", func(d *model.Deployment) { *d = model.Deployment{} }, []string{
			"key: is required", "package_name: is required", "class_key: is required",
		}},
		{"key_slash", func(d *model.Deployment) { d.Key = "a/b" }, []string{`key: may only hold letters, digits, '.', '_' and '-', got "a/b"`}},
		{"target_twice", func(d *model.Deployment) { d.TargetEnvs = []string{"a", "b", "a"} }, []string{`target_envs[2]: names "a" a second time`}},
		{"target_empty", func(d *model.Deployment) { d.TargetEnvs[0] = "" }, []string{"target_envs[0]: must not be empty"}},
		{"target_dot", func(d *model.Deployment) { d.TargetEnvs[0] = "a.b" }, []string{"target_envs[0]: " + environmentRule + `"a.b"`}},
		{"target_long", func(d *model.Deployment) { d.TargetEnvs[0] = strings.Repeat("x", 64) }, []string{"target_envs[0]: must be at most 63 characters, got 64"}},
		{"targets_many", func(d *model.Deployment) { d.TargetEnvs = numbered(10_001) }, []string{"target_envs: must not have more than 10000 items, got 10001"}},
		{"available", func(d *model.Deployment) { d.AvailableEnvs[0] = "a b" }, []string{"available_envs[0]: " + environmentRule + `"a b"`}},
		{"rps", func(d *model.Deployment) { d.NFRRequirements.MinThroughputRPS = ptr(uint32(0)) }, []string{"nfr_requirements.min_throughput_rps: must be at least 1, got 0"}},
		{"availability_percent", func(d *model.Deployment) { d.NFRRequirements.Availability = ptr(99.9) }, []string{"nfr_requirements.availability: must be between 0 and 1, got 99.9"}},
		{"availability_negative", func(d *model.Deployment) { d.NFRRequirements.Availability = ptr(-0.1) }, []string{"nfr_requirements.availability: must be between 0 and 1, got -0.1"}},
		{"cpu_target", func(d *model.Deployment) { d.NFRRequirements.CPUUtilizationTarget = ptr(math.NaN()) }, []string{"nfr_requirements.cpu_utilization_target: must be between 0 and 1, got NaN"}},
		{"template_environment", func(d *model.Deployment) { d.EnvTemplates = map[string]string{"a b": "dev"} }, []string{`env_templates["a b"]: the name of the environment ` + environmentRule + `"a b"`}},
		{"template", func(d *model.Deployment) { d.EnvTemplates["oaas-1"] = "\n" }, []string{`env_templates.oaas-1: must not hold control characters, got "\n"`}},
		{"function_key", func(d *model.Deployment) { d.Functions[0].FunctionKey = "" }, []string{"functions[0].function_key: is required"}},
		{"function_availability", func(d *model.Deployment) { d.Functions[0].QoSRequirement.Availability = 2 }, []string{"functions[0].qos_requirement.availability: must be between 0 and 1, got 2"}},
		{"function_provision", func(d *model.Deployment) { d.Functions[0].ProvisionConfig.CPULimit = ptr(model.Quantity("")) }, []string{`functions[0].provision_config.cpu_limit: is not a quantity such as 500m, 2 or 1Gi, got ""`}},
		{"function_config", func(d *model.Deployment) { d.Functions[0].Config[""] = "x" }, []string{`functions[0].config[""]: the name must not be empty`}},
		{"partitions", func(d *model.Deployment) { d.ODGM.PartitionCount = ptr(uint32(0)) }, []string{"odgm.partition_count: must be at least 1, got 0"}},
		{"replicas", func(d *model.Deployment) { d.ODGM.ReplicaCount = ptr(uint32(0)) }, []string{"odgm.replica_count: must be at least 1, got 0"}},
		{"collection", func(d *model.Deployment) { d.ODGM.Collections[0] = "" }, []string{"odgm.collections[0]: must not be empty"}},
		{"node_environment", func(d *model.Deployment) { d.ODGM.EnvNodeIDs = map[string][]uint64{"": {1}} }, []string{`odgm.env_node_ids[""]: the name of the environment must not be empty`}},
		{"nodes_many", func(d *model.Deployment) { d.ODGM.EnvNodeIDs["oaas-1"] = make([]uint64, 1001) }, []string{"odgm.env_node_ids.oaas-1: must not have more than 1000 items, got 1001"}},
		{"log", func(d *model.Deployment) { d.ODGM.Log = ptr("\n") }, []string{`odgm.log: must not hold control characters, got "\n"`}},
		{"sampling", func(d *model.Deployment) { d.Telemetry.SamplingRate = ptr(1.1) }, []string{"telemetry.sampling_rate: must be between 0 and 1, got 1.1"}},
		{"attributes", func(d *model.Deployment) { d.Telemetry.ResourceAttributes = map[string]string{"a": "\x00"} }, []string{"telemetry.resource_attributes.a: must not hold NUL"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := validDeployment()
			tt.change(&d)
			wantEqual(t, textsOf(d.Validate()), tt.want)
		})
	}
}

func TestValidateRuntimeState(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*model.RuntimeState)
		want   []string
	}{
		{"ok", func(*model.RuntimeState) {}, nil},
		{"empty", func(s *model.RuntimeState) { *s = model.RuntimeState{} }, []string{
			"key: is required", "class_key: is required", "deployment_id: is required",
		}},
		{"key", func(s *model.RuntimeState) { s.Key = "a/b" }, []string{`key: may only hold letters, digits, '.', '_' and '-', got "a/b"`}},
		{"class_long", func(s *model.RuntimeState) { s.ClassKey = strings.Repeat("x", 508) }, []string{"class_key: must be at most 507 characters, got 508"}},
		{"status", func(s *model.RuntimeState) { s.Status = "\n" }, []string{`status: must not hold control characters, got "\n"`}},
		{"metrics", func(s *model.RuntimeState) {
			s.Metrics = model.RuntimeMetrics{CPUUsage: -1, MemoryUsage: math.Inf(1), AverageLatency: math.NaN()}
		}, []string{
			"metrics.cpu_usage: must not be negative or infinite, got -1",
			"metrics.memory_usage: must not be negative or infinite, got +Inf",
			"metrics.average_latency: must not be negative or infinite, got NaN",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := model.RuntimeState{Key: "cart-1", ClassKey: "shop.Cart", DeploymentID: "shop.Cart"}
			tt.change(&s)
			wantEqual(t, textsOf(s.Validate()), tt.want)
		})
	}
}
