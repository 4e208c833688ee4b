package control

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/crm/failover"
	"github.com/oprc/oprc-pm/crm/sim"
	"github.com/oprc/oprc-pm/model"
)

// toleration of the deployments of these tests that opted in.
const toleration = 1500 * time.Millisecond

func optIn(backups ...string) *model.Failover {
	text := model.Duration(toleration.String())
	return &model.Failover{Enabled: true, Toleration: &text, Backups: backups}
}

// populate deploys, in ten clusters: named-N in cN with c8 and c9 as backups,
// free-N in two clusters of any name, both of which opted in, and kept-N in cN,
// which did not.
func (w *world) populate() {
	w.t.Helper()
	two := uint32(2)
	for n := range 6 {
		name := fmt.Sprintf("c%d", n)
		w.deploy(fmt.Sprintf("named-%d", n), func(d *model.Deployment) {
			d.TargetEnvs, d.Failover = []string{name}, optIn("c8", "c9")
		})
		w.deploy(fmt.Sprintf("free-%d", n), func(d *model.Deployment) {
			d.Placement, d.Failover = &model.Placement{Clusters: &two}, optIn()
		})
		w.deploy(fmt.Sprintf("kept-%d", n), func(d *model.Deployment) { d.TargetEnvs = []string{name} })
	}
}

// placement is where all deployments are.
func (w *world) placement() map[string][]string {
	w.t.Helper()
	all := map[string][]string{}
	for key, d := range w.deployments() {
		all[key] = places(d)
	}
	return all
}

// madeBeforeBroken asserts that no cluster was told to delete what it should run: when
// a unit of a deployment is deleted, as many others of it as it has places run.
func (w *world) madeBeforeBroken() {
	w.t.Helper()
	want := map[string]int{}
	for key, d := range w.deployments() {
		want[key] = len(d.PlacedOn)
	}
	runs := map[string]map[string]time.Time{}
	for _, e := range w.effects() {
		units := runs[e.Deployment]
		if units == nil {
			units = map[string]time.Time{}
			runs[e.Deployment] = units
		}
		if e.Effect == sim.EffectCreated {
			units[e.cluster] = e.At.Add(timeToRunning)
			continue
		}
		delete(units, e.cluster)
		others := 0
		for _, since := range units {
			if !since.After(e.At) {
				others++
			}
		}
		if others < want[e.Deployment] {
			w.t.Errorf("%s was deleted from %s when only %d others of deployment %s ran, want %d",
				e.Unit, e.cluster, others, e.Deployment, want[e.Deployment])
		}
	}
}

// passed waits until clusters have been unhealthy for so long.
func (w *world) passed(d time.Duration, names ...string) {
	w.t.Helper()
	until(w.t, fmt.Sprintf("%v have been unhealthy for %v", names, d), func() bool {
		health := w.health()
		return !slices.ContainsFunc(names, func(name string) bool {
			h := health[name]
			return h.Status != model.ClusterUnhealthy || time.Since(*h.Since) < d
		})
	}, w.history)
}

func TestSixOfTenClustersDieAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10)
	// On a busy machine clusters may take that long to return one after the other.
	w.cfg.Failover.BrakeHoldOff = 3 * time.Second
	w.lead(1)
	w.waitFor(model.ClusterHealthy, w.names...)
	w.populate()
	w.settled()
	placed, effects := w.placement(), len(w.effects())

	dead := w.names[:6]
	w.refuse(dead...)
	w.passed(3*toleration, dead...)
	if diff := cmp.Diff(w.placement(), placed); diff != "" {
		t.Errorf("placement after the toleration: got -, want +\n%s", diff)
	}
	for key, d := range w.deployments() {
		if len(d.AvoidedClusters) > 0 {
			t.Errorf("%s was evicted: avoids %v", key, d.AvoidedClusters)
		}
	}
	if got := w.effects()[effects:]; len(got) > 0 {
		t.Errorf("got %d units created or deleted, want none", len(got))
	}
	alarms := w.events(failover.ReasonBraked)
	if len(alarms) != 1 || alarms[0].Type != model.EventAlarm {
		t.Errorf("got alarms %+v, want one", alarms)
	}

	w.answer(dead...)
	w.waitFor(model.ClusterHealthy, w.names...)
	until(t, "the end of the brake is told", func() bool { return len(w.events(failover.ReasonResumed)) == 1 }, w.history)
	w.settled()
	if diff := cmp.Diff(w.placement(), placed); diff != "" {
		t.Errorf("placement once they are back: got -, want +\n%s", diff)
	}
	if got := w.effects()[effects:]; len(got) > 0 {
		t.Errorf("got %d units created or deleted once they are back, want none", len(got))
	}
	if got := len(w.events(failover.ReasonBraked, failover.ReasonStarted)); got != 1 {
		t.Errorf("got %d events of the brake and of evictions, want the one alarm", got)
	}
}

func TestTwoOfTenClustersDie(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10)
	w.lead(1)
	w.waitFor(model.ClusterHealthy, w.names...)
	w.populate()
	w.settled()
	placed, effects := w.placement(), len(w.effects())

	dead := []string{"c0", "c1"}
	w.refuse(dead...)
	w.waitFor(model.ClusterUnhealthy, dead...)
	w.moved(placed, dead)
	first, last := *w.health()["c0"].Since, *w.health()["c1"].Since
	if first.After(last) {
		first, last = last, first
	}
	if took := time.Since(last); took > toleration+10*time.Second {
		t.Errorf("the move took %v, want at most %v", took, toleration+10*time.Second)
	}
	for _, e := range w.effects()[effects:] {
		if e.Effect == sim.EffectDeleted {
			t.Errorf("%s of %s was deleted from %s while clusters are lost, want nothing deleted", e.Unit, e.Deployment, e.cluster)
		}
		if e.At.Before(first.Add(toleration)) {
			t.Errorf("%s moved before the toleration was over", e.Deployment)
		}
		if e.Deployment[:4] == "kept" || !slices.ContainsFunc(placed[e.Deployment], func(name string) bool { return slices.Contains(dead, name) }) {
			t.Errorf("%s of %s was made in %s, want nothing done for who did not opt in or has lost nothing", e.Unit, e.Deployment, e.cluster)
		}
	}
	away := w.placement()

	w.answer(dead...)
	w.waitFor(model.ClusterHealthy, w.names...)
	until(t, "who was named returns, who was not stays", func() bool {
		now := w.placement()
		for key, before := range placed {
			want := away[key]
			if key == "named-0" || key == "named-1" {
				want = before
			}
			if !slices.Equal(now[key], want) {
				return false
			}
		}
		return true
	}, w.history)
	w.settled()
	w.madeBeforeBroken()
	if got := len(w.events(failover.ReasonBraked)); got != 0 {
		t.Errorf("got %d alarms, want none", got)
	}
}

// moved waits until the deployments that opted in have left dead clusters, and
// asserts that nothing else moved.
func (w *world) moved(placed map[string][]string, dead []string) {
	w.t.Helper()
	isDead := func(name string) bool { return slices.Contains(dead, name) }
	until(w.t, "deployments that opted in have left the lost clusters and run", func() bool {
		for key, d := range w.deployments() {
			if key[:4] != "kept" && (slices.ContainsFunc(places(d), isDead) || len(places(d)) != len(placed[key])) {
				return false
			}
		}
		// The old units wait in the lost clusters: the new ones must run.
		for key, units := range w.units() {
			running := 0
			for _, u := range units {
				if u.Phase == model.UnitRunning && !isDead(u.Cluster) {
					running++
				}
			}
			if key[:4] != "kept" && running < len(placed[key]) {
				return false
			}
		}
		return true
	}, w.history)
	for key, now := range w.placement() {
		affected := key[:4] != "kept" && slices.ContainsFunc(placed[key], isDead)
		if !affected && !slices.Equal(now, placed[key]) {
			w.t.Errorf("%s moved from %v to %v, want it left alone", key, placed[key], now)
		}
		for _, name := range placed[key] {
			if affected && !isDead(name) && !slices.Contains(now, name) {
				w.t.Errorf("%s left %s, which is well, for %v", key, name, now)
			}
		}
	}
}

// TestLeaderChangeDuringTheToleration: the next leader moves what the first one
// would have, and no later.
func TestLeaderChangeDuringTheToleration(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4)
	stop := w.lead(1)
	w.waitFor(model.ClusterHealthy, w.names...)
	w.deploy("named", func(d *model.Deployment) { d.TargetEnvs, d.Failover = []string{"c0"}, optIn("c3") })
	w.settled()
	w.refuse("c0")
	w.waitFor(model.ClusterUnhealthy, "c0")
	since := *w.health()["c0"].Since
	stop()
	until(t, "half of the toleration has passed", func() bool { return time.Since(since) > toleration/2 }, nil)
	w.lead(2)
	until(t, "the deployment has left", func() bool {
		return slices.Equal(places(w.deployments()["named"]), []string{"c3"})
	}, w.history)
	avoided := w.deployments()["named"].AvoidedClusters
	if len(avoided) != 1 || avoided[0].Since.Before(since.Add(toleration)) || avoided[0].Since.After(since.Add(toleration+10*time.Second)) {
		t.Errorf("got %+v, want an eviction %v after %v", avoided, toleration, since)
	}
	if got := *w.health()["c0"].Since; !got.Equal(since) {
		t.Errorf("unhealthy since: got %v after the change of leader, want %v", got, since)
	}
}

// TestDrain: a drained cluster is left, make before break, and used again when it
// is not drained any more.
func TestDrain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4)
	labelled := w.crmCfg.Clusters["c0"]
	labelled.Labels = map[string]string{"only": "here"}
	w.crmCfg.Clusters["c0"] = labelled
	w.lead(1)
	w.waitFor(model.ClusterHealthy, w.names...)
	one := uint32(1)
	for n := range 6 {
		w.deploy(fmt.Sprintf("free-%d", n), func(d *model.Deployment) { d.Placement = &model.Placement{Clusters: &one} })
	}
	w.deploy("bound", func(d *model.Deployment) { d.Placement = &model.Placement{Selector: map[string]string{"only": "here"}} })
	w.settled()
	w.mark("c0", true)
	until(t, "who can has left", func() bool {
		for key, in := range w.placement() {
			if key != "bound" && slices.Contains(in, "c0") {
				return false
			}
		}
		return len(w.events("NoFit")) > 0
	}, w.history)
	w.settled()
	if got := w.placement()["bound"]; !slices.Equal(got, []string{"c0"}) {
		t.Errorf("a deployment without another cluster to go to: got it in %v, want it kept", got)
	}
	if got := w.events("NoFit"); len(got) != 1 {
		t.Errorf("got %d events of no fit, want one however often it is asked for", len(got))
	}
	w.madeBeforeBroken()
	w.mark("c0", false)
	until(t, "nobody avoids the cluster any more", func() bool {
		for _, d := range w.deployments() {
			if len(d.AvoidedClusters) > 0 {
				return false
			}
		}
		return true
	}, w.history)
	w.settled()
}

// TestNextLeaderBelievesNoOldRecord: a cluster that recovered while nobody led is
// not left for what was recorded of it before.
func TestNextLeaderBelievesNoOldRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4)
	stop := w.lead(1)
	w.waitFor(model.ClusterHealthy, w.names...)
	w.deploy("named", func(d *model.Deployment) { d.TargetEnvs, d.Failover = []string{"c0"}, optIn("c3") })
	w.settled()
	effects := len(w.effects())
	w.refuse("c0")
	w.waitFor(model.ClusterUnhealthy, "c0")
	stop()
	w.answer("c0")
	w.passed(2*toleration, "c0")
	w.lead(2)
	w.waitFor(model.ClusterHealthy, "c0")
	w.settled()
	if got := w.effects()[effects:]; len(got) > 0 || len(w.events("Evicted", failover.ReasonStarted)) > 0 {
		t.Errorf("got %d units created or deleted, want nothing moved: %s", len(got), w.history())
	}
}

// TestNoTolerationAndSixOfTenDie: they are not found lost in the same moment, some
// refuse and some hang; still nothing is evicted.
func TestNoTolerationAndSixOfTenDie(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10)
	w.withoutRetries(w.names...)
	// On a busy machine probes may take that much longer than they should.
	w.cfg.Health.Timeout, w.cfg.Failover.Confirm = 500*time.Millisecond, 3*time.Second
	w.lead(1)
	w.waitFor(model.ClusterHealthy, w.names...)
	none := model.Duration("0s")
	for n := range 6 {
		w.deploy(fmt.Sprintf("d%d", n), func(d *model.Deployment) {
			d.TargetEnvs, d.Failover = []string{fmt.Sprintf("c%d", n)}, &model.Failover{Enabled: true, Toleration: &none}
		})
	}
	w.settled()
	placed, effects := w.placement(), len(w.effects())
	w.faults(sim.Faults{Hang: true}, w.names[1:6])
	w.refuse("c0")
	w.passed(4*time.Second, w.names[:6]...)
	if diff := cmp.Diff(w.placement(), placed); diff != "" || len(w.effects()) > effects {
		t.Errorf("got %d units created or deleted, placement: got -, want +\n%s%s", len(w.effects())-effects, diff, w.history())
	}
	if got := len(w.events(failover.ReasonBraked)); got != 1 {
		t.Errorf("got %d alarms, want one", got)
	}
}
