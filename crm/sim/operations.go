package sim

import (
	"net/http"

	"github.com/oprc/oprc-pm/model"
)

// What the calls of both protocols do; the protocols only translate. They are
// called with commitMu held.

// deploy accepts a unit.
func (s *Sim) deploy(call *Call, unit model.DeploymentUnit) (Effect, error) {
	call.Unit = unit.ID
	if unit.DeploymentKey != "" {
		call.Deployment = unit.DeploymentKey
	}
	if unit.ClassKey == "" || unit.PackageName == "" {
		return EffectRefused, &refusal{http.StatusUnprocessableEntity, "invalid", "package_name, class_key: must not be empty"}
	}
	f := s.faults.get()
	if status := f.of(&unit).Refuse; status != 0 {
		return EffectRefused, &refusal{status, "refused", "the simulated cluster does not take this unit"}
	}
	return s.create(unit)
}

// delete drops the unit that a call names.
func (s *Sim) delete(call *Call) (Effect, error) {
	unit, _ := s.unit(call.Unit)
	if unit.Unit.DeploymentKey != "" {
		call.Deployment = unit.Unit.DeploymentKey
	}
	effect, err := s.remove(call.Unit)
	if err == nil && effect == EffectAbsent {
		err = unknownUnit()
	}
	return effect, err
}

// find returns a unit that a call names.
func (s *Sim) find(id string) (Unit, error) {
	unit, exists := s.unit(id)
	if !exists {
		return Unit{}, unknownUnit()
	}
	return unit, nil
}

func unknownUnit() error {
	return &refusal{http.StatusNotFound, "not_found", "the cluster runs no such unit"}
}

func staleTerm() error {
	return &refusal{http.StatusConflict, "stale_term", "a leader of a newer term has called"}
}
