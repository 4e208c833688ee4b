package control

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/crm/sim"
	"github.com/oprc/oprc-pm/model"
)

// TestDrainIsToldFromBeginningToEnd: by the one who asks, the leader, and the next
// one, each thing once.
func TestDrainIsToldFromBeginningToEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	labelled := w.crmCfg.Clusters["c0"]
	labelled.Labels = map[string]string{"only": "here"}
	w.crmCfg.Clusters["c0"] = labelled
	stop := w.lead(1)
	w.waitFor(model.ClusterHealthy, w.names...)
	one := uint32(1)
	w.deploy("bound", func(d *model.Deployment) { d.Placement = &model.Placement{Selector: map[string]string{"only": "here"}} })
	w.deploy("free", func(d *model.Deployment) {
		d.Placement = &model.Placement{Clusters: &one, Weights: map[string]uint32{"c1": 1, "c2": 1}}
	})
	w.settled()
	if got := w.placement()["free"]; !cmp.Equal(got, []string{"c0"}) {
		t.Fatalf("got the free deployment in %v, want it to have something to leave", got)
	}
	told := func() []string {
		var list []string
		for _, e := range w.events(model.EventCordoned, model.EventUncordoned, model.EventDrainStarted, model.EventDrainComplete, "FailoverDropped") {
			list = append(list, fmt.Sprintf("%s %s %s", e.Type, e.Reason, e.Message))
		}
		return list
	}
	w.mark("c0", true)
	w.mark("c0", true)
	want := []string{
		"Normal DrainStarted the cluster is being drained: it has 2 units of 2 deployments, which leave where another cluster fits",
		"Normal DrainComplete cluster c0 is drained, except for 1 deployment that fits nowhere else: bound",
	}
	untilTold := func() {
		t.Helper()
		until(t, "as much is told as there is to tell", func() bool { return len(told()) >= len(want) }, w.history)
	}
	untilTold()
	w.madeBeforeBroken()
	stop()
	w.lead(2)
	w.waitFor(model.ClusterHealthy, w.names...)
	w.settled()
	w.deploy("bound", func(d *model.Deployment) { d.TargetEnvs = []string{"c1"} })
	want = append(want, "Normal DrainComplete cluster c0 is drained: nothing is left")
	untilTold()
	w.mark("c0", false)
	want = append(want, "Normal ClusterUncordoned the cluster is not being drained any more")
	untilTold()
	w.settled()
	if diff := cmp.Diff(told(), want); diff != "" {
		t.Errorf("events: got -, want +\n%s", diff)
	}
	for _, e := range w.events("Evicted") {
		if !strings.Contains(e.Message, "is being drained") {
			t.Errorf("got %q, want it to say that the cluster is being drained", e.Message)
		}
	}
}

// TestUnitThatEndedIsDeployedAgain: what a CRM lists as terminated, over either
// protocol.
func TestUnitThatEndedIsDeployedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.overGRPC("c1")
	w.lead(1)
	w.waitFor(model.ClusterHealthy, w.names...)
	w.deploy("d", func(d *model.Deployment) { d.TargetEnvs = w.names })
	w.settled()
	for _, name := range w.names {
		unit := w.sims[name].Units()[0].Unit.ID
		calls := w.sims[name].Counts()["deploy"]
		w.sims[name].SetFaults(sim.Faults{Units: []sim.UnitFault{{ID: unit, Condition: "Terminated"}}})
		until(t, "it is asked for again in "+name, func() bool { return w.sims[name].Counts()["deploy"] > calls }, w.history)
		w.sims[name].SetFaults(sim.Faults{})
		w.settled()
	}
	for _, e := range w.events("UnitLost") {
		if e.Name != "d" {
			t.Errorf("got %+v, want it about the deployment", e)
		}
	}
	if got := len(w.events("UnitLost")); got < len(w.names) {
		t.Errorf("got %d lost units, want one in each of %v: %s", got, w.names, w.history())
	}
}
