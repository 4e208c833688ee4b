package dispatch

import (
	"fmt"
	"testing"

	"github.com/oprc/oprc-pm/storage"
)

// TestOwnChangesAreNoNews: a run looks again at what others changed, also where
// that shares an index with its own command.
func TestOwnChangesAreNoNews(t *testing.T) {
	t.Parallel()
	r := (&Dispatcher{cfg: DefaultConfig()}).newRun(1)
	r.deployments["cart"] = &knowledge{written: 5, generation: 2}
	document := func(generation uint64) []byte {
		return storage.BuildDocument(storage.Stamp{ResourceVersion: 5, Generation: generation}, nil, []byte(`"key":"cart"}`))
	}
	for i, c := range []struct {
		event storage.Event
		want  bool
	}{
		{storage.Event{Type: storage.EventPut, Key: "cart", Index: 5, Document: document(2)}, true},
		{storage.Event{Type: storage.EventPut, Key: "cart", Index: 4, Document: document(2)}, true},
		{storage.Event{Type: storage.EventPut, Key: "cart", Index: 5, Document: document(3)}, false},
		{storage.Event{Type: storage.EventPut, Key: "cart", Index: 6, Document: document(2)}, false},
		{storage.Event{Type: storage.EventPut, Key: "other", Index: 5, Document: document(2)}, false},
		{storage.Event{Type: storage.EventDelete, Key: "cart", Index: 5}, false},
		{storage.Event{Type: storage.EventPut, Key: "cart", Index: 5, Document: []byte("?")}, false},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			if got := r.ours(c.event); got != c.want {
				t.Errorf("%+v: got %v, want %v", c.event, got, c.want)
			}
		})
	}
}
