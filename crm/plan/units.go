package plan

import (
	"fmt"

	"github.com/oprc/oprc-pm/model"
)

// buildUnits makes the units of the places.
func (w *work) buildUnits(class model.Class, resolved []model.FunctionDeploymentSpec) (units []model.DeploymentUnit, least uint32, notes []string) {
	least = replicas(w.d.NFRRequirements, len(w.places), w.policy.ReplicaThroughput)
	functions, notes := unitFunctions(resolved, least)
	grid, note := w.dataGrid(class, functions)
	if note != "" {
		notes = append(notes, note)
	}
	common := model.DeploymentUnit{
		DeploymentKey:    w.d.Key,
		PackageName:      w.d.PackageName,
		ClassKey:         w.d.ClassKey,
		Generation:       w.d.Generation,
		Functions:        functions,
		FunctionBindings: notNil(class.FunctionBindings),
		NFRRequirements:  w.d.NFRRequirements,
		Telemetry:        fillTelemetry(w.d.Telemetry),
	}
	shared := hashCommon(common, grid, w.allNodeIDs())
	units = make([]model.DeploymentUnit, 0, len(w.places))
	for _, p := range w.places {
		if w.isVacant(&p) {
			continue
		}
		own, name := grid, w.clusters[p.cluster].Name
		own.NodeID = p.nodeIDs[0]
		unit := common
		unit.ODGM = &own
		unit.TargetEnv, unit.TargetCluster = name, name
		unit.SelectedTemplate = w.template(p)
		unit.ID = unitID(shared, unit, p.nodeIDs)
		units = append(units, unit)
	}
	return units, least, notes
}

// template is the one that the user chose for a cluster: by its name, else by that
// of the target it stands in for, else by a targeted environment that it is in.
func (w *work) template(p place) string {
	if chosen, given := w.d.EnvTemplates[w.clusters[p.cluster].Name]; given {
		return chosen
	}
	if chosen, given := w.d.EnvTemplates[p.standsFor]; given {
		return chosen
	}
	for g := range w.groups {
		if chosen, given := w.d.EnvTemplates[w.groups[g].environment]; given && w.groups[g].has(p.cluster) {
			return chosen
		}
	}
	return ""
}

// dataGrid is what the object data grid of every unit needs. The same grid is sent
// to all clusters: its members must agree on who they are.
func (w *work) dataGrid(class model.Class, functions []model.FunctionDeploymentSpec) (grid model.UnitODGM, note string) {
	grid = wishedGrid(w.d)
	if grid.ReplicaCount == nil {
		count := uint32(len(w.places))
		grid.ReplicaCount = &count
	}
	grid.EnvNodeIDs = make(map[string][]uint64, len(w.places))
	for _, p := range w.places {
		grid.EnvNodeIDs[w.clusters[p.cluster].Name] = p.nodeIDs
	}
	partitions := uint32(1)
	if grid.PartitionCount != nil {
		partitions = *grid.PartitionCount
	}
	grid.CollectionAssignments = assignShards(grid.Collections, partitions, *grid.ReplicaCount, w.allNodeIDs())
	if grid.CollectionAssignments == nil {
		note = fmt.Sprintf("odgm: %d collections of %d partitions are too many to assign their shards to nodes; the data grid does",
			len(grid.Collections), partitions)
	}
	grid.Invocations = routes(class, functions)
	return grid, note
}

// wishedGrid is the data grid as the deployment wants it, with defaults.
func wishedGrid(d *model.Deployment) model.UnitODGM {
	grid := model.UnitODGM{}
	if odgm := d.ODGM; odgm != nil {
		grid = model.UnitODGM{
			Collections: odgm.Collections, PartitionCount: odgm.PartitionCount, ReplicaCount: odgm.ReplicaCount,
			ShardType: odgm.ShardType, Log: odgm.Log,
		}
	}
	if len(grid.Collections) == 0 {
		grid.Collections = []string{d.PackageName + "." + d.ClassKey}
	}
	if grid.Log == nil {
		log := "info"
		grid.Log = &log
	}
	return grid
}

// fillTelemetry makes explicit that telemetry which is configured is enabled.
func fillTelemetry(t *model.TelemetryConfig) *model.TelemetryConfig {
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
