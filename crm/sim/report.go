package sim

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/oprc/oprc-pm/model"
)

// Conditions of a unit.
const (
	conditionPending   = "Pending"
	conditionDeploying = "Deploying"
	conditionRunning   = "Running"
	conditionDown      = "Down"
	conditionFailed    = "Failed"
)

// state is what is said of a unit.
type state struct {
	condition string
	message   string
	// since is when the condition began.
	since time.Time
}

// state computes a unit's state under faults f: pending for the first quarter of
// its way, then deploying, then running.
func (s *Sim) state(u Unit, f Faults) state {
	fault := f.of(&u.Unit)
	switch {
	case f.Condition != "":
		return state{f.Condition, messageOf(f.Condition), u.AcceptedAt}
	case fault.Condition != "" && fault.Message != "":
		return state{fault.Condition, fault.Message, u.AcceptedAt}
	case fault.Condition != "":
		return state{fault.Condition, messageOf(fault.Condition), u.AcceptedAt}
	}
	age, way := s.cfg.Now().Sub(u.AcceptedAt), s.cfg.TimeToRunning
	if fault.TimeToRunning > 0 {
		way = time.Duration(fault.TimeToRunning)
	}
	switch {
	case age >= way:
		return state{conditionRunning, messageOf(conditionRunning), u.AcceptedAt.Add(way)}
	case age >= way/4:
		return state{conditionDeploying, messageOf(conditionDeploying), u.AcceptedAt.Add(way / 4)}
	}
	return state{conditionPending, messageOf(conditionPending), u.AcceptedAt}
}

// messageOf is how the CRMs of the field put a condition. Pending is put as it is.
func messageOf(condition string) string {
	switch condition {
	case conditionRunning:
		return "Available"
	case conditionDeploying:
		return "Progressing"
	case conditionDown, conditionFailed:
		return "Degraded: the unit does not run"
	}
	return condition
}

func phaseOf(condition string) string {
	switch condition {
	case conditionRunning:
		return "RUNNING"
	case conditionPending, conditionDeploying:
		return "RESOURCE_PROVISIONING"
	case conditionDown, conditionFailed:
		return "FAILED"
	}
	return "UNKNOWN"
}

func (s *Sim) status(u Unit, f Faults) model.CRMStatus {
	now := s.state(u, f)
	return model.CRMStatus{
		ID: u.Unit.ID, Status: now.condition, Phase: phaseOf(now.condition), Message: now.text(),
		LastUpdated: now.since.UTC().Format(time.RFC3339Nano),
	}
}

// text is the message where there is something to say.
func (s state) text() *string {
	if s.condition == conditionRunning {
		return nil
	}
	return &s.message
}

func (s *Sim) record(u Unit, f Faults) model.DeploymentRecord {
	now := s.state(u, f)
	name := s.cfg.Name
	updated := now.since.UTC().Format(time.RFC3339Nano)
	record := model.DeploymentRecord{
		ID:                u.Unit.ID,
		DeploymentUnitID:  u.Unit.ID,
		PackageName:       u.Unit.PackageName,
		ClassKey:          u.Unit.ClassKey,
		TargetEnvironment: u.Unit.TargetEnv,
		ClusterName:       &name,
		Status: model.DeploymentRecordStatus{
			Condition: now.condition, Phase: phaseOf(now.condition), Message: now.text(), LastUpdated: updated,
			Functions: s.functions(u, now),
		},
		ResourceRefs:   []model.ResourceReference{},
		CreatedAt:      u.AcceptedAt.Format(time.RFC3339Nano),
		UpdatedAt:      updated,
		PartitionCount: 1,
	}
	if u.Unit.ODGM != nil && u.Unit.ODGM.PartitionCount != nil {
		record.PartitionCount = max(1, *u.Unit.ODGM.PartitionCount)
	}
	for _, function := range u.Unit.Functions {
		record.ResourceRefs = append(record.ResourceRefs, model.ResourceReference{
			Kind: "Service", Name: u.Unit.ID + "." + function.FunctionKey,
		})
	}
	return record
}

// functions are the states of a unit's functions.
func (s *Sim) functions(u Unit, now state) []model.FunctionStatus {
	ready := now.condition == conditionRunning
	changed := now.since.UTC().Format(time.RFC3339Nano)
	statuses := make([]model.FunctionStatus, 0, len(u.Unit.Functions))
	for i, function := range u.Unit.Functions {
		service := resourceName(u.Unit.ID) + "-fn-" + strconv.Itoa(i)
		status := model.FunctionStatus{
			FunctionKey: function.FunctionKey, Service: service, Port: 80,
			PredictedURL: "http://" + service + "." + s.cfg.Name + ".svc.cluster.local",
			Template:     templateOf(&u.Unit), Ready: &ready, Message: now.text(), LastTransitionTime: &changed,
		}
		if ready {
			observed := status.PredictedURL + "/"
			status.ObservedURL = &observed
		}
		statuses = append(statuses, status)
	}
	return statuses
}

func templateOf(unit *model.DeploymentUnit) string {
	if unit.SelectedTemplate != "" {
		return unit.SelectedTemplate
	}
	return "dev"
}

// records returns the records that keep accepts, in the order of their ids.
func (s *Sim) records(keep func(model.DeploymentRecord) bool) []model.DeploymentRecord {
	s.mu.Lock()
	units := maps.Clone(s.units)
	s.mu.Unlock()
	f := s.faults.get()
	records := []model.DeploymentRecord{}
	for _, name := range slices.Sorted(maps.Keys(units)) {
		if record := s.record(units[name], f); keep(record) {
			records = append(records, record)
		}
	}
	return records
}

// page cuts a page out of a list; a negative limit means all.
func page[T any](list []T, offset, limit int) []T {
	list = list[min(offset, len(list)):]
	if limit >= 0 {
		list = list[:min(limit, len(list))]
	}
	return list
}
