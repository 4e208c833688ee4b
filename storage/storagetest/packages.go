package storagetest

import (
	"bytes"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

var packageTests = []storeTest{
	{"package/ok_create_update_delete", testPackageLife},
	{"package/ok_put_modes", testPackageModes},
	{"package/err_if_match", testPackageIfMatch},
	{"package/ok_unchanged_keeps_version", testPackageUnchanged},
	{"package/ok_tag_index", testTagIndex},
}

func testPackageLife(e *env) {
	p := pkg{name: e.name("p"), version: "1"}
	key := storage.PackageKey(p.name)
	e.wantAbsent(key)

	first := e.put(p)
	created := e.outcome(storage.Created, first)
	same(e, "created", storage.Result{
		Index: created.Index, Outcome: storage.Created, ResourceVersion: created.Index, Generation: 1, Duplicate: created.Duplicate,
	}, created)
	e.wantStored(key, first.Document, created)
	before := e.stamp(key)
	if before.CreatedAt.IsZero() || !before.CreatedAt.Equal(before.UpdatedAt) {
		e.Errorf("times of a new package: got %+v, want both the same", before)
	}

	p.version = "2"
	second := e.put(p)
	updated := e.outcome(storage.Updated, second)
	if updated.Generation != 2 || updated.ResourceVersion != updated.Index || updated.Index <= created.Index {
		e.Errorf("updated: got %+v, want generation 2 and a later index than %d as version", updated, created.Index)
	}
	e.wantStored(key, second.Document, updated)
	after := e.stamp(key)
	if !after.CreatedAt.Equal(before.CreatedAt) || after.UpdatedAt.Before(before.UpdatedAt) {
		e.Errorf("times after an update: got %+v, want those of %+v with a later update", after, before)
	}

	deleted := e.outcome(storage.Deleted, storage.DeletePackage{Name: p.name})
	if deleted.ResourceVersion != 0 || deleted.Generation != 0 {
		e.Errorf("deleted: got %+v, want no version", deleted)
	}
	e.wantAbsent(key)
	e.reject(model.CodeNotFound, storage.DeletePackage{Name: p.name})

	if again := e.outcome(storage.Created, second); again.Generation != 1 {
		e.Errorf("created again: got generation %d, want 1", again.Generation)
	}
}

func testPackageModes(e *env) {
	p := pkg{name: e.name("p"), version: "1", mode: storage.Update}
	e.reject(model.CodeNotFound, e.put(p))
	e.wantAbsent(storage.PackageKey(p.name))

	p.mode = storage.Create
	created := e.outcome(storage.Created, e.put(p))
	p.version = "2"
	e.reject(model.CodeConflict, e.put(p))
	if got := e.stamp(storage.PackageKey(p.name)).ResourceVersion; got != created.ResourceVersion {
		e.Errorf("version after a rejected create: got %d, want %d", got, created.ResourceVersion)
	}
	p.mode = storage.Update
	e.outcome(storage.Updated, e.put(p))
	p.mode, p.version = storage.Upsert, "3"
	e.outcome(storage.Updated, e.put(p))
	p.name = e.name("p")
	e.outcome(storage.Created, e.put(p))
}

func testPackageIfMatch(e *env) {
	p := pkg{name: e.name("p"), version: "1", ifMatch: 1}
	e.reject(model.CodeFailedPrecondition, e.put(p))
	p.ifMatch = 0
	created := e.accept(e.put(p))

	p.version, p.ifMatch = "2", created.ResourceVersion+1
	e.reject(model.CodeFailedPrecondition, e.put(p))
	e.reject(model.CodeFailedPrecondition, storage.DeletePackage{Name: p.name, IfMatch: p.ifMatch})
	p.ifMatch = created.ResourceVersion
	updated := e.outcome(storage.Updated, e.put(p))
	p.version = "3"
	e.reject(model.CodeFailedPrecondition, e.put(p))
	e.reject(model.CodeFailedPrecondition, storage.DeletePackage{Name: p.name, IfMatch: created.ResourceVersion})
	e.outcome(storage.Deleted, storage.DeletePackage{Name: p.name, IfMatch: updated.ResourceVersion})
}

func testPackageUnchanged(e *env) {
	p := pkg{name: e.name("p"), version: "1", tags: []string{"t"}}
	created := e.accept(e.put(p))
	before := e.get(storage.PackageKey(p.name))
	result := e.outcome(storage.Unchanged, e.put(p))
	if result.ResourceVersion != created.ResourceVersion || result.Generation != 1 {
		e.Errorf("unchanged: got %+v, want version %d and generation 1", result, created.ResourceVersion)
	}
	if after := e.get(storage.PackageKey(p.name)); !bytes.Equal(after, before) {
		e.Errorf("document after an unchanged put: got %s, want %s", after, before)
	}
	p.ifMatch = created.ResourceVersion
	e.outcome(storage.Unchanged, e.put(p))
}

func testTagIndex(e *env) {
	red, green, blue := e.name("red"), e.name("green"), e.name("blue")
	a := pkg{name: e.name("a"), tags: []string{red, green}}
	b := pkg{name: e.name("b"), tags: []string{green}}
	e.accept(e.put(b))
	e.accept(e.put(a))
	e.wantIndexed(storage.ByTag, red, a.name)
	e.wantIndexed(storage.ByTag, green, a.name, b.name)

	a.tags = []string{blue, green, green}
	e.accept(e.put(a))
	e.wantIndexed(storage.ByTag, red)
	e.wantIndexed(storage.ByTag, green, a.name, b.name)
	e.wantIndexed(storage.ByTag, blue, a.name)

	a.tags = nil
	e.accept(e.put(a))
	e.wantIndexed(storage.ByTag, green, b.name)
	e.wantIndexed(storage.ByTag, blue)
	e.accept(storage.DeletePackage{Name: b.name})
	e.wantIndexed(storage.ByTag, green)
}
