package crm

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/oprc/oprc-pm/crm/crmpb"
	"github.com/oprc/oprc-pm/model"
)

// unitToProto is a unit as CRMs that speak gRPC expect it.
func unitToProto(unit model.DeploymentUnit, now time.Time) *crmpb.DeploymentUnit {
	out := &crmpb.DeploymentUnit{
		Id: unit.ID, PackageName: unit.PackageName, ClassKey: unit.ClassKey, TargetEnv: unit.TargetEnv,
		CreatedAt:  &crmpb.Timestamp{Seconds: now.Unix(), Nanos: int32(now.Nanosecond())}, //nolint:gosec // below a billion
		OdgmConfig: odgmToProto(unit.ODGM),
		Telemetry:  telemetryToProto(unit.Telemetry),
	}
	if unit.SelectedTemplate != "" {
		out.SelectedTemplate = &unit.SelectedTemplate
	}
	for _, function := range unit.Functions {
		out.Functions = append(out.Functions, functionToProto(function, unit.NFRRequirements))
	}
	for _, binding := range unit.FunctionBindings {
		out.FunctionBindings = append(out.FunctionBindings, bindingToProto(binding))
	}
	return out
}

// functionToProto gives each function the requirements of the whole deployment,
// which is where these CRMs look for them.
func functionToProto(function model.FunctionDeploymentSpec, nfr model.NFRRequirements) *crmpb.FunctionDeploymentSpec {
	return &crmpb.FunctionDeploymentSpec{
		FunctionKey: function.FunctionKey, Description: function.Description, AvailableLocation: function.AvailableLocation,
		NfrRequirements: &crmpb.NfrRequirements{
			MinThroughputRps: nfr.MinThroughputRPS, Availability: nfr.Availability, CpuUtilizationTarget: nfr.CPUUtilizationTarget,
		},
		ProvisionConfig: provisionToProto(function.ProvisionConfig),
		Config:          function.Config,
	}
}

// provisionToProto is never nil: these CRMs expect the message, if empty.
func provisionToProto(provision *model.ProvisionConfig) *crmpb.ProvisionConfig {
	if provision == nil {
		return &crmpb.ProvisionConfig{}
	}
	out := &crmpb.ProvisionConfig{
		ContainerImage: provision.ContainerImage, WasmModuleUrl: provision.WasmModuleURL,
		MaxConcurrency: provision.MaxConcurrency, NeedHttp2: provision.NeedHTTP2,
		CpuRequest: (*string)(provision.CPURequest), MemoryRequest: (*string)(provision.MemoryRequest),
		CpuLimit: (*string)(provision.CPULimit), MemoryLimit: (*string)(provision.MemoryLimit),
		MinScale: provision.MinScale, MaxScale: provision.MaxScale,
	}
	if provision.Port != nil {
		out.Port = proto.Uint32(uint32(*provision.Port))
	}
	return out
}

func bindingToProto(binding model.FunctionBinding) *crmpb.ClassFunctionBinding {
	return &crmpb.ClassFunctionBinding{
		Name: binding.Name, FunctionKey: binding.FunctionKey, Parameters: binding.Parameters,
		AccessModifier: proto.String(accessWord(binding.AccessModifier)), Stateless: &binding.Stateless,
	}
}

// accessWord is an access modifier as these CRMs write it.
func accessWord(access model.AccessModifier) string {
	switch access {
	case model.AccessInternal:
		return "Internal"
	case model.AccessPrivate:
		return "Private"
	case model.AccessPublic:
	}
	return "Public"
}

func telemetryToProto(telemetry *model.TelemetryConfig) *crmpb.TelemetrySpec {
	if telemetry == nil {
		return nil
	}
	return &crmpb.TelemetrySpec{
		Enabled: telemetry.Enabled == nil || *telemetry.Enabled,
		Traces:  telemetry.Traces, Metrics: telemetry.Metrics, Logs: telemetry.Logs,
		SamplingRate: telemetry.SamplingRate, ServiceName: telemetry.ServiceName, ResourceAttributes: telemetry.ResourceAttributes,
	}
}

func odgmToProto(odgm *model.UnitODGM) *crmpb.OdgmConfig {
	if odgm == nil {
		return nil
	}
	out := &crmpb.OdgmConfig{
		Collections: odgm.Collections, PartitionCount: odgm.PartitionCount, ReplicaCount: odgm.ReplicaCount,
		ShardType: odgm.ShardType, Log: odgm.Log, Invocations: routesToProto(odgm.Invocations),
		EnvNodeIds:            make(map[string]*crmpb.OdgmNodeIds, len(odgm.EnvNodeIDs)),
		CollectionAssignments: make(map[string]*crmpb.CollectionShardAssignments, len(odgm.CollectionAssignments)),
	}
	if odgm.NodeID != 0 {
		out.OdgmNodeId = &odgm.NodeID
	}
	for env, ids := range odgm.EnvNodeIDs {
		out.EnvNodeIds[env] = &crmpb.OdgmNodeIds{Ids: slices.Clone(ids)}
	}
	for collection, partitions := range odgm.CollectionAssignments {
		assignments := make([]*crmpb.ShardAssignmentSpec, len(partitions))
		for i, partition := range partitions {
			assignments[i] = &crmpb.ShardAssignmentSpec{Primary: &partition.Primary, Replica: partition.Replica, ShardIds: partition.Shards}
		}
		out.CollectionAssignments[collection] = &crmpb.CollectionShardAssignments{Assignments: assignments}
	}
	return out
}

func routesToProto(routes map[string]model.FunctionRoute) *crmpb.InvocationRoutes {
	if routes == nil {
		return nil
	}
	out := &crmpb.InvocationRoutes{FnRoutes: make(map[string]*crmpb.FunctionRoute, len(routes))}
	for name, route := range routes {
		// The CRM fills in the URL of what it runs.
		out.FnRoutes[name] = &crmpb.FunctionRoute{
			Stateless: &route.Stateless, Standby: proto.Bool(false), FunctionKey: &route.FunctionKey,
		}
	}
	return out
}
