package storagetest

import (
	"strings"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

var dependencyTests = []storeTest{
	{"dependency/err_missing", testDependencyMissing},
	{"dependency/err_cycle", testDependencyCycle},
	{"dependency/err_dependants_refuse_delete", testDependants},
}

var cascadeTests = []storeTest{
	{"cascade/err_without", testNoCascade},
	{"cascade/ok_forgets_and_marks", testCascade},
	{"cascade/err_class_vanishes", testClassVanishes},
	{"cascade/ok_class_vanishes_by_force", testClassVanishesByForce},
}

func testDependencyMissing(e *env) {
	p := pkg{name: e.name("p"), depends: []string{e.name("missing")}}
	e.rejectField(model.CodeInvalid, "dependencies", e.put(p))
	e.wantAbsent(storage.PackageKey(p.name))
	e.wantIndexed(storage.ByDependency, p.depends[0])
	p.depends = []string{p.name}
	e.rejectField(model.CodeInvalid, "dependencies", e.put(p))
}

func testDependencyCycle(e *env) {
	a, b, c := pkg{name: e.name("a")}, pkg{name: e.name("b")}, pkg{name: e.name("c")}
	e.accept(e.put(a))
	b.depends = []string{a.name}
	e.accept(e.put(b))
	c.depends = []string{a.name, b.name}
	e.accept(e.put(c))

	for _, depends := range [][]string{{b.name}, {c.name}, {b.name, c.name}} {
		a.depends = depends
		e.rejectField(model.CodeInvalid, "dependencies", e.put(a))
	}
	a.depends = []string{c.name}
	result := e.reject(model.CodeInvalid, e.put(a))
	for _, name := range []string{a.name, c.name} {
		if !strings.Contains(result.Message, name) {
			e.Errorf("message of a cycle: got %q, want it to name %s", result.Message, name)
		}
	}
	e.wantIndexed(storage.ByDependency, a.name, b.name, c.name)
	e.wantIndexed(storage.ByDependency, c.name)

	// A diamond is no cycle.
	d := pkg{name: e.name("d"), depends: []string{b.name, c.name}}
	e.accept(e.put(d))
}

func testDependants(e *env) {
	base, user := pkg{name: e.name("base")}, pkg{name: e.name("user")}
	e.accept(e.put(base))
	user.depends = []string{base.name}
	e.accept(e.put(user))
	e.wantIndexed(storage.ByDependency, base.name, user.name)
	for _, cascade := range []bool{false, true} {
		result := e.reject(model.CodeConflict, storage.DeletePackage{Name: base.name, Cascade: cascade})
		if !strings.Contains(result.Message, user.name) {
			e.Errorf("message: got %q, want it to name %s", result.Message, user.name)
		}
	}
	user.depends = nil
	e.accept(e.put(user))
	e.wantIndexed(storage.ByDependency, base.name)
	e.outcome(storage.Deleted, storage.DeletePackage{Name: base.name})

	other := pkg{name: e.name("other")}
	e.accept(e.put(other))
	user.depends = []string{other.name}
	e.accept(e.put(user))
	e.accept(storage.DeletePackage{Name: user.name})
	e.wantIndexed(storage.ByDependency, other.name)
	e.outcome(storage.Deleted, storage.DeletePackage{Name: other.name})
}

func testNoCascade(e *env) {
	p, d, _ := e.deployed()
	result := e.reject(model.CodeConflict, storage.DeletePackage{Name: p.name})
	if !strings.Contains(result.Message, d.key) {
		e.Errorf("message: got %q, want it to name %s", result.Message, d.key)
	}
	e.accept(storage.DeleteDeployment{Key: d.key})
	e.outcome(storage.Deleted, storage.DeletePackage{Name: p.name})
}

func testCascade(e *env) {
	p, idle, _ := e.deployed()
	busy := deployment{key: e.name("busy"), pkg: p.name, class: "main", envs: []string{e.name("env")}}
	placed := e.accept(e.deploy(busy))
	ref := e.withUnit(busy, placed.Generation)

	deleted := e.outcome(storage.Deleted, storage.DeletePackage{Name: p.name, Cascade: true})
	e.wantAbsent(storage.PackageKey(p.name))
	// Nothing runs anywhere: it is gone. Something may run: it is marked until
	// the dispatcher has removed it.
	e.wantAbsent(storage.DeploymentKey(idle.key))
	now := e.deploymentNow(busy.key)
	if now.DeletionRequestedAt == nil || now.Generation != 2 || now.ResourceVersion != deleted.Index {
		e.Errorf("deployment with units after the cascade: got %+v, want it marked, generation 2, version %d", now.Meta, deleted.Index)
	}
	e.wantIndexed(storage.ByPackage, p.name, busy.key)
	e.rejectField(model.CodeNotFound, "package_name", e.deploy(busy))

	e.outcome(storage.Deleted, storage.RecordUnitStatus{
		Deployment: busy.key, Generation: 2, Remove: []storage.UnitRef{ref}, Forget: true,
	})
	e.wantIndexed(storage.ByPackage, p.name)
	e.wantIndexed(storage.ByEnvironment, busy.envs[0])
}

func testClassVanishes(e *env) {
	p, d, _ := e.deployed()
	p.classes = []string{"main", "side"}
	e.outcome(storage.Updated, e.put(p))
	p.classes = []string{"side"}
	e.rejectField(model.CodeConflict, "classes", e.put(p))
	e.withUnit(d, 1)
	e.rejectField(model.CodeConflict, "classes", e.put(p))
	e.accept(storage.DeleteDeployment{Key: d.key})
	// A deployment on its way out holds nothing up.
	e.outcome(storage.Updated, e.put(p))
	// But then it cannot come back.
	e.rejectField(model.CodeInvalid, "class_key", e.deploy(d))
}

func testClassVanishesByForce(e *env) {
	p, d, _ := e.deployed()
	placed := e.get(storage.DeploymentKey(d.key))
	p.classes = []string{"side"}
	put := e.put(p)
	result := e.reject(model.CodeConflict, put)
	for _, name := range []string{"main", d.key} {
		if !strings.Contains(result.Message, name) {
			e.Errorf("message: got %q, want it to name %s", result.Message, name)
		}
	}
	put.Force = true
	e.outcome(storage.Updated, put)
	e.outcome(storage.Unchanged, put)
	same(e, "the deployment afterwards", string(placed), string(e.get(storage.DeploymentKey(d.key))))
	// It stays as it is, but does not come anew.
	d.rps = 1
	e.rejectField(model.CodeInvalid, "class_key", e.deploy(d))
	e.outcome(storage.Deleted, storage.DeleteDeployment{Key: d.key})
}
