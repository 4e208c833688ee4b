package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/oprc/oprc-pm/model"
)

// Make works out the units of a deployment. It is pure: the same input gives
// the same plan, ids included. clusters are the configured ones, in the order in
// which they are used when the deployment does not choose. The error, if any, is
// an *Error. The plan shares memory with d and p; treat it as read-only.
func Make(in Input) (Plan, error) {
	d, p := in.Deployment, in.Package
	clusters := make([]string, len(in.Clusters))
	for i, cluster := range in.Clusters {
		clusters[i] = cluster.Name
	}
	class := slices.IndexFunc(p.Classes, func(c model.Class) bool { return c.Key == d.ClassKey })
	if class < 0 {
		return Plan{}, Errorf(ReasonClassNotFound, "package %s has no class %s", p.Name, d.ClassKey)
	}
	selected, unknown := selectEnvs(d, clusters)
	if len(selected) == 0 {
		if len(unknown) > 0 {
			return Plan{UnknownEnvs: unknown}, Errorf(ReasonUnknownEnvironment, "%s", unknownMessage(unknown))
		}
		return Plan{}, Errorf(ReasonNoEnvironment, "no configured environment can be used")
	}
	functions, err := planFunctions(d, p, p.Classes[class])
	if err != nil {
		return Plan{UnknownEnvs: unknown}, err
	}
	template := model.DeploymentUnit{
		DeploymentKey:    d.Key,
		PackageName:      d.PackageName,
		ClassKey:         d.ClassKey,
		Generation:       d.Generation,
		Functions:        functions,
		FunctionBindings: notNil(p.Classes[class].FunctionBindings),
		NFRRequirements:  d.NFRRequirements,
		ODGM:             planODGM(d, selected),
		Telemetry:        planTelemetry(d.Telemetry),
	}
	plan := Plan{Units: make([]model.DeploymentUnit, len(selected)), UnknownEnvs: unknown, Functions: functions}
	shared := hashUnit(template)
	for i, env := range selected {
		unit := template
		unit.TargetEnv, unit.TargetCluster = env, env
		unit.SelectedTemplate = d.EnvTemplates[env]
		unit.ID = unitID(shared, unit)
		plan.Units[i] = unit
		plan.Placed = append(plan.Placed, model.PlacedCluster{Cluster: env, NodeIDs: unit.ODGM.EnvNodeIDs[env]})
	}
	return plan, nil
}

func unknownMessage(unknown []string) string { return "not configured: " + nameList(unknown) }

// nameList lists names for people, who stop reading at some point.
func nameList(names []string) string {
	const enough = 10
	if len(names) > enough {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:enough], ", "), len(names)-enough)
	}
	return strings.Join(names, ", ")
}

// selectEnvs picks the clusters: the explicit targets, else those of the
// available ones that are configured, else all. Only an explicit target can be
// unknown: being available is an offer, not a wish.
func selectEnvs(d model.Deployment, clusters []string) (selected, unknown []string) {
	wanted := d.TargetEnvs
	if len(wanted) == 0 {
		wanted = d.AvailableEnvs
	}
	if len(wanted) == 0 {
		wanted = clusters
	}
	configured := make(map[string]bool, len(clusters))
	for _, cluster := range clusters {
		configured[cluster] = true
	}
	seen := make(map[string]bool, len(wanted))
	for _, env := range wanted {
		switch {
		case seen[env]:
		case configured[env]:
			selected = append(selected, env)
		case len(d.TargetEnvs) > 0:
			unknown = append(unknown, env)
		}
		seen[env] = true
	}
	return selected, unknown
}

// planFunctions returns the functions that the deployment names, or those that
// the class binds, each once, in order. What a function was promised (its QoS)
// is no business of a CRM.
func planFunctions(d model.Deployment, p model.Package, class model.Class) ([]model.FunctionDeploymentSpec, error) {
	functions := []model.FunctionDeploymentSpec{}
	seen := map[string]bool{}
	add := func(spec model.FunctionDeploymentSpec) {
		if !seen[spec.FunctionKey] {
			seen[spec.FunctionKey] = true
			spec.QoSRequirement = nil
			functions = append(functions, spec)
		}
	}
	for _, spec := range d.Functions {
		add(spec)
	}
	if len(d.Functions) > 0 {
		return functions, nil
	}
	for _, binding := range class.FunctionBindings {
		i := slices.IndexFunc(p.Functions, func(f model.Function) bool { return f.Key == binding.FunctionKey })
		if i < 0 {
			return nil, Errorf(ReasonFunctionNotFound, "package %s has no function %s, which class %s binds as %s",
				p.Name, binding.FunctionKey, class.Key, binding.Name)
		}
		f := p.Functions[i]
		add(model.FunctionDeploymentSpec{
			FunctionKey: f.Key, Description: f.Description, ProvisionConfig: f.ProvisionConfig, Config: f.Config,
		})
	}
	return functions, nil
}

// planODGM fills in what the object data grid of every unit needs. The same grid
// is sent to all clusters: its members must agree on who they are.
func planODGM(d model.Deployment, selected []string) *model.UnitODGM {
	odgm := model.UnitODGM{}
	if d.ODGM != nil {
		odgm = model.UnitODGM{
			Collections: d.ODGM.Collections, PartitionCount: d.ODGM.PartitionCount,
			ReplicaCount: d.ODGM.ReplicaCount, ShardType: d.ODGM.ShardType, Log: d.ODGM.Log,
			EnvNodeIDs: d.ODGM.EnvNodeIDs,
		}
	}
	if len(odgm.Collections) == 0 {
		odgm.Collections = []string{d.PackageName + "." + d.ClassKey}
	}
	if odgm.Log == nil {
		log := "info"
		odgm.Log = &log
	}
	if odgm.ReplicaCount == nil {
		count := uint32(len(selected))
		odgm.ReplicaCount = &count
	}
	odgm.EnvNodeIDs = planNodeIDs(d.Key, selected, odgm.EnvNodeIDs)
	return &odgm
}

// planTelemetry makes explicit that telemetry which is configured is enabled.
func planTelemetry(t *model.TelemetryConfig) *model.TelemetryConfig {
	if t == nil || t.Enabled != nil {
		return t
	}
	enabled, filled := true, *t
	filled.Enabled = &enabled
	return &filled
}

func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
