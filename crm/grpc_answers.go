package crm

import (
	"math"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/oprc/oprc-pm/crm/crmpb"
	"github.com/oprc/oprc-pm/model"
)

// What a CRM answers is not trusted to make sense: texts are bounded and on one
// line, numbers that cannot be are left out. Ids are checked where they are used.

// printablePointer makes an optional text from a CRM fit for a record.
func printablePointer(text *string) *string {
	if text == nil {
		return nil
	}
	return proto.String(Printable(*text))
}

func healthFromProto(answer *crmpb.CrmEnvHealth, cluster string, now time.Time) model.ClusterHealth {
	health := model.ClusterHealth{
		ClusterName: Printable(answer.GetEnvName()), Status: Printable(answer.GetStatus()),
		CRMVersion: printablePointer(answer.CrmVersion), LastSeen: timeFromProto(answer.GetLastSeen(), now),
		NodeCount: answer.NodeCount, ReadyNodes: answer.ReadyNodes,
	}
	if health.ClusterName == "" {
		health.ClusterName = cluster
	}
	if a := answer.Availability; a != nil && *a >= 0 && *a <= 1 {
		health.Availability = a
	}
	return health
}

// servingFromProto is the health of a cluster of which only this is known.
func servingFromProto(answer *crmpb.HealthCheckResponse, cluster string, now time.Time) model.ClusterHealth {
	health := model.ClusterHealth{ClusterName: cluster, Status: model.ClusterUnknown, LastSeen: now.UTC()}
	switch answer.GetStatus() {
	case crmpb.HealthCheckResponse_SERVING:
		health.Status = model.ClusterHealthy
	case crmpb.HealthCheckResponse_NOT_SERVING:
		health.Status = model.ClusterUnhealthy
	case crmpb.HealthCheckResponse_UNKNOWN, crmpb.HealthCheckResponse_SERVICE_UNKNOWN:
	}
	return health
}

// timeFromProto returns otherwise for what is no time between the years 1 and
// 9999, the only ones that RFC 3339 can write.
func timeFromProto(at *crmpb.Timestamp, otherwise time.Time) time.Time {
	const first, last = -62135596800, 253402300799
	if at == nil || at.GetSeconds() < first || at.GetSeconds() > last || at.GetNanos() < 0 || at.GetNanos() > 999_999_999 {
		return otherwise.UTC()
	}
	return time.Unix(at.GetSeconds(), int64(at.GetNanos())).UTC()
}

// recordFromProto is a unit's record; item may be nil or hold anything.
func recordFromProto(item *crmpb.ClassRuntimeSummary) model.DeploymentRecord {
	record := model.DeploymentRecord{
		ID: item.GetId(), DeploymentUnitID: item.GetDeploymentUnitId(), PackageName: item.GetPackageName(), ClassKey: item.GetClassKey(),
		TargetEnvironment: item.GetTargetEnvironment(),
		Status: model.DeploymentRecordStatus{
			Condition: conditionFromProto(item.GetStatus().GetCondition()), Phase: phaseFromProto(item.GetStatus().GetPhase()),
			LastUpdated: item.GetStatus().GetLastUpdated(), Functions: functionsFromProto(item.GetStatus().GetFunctions()),
		},
		NFRCompliance: complianceFromProto(item.GetNfrCompliance()),
		ResourceRefs:  referencesFromProto(item.GetResourceRefs()),
		CreatedAt:     item.GetCreatedAt(), UpdatedAt: item.GetUpdatedAt(),
		PartitionCount: max(1, item.GetPartitionCount()),
	}
	if item != nil {
		record.ClusterName = item.ClusterName
	}
	if item.GetStatus() != nil {
		record.Status.Message = printablePointer(item.GetStatus().Message)
	}
	return record
}

// recordFromStatus is what can be said of a unit whose CRM tells no records.
func recordFromStatus(answer *crmpb.GetDeploymentStatusResponse, id string, now time.Time) model.DeploymentRecord {
	unit := answer.GetDeployment()
	condition, phase, _ := unitState(answer)
	record := model.DeploymentRecord{
		ID: id, DeploymentUnitID: id, PackageName: orUnknown(unit.GetPackageName()), ClassKey: orUnknown(unit.GetClassKey()),
		TargetEnvironment: orUnknown(unit.GetTargetEnv()),
		Status: model.DeploymentRecordStatus{
			Condition: condition, Phase: phase, Message: printablePointer(answer.Message), LastUpdated: now.UTC().Format(time.RFC3339Nano),
		},
		ResourceRefs:   referencesFromProto(answer.GetStatusResourceRefs()),
		PartitionCount: max(1, unit.GetOdgmConfig().GetPartitionCount()),
	}
	if unit.GetCreatedAt() != nil {
		record.CreatedAt = timeFromProto(unit.GetCreatedAt(), now).Format(time.RFC3339Nano)
	}
	return record
}

func orUnknown(text string) string {
	if text == "" {
		return "unknown"
	}
	return text
}

func functionsFromProto(items []*crmpb.FunctionStatus) []model.FunctionStatus {
	var functions []model.FunctionStatus
	for _, item := range items {
		if item == nil {
			continue
		}
		function := model.FunctionStatus{
			FunctionKey: item.GetFunctionKey(), Service: item.GetService(), PredictedURL: item.GetPredictedUrl(), ObservedURL: item.ObservedUrl,
			Template: item.GetTemplate(), Ready: item.Ready, Reason: item.Reason, Message: printablePointer(item.Message),
			LastTransitionTime: item.LastTransitionTime,
		}
		if port := item.GetPort(); port <= math.MaxUint16 {
			function.Port = uint16(port)
		}
		functions = append(functions, function)
	}
	return functions
}

func complianceFromProto(item *crmpb.NfrCompliance) *model.NFRCompliance {
	if item == nil {
		return nil
	}
	return &model.NFRCompliance{
		OverallStatus: item.GetOverallStatus(), ThroughputStatus: item.ThroughputStatus, LatencyStatus: item.LatencyStatus,
		AvailabilityStatus: item.AvailabilityStatus, LastChecked: item.GetLastChecked(),
	}
}

// referencesFromProto is never nil: clients expect a list.
func referencesFromProto(items []*crmpb.ResourceReference) []model.ResourceReference {
	references := make([]model.ResourceReference, 0, len(items))
	for _, item := range items {
		if item != nil {
			references = append(references, model.ResourceReference{Kind: item.GetKind(), Name: item.GetName(), Namespace: item.Namespace, UID: item.Uid})
		}
	}
	return references
}

// filterToProto sets only what is asked for.
func filterToProto(filter RecordFilter) *crmpb.ListClassRuntimesRequest {
	text := func(value string) *string {
		if value == "" {
			return nil
		}
		return &value
	}
	number := func(value int) *uint32 {
		if value <= 0 {
			return nil
		}
		return proto.Uint32(uint32(min(value, math.MaxInt32))) //nolint:gosec // bounded
	}
	return &crmpb.ListClassRuntimesRequest{
		PackageName: text(filter.Package), ClassKey: text(filter.Class), TargetEnv: text(filter.Environment), Status: text(filter.Status),
		Limit: number(filter.Limit), Offset: number(filter.Offset),
	}
}

// topologyFromProto has no nil lists or maps: clients expect all members.
func topologyFromProto(answer *crmpb.TopologySnapshot) model.TopologySnapshot {
	topology := model.TopologySnapshot{Nodes: []model.TopologyNode{}, Edges: []model.TopologyEdge{}}
	for _, node := range answer.GetNodes() {
		topology.Nodes = append(topology.Nodes, model.TopologyNode{
			ID: node.GetId(), NodeType: node.GetNodeType(), Status: node.GetStatus(),
			Metadata: orEmpty(node.GetMetadata()), DeployedClasses: append([]string{}, node.GetDeployedClasses()...),
		})
	}
	for _, edge := range answer.GetEdges() {
		topology.Edges = append(topology.Edges, model.TopologyEdge{
			FromID: edge.GetFromId(), ToID: edge.GetToId(), Metadata: orEmpty(edge.GetMetadata()),
		})
	}
	if at := answer.GetTimestamp(); at != nil {
		topology.Timestamp = &model.TopologyTime{Seconds: at.GetSeconds(), Nanos: at.GetNanos()}
	}
	return topology
}

func orEmpty(texts map[string]string) map[string]string {
	if texts == nil {
		return map[string]string{}
	}
	return texts
}
