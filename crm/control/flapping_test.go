package control

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/crm/sim"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// TestFlappingCluster: a cluster whose port closes and opens every few probes is
// held at the worse status. What is recorded of it is bounded, nobody is moved to and
// fro, and nothing is written about anything else.
func TestFlappingCluster(t *testing.T) {
	t.Parallel()
	const flapping, phase, phases = "c0", 300 * time.Millisecond, 24
	w := newWorld(t, 4)
	w.withoutRetries(w.names...)
	h := &w.cfg.Health
	h.FailureThreshold, h.OpenTimeout, h.RetryTimeout = 2, h.Interval, h.Interval
	w.lead(1)
	w.waitFor(model.ClusterHealthy, w.names...)
	// One is patient, as by default; one has had enough after some phases.
	w.deploy("patient", func(d *model.Deployment) {
		d.TargetEnvs, d.Failover = []string{flapping}, &model.Failover{Enabled: true, Backups: []string{"c3"}}
		long := model.Duration("5m")
		d.Failover.Toleration = &long
	})
	w.deploy("hasty", func(d *model.Deployment) { d.TargetEnvs, d.Failover = []string{flapping}, optIn("c3") })
	w.deploy("elsewhere", func(d *model.Deployment) { d.TargetEnvs, d.Failover = []string{"c1"}, optIn("c3") })
	w.settled()
	placed, effects := w.placement(), len(w.effects())

	w.takeWritten()
	begun := time.Now()
	w.sims[flapping].SetSchedule(
		sim.Step{For: sim.Duration(phase), Faults: sim.Faults{Refuse: true}}, sim.Step{For: sim.Duration(phase)})
	// A busy machine may sleep through some phases: it goes on until it is found out.
	found := false
	until(t, "it has flapped for a while and was found flapping", func() bool {
		found = found || w.health()[flapping].Reason == "Flapping"
		return found && time.Since(begun) > phases*phase
	}, w.history)
	w.sims[flapping].SetFaults(sim.Faults{})
	passed := int(time.Since(begun)/phase) + 1
	written := w.takeWritten()
	moved := w.placement()

	statuses := statusesOf(written, flapping)
	if got, most := len(statuses), passed/2; got > most {
		t.Errorf("got %d changes of status %v in %d phases, want at most %d", got, statuses, passed, most)
	}
	by := map[string]int{}
	for _, command := range written {
		for _, subject := range subjectsOf(command) {
			by[subject]++
		}
	}
	t.Logf("in %d phases: %d changes of status, writes %v", passed, len(statuses), by)
	// Open, half open, closed, in every other phase, each alone at worst.
	if got, most := by["cluster "+flapping], 3*(passed/2+1)+len(statuses); got > most {
		t.Errorf("got %d records of its health, want at most %d", got, most)
	}
	for _, other := range w.names[1:] {
		if got := by["cluster "+other]; got > 0 {
			t.Errorf("got %d records of the health of %s, which is well", got, other)
		}
	}
	if got := by["deployment elsewhere"]; got > 0 {
		t.Errorf("got %d writes about a deployment that has nothing to do with it, want none", got)
	}
	// That its cluster cannot be reached is told of it, as often as of the cluster.
	if got, most := by["deployment patient"], len(statuses)+1; got > most {
		t.Errorf("got %d writes about the deployment that stays, want at most %d", got, most)
	}
	if got := by["deployment hasty"]; got > 20+len(statuses) {
		t.Errorf("got %d writes about the one that leaves, want few", got)
	}
	for _, key := range []string{"patient", "elsewhere"} {
		if diff := cmp.Diff(moved[key], placed[key]); diff != "" {
			t.Errorf("%s moved: got -, want +\n%s", key, diff)
		}
	}
	if evicted := w.events("Evicted"); len(evicted) > 1 || len(evicted) == 1 && evicted[0].Name != "hasty" {
		t.Errorf("got evictions %+v, want the impatient one's at most", evicted)
	}
	if back := w.events("Failback"); len(back) > 0 {
		t.Errorf("got returns %+v while it flapped, want none", back)
	}
	created := 0
	for _, e := range w.effects()[effects:] {
		if e.Effect == sim.EffectCreated {
			created++
		}
	}
	if created > 1 {
		t.Errorf("got %d units created while it flapped, want one at most", created)
	}
	// When it has been quiet, all is as it was.
	w.waitFor(model.ClusterHealthy, flapping)
	until(t, "all are where they were", func() bool { return cmp.Equal(w.placement(), placed) }, w.history)
	w.settled()
	w.madeBeforeBroken()
}

// statusesOf are the changes of a cluster's status in what was written.
func statusesOf(written []storage.Command, cluster string) (statuses []string) {
	last := ""
	for _, command := range written {
		record, ok := command.(storage.RecordClusterHealth)
		if !ok {
			continue
		}
		for _, c := range record.Clusters {
			if c.Name != cluster {
				continue
			}
			if c.Health.Status != last {
				statuses, last = append(statuses, c.Health.Status), c.Health.Status
			}
		}
	}
	return statuses
}
