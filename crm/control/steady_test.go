package control

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/crm/drift"
	"github.com/oprc/oprc-pm/crm/sim"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// quiet is for how long nothing is changed.
const quiet = 4 * time.Second

// TestTroubleThatLastsWritesNothing: a cluster that is dead, an orphan, a
// deployment without a place, one that cannot leave the dead cluster, and one that
// is paused cause no writes while nothing changes. A cluster that comes and goes
// causes some, for itself; a unit that is refused one for each try.
func TestTroubleThatLastsWritesNothing(t *testing.T) {
	t.Parallel()
	const dead, flapping, orphaned = "c5", "c6", "c7"
	const period = time.Second
	w := newWorld(t, 8)
	w.withoutRetries(flapping)
	w.cfg.Dispatch.RefusedRetryInterval = 500 * time.Millisecond
	w.lead(1)
	w.waitFor(model.ClusterHealthy, w.names...)
	two, no := uint32(2), model.Duration("0s")
	w.deploy("running", func(d *model.Deployment) { d.TargetEnvs = []string{"c0", "c1"} })
	w.deploy("spread", func(d *model.Deployment) {
		d.Placement = &model.Placement{Clusters: &two, Weights: map[string]uint32{flapping: 0}}
	})
	w.deploy("lost", func(d *model.Deployment) { d.TargetEnvs = []string{"c0", dead} })
	w.deploy("stuck", func(d *model.Deployment) {
		d.TargetEnvs, d.AvailableEnvs = []string{dead}, []string{dead}
		d.Failover = &model.Failover{Enabled: true, Toleration: &no}
	})
	w.deploy("shaken", func(d *model.Deployment) { d.TargetEnvs = []string{"c0", flapping} })
	w.settled()
	w.deploy("paused", func(d *model.Deployment) {
		d.TargetEnvs, d.Rollout = []string{"c2", "c3"}, &model.Rollout{Paused: true}
	})
	w.deploy("nowhere", func(d *model.Deployment) { d.Placement = &model.Placement{Selector: map[string]string{"no": "such"}} })
	w.deploy("unknown", func(d *model.Deployment) { d.TargetEnvs = []string{"c0", "no-such-cluster"} })
	w.sims["c4"].SetFaults(sim.Faults{Units: []sim.UnitFault{{Deployment: "refused", Refuse: 422}}})
	w.deploy("refused", func(d *model.Deployment) { d.TargetEnvs = []string{"c4"} })
	w.sims[orphaned].SetFaults(sim.Faults{})
	if err := w.sims[orphaned].Inject(model.DeploymentUnit{ID: "cart-aaaaaaaaaaaaaaa2", PackageName: "shop", ClassKey: "Cart"}); err != nil {
		t.Fatal(err)
	}
	w.refuse(dead)
	w.sims[flapping].SetSchedule(
		sim.Step{For: sim.Duration(period / 2), Faults: sim.Faults{Refuse: true}}, sim.Step{For: sim.Duration(period / 2)})
	until(t, "all trouble has shown", func() bool {
		return len(w.events("ClusterUnhealthy")) > 2 && w.health()[dead].Status == model.ClusterUnhealthy && len(w.events(drift.ReasonOrphanFound)) == 1 &&
			slices.ContainsFunc(w.events("NoFit"), func(e model.Event) bool { return e.Name == "stuck" }) &&
			slices.ContainsFunc(w.units()["refused"], func(u model.UnitStatus) bool { return u.Attempts > 1 })
	}, w.history)
	looks := func(name string) uint64 { return w.sims[name].Counts()["health"] + w.sims[name].Counts()["records"] }
	w.looked(looks, 4, dead)

	w.takeWritten()
	calls := w.sims["c4"].Counts()["deploy"]
	begun := time.Now()
	until(t, "it was quiet for a while", func() bool { return time.Since(begun) > quiet }, nil)
	by := map[string]int{}
	for _, command := range w.takeWritten() {
		for _, subject := range subjectsOf(command) {
			by[subject]++
		}
	}
	tries := int(w.sims["c4"].Counts()["deploy"]-calls) + 1
	t.Logf("in %v: %v, %d tries of what is refused%s", time.Since(begun).Round(time.Millisecond), by, tries, w.history())
	if got := by["deployment refused"]; got > tries || got == 0 {
		t.Errorf("the refused deployment: got %d writes, want one for each of %d tries at most, and some", got, tries)
	}
	delete(by, "deployment refused")
	// Down, half open, up: status and circuit, in two places each at most.
	if got, most := by["cluster "+flapping], 6*(int(quiet/period)+1); got > most {
		t.Errorf("the flapping cluster: got %d writes, want at most %d", got, most)
	}
	delete(by, "cluster "+flapping)
	if len(by) > 0 {
		t.Errorf("got writes %v, want none: %s", by, w.history())
	}
}

// withoutRetries has reads from clusters fail at once, so that short failures show.
// It is called before anybody leads.
func (w *world) withoutRetries(names ...string) {
	for _, name := range names {
		cluster := w.crmCfg.Clusters[name]
		cluster.RetryAttempts = 1
		w.crmCfg.Clusters[name] = cluster
	}
}

// subjectsOf tells what a command is about.
func subjectsOf(command storage.Command) (subjects []string) {
	switch c := command.(type) {
	case storage.RecordUnitStatus:
		return []string{"deployment " + c.Deployment}
	case storage.RecordClusterHealth:
		for _, cluster := range c.Clusters {
			subjects = append(subjects, "cluster "+cluster.Name)
		}
		return subjects
	case storage.RecordEvents:
		for _, event := range c.Events {
			subjects = append(subjects, event.Kind+" "+event.Name+" "+event.Reason)
		}
		return subjects
	}
	return []string{fmt.Sprintf("%T", command)}
}
