package sim

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
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

// Unit is a unit that the simulated cluster runs.
type Unit struct {
	Unit       model.DeploymentUnit `json:"unit"`
	AcceptedAt time.Time            `json:"accepted_at"`
}

// resourceName is the name under which a cluster keeps a unit, as real CRMs work
// it out: ids that differ in other characters only are one resource.
func resourceName(id string) string {
	name := strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
			return c
		case c >= 'A' && c <= 'Z':
			return c - 'A' + 'a'
		}
		return '-'
	}, id)
	return strings.Trim(name, "-")
}

// advance refuses a term that is older than the highest seen, and remembers a
// newer one before anything is done in its name. The caller holds commitMu.
func (s *Sim) advance(term uint64) error {
	if term == 0 {
		return nil
	}
	switch seen := s.Term(); {
	case term < seen:
		return staleTerm()
	case term == seen:
		return nil
	}
	return s.putTerm(term)
}

// putTerm remembers a term. The caller holds commitMu.
func (s *Sim) putTerm(term uint64) error {
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
	name := resourceName(unit.ID)
	s.mu.Lock()
	present, exists := s.units[name]
	count, capacity := len(s.units), s.vitals.Capacity
	s.mu.Unlock()
	switch {
	case exists && present.Unit.ID != unit.ID:
		return EffectRefused, &refusal{http.StatusConflict, "already_exists", "the id is too much like that of another unit"}
	case exists && unit.DeploymentKey != "" && present.Unit.DeploymentKey != unit.DeploymentKey:
		return EffectRefused, &refusal{http.StatusConflict, "already_exists", "the id belongs to a unit of another deployment"}
	case exists:
		return EffectUnchanged, nil
	case capacity > 0 && count >= capacity:
		return EffectRefused, &refusal{http.StatusInsufficientStorage, "capacity_exceeded", "the cluster has no room for another unit"}
	}
	return EffectCreated, s.keep(name, unit)
}

// keep stores a unit. The caller holds commitMu.
func (s *Sim) keep(name string, unit model.DeploymentUnit) error {
	accepted := Unit{Unit: unit, AcceptedAt: s.cfg.Now().UTC()}
	if err := s.store.putUnit(name, accepted); err != nil {
		return err
	}
	s.mu.Lock()
	s.units[name] = accepted
	s.mu.Unlock()
	return nil
}

// remove drops a unit. The caller holds commitMu.
func (s *Sim) remove(id string) (Effect, error) {
	if _, exists := s.unit(id); !exists {
		return EffectAbsent, nil
	}
	if err := s.store.deleteUnit(resourceName(id)); err != nil {
		return EffectNone, err
	}
	s.mu.Lock()
	delete(s.units, resourceName(id))
	s.mu.Unlock()
	return EffectDeleted, nil
}

func (s *Sim) unit(id string) (Unit, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	unit, exists := s.units[resourceName(id)]
	return unit, exists
}

// Units returns the units in the order of their resource names.
func (s *Sim) Units() []Unit {
	s.mu.Lock()
	defer s.mu.Unlock()
	units := make([]Unit, 0, len(s.units))
	for _, name := range slices.Sorted(maps.Keys(s.units)) {
		units = append(units, s.units[name])
	}
	return units
}

// Term returns the highest term seen.
func (s *Sim) Term() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.term
}

// SetTerm makes the simulator believe that term is the highest it has seen, as a
// CRM does that another control plane has called, or that forgot.
func (s *Sim) SetTerm(term uint64) error {
	return s.behindTheBack(func() error { return s.putTerm(term) })
}

// Inject puts a unit there behind the control plane's back. It fails when the id
// is taken or unusable; capacity is ignored.
func (s *Sim) Inject(unit model.DeploymentUnit) error {
	return s.behindTheBack(func() error {
		name := resourceName(unit.ID)
		if name == "" {
			return &refusal{http.StatusUnprocessableEntity, "invalid", "id: must have a letter or digit"}
		}
		if present, exists := s.unit(unit.ID); exists {
			return &refusal{http.StatusConflict, "already_exists", fmt.Sprintf("unit %s is there already", present.Unit.ID)}
		}
		return s.keep(name, unit)
	})
}

// Lose drops a unit behind the control plane's back, as a cluster that was
// rebuilt would. It tells whether the unit was there.
func (s *Sim) Lose(id string) (lost bool, err error) {
	err = s.behindTheBack(func() error {
		effect, err := s.remove(id)
		lost = effect == EffectDeleted
		return err
	})
	return lost, err
}

// behindTheBack makes a change that is no call.
func (s *Sim) behindTheBack(change func() error) error {
	if err := s.open(); err != nil {
		return err
	}
	s.commitMu.Lock()
	defer s.commitMu.Unlock()
	return change()
}
