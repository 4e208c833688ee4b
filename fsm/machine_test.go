package fsm

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// running is a unit record.
func running(deployment, cluster, id string) model.UnitStatus {
	return model.UnitStatus{ID: id, DeploymentKey: deployment, Cluster: cluster, Generation: 1, Phase: model.UnitRunning}
}

func recordPut(deployment string, generation uint64, units ...model.UnitStatus) storage.RecordUnitStatus {
	return storage.RecordUnitStatus{Deployment: deployment, Generation: generation, Put: units}
}

// machineTest applies command after given. The world begins with the packages
// base, app (depends on base), a deployment idle of app without units, and one
// named busy with a unit, at indexes 1 to 5. There are the clusters east, in which
// that unit is, and west.
type machineTest struct {
	name    string
	given   []storage.Command
	command storage.Command
	// want is the outcome, or code and path of the rejection and what its
	// message says.
	want       storage.Outcome
	generation uint64
	code       model.Code
	path       string
	message    string
}

func runMachineTests(t *testing.T, tests []machineTest) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.must(namedPackage(t, "base"))
			w.register("east", "west")
			w.must(
				namedPackage(t, "app", "base"),
				deployCommand(t, "idle", "app", "east"),
				deployCommand(t, "busy", "app", "east", "west"),
				recordPut("busy", 1, running("busy", "east", "u1")),
			)
			w.must(tt.given...)
			before := w.digest()
			result := w.do(tt.command)
			checkResult(t, w, tt, result)
			if changed := w.digest() != before; changed == (tt.code != "" || tt.want == storage.Unchanged) {
				t.Errorf("data changed: %t, with %+v", changed, result)
			}
		})
	}
}

func checkResult(t *testing.T, w *world, tt machineTest, result storage.Result) {
	t.Helper()
	if result.Index != w.index || result.Outcome != tt.want || result.Code != tt.code {
		t.Errorf("got %+v, want index %d, outcome %d, code %q", result, w.index, tt.want, tt.code)
	}
	if tt.generation != 0 && result.Generation != tt.generation {
		t.Errorf("got %+v, want generation %d", result, tt.generation)
	}
	if !strings.Contains(result.Message, tt.message) || (result.Message == "") != (tt.code == "") {
		t.Errorf("message: got %q, want it to contain %q", result.Message, tt.message)
	}
	var paths []string
	for _, p := range result.Problems {
		paths = append(paths, p.Path)
	}
	if got := strings.Join(paths, " "); got != tt.path {
		t.Errorf("paths of problems: got %q, want %q", got, tt.path)
	}
}

func withMode[C storage.PutPackage | storage.PutDeployment](c C, mode storage.PutMode, ifMatch uint64) storage.Command {
	switch c := any(c).(type) {
	case storage.PutPackage:
		c.Mode, c.IfMatch = mode, ifMatch
		return c
	case storage.PutDeployment:
		c.Mode, c.IfMatch = mode, ifMatch
		return c
	}
	return nil
}

func TestPutPackage(t *testing.T) {
	t.Parallel()
	bare := pkgCommand(t, model.Package{Name: "app", Dependencies: []string{"base"}})
	runMachineTests(t, []machineTest{
		{name: "ok_create", command: namedPackage(t, "new", "app", "base"), want: storage.Created, generation: 1},
		{name: "ok_update", command: namedPackage(t, "app"), want: storage.Updated, generation: 2},
		{name: "ok_unchanged", command: namedPackage(t, "app", "base"), want: storage.Unchanged, generation: 1},
		{name: "ok_if_match", command: withMode(namedPackage(t, "app"), storage.Update, 2), want: storage.Updated, generation: 2},
		{name: "ok_class_of_no_deployment", given: []storage.Command{
			storage.DeleteDeployment{Key: "idle"}, storage.DeleteDeployment{Key: "busy"},
		}, command: bare, want: storage.Updated},
		{name: "err_name_taken", command: withMode(namedPackage(t, "app"), storage.Create, 0), code: model.CodeConflict, message: "already exists"},
		{name: "err_nothing_to_update", command: withMode(namedPackage(t, "new"), storage.Update, 0), code: model.CodeNotFound, message: `"new"`},
		{name: "err_if_match", command: withMode(namedPackage(t, "app"), storage.Upsert, 1), code: model.CodeFailedPrecondition, message: "resource version 2"},
		{name: "err_if_match_unchanged", command: withMode(namedPackage(t, "app", "base"), storage.Upsert, 1), code: model.CodeFailedPrecondition},
		{name: "err_if_match_missing", command: withMode(namedPackage(t, "new"), storage.Upsert, 1), code: model.CodeFailedPrecondition, message: "does not exist"},
		{name: "err_dependency_missing", command: namedPackage(t, "new", "base", "nobody"), code: model.CodeInvalid, path: "dependencies", message: `"nobody"`},
		{name: "err_depends_on_itself", command: namedPackage(t, "app", "app"), code: model.CodeInvalid, path: "dependencies", message: "itself"},
		{name: "err_depends_on_itself_new", command: namedPackage(t, "new", "new"), code: model.CodeInvalid, path: "dependencies", message: "itself"},
		{name: "err_cycle_of_two", command: namedPackage(t, "base", "app"), code: model.CodeInvalid, path: "dependencies", message: "base -> app -> base"},
		{name: "err_cycle_of_three", given: []storage.Command{namedPackage(t, "top", "app")}, command: namedPackage(t, "base", "top"),
			code: model.CodeInvalid, path: "dependencies", message: "base -> top -> app -> base"},
		{name: "err_empty_document", command: storage.PutPackage{Name: "new"}, code: model.CodeInvalid, message: "empty"},
		{name: "err_class_vanishes", command: bare, code: model.CodeConflict, path: "classes", message: `class "main" is missing but deployed (busy, idle)`},
		{name: "ok_class_vanishes_by_force", command: forced(bare), want: storage.Updated, generation: 2},
		{name: "ok_force_for_nothing", command: forced(namedPackage(t, "app")), want: storage.Updated, generation: 2},
		{name: "err_force_is_for_classes_only", command: forced(namedPackage(t, "base", "app")), code: model.CodeInvalid, path: "dependencies", message: "cycle"},
	})
}

// TestVanishingClassesAreNamed: who refuses says what about, but not without end.
func TestVanishingClassesAreNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := model.Package{Name: "app"}
	for i := range 7 {
		p.Classes = append(p.Classes, model.Class{Key: fmt.Sprint("c", i)})
	}
	w.must(pkgCommand(t, p))
	for i := range 7 {
		for j := range 7 - i {
			w.must(encodeDeployment(t, model.Deployment{Key: fmt.Sprintf("d%d%d", i, j), PackageName: "app", ClassKey: fmt.Sprint("c", i)}))
		}
	}
	result := w.do(pkgCommand(t, model.Package{Name: "app"}))
	const want = `classes: class "c0" is missing but deployed (d00, d01, d02, d03, d04 and 2 more); ` +
		`class "c1" is missing but deployed (d10, d11, d12, d13, d14 and 1 more); ` +
		`class "c2" is missing but deployed (d20, d21, d22, d23, d24); class "c3" is missing but deployed (d30, d31, d32, d33); ` +
		`class "c4" is missing but deployed (d40, d41, d42); and 2 more classes`
	if result.Code != model.CodeConflict || result.Message != want {
		t.Errorf("got %+v\nwant the message %s", result, want)
	}
}

func TestDeletePackage(t *testing.T) {
	t.Parallel()
	runMachineTests(t, []machineTest{
		{name: "ok_cascade", command: storage.DeletePackage{Name: "app", Cascade: true}, want: storage.Deleted},
		{name: "ok_deployments_on_their_way_out", given: []storage.Command{
			storage.DeleteDeployment{Key: "idle"}, storage.DeleteDeployment{Key: "busy"},
		}, command: storage.DeletePackage{Name: "app"}, want: storage.Deleted},
		{name: "ok_if_match", command: storage.DeletePackage{Name: "app", IfMatch: 2, Cascade: true}, want: storage.Deleted},
		{name: "err_missing", command: storage.DeletePackage{Name: "nobody"}, code: model.CodeNotFound},
		{name: "err_if_match", command: storage.DeletePackage{Name: "app", IfMatch: 1, Cascade: true}, code: model.CodeFailedPrecondition},
		{name: "err_dependants", command: storage.DeletePackage{Name: "base"}, code: model.CodeConflict, message: "app"},
		{name: "err_dependants_cascade", command: storage.DeletePackage{Name: "base", Cascade: true}, code: model.CodeConflict, message: "app"},
		{name: "err_deployments", command: storage.DeletePackage{Name: "app"}, code: model.CodeConflict, message: "busy, idle"},
	})
}

func TestPutDeployment(t *testing.T) {
	t.Parallel()
	other := deployCommand(t, "idle", "app", "east")
	runMachineTests(t, []machineTest{
		{name: "ok_create", command: deployCommand(t, "new", "app"), want: storage.Created, generation: 1},
		{name: "ok_update", command: deployCommand(t, "idle", "app", "west"), want: storage.Updated, generation: 2},
		{name: "ok_other_package", command: deployCommand(t, "idle", "base"), want: storage.Updated, generation: 2},
		{name: "ok_unchanged", command: deployCommand(t, "idle", "app", "east"), want: storage.Unchanged, generation: 1},
		{name: "ok_taken_back", given: []storage.Command{storage.DeleteDeployment{Key: "busy"}},
			command: deployCommand(t, "busy", "app", "east", "west"), want: storage.Updated, generation: 3},
		{name: "ok_taken_back_changed", given: []storage.Command{storage.DeleteDeployment{Key: "busy"}},
			command: deployCommand(t, "busy", "app", "east"), want: storage.Updated, generation: 3},
		{name: "ok_created_again", given: []storage.Command{storage.DeleteDeployment{Key: "idle"}},
			command: withMode(deployCommand(t, "idle", "app"), storage.Create, 0), want: storage.Created, generation: 1},
		{name: "err_name_taken", command: withMode(deployCommand(t, "idle", "app"), storage.Create, 0), code: model.CodeConflict},
		{name: "err_name_taken_by_deleted", given: []storage.Command{storage.DeleteDeployment{Key: "busy"}},
			command: withMode(deployCommand(t, "busy", "app"), storage.Create, 0), code: model.CodeConflict},
		{name: "err_nothing_to_update", command: withMode(deployCommand(t, "new", "app"), storage.Update, 0), code: model.CodeNotFound},
		{name: "err_if_match", command: withMode(deployCommand(t, "idle", "app"), storage.Upsert, 2), code: model.CodeFailedPrecondition},
		{name: "err_package_missing", command: deployCommand(t, "new", "nobody"), code: model.CodeNotFound, path: "package_name"},
		{name: "err_class_missing", command: storage.PutDeployment{
			Key: "new", Document: other.Document, Package: "app", Class: "side",
		}, code: model.CodeInvalid, path: "class_key", message: `"side"`},
		{name: "err_empty_document", command: storage.PutDeployment{Key: "new", Package: "app", Class: "main"}, code: model.CodeInvalid, message: "empty"},
		{name: "err_taken_back_without_package", given: []storage.Command{storage.DeletePackage{Name: "app", Cascade: true}},
			command: deployCommand(t, "busy", "app", "east", "west"), code: model.CodeNotFound, path: "package_name"},
	})
}

func TestDeleteDeployment(t *testing.T) {
	t.Parallel()
	runMachineTests(t, []machineTest{
		{name: "ok_without_units", command: storage.DeleteDeployment{Key: "idle"}, want: storage.Deleted},
		{name: "ok_with_units", command: storage.DeleteDeployment{Key: "busy", IfMatch: 4}, want: storage.Deleted, generation: 2},
		{name: "ok_again", given: []storage.Command{storage.DeleteDeployment{Key: "busy"}},
			command: storage.DeleteDeployment{Key: "busy"}, want: storage.Unchanged, generation: 2},
		{name: "err_missing", command: storage.DeleteDeployment{Key: "nobody"}, code: model.CodeNotFound},
		{name: "err_forgotten", given: []storage.Command{storage.DeleteDeployment{Key: "idle"}},
			command: storage.DeleteDeployment{Key: "idle"}, code: model.CodeNotFound},
		{name: "err_if_match", command: storage.DeleteDeployment{Key: "busy", IfMatch: 3}, code: model.CodeFailedPrecondition},
	})
}

func TestRecordUnitStatus(t *testing.T) {
	t.Parallel()
	deleted := []storage.Command{storage.DeleteDeployment{Key: "busy"}}
	u1 := []storage.UnitRef{{Cluster: "east", Unit: "u1"}}
	observed := &model.DeploymentObserved{Condition: model.DeploymentRunning}
	runMachineTests(t, []machineTest{
		{name: "ok_put", command: recordPut("idle", 1, running("idle", "east", "u")), want: storage.Updated, generation: 1},
		{name: "ok_same", command: recordPut("busy", 1, running("busy", "east", "u1")), want: storage.Unchanged, generation: 1},
		{name: "ok_nothing", command: recordPut("busy", 1), want: storage.Unchanged},
		{name: "ok_remove", command: storage.RecordUnitStatus{Deployment: "busy", Generation: 1, Remove: u1}, want: storage.Updated},
		{name: "ok_remove_absent", command: storage.RecordUnitStatus{Deployment: "idle", Generation: 1, Remove: u1}, want: storage.Unchanged},
		{name: "ok_observed", command: storage.RecordUnitStatus{Deployment: "busy", Generation: 1, Observed: observed}, want: storage.Updated, generation: 1},
		{name: "ok_observed_empty", command: storage.RecordUnitStatus{Deployment: "busy", Generation: 1, Observed: &model.DeploymentObserved{}}, want: storage.Updated},
		{name: "ok_observed_same", given: []storage.Command{storage.RecordUnitStatus{Deployment: "busy", Generation: 1, Observed: observed}},
			command: storage.RecordUnitStatus{Deployment: "busy", Generation: 1, Observed: observed}, want: storage.Unchanged},
		{name: "ok_forget", given: deleted, command: storage.RecordUnitStatus{Deployment: "busy", Generation: 2, Remove: u1, Forget: true}, want: storage.Deleted},
		{name: "err_gone", command: recordPut("nobody", 1), code: model.CodeConflict, message: "gone"},
		{name: "err_older_generation", given: deleted, command: recordPut("busy", 1), code: model.CodeConflict, message: "generation 2"},
		{name: "err_newer_generation", command: recordPut("busy", 2), code: model.CodeConflict, message: "generation 1"},
		{name: "err_forget_live", command: storage.RecordUnitStatus{Deployment: "busy", Generation: 1, Remove: u1, Forget: true}, code: model.CodeConflict, message: "not deleted"},
		{name: "err_forget_units_left", given: deleted, command: storage.RecordUnitStatus{Deployment: "busy", Generation: 2, Forget: true}, code: model.CodeConflict, message: "units/busy/east/u1"},
		{name: "err_forget_with_put", given: deleted, command: storage.RecordUnitStatus{
			Deployment: "busy", Generation: 2, Remove: u1, Forget: true, Put: []model.UnitStatus{running("busy", "west", "u2")},
		}, code: model.CodeConflict},
	})
}

func TestOtherCommands(t *testing.T) {
	t.Parallel()
	state := func(ifMatch uint64) storage.Command {
		c := stateCommand(t, "s", "up")
		c.IfMatch = ifMatch
		return c
	}
	runMachineTests(t, []machineTest{
		{name: "ok_barrier", command: storage.Barrier{}, want: storage.Unchanged},
		{name: "ok_mint", command: storage.MintClusterID{ClusterID: "id"}, want: storage.Created},
		{name: "err_mint_again", given: []storage.Command{storage.MintClusterID{ClusterID: "id"}},
			command: storage.MintClusterID{ClusterID: "other"}, code: model.CodeConflict, message: "id"},
		{name: "err_mint_nothing", command: storage.MintClusterID{}, code: model.CodeInvalid},
		{name: "ok_state_created", command: state(0), want: storage.Created, generation: 1},
		{name: "ok_state_unchanged", given: []storage.Command{state(0)}, command: state(6), want: storage.Unchanged},
		{name: "ok_state_updated", given: []storage.Command{state(0)}, command: stateCommand(t, "s", "down"), want: storage.Updated, generation: 2},
		{name: "err_state_empty_document", command: storage.UpdateRuntimeState{Key: "s"}, code: model.CodeInvalid, message: "empty"},
		{name: "err_state_if_match", given: []storage.Command{state(0)}, command: state(5), code: model.CodeFailedPrecondition},
		{name: "err_state_if_match_missing", command: state(5), code: model.CodeFailedPrecondition},
	})
}

func TestLeaderTermFences(t *testing.T) {
	t.Parallel()
	w := newWorld(t) // Its entries have term 5.
	for term, want := range map[uint64]model.Code{0: "", 4: model.CodeConflict, 5: "", 1: model.CodeConflict} {
		results, _ := w.run(storage.Proposal{Request: storage.Request{Command: storage.Barrier{}, LeaderTerm: term}})
		if results[0].Code != want {
			t.Errorf("leader term %d: got %+v, want code %q", term, results[0], want)
		}
	}
}

// TestRequestsOfOneEntry applies one request twice in a single entry.
func TestRequestsOfOneEntry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	propose := func(id string, c storage.Command) storage.Proposal {
		return storage.Proposal{Request: storage.Request{ID: id, Command: c}, At: noon}
	}
	results, events := w.run(
		propose("a", namedPackage(t, "p")),
		propose("a", namedPackage(t, "p")),
		propose("a", namedPackage(t, "q")),
		propose("", namedPackage(t, "r")),
		propose("", namedPackage(t, "r")),
	)
	created := storage.Result{Index: 1, Outcome: storage.Created, ResourceVersion: 1, Generation: 1}
	again, unchanged := created, created
	again.Duplicate = true
	unchanged.Outcome = storage.Unchanged
	want := []storage.Result{created, again, {
		Index: 1, Code: model.CodeConflict, Message: "the idempotency key was used before, with another request",
	}, created, unchanged}
	if diff := cmp.Diff(want, results); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	if len(events) != 2 {
		t.Errorf("got %d events, want one of each package", len(events))
	}
	// In a later entry the answer is that of the first.
	results, _ = w.run(propose("a", namedPackage(t, "p")))
	if diff := cmp.Diff([]storage.Result{again}, results); diff != "" {
		t.Errorf("repeated later (-want +got):\n%s", diff)
	}
}

// TestUnknownCommandIsAFault proposes what no rule exists for.
func TestUnknownCommandIsAFault(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, p := range []storage.Proposal{{}, {Request: storage.Request{ID: "a"}}} {
		if _, _, err := w.machine.Apply(nil, 1, 1, []storage.Proposal{p}); err == nil {
			t.Errorf("apply %+v: got no error, want a fault", p)
		}
	}
}
