package fsm

import (
	"testing"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// TestUnitsAreRecordedInClustersThatExist: an intent that arrives just after its
// cluster was deleted would leave a record that nobody could remove.
func TestUnitsAreRecordedInClustersThatExist(t *testing.T) {
	t.Parallel()
	deleted := []storage.Command{storage.DeleteCluster{Name: "east", Force: true}}
	beside := recordPut("busy", 1, running("busy", "west", "u3"), running("busy", "east", "u2"))
	observed := &model.DeploymentObserved{ObservedGeneration: 1, Condition: model.DeploymentRunning}
	beside.Observed, beside.Events = observed, []model.Event{about("busy")}
	outcome := running("busy", "east", "u1")
	outcome.Phase = model.UnitDown
	gone := storage.RecordUnitStatus{
		Deployment: "busy", Generation: 1, Remove: []storage.UnitRef{{Cluster: "east", Unit: "u1"}}, Observed: observed,
	}
	const message = `cluster "east" is not registered`
	runMachineTests(t, []machineTest{
		{name: "ok_intent", command: recordPut("busy", 1, running("busy", "east", "u2")), want: storage.Updated, generation: 1},
		{name: "ok_outcome", command: recordPut("busy", 1, outcome), want: storage.Updated, generation: 1},
		{name: "err_intent_nowhere", command: recordPut("busy", 1, running("busy", "nowhere", "u2")), code: model.CodeConflict, message: `cluster "nowhere" is not registered`},
		{name: "err_intent_after_the_deletion", given: deleted, command: recordPut("busy", 1, running("busy", "east", "u2")), code: model.CodeConflict, message: message},
		{name: "err_intent_with_others_changes_nothing", given: deleted, command: beside, code: model.CodeConflict, message: message},
		{name: "err_outcome_of_a_unit_that_was_dropped", given: deleted, command: recordPut("busy", 1, outcome), code: model.CodeConflict, message: message},
		{name: "ok_unit_gone_after_the_deletion", given: deleted, command: gone, want: storage.Updated, generation: 1},
		{name: "ok_unit_gone_and_nothing_else", given: deleted, want: storage.Unchanged, command: storage.RecordUnitStatus{
			Deployment: "busy", Generation: 1, Remove: gone.Remove,
		}},
		{name: "ok_forgotten_after_the_deletion", want: storage.Deleted, given: append(deleted, deployCommand(t, "busy", "app", "west"),
			recordPut("busy", 2, running("busy", "west", "u2")), storage.DeleteDeployment{Key: "busy"}),
			command: storage.RecordUnitStatus{
				Deployment: "busy", Generation: 3, Forget: true, Remove: append([]storage.UnitRef{{Cluster: "west", Unit: "u2"}}, gone.Remove...),
			}},
		{name: "ok_intent_once_it_is_back", given: append(deleted, clusterCommand(t, "east", model.ManagedByAPI)),
			command: recordPut("busy", 1, running("busy", "east", "u1")), want: storage.Updated, generation: 1},
	})
}
