package storagetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// send applies a request and, as long as its outcome is not known, sends it
// again with the same id, as a client would.
func (e *env) send(req storage.Request) (storage.Result, error) {
	if req.ID == "" {
		req.ID = rand.Text()
	}
	ctx, cancel := e.step()
	defer cancel()
	for {
		result, err := e.store.Apply(ctx, req)
		switch model.CodeOf(err) {
		case model.CodeUnavailable, model.CodeUnknownOutcome:
			if ctx.Err() == nil {
				continue
			}
		default:
		}
		return result, err
	}
}

// accept applies a command that must be accepted.
func (e *env) accept(c storage.Command) storage.Result {
	e.Helper()
	result, err := e.send(storage.Request{Command: c})
	if err != nil {
		e.Fatalf("apply %T: %v", c, err)
	}
	if result.Index == 0 || result.Code != "" || result.Outcome == storage.Rejected {
		e.Fatalf("apply %T: got %+v, want an accepted result with an index", c, result)
	}
	return result
}

// outcome applies a command that must be accepted and end like this.
func (e *env) outcome(want storage.Outcome, c storage.Command) storage.Result {
	e.Helper()
	result := e.accept(c)
	if result.Outcome != want {
		e.Fatalf("apply %T: got outcome %d, want %d", c, result.Outcome, want)
	}
	return result
}

// reject applies a command that must be rejected.
func (e *env) reject(want model.Code, c storage.Command) storage.Result {
	e.Helper()
	result, err := e.send(storage.Request{Command: c})
	e.wantCode(err, want)
	if result.Code != want || result.Outcome != storage.Rejected || result.Index == 0 || result.Message == "" {
		e.Errorf("apply %T: got result %+v, want code %s, a message and an index", c, result, want)
	}
	var rejection *model.Error
	if errors.As(err, &rejection) && (rejection.Message != result.Message || !cmp.Equal(rejection.Problems, result.Problems)) {
		e.Errorf("apply %T: got error %+v, want that of result %+v", c, rejection, result)
	}
	return result
}

// rejectField is reject for a rule about one field.
func (e *env) rejectField(want model.Code, path string, c storage.Command) {
	e.Helper()
	result := e.reject(want, c)
	if len(result.Problems) != 1 || result.Problems[0].Path != path {
		e.Errorf("apply %T: got problems %+v, want one of field %s", c, result.Problems, path)
	}
}

func (e *env) wantCode(err error, want model.Code) {
	e.Helper()
	if got := model.CodeOf(err); got != want {
		e.Errorf("got error %v (code %q), want code %q", err, got, want)
	}
}

// view reads the newest state.
func (e *env) view(fn func(r storage.Reader) error) storage.ReadInfo {
	e.Helper()
	ctx, cancel := e.step()
	defer cancel()
	info, err := e.store.View(ctx, storage.ReadOptions{}, fn)
	if err != nil {
		e.Fatalf("view: %v", err)
	}
	return info
}

// get returns a copy of the value at key, nil when there is none.
func (e *env) get(key []byte) []byte {
	e.Helper()
	var value []byte
	e.view(func(r storage.Reader) error {
		got, err := r.Get(key)
		value = bytes.Clone(got)
		return err
	})
	return value
}

// stamp returns the stamp of the document at key, which must exist.
func (e *env) stamp(key []byte) storage.Stamp {
	e.Helper()
	stamp, err := storage.ReadStamp(e.get(key))
	if err != nil {
		e.Fatalf("stamp of %s: %v", key, err)
	}
	return stamp
}

func (e *env) wantAbsent(key []byte) {
	e.Helper()
	if got := e.get(key); got != nil {
		e.Errorf("get %s: got %s, want nothing", key, got)
	}
}

// wantStored checks that the document at key has this user line and belongs to
// this result.
func (e *env) wantStored(key, user []byte, result storage.Result) {
	e.Helper()
	doc := e.get(key)
	_, got, err := storage.SplitDocument(doc)
	if err != nil {
		e.Fatalf("read %s: %v", key, err)
	}
	if !bytes.Equal(got, user) {
		e.Errorf("user line of %s: got %s, want %s", key, got, user)
	}
	stamp := e.stamp(key)
	if stamp.ResourceVersion != result.ResourceVersion || stamp.Generation != result.Generation {
		e.Errorf("stamp of %s: got %+v, want that of %+v", key, stamp, result)
	}
}

// wantIndexed checks the names under an index term.
func (e *env) wantIndexed(index storage.Index, term string, want ...string) {
	e.Helper()
	var got []string
	e.view(func(r storage.Reader) error {
		return index.Scan(r, term, "", func(name string) (bool, error) {
			got = append(got, name)
			return true, nil
		})
	})
	if diff := cmp.Diff(want, got); diff != "" {
		e.Errorf("index %s%s (-want +got):\n%s", index, term, diff)
	}
}

// eventually asks until ok says yes. It is for what a store promises to do, but
// not when.
func (e *env) eventually(what string, ok func(ctx context.Context) bool) {
	e.Helper()
	ctx, cancel := e.step()
	defer cancel()
	for !ok(ctx) {
		if ctx.Err() != nil {
			e.Fatalf("never happened: %s", what)
		}
	}
}

// same fails unless got equals want.
func same[T any](t testing.TB, what string, want, got T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}
