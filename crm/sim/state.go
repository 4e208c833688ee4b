package sim

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/oprc/oprc-pm/model"
)

// Effect says what a call changed.
type Effect string

const (
	EffectNone      Effect = ""
	EffectCreated   Effect = "created"
	EffectUnchanged Effect = "unchanged"
	EffectDeleted   Effect = "deleted"
	EffectAbsent    Effect = "absent"
	EffectRefused   Effect = "refused"
)

// refusal is an answer that is not a success.
type refusal struct {
	status  int
	code    string
	message string
}

func (r *refusal) Error() string { return r.message }

// advance refuses a term that is older than the highest seen, and remembers a
// newer one before anything is done in its name. The caller holds commitMu.
func (s *Sim) advance(term uint64) error {
	if term == 0 {
		return nil
	}
	s.mu.Lock()
	seen := s.term
	s.mu.Unlock()
	switch {
	case term < seen:
		return &refusal{http.StatusConflict, "stale_term", "a leader of a newer term has called"}
	case term == seen:
		return nil
	}
	if err := s.store.putTerm(term); err != nil {
		return err
	}
	s.mu.Lock()
	s.term = term
	s.mu.Unlock()
	return nil
}

// create adds a unit, unless it is there. The caller holds commitMu.
func (s *Sim) create(unit model.DeploymentUnit) (Effect, error) {
	s.mu.Lock()
	present, exists := s.units[unit.ID]
	count := len(s.units)
	s.mu.Unlock()
	switch {
	case exists && present.Unit.DeploymentKey != unit.DeploymentKey:
		return EffectRefused, &refusal{http.StatusConflict, "already_exists", "the id belongs to a unit of another deployment"}
	case exists:
		return EffectUnchanged, nil
	case s.cfg.Capacity > 0 && count >= s.cfg.Capacity:
		return EffectRefused, &refusal{http.StatusInsufficientStorage, "capacity_exceeded", "the cluster has no room for another unit"}
	}
	accepted := Unit{Unit: unit, AcceptedAt: s.cfg.Now().UTC()}
	if err := s.store.putUnit(accepted); err != nil {
		return EffectNone, err
	}
	s.mu.Lock()
	s.units[unit.ID] = accepted
	s.mu.Unlock()
	return EffectCreated, nil
}

// remove drops a unit. The caller holds commitMu.
func (s *Sim) remove(id string) (Effect, error) {
	if _, exists := s.unit(id); !exists {
		return EffectAbsent, nil
	}
	if err := s.store.deleteUnit(id); err != nil {
		return EffectNone, err
	}
	s.mu.Lock()
	delete(s.units, id)
	s.mu.Unlock()
	return EffectDeleted, nil
}

func (s *Sim) unit(id string) (Unit, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	unit, exists := s.units[id]
	return unit, exists
}

// Conditions of a unit.
const (
	conditionPending   = "Pending"
	conditionDeploying = "Deploying"
	conditionRunning   = "Running"
)

// condition computes a unit's state: pending for the first quarter of its way,
// then deploying, then running. It also returns when that state began.
func (s *Sim) condition(u Unit) (condition string, since time.Time) {
	if forced := s.faults.get().Condition; forced != "" {
		return forced, u.AcceptedAt
	}
	age, way := s.cfg.Now().Sub(u.AcceptedAt), s.cfg.TimeToRunning
	switch {
	case age >= way:
		return conditionRunning, u.AcceptedAt.Add(way)
	case age >= way/4:
		return conditionDeploying, u.AcceptedAt.Add(way / 4)
	}
	return conditionPending, u.AcceptedAt
}

func phaseOf(condition string) string {
	switch condition {
	case conditionRunning:
		return "RUNNING"
	case conditionPending, conditionDeploying:
		return "RESOURCE_PROVISIONING"
	case "Down", "Failed":
		return "FAILED"
	}
	return "UNKNOWN"
}

func (s *Sim) status(u Unit) model.CRMStatus {
	condition, since := s.condition(u)
	return model.CRMStatus{
		ID:          u.Unit.ID,
		Status:      condition,
		Phase:       phaseOf(condition),
		LastUpdated: since.UTC().Format(time.RFC3339Nano),
	}
}

func (s *Sim) record(u Unit) model.DeploymentRecord {
	status := s.status(u)
	name := s.cfg.Name
	record := model.DeploymentRecord{
		ID:                u.Unit.ID,
		DeploymentUnitID:  u.Unit.ID,
		PackageName:       u.Unit.PackageName,
		ClassKey:          u.Unit.ClassKey,
		TargetEnvironment: u.Unit.TargetEnv,
		ClusterName:       &name,
		Status: model.DeploymentRecordStatus{
			Condition: status.Status, Phase: status.Phase, LastUpdated: status.LastUpdated,
		},
		ResourceRefs: []model.ResourceReference{},
		CreatedAt:    u.AcceptedAt.Format(time.RFC3339Nano),
		UpdatedAt:    status.LastUpdated,
	}
	for _, function := range u.Unit.Functions {
		record.ResourceRefs = append(record.ResourceRefs, model.ResourceReference{
			Kind: "Service", Name: u.Unit.ID + "." + function.FunctionKey,
		})
	}
	return record
}

// records returns the records that keep accepts, in the order of their ids.
func (s *Sim) records(keep func(model.DeploymentRecord) bool) []model.DeploymentRecord {
	s.mu.Lock()
	units := maps.Clone(s.units)
	s.mu.Unlock()
	records := []model.DeploymentRecord{}
	for _, id := range slices.Sorted(maps.Keys(units)) {
		if record := s.record(units[id]); keep(record) {
			records = append(records, record)
		}
	}
	return records
}

// asRefusal returns err as a refusal; a fault of ours becomes a 500.
func asRefusal(err error) *refusal {
	var r *refusal
	if errors.As(err, &r) {
		return r
	}
	return &refusal{http.StatusInternalServerError, "internal", "the simulator cannot keep its state"}
}
