package httpapi_test

import (
	"bytes"
	"sync/atomic"
	"testing"

	"github.com/oprc/oprc-pm/httpapi"
	"github.com/oprc/oprc-pm/storage"
)

// startingStore says that it is not of use yet, until it is.
type startingStore struct {
	storage.Store
	why atomic.Pointer[string]
}

func (s *startingStore) Starting() string { return *s.why.Load() }

func TestStarting(t *testing.T) {
	t.Parallel()
	why, none := "no leader known", ""
	store := new(startingStore)
	store.why.Store(&why)
	a := start(t, options{deps: func(d *httpapi.Deps) { store.Store = d.Store; d.Store = store }})
	for _, got := range []answer{a.get("/api/v1/packages/p"), a.get("/api/v1/packages"), a.putPackage("p")} {
		if a.must(got, 503); !bytes.Contains(got.body, []byte("starting: "+why)) {
			t.Errorf("answer %s", got.body)
		}
	}
	a.must(a.get("/api/v1/packages?consistency=stale"), 200)
	store.why.Store(&none)
	a.must(a.putPackage("p"), 201)
	a.must(a.get("/api/v1/packages/p"), 200)
}
