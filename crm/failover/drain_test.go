package failover

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// messages are those of the events with a reason, in order.
func (w *world) messages(reason string) []string {
	w.t.Helper()
	var list []string
	_, err := w.store.View(w.t.Context(), storage.ReadOptions{}, func(r storage.Reader) error {
		return storage.ScanPrefix(r, []byte(storage.StoredEventPrefix), func(_, value []byte) (bool, error) {
			var event model.Event
			err := json.Unmarshal(value, &event)
			if event.Reason == reason {
				list = append(list, event.Message)
			}
			return true, err
		})
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

// strand records that a deployment can leave no cluster.
func (w *world) strand(key string) {
	w.t.Helper()
	observed := model.DeploymentObserved{Conditions: []model.Condition{{Type: "Planned", Status: model.ConditionTrue, Reason: "Stranded"}}}
	for _, name := range w.placed[key] {
		observed.PlacedOn = append(observed.PlacedOn, model.PlacedCluster{Cluster: name})
	}
	w.apply(storage.RecordUnitStatus{Deployment: key, Generation: 1, Observed: &observed})
}

// unit records that a deployment has a unit in a cluster, or no more.
func (w *world) unit(key, cluster string, exists bool) {
	w.t.Helper()
	command := storage.RecordUnitStatus{Deployment: key, Generation: 1, Remove: []storage.UnitRef{{Cluster: cluster, Unit: key + "-u"}}}
	if exists {
		command.Remove = nil
		command.Put = []model.UnitStatus{{ID: key + "-u", DeploymentKey: key, Cluster: cluster, Generation: 1, Phase: model.UnitRunning}}
	}
	w.apply(command)
}

func draining(c *model.Cluster) { c.Draining = true }

// TestDrainIsCompleteWhenNothingIsLeft: not before the last unit has gone.
func TestDrainIsCompleteWhenNothingIsLeft(t *testing.T) {
	inBubble(t, func(_ *testing.T, w *world) {
		w.fits = true
		w.deploy("d0", nil, "c0")
		w.unit("d0", "c0", true)
		defer w.lead(1)()
		w.putCluster("c0", draining)
		w.pass(time.Hour)
		w.expect("while a unit is there", w.events(), named("Normal cluster/c0 DrainStarted"))
		w.expect("how much there is", w.messages(model.EventDrainStarted),
			named("the cluster is being drained: it has 1 unit of 1 deployment, which leave where another cluster fits"))
		w.unit("d0", "c0", false)
		w.pass(5 * time.Second)
		complete := named("cluster c0 is drained: nothing is left")
		w.expect("once it has gone", w.messages(model.EventDrainComplete), complete)
		index := w.store.Status().AppliedIndex
		w.pass(24 * time.Hour)
		if got := w.store.Status().AppliedIndex; got != index {
			w.t.Errorf("got %d writes after the end of a drain, want none", got-index)
		}
		w.putCluster("c0", func(c *model.Cluster) { c.Draining, c.Labels = true, map[string]string{"zone": "z"} })
		w.pass(time.Minute)
		w.expect("when something else of the cluster changes", w.messages(model.EventDrainComplete), complete)
		w.putCluster("c0", func(*model.Cluster) {})
		w.putCluster("c0", draining)
		w.pass(time.Minute)
		w.expect("when it is drained again", w.messages(model.EventDrainComplete), append(complete, complete...))
	})
}

// TestDrainTellsWhatStays: once, whoever leads, and once more when it has left
// after all.
func TestDrainTellsWhatStays(t *testing.T) {
	inBubble(t, func(_ *testing.T, w *world) {
		for _, key := range named("d0", "d1") {
			w.deploy(key, nil, "c0")
			w.unit(key, "c0", true)
		}
		stop := w.lead(1)
		w.putCluster("c0", draining)
		w.pass(time.Minute)
		w.expect("while nobody said that nothing fits", w.messages(model.EventDrainComplete), nil)
		w.strand("d1")
		w.pass(time.Minute)
		w.expect("while one of them may leave", w.messages(model.EventDrainComplete), nil)
		w.strand("d0")
		w.pass(time.Minute)
		want := named("cluster c0 is drained, except for 2 deployments that fit nowhere else: d0, d1")
		w.expect("when both stay", w.messages(model.EventDrainComplete), want)
		index := w.store.Status().AppliedIndex
		w.pass(time.Hour)
		stop()
		defer w.lead(2)()
		w.pass(time.Hour)
		if got := w.store.Status().AppliedIndex; got != index {
			w.t.Errorf("got %d writes while nothing changed, want none", got-index)
		}
		w.placed["d0"], w.placed["d1"] = nil, nil
		for _, key := range named("d0", "d1") {
			w.observe(key, nil)
			w.unit(key, "c0", false)
		}
		w.pass(time.Minute)
		w.expect("when they left after all", w.messages(model.EventDrainComplete), append(want, "cluster c0 is drained: nothing is left"))
	})
}

// TestDrainThatIsTakenBack: what was not done is told with the change, not as the
// end of a failover.
func TestDrainThatIsTakenBack(t *testing.T) {
	inBubble(t, func(_ *testing.T, w *world) {
		w.deploy("d0", nil, "c0")
		defer w.lead(1)()
		w.putCluster("c0", draining)
		w.pass(time.Minute)
		w.putCluster("c0", func(*model.Cluster) {})
		w.pass(time.Minute)
		w.expect("events", w.events(), named("Normal cluster/c0 DrainStarted", "Normal cluster/c0 ClusterUncordoned"))
		if asked := w.heard(); !slices.Contains(asked, "readmit d0 to c0") {
			w.t.Errorf("asked: got %v, want the request to leave taken back", asked)
		}
	})
}

// TestEndOfADrainIsNotLost: neither when the store refuses it for a while.
func TestEndOfADrainIsNotLost(t *testing.T) {
	inBubble(t, func(_ *testing.T, w *world) {
		w.through = &flakyStore{Store: w.store, failures: 5}
		defer w.lead(1)()
		w.putCluster("c0", draining)
		w.pass(1500 * time.Millisecond)
		w.putCluster("c0", func(c *model.Cluster) { c.Draining, c.Weight = true, new(uint32) })
		w.pass(time.Minute)
		w.expect("events", w.events(), named("Normal cluster/c0 DrainStarted", "Normal cluster/c0 DrainComplete"))
	})
}

func TestFailoverIsWordedByNumber(t *testing.T) {
	for count, want := range map[int]string{
		1: "cluster c0 has been lost for too long: 1 deployment to leave it where another cluster fits",
		3: "cluster c0 has been lost for too long: 3 deployments to leave it where another cluster fits",
	} {
		inBubble(t, func(_ *testing.T, w *world) {
			for n := range count {
				w.deploy(fmt.Sprintf("d%d", n), optIn(), "c0")
			}
			defer w.lead(1)()
			w.health("c0", model.ClusterUnhealthy)
			w.pass(w.cfg.Toleration + time.Second)
			w.expect("started", w.messages(ReasonStarted), named(want))
			w.health("c0", model.ClusterHealthy)
			w.pass(time.Second)
			w.expect("dropped", w.messages(ReasonDropped),
				named("cluster c0 need not be left any more: dropped "+model.Counted(count, "eviction")))
		})
	}
	if got := drainMessage("a", named("x")); !strings.Contains(got, "1 deployment that fits nowhere else: x") {
		t.Errorf("got %q", got)
	}
}
