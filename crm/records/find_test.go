package records

import (
	"errors"
	"testing"

	"github.com/oprc/oprc-pm/crm"
	"github.com/oprc/oprc-pm/crm/inventory"
	"github.com/oprc/oprc-pm/model"
)

// A search that comes to nothing says who knows nothing and who was not heard.
func TestSearchThatFindsNothing(t *testing.T) {
	t.Parallel()
	down := func(cluster string) *crm.CallError {
		return &crm.CallError{Cluster: cluster, Class: crm.ClassRetryable, NotSent: true, Reason: "cannot connect"}
	}
	for _, test := range []struct {
		name, cluster string
		build         func(w *world)
		want          string
	}{
		{"in one cluster", "a", func(w *world) { w.add("a", holding("x", 1)); w.add("b", holding("y", 1)) }, `not_found: cluster "a" knows no unit "u"`},
		{"in all", "", func(w *world) { w.add("a", holding("x", 1)); w.add("b", holding("y", 1)) }, `not_found: no cluster knows a unit "u"`},
		{"in one that is down", "a", func(w *world) { w.add("a", failing(down("a"))); w.add("b", holding("y", 1)) }, "cluster_unavailable: cluster a: cannot connect"},
		{"where it is recorded", "", func(w *world) {
			w.add("a", failing(down("a")))
			w.add("b", holding("y", 1))
			w.units["u"] = []inventory.UnitRef{{Cluster: "a", Unit: "u"}}
		}, "cluster_unavailable: cluster a: cannot connect"},
		{"one did not answer", "", func(w *world) { w.add("a", failing(down("a"))); w.add("b", holding("y", 1)) },
			`cluster_unavailable: cluster a: cannot connect; it may know unit "u", which no cluster that answered does`},
		{"several were not heard", "", func(w *world) {
			w.add("a", failing(down("a")))
			w.add("b", holding("y", 1))
			w.add("c", failing(down("c")))
		}, `cluster_unavailable: cluster a: cannot connect; it may know unit "u", which no cluster that answered does; so may c`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			test.build(w)
			_, err := New(w, w, DefaultConfig()).Get(t.Context(), "u", test.cluster)
			if err == nil {
				t.Fatal("found")
			}
			text := err.Error()
			if f, failed := errors.AsType[*model.ClusterFailure](err); failed {
				text = "cluster " + f.Cluster + ": " + f.Message
			}
			if got := string(model.CodeOf(err)) + ": " + text; got != test.want {
				t.Errorf("got %s\nwant %s", got, test.want)
			}
		})
	}
}
