package drift

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/crm/inventory"
	"github.com/oprc/oprc-pm/model"
)

func ref(id, crmID string, phase model.UnitPhase) inventory.UnitRef {
	return inventory.UnitRef{Deployment: "cart", Cluster: "a", Unit: id, CRMID: crmID, Phase: phase}
}

func held(id, unit, condition string) model.DeploymentRecord {
	return model.DeploymentRecord{ID: id, DeploymentUnitID: unit, Status: model.DeploymentRecordStatus{Condition: condition}}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	x, y := unit(0), unit(1)
	running, pending := ref(x, x, model.UnitRunning), ref(x, "", model.UnitPending)
	tests := []struct {
		name          string
		before, after []inventory.UnitRef
		records       []model.DeploymentRecord
		// want is what was found, as "missing ID", "changed ID CONDITION",
		// "unknown ID"; foreign is how many are not ours.
		want    []string
		foreign int
	}{
		{name: "nothing recorded, nothing held"},
		{
			name:   "all as recorded",
			before: []inventory.UnitRef{running}, after: []inventory.UnitRef{running},
			records: []model.DeploymentRecord{held(x, x, "Running")},
		},
		{
			name:   "a unit is missing",
			before: []inventory.UnitRef{running}, after: []inventory.UnitRef{running},
			want: []string{"missing " + x},
		},
		{
			name:  "a unit that was accepted after the list was begun is not missing",
			after: []inventory.UnitRef{running},
		},
		{
			name:   "a unit that was accepted while the list was made is not missing",
			before: []inventory.UnitRef{pending}, after: []inventory.UnitRef{running},
		},
		{
			name:   "a unit that was not accepted yet is not missing",
			before: []inventory.UnitRef{pending}, after: []inventory.UnitRef{pending},
		},
		{
			name:   "a unit that the CRM refused is not missing",
			before: []inventory.UnitRef{ref(x, "", model.UnitDown)}, after: []inventory.UnitRef{ref(x, "", model.UnitDown)},
		},
		{
			name:   "a unit that is being deleted is neither missing nor unknown",
			before: []inventory.UnitRef{ref(x, x, model.UnitDeleting), ref(y, y, model.UnitDeleting)},
			after:  []inventory.UnitRef{ref(x, x, model.UnitDeleting), ref(y, y, model.UnitDeleting)},
			records: []model.DeploymentRecord{
				held(x, x, "Running"),
			},
		},
		{
			name:   "a unit whose deletion was confirmed while the list was made is not unknown",
			before: []inventory.UnitRef{ref(x, x, model.UnitDeleting)}, records: []model.DeploymentRecord{held(x, x, "Running")},
		},
		{
			name:    "a unit of which the intent was recorded while the list was made is not unknown",
			after:   []inventory.UnitRef{pending},
			records: []model.DeploymentRecord{held(x, x, "Pending")},
		},
		{
			name:    "a unit that nobody recorded",
			records: []model.DeploymentRecord{held("crm-1", x, "Running")},
			want:    []string{"unknown " + x},
		},
		{
			name:    "a unit that the CRM only remembers is not unknown",
			records: []model.DeploymentRecord{held(x, x, "Deleted"), held(y, y, "Terminated")},
		},
		{
			name:    "units of others are left alone",
			records: []model.DeploymentRecord{held("nginx", "", "Running"), held("x", "6f1c0c3e-55d4-4b2a-9d1c-0f6f3a1b2c3d", "Running")},
			foreign: 2,
		},
		{
			name:   "a unit that the CRM knows by an id of its own",
			before: []inventory.UnitRef{ref(x, "crm-1", model.UnitRunning)}, after: []inventory.UnitRef{ref(x, "crm-1", model.UnitRunning)},
			records: []model.DeploymentRecord{held("crm-1", "", "Running")},
		},
		{
			name:   "a running unit is down",
			before: []inventory.UnitRef{running}, after: []inventory.UnitRef{running},
			records: []model.DeploymentRecord{held(x, x, "Failed")},
			want:    []string{"changed " + x + " Failed"},
		},
		{
			name:   "a unit that was down runs",
			before: []inventory.UnitRef{ref(x, x, model.UnitDown)}, after: []inventory.UnitRef{ref(x, x, model.UnitDown)},
			records: []model.DeploymentRecord{held(x, x, "Running")},
			want:    []string{"changed " + x + " Running"},
		},
		{
			name:   "a unit whose phase changed while the list was made is not judged by it",
			before: []inventory.UnitRef{ref(x, x, model.UnitDown)}, after: []inventory.UnitRef{running},
			records: []model.DeploymentRecord{held(x, x, "Down")},
		},
		{
			name:   "a unit on its way is for the dispatcher to follow",
			before: []inventory.UnitRef{ref(x, x, model.UnitDeploying)}, after: []inventory.UnitRef{ref(x, x, model.UnitDeploying)},
			records: []model.DeploymentRecord{held(x, x, "Running")},
		},
		{
			name:   "a condition that says nothing changes nothing",
			before: []inventory.UnitRef{running}, after: []inventory.UnitRef{running},
			records: []model.DeploymentRecord{held(x, x, "Unknown")},
		},
		{
			name:   "a unit that the CRM only remembers has ended, whatever it was",
			before: []inventory.UnitRef{running, ref(y, y, model.UnitDown)}, after: []inventory.UnitRef{running, ref(y, y, model.UnitDown)},
			records: []model.DeploymentRecord{held(y, y, "deleted"), held(x, x, "Terminated")},
			want:    []string{"ended " + x, "ended " + y},
		},
		{
			name:   "a unit on its way that the CRM remembers from before has not ended",
			before: []inventory.UnitRef{ref(x, x, model.UnitDeploying), pending}, after: []inventory.UnitRef{ref(x, x, model.UnitDeploying), pending},
			records: []model.DeploymentRecord{held(x, x, "Terminated")},
		},
		{
			name:   "a unit that is being deleted may end",
			before: []inventory.UnitRef{ref(x, x, model.UnitDeleting)}, after: []inventory.UnitRef{ref(x, x, model.UnitDeleting)},
			records: []model.DeploymentRecord{held(x, x, "Deleted")},
		},
		{
			name:   "a unit that was deployed anew while the list was made has not ended",
			before: []inventory.UnitRef{ref(x, "crm-1", model.UnitRunning)}, after: []inventory.UnitRef{ref(x, "crm-2", model.UnitRunning)},
			records: []model.DeploymentRecord{held("crm-1", x, "Terminated")},
		},
		{
			name:   "a unit that took the place of one of its id is what counts",
			before: []inventory.UnitRef{ref(x, "crm-2", model.UnitRunning)}, after: []inventory.UnitRef{ref(x, "crm-2", model.UnitRunning)},
			records: []model.DeploymentRecord{held("crm-1", x, "Terminated"), held("crm-2", x, "Running"), held("crm-0", x, "Deleted")},
		},
		{
			name:   "of two records that live the one counts that the unit names",
			before: []inventory.UnitRef{ref(x, "crm-2", model.UnitRunning)}, after: []inventory.UnitRef{ref(x, "crm-2", model.UnitRunning)},
			records: []model.DeploymentRecord{held("crm-1", x, "Down"), held("crm-2", x, "Running"), held("crm-3", x, "Down")},
		},
		{
			name: "all at once, in order",
			before: []inventory.UnitRef{
				ref(unit(3), unit(3), model.UnitRunning), ref(unit(2), unit(2), model.UnitRunning), ref(unit(1), unit(1), model.UnitDown), ref(unit(0), unit(0), model.UnitRunning),
			},
			after: []inventory.UnitRef{
				ref(unit(3), unit(3), model.UnitRunning), ref(unit(2), unit(2), model.UnitRunning), ref(unit(1), unit(1), model.UnitDown), ref(unit(0), unit(0), model.UnitRunning),
			},
			records: []model.DeploymentRecord{held(unit(5), unit(5), "Running"), held(unit(4), unit(4), "Running"), held(unit(1), unit(1), "Running"), held(unit(0), unit(0), "Down")},
			want: []string{
				"missing " + unit(2), "missing " + unit(3), "changed " + unit(0) + " Down", "changed " + unit(1) + " Running",
				"unknown " + unit(4), "unknown " + unit(5),
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := compare(tt.before, tt.after, tt.records)
			if diff := cmp.Diff(words(got), tt.want); diff != "" {
				t.Errorf("got -, want +\n%s", diff)
			}
			if got.foreign != tt.foreign {
				t.Errorf("foreign: got %d, want %d", got.foreign, tt.foreign)
			}
		})
	}
}

func words(f findings) []string {
	var list []string
	for _, unit := range f.missing {
		list = append(list, "missing "+unit.Unit)
	}
	for _, unit := range f.ended {
		list = append(list, "ended "+unit.Unit)
	}
	for _, change := range f.changed {
		list = append(list, "changed "+change.unit.Unit+" "+change.condition)
	}
	for _, record := range f.unknown {
		list = append(list, "unknown "+unitID(record))
	}
	return list
}

func TestForm(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]bool{
		unit(0):                                true,
		"a-b-c-abcdefghij234567":               true,
		"":                                     false,
		"cart":                                 false,
		"cart-abcdefghij23456":                 false,
		"cart-abcdefghij2345678":               false,
		"cart-ABCDEFGHIJ234567":                false,
		"cart-abcdefghij234561":                false,
		"1cart-abcdefghij234567":               false,
		"nginx-7d5b8c9f6d-x2x4z":               false,
		"6f1c0c3e-55d4-4b2a-9d1c-0f6f3a1b2c3d": false,
	} {
		if got := ours(id); got != want {
			t.Errorf("%q: got %v, want %v", id, got, want)
		}
	}
}
