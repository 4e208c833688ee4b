package sim

import (
	"strconv"
	"strings"
	"time"

	"github.com/oprc/oprc-pm/crm/crmpb"
	"github.com/oprc/oprc-pm/model"
)

// unitFromProto is a unit as far as the protocol tells it. The key of its
// deployment and the generation come beside it, if at all.
func unitFromProto(u *crmpb.DeploymentUnit, call *Call) model.DeploymentUnit {
	unit := model.DeploymentUnit{
		ID: u.GetId(), DeploymentKey: call.Deployment, Generation: call.Generation,
		PackageName: u.GetPackageName(), ClassKey: u.GetClassKey(), TargetEnv: u.GetTargetEnv(),
		Functions:        []model.FunctionDeploymentSpec{},
		FunctionBindings: []model.FunctionBinding{},
		SelectedTemplate: u.GetSelectedTemplate(),
		ODGM:             odgmFromProto(u.GetOdgmConfig()),
		Telemetry:        telemetryFromProto(u.GetTelemetry()),
	}
	for _, f := range u.GetFunctions() {
		unit.Functions = append(unit.Functions, model.FunctionDeploymentSpec{
			FunctionKey: f.GetFunctionKey(), Description: f.Description, AvailableLocation: f.AvailableLocation,
			ProvisionConfig: provisionFromProto(f.GetProvisionConfig()), Config: f.GetConfig(),
		})
		if nfr := f.GetNfrRequirements(); nfr != nil {
			unit.NFRRequirements = model.NFRRequirements{
				MinThroughputRPS: nfr.MinThroughputRps, Availability: nfr.Availability, CPUUtilizationTarget: nfr.CpuUtilizationTarget,
			}
		}
	}
	for _, b := range u.GetFunctionBindings() {
		unit.FunctionBindings = append(unit.FunctionBindings, model.FunctionBinding{
			Name: b.GetName(), FunctionKey: b.GetFunctionKey(), Stateless: b.GetStateless(), Parameters: b.GetParameters(),
			AccessModifier: model.AccessModifier(strings.ToUpper(b.GetAccessModifier())),
		})
	}
	return unit
}

func odgmFromProto(o *crmpb.OdgmConfig) *model.UnitODGM {
	if o == nil {
		return nil
	}
	odgm := &model.UnitODGM{
		Collections: o.GetCollections(), PartitionCount: o.PartitionCount, ReplicaCount: o.ReplicaCount,
		ShardType: o.ShardType, Log: o.Log, NodeID: o.GetOdgmNodeId(), EnvNodeIDs: map[string][]uint64{},
	}
	for env, ids := range o.GetEnvNodeIds() {
		odgm.EnvNodeIDs[env] = ids.GetIds()
	}
	for collection, assigned := range o.GetCollectionAssignments() {
		if odgm.CollectionAssignments == nil {
			odgm.CollectionAssignments = map[string][]model.ShardAssignment{}
		}
		for _, a := range assigned.GetAssignments() {
			odgm.CollectionAssignments[collection] = append(odgm.CollectionAssignments[collection],
				model.ShardAssignment{Primary: a.GetPrimary(), Replica: a.GetReplica(), Shards: a.GetShardIds()})
		}
	}
	for binding, route := range o.GetInvocations().GetFnRoutes() {
		if odgm.Invocations == nil {
			odgm.Invocations = map[string]model.FunctionRoute{}
		}
		odgm.Invocations[binding] = model.FunctionRoute{FunctionKey: route.GetFunctionKey(), Stateless: route.GetStateless()}
	}
	return odgm
}

func telemetryFromProto(t *crmpb.TelemetrySpec) *model.TelemetryConfig {
	if t == nil {
		return nil
	}
	enabled := t.GetEnabled()
	return &model.TelemetryConfig{
		Enabled: &enabled, Traces: t.Traces, Metrics: t.Metrics, Logs: t.Logs, SamplingRate: t.SamplingRate,
		ServiceName: t.ServiceName, ResourceAttributes: t.GetResourceAttributes(),
	}
}

func functionsToProto(functions []model.FunctionDeploymentSpec) []*crmpb.FunctionDeploymentSpec {
	var specs []*crmpb.FunctionDeploymentSpec
	for _, f := range functions {
		specs = append(specs, &crmpb.FunctionDeploymentSpec{
			FunctionKey: f.FunctionKey, Description: f.Description, AvailableLocation: f.AvailableLocation, Config: f.Config,
		})
	}
	return specs
}

func refsToProto(refs []model.ResourceReference) []*crmpb.ResourceReference {
	var list []*crmpb.ResourceReference
	for _, r := range refs {
		list = append(list, &crmpb.ResourceReference{Kind: r.Kind, Name: r.Name, Namespace: r.Namespace, Uid: r.UID})
	}
	return list
}

func timeToProto(t time.Time) *crmpb.Timestamp {
	return &crmpb.Timestamp{Seconds: t.Unix(), Nanos: int32(t.Nanosecond())}
}

// summary is a unit as the CRMs of the field list it: the class with its package,
// the cluster in place of the environment, and only two phases.
func (s *Sim) summary(u Unit, f Faults) *crmpb.ClassRuntimeSummary {
	record, now := s.record(u, f), s.state(u, f)
	summary := &crmpb.ClassRuntimeSummary{
		Id: record.ID, DeploymentUnitId: record.DeploymentUnitID,
		PackageName: record.PackageName, ClassKey: record.PackageName + "." + record.ClassKey,
		TargetEnvironment: s.cfg.Name, ClusterName: &s.cfg.Name,
		ResourceRefs: refsToProto(record.ResourceRefs),
		CreatedAt:    record.CreatedAt, UpdatedAt: record.UpdatedAt, PartitionCount: record.PartitionCount,
		Status: &crmpb.ClassRuntimeStatus{
			Condition: conditionToProto(now.condition), Phase: crmpb.DeploymentPhase_RESOURCE_PROVISIONING,
			Message: &now.message, LastUpdated: record.UpdatedAt,
		},
	}
	if now.condition == conditionRunning {
		summary.Status.Phase = crmpb.DeploymentPhase_PHASE_RUNNING
	}
	for _, function := range record.Status.Functions {
		summary.Status.Functions = append(summary.Status.Functions, &crmpb.FunctionStatus{
			FunctionKey: function.FunctionKey, Service: function.Service, Port: uint32(function.Port),
			PredictedUrl: function.PredictedURL, ObservedUrl: function.ObservedURL, Template: function.Template,
			Ready: function.Ready, Reason: function.Reason, Message: function.Message, LastTransitionTime: function.LastTransitionTime,
		})
	}
	return summary
}

// foundMessage is how the CRMs of the field answer a status call: of a unit that
// they have not begun with they say that they found it, which only its record
// tells from one that runs.
func (s state) foundMessage() string {
	if s.condition == conditionPending && s.message == messageOf(conditionPending) {
		return "found"
	}
	return s.message
}

func conditionToProto(condition string) crmpb.DeploymentCondition {
	switch condition {
	case conditionPending:
		return crmpb.DeploymentCondition_PENDING
	case conditionDeploying:
		return crmpb.DeploymentCondition_DEPLOYING
	case conditionRunning:
		return crmpb.DeploymentCondition_RUNNING
	case conditionDown, conditionFailed:
		return crmpb.DeploymentCondition_DOWN
	case "Deleted", "Terminated":
		return crmpb.DeploymentCondition_DELETED
	}
	return crmpb.DeploymentCondition_DEPLOYMENT_CONDITION_UNKNOWN
}

// topology is the data grid as a CRM sees it: a router, the grid's nodes and the
// functions, joined to the router.
func (s *Sim) topology() *crmpb.TopologySnapshot {
	router := "router::" + s.cfg.Name
	snapshot := &crmpb.TopologySnapshot{
		Nodes:     []*crmpb.TopologyNode{{Id: router, NodeType: "router", Status: "healthy", Metadata: map[string]string{"name": s.cfg.Name}}},
		Timestamp: timeToProto(s.cfg.Now()),
	}
	seen := map[string]bool{}
	add := func(id, kind string, unit *model.DeploymentUnit) {
		if seen[id] {
			return
		}
		seen[id] = true
		snapshot.Nodes = append(snapshot.Nodes, &crmpb.TopologyNode{
			Id: id, NodeType: kind, Status: "healthy", Metadata: map[string]string{"unit": unit.ID},
			DeployedClasses: []string{unit.PackageName + "." + unit.ClassKey},
		})
		snapshot.Edges = append(snapshot.Edges, &crmpb.TopologyEdge{FromId: router, ToId: id})
	}
	for _, u := range s.Units() {
		if u.Unit.ODGM != nil && u.Unit.ODGM.NodeID != 0 {
			add("odgm::"+strconv.FormatUint(u.Unit.ODGM.NodeID, 10), "odgm", &u.Unit)
		}
		for _, function := range u.Unit.Functions {
			add("function::"+function.FunctionKey, "function", &u.Unit)
		}
	}
	return snapshot
}

func provisionFromProto(p *crmpb.ProvisionConfig) *model.ProvisionConfig {
	if p == nil {
		return nil
	}
	config := &model.ProvisionConfig{
		ContainerImage: p.ContainerImage, WasmModuleURL: p.WasmModuleUrl,
		MaxConcurrency: p.GetMaxConcurrency(), NeedHTTP2: p.GetNeedHttp2(),
		CPURequest: (*model.Quantity)(p.CpuRequest), MemoryRequest: (*model.Quantity)(p.MemoryRequest),
		CPULimit: (*model.Quantity)(p.CpuLimit), MemoryLimit: (*model.Quantity)(p.MemoryLimit),
		MinScale: p.MinScale, MaxScale: p.MaxScale,
	}
	if p.Port != nil {
		port := uint16(p.GetPort())
		config.Port = &port
	}
	return config
}
