package fsm

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// TestServiceIsTold: one event for each change of service, and none for what is
// put again or changes something else.
func TestServiceIsTold(t *testing.T) {
	t.Parallel()
	drained := func(c *model.Cluster) { c.Draining = true }
	labelled := func(c *model.Cluster) { c.Labels = map[string]string{"zone": "z"} }
	w := newWorld(t)
	w.must(namedPackage(t, "app"), deployCommand(t, "a", "app", "east"), deployCommand(t, "b", "app", "east"))
	steps := []struct {
		change []func(*model.Cluster)
		want   string
	}{
		{nil, ""},
		{[]func(*model.Cluster){cordoned}, "ClusterCordoned: the cluster is cordoned: nothing new is placed there"},
		{[]func(*model.Cluster){cordoned}, ""},
		{[]func(*model.Cluster){cordoned, labelled}, ""},
		{[]func(*model.Cluster){cordoned, labelled, drained}, "DrainStarted: the cluster is being drained: nothing is there"},
		{[]func(*model.Cluster){drained}, ""},
		{[]func(*model.Cluster){cordoned, drained}, ""},
		{[]func(*model.Cluster){cordoned}, "ClusterCordoned: the cluster is not being drained any more, and stays cordoned: nothing new is placed there"},
		{nil, "ClusterUncordoned: the cluster is not cordoned any more"},
		{nil, ""},
	}
	var want []string
	for _, step := range steps {
		w.must(clusterCommand(t, "east", model.ManagedByAPI, step.change...))
		if step.want != "" {
			want = append(want, step.want)
		}
	}
	w.must(recordPut("a", 1, running("a", "east", "u1")), recordPut("b", 1, running("b", "east", "u2")),
		clusterCommand(t, "east", model.ManagedByAPI, drained), clusterCommand(t, "east", model.ManagedByAPI),
		clusterCommand(t, "new", model.ManagedByAPI, cordoned))
	want = append(want,
		"DrainStarted: the cluster is being drained: it has 2 units of 2 deployments, which leave where another cluster fits",
		"ClusterUncordoned: the cluster is not being drained any more",
		"ClusterCordoned: the cluster is cordoned: nothing new is placed there")
	w.view(func(r storage.Reader) error {
		events, err := storage.DecodeEvents(r, storage.EventQuery{})
		var got []string
		for _, e := range events {
			if e.Kind != model.EventAboutCluster || e.Type != model.EventNormal || e.Cluster != e.Name || !slices.Contains([]string{"east", "new"}, e.Name) {
				t.Errorf("got %+v, want it normal and about the cluster", e)
			}
			got = append(got, fmt.Sprintf("%s: %s", e.Reason, e.Message))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		return err
	})
}

// TestServiceOfUnreadableDocument: whatever got into the log must not stop it.
func TestServiceOfUnreadableDocument(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]service{
		`"name":"east"`:                       inService,
		`"cordoned":true,"name":"east"`:       cordonedOff,
		`"cordoned":false,"draining":true`:    beingDrained,
		`"labels":{"draining":"x"}`:           inService,
		`"draining":"yes","cordoned":true`:    inService,
		`not json`:                            inService,
		`"cordoned":true,"labels":{"draining`: inService,
		``:                                    inService,
	} {
		if got := serviceOf([]byte(line)); got != want {
			t.Errorf("%s: got %d, want %d", line, got, want)
		}
	}
}
