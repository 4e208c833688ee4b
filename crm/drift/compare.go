package drift

import (
	"cmp"
	"regexp"
	"slices"

	"github.com/oprc/oprc-pm/crm"
	"github.com/oprc/oprc-pm/crm/inventory"
	"github.com/oprc/oprc-pm/model"
)

// findings are the differences between a list and what is recorded, each sorted
// by id.
type findings struct {
	// missing are accepted units that the list lacks.
	missing []inventory.UnitRef
	// ended are units that the list only remembers: as deleted or terminated.
	ended []inventory.UnitRef
	// changed are units of which the list tells another phase.
	changed []changedUnit
	// unknown are records of units of our form that nobody recorded; foreign
	// counts those of another form.
	unknown []model.DeploymentRecord
	foreign int
}

type changedUnit struct {
	unit               inventory.UnitRef
	condition, message string
}

// compare finds the differences between a list of records and the units that
// were recorded before it was taken and after. It is pure.
func compare(before, after []inventory.UnitRef, records []model.DeploymentRecord) findings {
	earlier, now := byID(before), byID(after)
	var f findings
	told := map[string]model.DeploymentRecord{}
	for _, record := range records {
		unit, known := find(now, record)
		if !known {
			if _, was := find(earlier, record); !was {
				f.note(record)
			}
			continue // was: it has just been removed
		}
		if other, twice := told[unit.Unit]; !twice || better(unit, record, other) {
			told[unit.Unit] = record
		}
	}
	for _, unit := range after {
		was, existed := earlier[unit.Unit]
		record, listed := told[unit.Unit]
		if existed {
			f.judge(was, unit, record, listed)
		}
	}
	byUnit := func(a, b inventory.UnitRef) int { return cmp.Compare(a.Unit, b.Unit) }
	slices.SortFunc(f.missing, byUnit)
	slices.SortFunc(f.ended, byUnit)
	slices.SortFunc(f.changed, func(a, b changedUnit) int { return byUnit(a.unit, b.unit) })
	slices.SortFunc(f.unknown, func(a, b model.DeploymentRecord) int { return cmp.Compare(unitID(a), unitID(b)) })
	return f
}

// better tells which of two records of one unit counts. A CRM may remember what
// it ran under the unit's id before: what lives counts more than that, and of two
// alike the one that the unit's own record names.
func better(unit inventory.UnitRef, record, than model.DeploymentRecord) bool {
	if ended := crm.Gone(record.Status.Condition); ended != crm.Gone(than.Status.Condition) {
		return !ended
	}
	return record.ID == unit.CRMID && than.ID != unit.CRMID
}

// judge compares a unit, as it was recorded before the list and after, with its
// record in the list, if it has one.
func (f *findings) judge(was, unit inventory.UnitRef, record model.DeploymentRecord, listed bool) {
	if !listed {
		if accepted(was) && accepted(unit) {
			f.missing = append(f.missing, unit)
		}
		return
	}
	// A unit on its way is followed by the dispatcher, closer than a list can.
	if was.Phase != unit.Phase || was.CRMID != unit.CRMID || !settled(unit) {
		return
	}
	phase := crm.PhaseOf(record.Status.Condition)
	switch {
	case crm.Gone(record.Status.Condition):
		f.ended = append(f.ended, unit)
	case phase != "" && phase != unit.Phase:
		f.changed = append(f.changed, changedUnit{unit, record.Status.Condition, text(record.Status.Message)})
	}
}

// note counts in a record that nobody recorded.
func (f *findings) note(record model.DeploymentRecord) {
	switch {
	case crm.Gone(record.Status.Condition):
	case ours(unitID(record)):
		f.unknown = append(f.unknown, record)
	default:
		f.foreign++
	}
}

// byID leads from both ids of each unit to it.
func byID(units []inventory.UnitRef) map[string]inventory.UnitRef {
	ids := make(map[string]inventory.UnitRef, len(units))
	for _, unit := range units {
		if unit.CRMID != "" {
			ids[unit.CRMID] = unit
		}
	}
	for _, unit := range units {
		ids[unit.Unit] = unit // our own id wins over what a CRM made of another
	}
	return ids
}

func find(units map[string]inventory.UnitRef, record model.DeploymentRecord) (inventory.UnitRef, bool) {
	if unit, known := units[record.DeploymentUnitID]; known && record.DeploymentUnitID != "" {
		return unit, true
	}
	unit, known := units[record.ID]
	return unit, known && record.ID != ""
}

// accepted tells whether the CRM has said that it has the unit.
func accepted(unit inventory.UnitRef) bool {
	switch unit.Phase {
	case model.UnitDeploying, model.UnitRunning, model.UnitDown:
		return unit.CRMID != ""
	case model.UnitPending, model.UnitDeleting:
	}
	return false
}

func settled(unit inventory.UnitRef) bool {
	return accepted(unit) && unit.Phase != model.UnitDeploying
}

// unitID is the id under which a record's unit was asked for.
func unitID(record model.DeploymentRecord) string {
	return cmp.Or(record.DeploymentUnitID, record.ID)
}

// crmID is the id by which the CRM knows a record's unit.
func crmID(record model.DeploymentRecord) string {
	return cmp.Or(record.ID, record.DeploymentUnitID)
}

// form is that of the ids which planning gives: a readable part and 16
// characters of lower-case base32.
var form = regexp.MustCompile(`^[a-z][a-z0-9-]*-[a-z2-7]{16}$`)

// maxUnitID is the length of a DNS label, which our ids are.
const maxUnitID = 63

func ours(id string) bool { return len(id) <= maxUnitID && form.MatchString(id) }

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
