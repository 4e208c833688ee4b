package storagetest

import (
	"time"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

var unitTests = []storeTest{
	{"unit/ok_record", testRecordUnits},
	{"unit/err_generation", testRecordGeneration},
	{"unit/err_cluster_missing", testRecordInMissingCluster},
	{"unit/ok_observed_keeps_desired_and_mark", testRecordObserved},
	{"unit/err_forget", testForgetRules},
	{"unit/ok_forget", testForget},
}

var runtimeStateTests = []storeTest{
	{"runtime_state/ok_update", testRuntimeState},
}

func (e *env) units(deployment string) []model.UnitStatus {
	e.Helper()
	var units []model.UnitStatus
	e.view(func(r storage.Reader) (err error) {
		units, err = storage.DecodeUnits(r, deployment)
		return err
	})
	return units
}

func testRecordUnits(e *env) {
	_, d, created := e.deployed()
	e.register("east", "west")
	east, west := unit(d.key, "east", "u1", model.UnitPending), unit(d.key, "west", "u2", model.UnitPending)
	record := storage.RecordUnitStatus{Deployment: d.key, Generation: 1, Put: []model.UnitStatus{west, east}}
	recorded := e.outcome(storage.Updated, record)
	same(e, "version after unit records only", created.ResourceVersion, recorded.ResourceVersion)
	same(e, "units", []model.UnitStatus{east, west}, e.units(d.key))
	e.outcome(storage.Unchanged, record)

	east.Phase, east.CRMID, east.LastTransitionTime = model.UnitRunning, "id-1", time.Unix(1, 2).UTC()
	e.outcome(storage.Updated, storage.RecordUnitStatus{
		Deployment: d.key, Generation: 1, Put: []model.UnitStatus{east},
		Remove: []storage.UnitRef{{Cluster: "west", Unit: "u2"}, {Cluster: "west", Unit: "never there"}},
	})
	same(e, "units", []model.UnitStatus{east}, e.units(d.key))
	e.outcome(storage.Unchanged, storage.RecordUnitStatus{
		Deployment: d.key, Generation: 1, Remove: []storage.UnitRef{{Cluster: "west", Unit: "u2"}},
	})
	e.outcome(storage.Unchanged, storage.RecordUnitStatus{Deployment: d.key, Generation: 1})
}

func testRecordGeneration(e *env) {
	_, d, _ := e.deployed()
	d.rps = 1
	e.accept(e.deploy(d))
	e.register("east")
	put := []model.UnitStatus{unit(d.key, "east", "u", model.UnitPending)}
	for _, generation := range []uint64{0, 1, 3} {
		e.reject(model.CodeConflict, storage.RecordUnitStatus{Deployment: d.key, Generation: generation, Put: put})
	}
	e.reject(model.CodeConflict, storage.RecordUnitStatus{Deployment: e.name("gone"), Generation: 1, Put: put})
	same(e, "units", []model.UnitStatus{}, e.units(d.key))
	e.outcome(storage.Updated, storage.RecordUnitStatus{Deployment: d.key, Generation: 2, Put: put})
}

func testRecordInMissingCluster(e *env) {
	_, d, _ := e.deployed()
	ref := e.withUnit(d, 1)
	intent := storage.RecordUnitStatus{Deployment: d.key, Generation: 1, Put: []model.UnitStatus{unit(d.key, ref.Cluster, "late", model.UnitPending)}}
	e.outcome(storage.Deleted, storage.DeleteCluster{Name: ref.Cluster, Force: true})
	e.reject(model.CodeConflict, intent)
	same(e, "units", []model.UnitStatus{}, e.units(d.key))
	e.outcome(storage.Unchanged, storage.RecordUnitStatus{Deployment: d.key, Generation: 1, Remove: []storage.UnitRef{ref}})
	e.register(ref.Cluster)
	e.outcome(storage.Updated, intent)
}

func testRecordObserved(e *env) {
	_, d, created := e.deployed()
	before := e.stamp(storage.DeploymentKey(d.key))
	observed := model.DeploymentObserved{
		Condition: model.DeploymentDeploying, ObservedGeneration: 1,
		Conditions: []model.Condition{{Type: "Planned", Status: model.ConditionTrue, Reason: "Fits", LastTransitionTime: time.Unix(5, 0).UTC()}},
	}
	record := func() storage.RecordUnitStatus {
		o := observed
		return storage.RecordUnitStatus{Deployment: d.key, Generation: e.deploymentNow(d.key).Generation, Observed: &o}
	}
	recorded := e.outcome(storage.Updated, record())
	if recorded.Generation != 1 || recorded.ResourceVersion != recorded.Index || recorded.Index <= created.Index {
		e.Errorf("recorded: got %+v, want generation 1 and a new version", recorded)
	}
	e.wantStored(storage.DeploymentKey(d.key), e.deploy(d).Document, recorded)
	same(e, "observed", observed, e.deploymentNow(d.key).DeploymentObserved)
	if after := e.stamp(storage.DeploymentKey(d.key)); !after.CreatedAt.Equal(before.CreatedAt) {
		e.Errorf("created_at: got %v, want %v", after.CreatedAt, before.CreatedAt)
	}
	e.outcome(storage.Unchanged, record())

	e.withUnit(d, 1)
	e.accept(storage.DeleteDeployment{Key: d.key})
	marked := e.deploymentNow(d.key).DeletionRequestedAt
	observed.Condition, observed.Conditions = model.DeploymentDeleted, nil
	// The dispatcher's own idea of the mark is ignored.
	wrong := time.Unix(9, 0)
	observed.DeletionRequestedAt = &wrong
	e.outcome(storage.Updated, record())
	got := e.deploymentNow(d.key)
	observed.DeletionRequestedAt = marked
	same(e, "observed beside the mark", observed, got.DeploymentObserved)
	e.outcome(storage.Unchanged, record())

	observed = model.DeploymentObserved{}
	e.outcome(storage.Updated, record())
	observed.DeletionRequestedAt = marked
	same(e, "the mark alone", observed, e.deploymentNow(d.key).DeploymentObserved)
}

func testForgetRules(e *env) {
	_, d, _ := e.deployed()
	forget := storage.RecordUnitStatus{Deployment: d.key, Generation: 1, Forget: true}
	e.reject(model.CodeConflict, forget)
	ref := e.withUnit(d, 1)
	other := storage.UnitRef{Cluster: ref.Cluster, Unit: e.name("unit")}
	e.accept(storage.RecordUnitStatus{
		Deployment: d.key, Generation: 1, Put: []model.UnitStatus{unit(d.key, other.Cluster, other.Unit, model.UnitRunning)},
	})
	e.accept(storage.DeleteDeployment{Key: d.key})
	e.reject(model.CodeConflict, forget) // An old generation.
	forget.Generation = 2
	e.reject(model.CodeConflict, forget)
	forget.Remove = []storage.UnitRef{ref}
	e.reject(model.CodeConflict, forget)
	forget.Remove = []storage.UnitRef{ref, other}
	forget.Put = []model.UnitStatus{unit(d.key, "late", "u", model.UnitPending)}
	e.reject(model.CodeConflict, forget)
	same(e, "number of units after rejected forgets", 2, len(e.units(d.key)))
	forget.Put = nil
	e.outcome(storage.Deleted, forget)
}

func testForget(e *env) {
	p, d, _ := e.deployed()
	ref := e.withUnit(d, 1)
	e.accept(storage.DeleteDeployment{Key: d.key})
	e.accept(storage.RecordUnitStatus{Deployment: d.key, Generation: 2, Remove: []storage.UnitRef{ref}})
	forgotten := e.outcome(storage.Deleted, storage.RecordUnitStatus{Deployment: d.key, Generation: 2, Forget: true})
	if forgotten.ResourceVersion != 0 {
		e.Errorf("forgotten: got %+v, want no version", forgotten)
	}
	e.wantAbsent(storage.DeploymentKey(d.key))
	e.wantIndexed(storage.ByPackage, p.name)
	e.wantIndexed(storage.ByEnvironment, d.envs[0])
	e.reject(model.CodeConflict, storage.RecordUnitStatus{Deployment: d.key, Generation: 2, Forget: true})
}

func testRuntimeState(e *env) {
	key := e.name("state")
	e.reject(model.CodeFailedPrecondition, e.runtimeState(key, "starting", 1))
	created := e.outcome(storage.Created, e.runtimeState(key, "starting", 0))
	e.wantStored(storage.RuntimeStateKey(key), e.runtimeState(key, "starting", 0).Document, created)
	e.outcome(storage.Unchanged, e.runtimeState(key, "starting", 0))
	e.reject(model.CodeFailedPrecondition, e.runtimeState(key, "running", created.ResourceVersion+1))
	updated := e.outcome(storage.Updated, e.runtimeState(key, "running", created.ResourceVersion))
	same(e, "generation", 2, updated.Generation)
	e.wantStored(storage.RuntimeStateKey(key), e.runtimeState(key, "running", 0).Document, updated)
}
