package storagetest

import (
	"crypto/rand"
	"strings"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

var requestTests = []storeTest{
	{"request/ok_same_id_same_result", testRequestRepeated},
	{"request/err_same_id_other_command", testRequestReused},
	{"request/err_rejection_is_remembered", testRequestRejected},
	{"request/err_long_id", testRequestTooLong},
	{"request/ok_without_id", testRequestWithoutID},
}

// repeat sends a request that was answered before.
func (e *env) repeat(req storage.Request) storage.Result {
	e.Helper()
	result, err := e.send(req)
	if err != nil {
		e.Fatalf("repeat %T: %v", req.Command, err)
	}
	if !result.Duplicate {
		e.Errorf("repeat %T: got %+v, want a duplicate", req.Command, result)
	}
	return result
}

func testRequestRepeated(e *env) {
	p := pkg{name: e.name("p"), version: "1", mode: storage.Create}
	req := storage.Request{ID: rand.Text(), Command: e.put(p)}
	first, err := e.send(req)
	if err != nil {
		e.Fatal(err)
	}
	first.Duplicate = true
	same(e, "repeated", first, e.repeat(req))

	// Whatever happened since: the answer is what it was, and nothing happens.
	p.version, p.mode = "2", storage.Update
	e.accept(e.put(p))
	same(e, "repeated after a change", first, e.repeat(req))
	same(e, "generation", 2, e.stamp(storage.PackageKey(p.name)).Generation)
	e.accept(storage.DeletePackage{Name: p.name})
	same(e, "repeated after a delete", first, e.repeat(req))
	e.wantAbsent(storage.PackageKey(p.name))
}

func testRequestReused(e *env) {
	p, other := pkg{name: e.name("p"), version: "1"}, pkg{name: e.name("q"), version: "1"}
	id := rand.Text()
	if _, err := e.send(storage.Request{ID: id, Command: e.put(p)}); err != nil {
		e.Fatal(err)
	}
	commands := map[string]storage.Command{
		"another document": e.put(other),
		"another kind":     storage.DeletePackage{Name: p.name},
	}
	p.version = "2"
	commands["another content"] = e.put(p)
	p.version, p.mode = "1", storage.Update
	commands["another mode"] = e.put(p)
	for what, command := range commands {
		result, err := e.send(storage.Request{ID: id, Command: command})
		if model.CodeOf(err) != model.CodeConflict || result.Duplicate {
			e.Errorf("%s with a used id: got %+v, %v, want a conflict", what, result, err)
		}
	}
	e.wantAbsent(storage.PackageKey(other.name))
	same(e, "generation", 1, e.stamp(storage.PackageKey(p.name)).Generation)
}

func testRequestRejected(e *env) {
	p := pkg{name: e.name("p"), version: "1", mode: storage.Update}
	req := storage.Request{ID: rand.Text(), Command: e.put(p)}
	first, err := e.send(req)
	e.wantCode(err, model.CodeNotFound)
	p.mode = storage.Create
	e.accept(e.put(p))
	again, err := e.send(req)
	e.wantCode(err, model.CodeNotFound)
	first.Duplicate = true
	same(e, "repeated rejection", first, again)
	same(e, "generation", 1, e.stamp(storage.PackageKey(p.name)).Generation)
}

func testRequestTooLong(e *env) {
	p := pkg{name: e.name("p")}
	_, err := e.send(storage.Request{ID: strings.Repeat("x", storage.MaxRequestID+1), Command: e.put(p)})
	e.wantCode(err, model.CodeInvalid)
	e.wantAbsent(storage.PackageKey(p.name))
	id := strings.Repeat("x", storage.MaxRequestID-len(p.name)) + p.name
	if _, err := e.send(storage.Request{ID: id, Command: e.put(p)}); err != nil {
		e.Errorf("request id of %d bytes: got %v, want it accepted", len(id), err)
	}
}

func testRequestWithoutID(e *env) {
	p := pkg{name: e.name("p"), version: "1"}
	ctx, cancel := e.step()
	defer cancel()
	for _, want := range []storage.Outcome{storage.Created, storage.Unchanged, storage.Unchanged} {
		result, err := e.store.Apply(ctx, storage.Request{Command: e.put(p)})
		if err != nil || result.Duplicate || result.Outcome != want {
			e.Errorf("apply without an id: got %+v, %v, want outcome %d and no duplicate", result, err, want)
		}
	}
}
