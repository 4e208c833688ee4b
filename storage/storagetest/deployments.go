package storagetest

import (
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

var deploymentTests = []storeTest{
	{"deployment/ok_life", testDeploymentLife},
	{"deployment/err_put", testDeploymentRules},
	{"deployment/ok_indexes", testDeploymentIndexes},
	{"deployment/ok_delete_without_units_forgets", testDeleteIdle},
	{"deployment/ok_delete_with_units_marks", testDeleteBusy},
	{"deployment/ok_put_takes_back_a_delete", testUndelete},
}

func testDeploymentLife(e *env) {
	_, d, created := e.deployed()
	key := storage.DeploymentKey(d.key)
	if created.Outcome != storage.Created || created.Generation != 1 || created.ResourceVersion != created.Index {
		e.Errorf("created: got %+v, want generation 1 and the index as version", created)
	}
	e.wantStored(key, e.deploy(d).Document, created)
	if got := e.deploymentNow(d.key); got.Condition != model.DeploymentPending || got.ObservedGeneration != 0 {
		e.Errorf("observed state of a new deployment: got %+v, want condition PENDING only", got.DeploymentObserved)
	}
	same(e, "unchanged", created.ResourceVersion, e.outcome(storage.Unchanged, e.deploy(d)).ResourceVersion)

	d.rps = 5
	updated := e.outcome(storage.Updated, e.deploy(d))
	same(e, "generation", 2, updated.Generation)
	e.wantStored(key, e.deploy(d).Document, updated)
}

func testDeploymentRules(e *env) {
	p := pkg{name: e.name("p"), classes: []string{"main"}}
	d := deployment{key: e.name("d"), pkg: p.name, class: "main"}
	e.rejectField(model.CodeNotFound, "package_name", e.deploy(d))
	e.accept(e.put(p))
	d.class = "other"
	e.rejectField(model.CodeInvalid, "class_key", e.deploy(d))
	d.class, d.mode = "main", storage.Update
	e.reject(model.CodeNotFound, e.deploy(d))
	d.mode, d.ifMatch = storage.Upsert, 1
	e.reject(model.CodeFailedPrecondition, e.deploy(d))
	e.reject(model.CodeNotFound, storage.DeleteDeployment{Key: d.key})
	e.wantAbsent(storage.DeploymentKey(d.key))
	e.wantIndexed(storage.ByPackage, p.name)

	d.mode, d.ifMatch = storage.Create, 0
	created := e.accept(e.deploy(d))
	d.rps = 1
	e.reject(model.CodeConflict, e.deploy(d))
	d.mode, d.ifMatch = storage.Update, created.ResourceVersion+1
	e.reject(model.CodeFailedPrecondition, e.deploy(d))
	e.reject(model.CodeFailedPrecondition, storage.DeleteDeployment{Key: d.key, IfMatch: d.ifMatch})
	d.ifMatch = created.ResourceVersion
	updated := e.outcome(storage.Updated, e.deploy(d))
	e.outcome(storage.Deleted, storage.DeleteDeployment{Key: d.key, IfMatch: updated.ResourceVersion})
}

func testDeploymentIndexes(e *env) {
	p, d, _ := e.deployed()
	first := d.envs[0]
	e.wantIndexed(storage.ByPackage, p.name, d.key)
	e.wantIndexed(storage.ByEnvironment, first, d.key)

	second, third := e.name("env"), e.name("env")
	d.envs = []string{third, second, third}
	e.accept(e.deploy(d))
	e.wantIndexed(storage.ByEnvironment, first)
	e.wantIndexed(storage.ByEnvironment, second, d.key)
	e.wantIndexed(storage.ByEnvironment, third, d.key)

	other := pkg{name: e.name("pkg"), classes: []string{"main"}}
	e.accept(e.put(other))
	d.pkg, d.envs = other.name, []string{second}
	e.accept(e.deploy(d))
	e.wantIndexed(storage.ByPackage, p.name)
	e.wantIndexed(storage.ByPackage, other.name, d.key)
	e.wantIndexed(storage.ByEnvironment, third)

	// What is observed changes no index.
	e.accept(storage.RecordUnitStatus{
		Deployment: d.key, Generation: 3,
		Observed: &model.DeploymentObserved{Condition: model.DeploymentRunning, ObservedGeneration: 3},
	})
	d.envs = []string{first}
	e.accept(e.deploy(d))
	e.wantIndexed(storage.ByEnvironment, second)
	e.wantIndexed(storage.ByEnvironment, first, d.key)
}

func testDeleteIdle(e *env) {
	p, d, _ := e.deployed()
	deleted := e.outcome(storage.Deleted, storage.DeleteDeployment{Key: d.key})
	if deleted.ResourceVersion != 0 || deleted.Generation != 0 {
		e.Errorf("deleted: got %+v, want no version", deleted)
	}
	e.wantAbsent(storage.DeploymentKey(d.key))
	e.wantIndexed(storage.ByPackage, p.name)
	e.wantIndexed(storage.ByEnvironment, d.envs[0])
}

func testDeleteBusy(e *env) {
	p, d, created := e.deployed()
	e.withUnit(d, created.Generation)
	deleted := e.outcome(storage.Deleted, storage.DeleteDeployment{Key: d.key})
	if deleted.Generation != 2 || deleted.ResourceVersion != deleted.Index {
		e.Errorf("deleted: got %+v, want generation 2 and the index as version", deleted)
	}
	now := e.deploymentNow(d.key)
	if now.DeletionRequestedAt == nil || !now.DeletionRequestedAt.Equal(e.stamp(storage.DeploymentKey(d.key)).UpdatedAt) {
		e.Errorf("mark: got %v, want the time of the delete", now.DeletionRequestedAt)
	}
	e.wantIndexed(storage.ByPackage, p.name, d.key)
	e.wantIndexed(storage.ByEnvironment, d.envs[0], d.key)

	again := e.outcome(storage.Unchanged, storage.DeleteDeployment{Key: d.key})
	same(e, "version after a second delete", deleted.ResourceVersion, again.ResourceVersion)
	// A package whose deployments are all on their way out can go.
	e.outcome(storage.Deleted, storage.DeletePackage{Name: p.name})
}

func testUndelete(e *env) {
	_, d, created := e.deployed()
	e.register(d.envs[0])
	e.accept(storage.RecordUnitStatus{
		Deployment: d.key, Generation: created.Generation,
		Put:      []model.UnitStatus{unit(d.key, d.envs[0], "u", model.UnitRunning)},
		Observed: &model.DeploymentObserved{Condition: model.DeploymentRunning, ObservedGeneration: 1},
	})
	e.accept(storage.DeleteDeployment{Key: d.key})
	if got := e.deploymentNow(d.key); got.DeletionRequestedAt == nil || got.Condition != model.DeploymentRunning {
		e.Errorf("marked: got %+v, want the mark beside what was observed", got.DeploymentObserved)
	}
	// The very same document: only the mark changes.
	back := e.outcome(storage.Updated, e.deploy(d))
	same(e, "generation", 3, back.Generation)
	got := e.deploymentNow(d.key)
	if got.DeletionRequestedAt != nil || got.Condition != model.DeploymentRunning || got.ObservedGeneration != 1 {
		e.Errorf("taken back: got %+v, want no mark and what was observed", got.DeploymentObserved)
	}
	e.outcome(storage.Unchanged, e.deploy(d))
	e.reject(model.CodeConflict, storage.RecordUnitStatus{
		Deployment: d.key, Generation: 3, Remove: []storage.UnitRef{{Cluster: d.envs[0], Unit: "u"}}, Forget: true,
	})
}
