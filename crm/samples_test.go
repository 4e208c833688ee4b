package crm

import (
	"google.golang.org/protobuf/proto"

	"github.com/oprc/oprc-pm/crm/crmpb"
	"github.com/oprc/oprc-pm/model"
)

func pointer[T any](v T) *T { return &v }

// fullUnit is a unit with every member set, at most one entry in each map, so
// that its encoding is always the same.
func fullUnit() model.DeploymentUnit {
	return model.DeploymentUnit{
		ID: "cart-1", DeploymentKey: "shop.cart", PackageName: "shop", ClassKey: "Cart", TargetEnv: "edge", TargetCluster: "edge", Generation: 5,
		Functions: []model.FunctionDeploymentSpec{{
			FunctionKey: "Cart.add", Description: pointer("adds"), AvailableLocation: pointer("here"),
			QoSRequirement: &model.QoSRequirement{Throughput: 1, Availability: 0.5}, // never sent
			ProvisionConfig: &model.ProvisionConfig{
				ContainerImage: pointer("registry.local/cart:1"), WasmModuleURL: pointer("http://wasm"), Port: pointer(uint16(80)),
				MaxConcurrency: 9, NeedHTTP2: true,
				CPURequest: pointer(model.Quantity("500m")), MemoryRequest: pointer(model.Quantity("1Gi")),
				CPULimit: pointer(model.Quantity("2")), MemoryLimit: pointer(model.Quantity("2Gi")),
				MinScale: pointer(uint32(2)), MaxScale: pointer(uint32(7)),
			},
			Config: map[string]string{"HTTP_PORT": "80"},
		}, {FunctionKey: "Cart.bare"}},
		FunctionBindings: []model.FunctionBinding{
			{Name: "add", FunctionKey: "Cart.add", AccessModifier: model.AccessPublic, Stateless: true, Parameters: []string{"item"}},
			{Name: "sum", FunctionKey: "Cart.bare", AccessModifier: model.AccessInternal},
			{Name: "wipe", FunctionKey: "Cart.bare", AccessModifier: model.AccessPrivate},
		},
		NFRRequirements: model.NFRRequirements{MinThroughputRPS: pointer(uint32(100)), Availability: pointer(0.995), CPUUtilizationTarget: pointer(0.5)},
		ODGM: &model.UnitODGM{
			Collections: []string{"shop.Cart"}, PartitionCount: pointer(uint32(1)), ReplicaCount: pointer(uint32(2)), ShardType: pointer("mst"), Log: pointer("info"),
			EnvNodeIDs: map[string][]uint64{"edge": {10, 300}}, NodeID: 10,
			CollectionAssignments: map[string][]model.ShardAssignment{"shop.Cart": {{Primary: 1, Replica: []uint64{10, 300}, Shards: []uint64{1, 2}}}},
			Invocations:           map[string]model.FunctionRoute{"add": {FunctionKey: "Cart.add", Stateless: true}},
		},
		Telemetry: &model.TelemetryConfig{
			Enabled: pointer(true), Traces: pointer(true), Metrics: pointer(false), Logs: pointer(true), SamplingRate: pointer(0.25),
			ServiceName: pointer("cart"), ResourceAttributes: map[string]string{"team": "a"},
		},
		SelectedTemplate: "knative",
	}
}

// fullSummary is a record with every field set, fullRecord what it becomes.
func fullSummary() *crmpb.ClassRuntimeSummary {
	return &crmpb.ClassRuntimeSummary{
		Id: "cart-1", DeploymentUnitId: "cart-1", PackageName: "shop", ClassKey: "shop.Cart", TargetEnvironment: "oaas-ns", ClusterName: proto.String("oaas-ns"),
		Status: &crmpb.ClassRuntimeStatus{
			Condition: crmpb.DeploymentCondition_RUNNING, Phase: crmpb.DeploymentPhase_PHASE_RUNNING, Message: proto.String("Available"), LastUpdated: "2026-01-02T03:04:05Z",
			Functions: []*crmpb.FunctionStatus{{
				FunctionKey: "Cart.add", Service: "cart-1", Port: 80, PredictedUrl: "http://cart-1:80/", ObservedUrl: proto.String("http://seen"), Template: "knative",
				Ready: proto.Bool(true), Reason: proto.String("Up"), Message: proto.String("fine"), LastTransitionTime: proto.String("2026-01-02T03:04:04Z"),
			}},
		},
		NfrCompliance: &crmpb.NfrCompliance{
			OverallStatus: "met", ThroughputStatus: proto.String("met"), LatencyStatus: proto.String("unknown"), AvailabilityStatus: proto.String("missed"), LastChecked: "2026-01-02T03:04:03Z",
		},
		ResourceRefs: []*crmpb.ResourceReference{{Kind: "Service", Name: "cart-1", Namespace: proto.String("oaas-ns"), Uid: proto.String("u-1")}},
		CreatedAt:    "2026-01-02T03:00:00Z", UpdatedAt: "2026-01-02T03:00:01Z", PartitionCount: 4,
	}
}

func fullRecord() model.DeploymentRecord {
	return model.DeploymentRecord{
		ID: "cart-1", DeploymentUnitID: "cart-1", PackageName: "shop", ClassKey: "shop.Cart", TargetEnvironment: "oaas-ns", ClusterName: pointer("oaas-ns"),
		Status: model.DeploymentRecordStatus{
			Condition: "Running", Phase: "RUNNING", Message: pointer("Available"), LastUpdated: "2026-01-02T03:04:05Z",
			Functions: []model.FunctionStatus{{
				FunctionKey: "Cart.add", Service: "cart-1", Port: 80, PredictedURL: "http://cart-1:80/", ObservedURL: pointer("http://seen"), Template: "knative",
				Ready: pointer(true), Reason: pointer("Up"), Message: pointer("fine"), LastTransitionTime: pointer("2026-01-02T03:04:04Z"),
			}},
		},
		NFRCompliance: &model.NFRCompliance{
			OverallStatus: "met", ThroughputStatus: pointer("met"), LatencyStatus: pointer("unknown"), AvailabilityStatus: pointer("missed"), LastChecked: "2026-01-02T03:04:03Z",
		},
		ResourceRefs: []model.ResourceReference{{Kind: "Service", Name: "cart-1", Namespace: pointer("oaas-ns"), UID: pointer("u-1")}},
		CreatedAt:    "2026-01-02T03:00:00Z", UpdatedAt: "2026-01-02T03:00:01Z", PartitionCount: 4,
	}
}
