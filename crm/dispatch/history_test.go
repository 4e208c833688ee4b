package dispatch

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/crm/sim"
	"github.com/oprc/oprc-pm/internal/wait"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// TestAnyHistoryConverges has deployments changed, moved, given up and deleted at
// random, while clusters fail in every way and leaders crash. When the trouble is
// over, what the clusters hold is exactly what is planned (I6).
func TestAnyHistoryConverges(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			names := []string{"a", "b", "c", "d"}
			// Long enough for a busy machine: a call that is given up may take its
			// effect that much later, and no longer is promised.
			w := newWorld(t, withClusters("c", "d"), withTimeout("a", "150ms"), withTimeout("b", "150ms"), withTimeout("c", "150ms"), withTimeout("d", "150ms"),
				withConfig(func(c *Config) { c.UncertainPeriod = 300 * time.Millisecond }))
			f := &fuse{}
			w.leadAlways(f)
			h := history{w: w, fuse: f, random: rand.New(rand.NewPCG(seed, 7)), clusters: names, deployments: []string{"cart", "d1", "d2", "d3"}}
			for range 60 {
				h.step()
			}
			h.heal()
			until(t, "everything is settled", h.settled)
			h.check()
		})
	}
}

type history struct {
	w                     *world
	fuse                  *fuse
	random                *rand.Rand
	clusters, deployments []string
	image                 int
}

func (h *history) pick(list []string) string { return list[h.random.IntN(len(list))] }

// some picks one to three different clusters.
func (h *history) some() []string {
	shuffled := slices.Clone(h.clusters)
	h.random.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	return shuffled[:1+h.random.IntN(3)]
}

func (h *history) step() {
	w := h.w
	switch h.random.IntN(10) {
	case 0, 1, 2:
		w.put(h.deployment())
	case 3:
		// It may be gone already.
		_, _ = w.store.Apply(w.t.Context(), storage.Request{Command: storage.DeleteDeployment{Key: h.pick(h.deployments)}})
	case 4:
		w.leader().Evict(h.pick(h.deployments), h.pick(h.clusters), model.AvoidFailover, "lost")
	case 5:
		w.leader().Readmit(h.pick(h.deployments), h.pick(h.clusters))
	case 6:
		h.trouble(h.pick(h.clusters))
	case 7:
		cluster := h.pick(h.clusters)
		w.sims[cluster].SetFaults(sim.Faults{})
		w.gate.set(cluster, false)
		w.leader().WakeCluster(cluster)
	case 8:
		h.lose(h.pick(h.clusters))
	case 9:
		h.fuse.set(1 + h.random.IntN(5))
	}
	wait.For(w.t.Context(), time.Duration(h.random.IntN(int(8*time.Millisecond))))
}

func (h *history) deployment() model.Deployment {
	h.image++
	d := cartOf(fmt.Sprintf("img:%d", h.image%3), h.some()...)
	d.Key = h.pick(h.deployments)
	switch h.random.IntN(4) {
	case 0:
		d.Rollout = &model.Rollout{Strategy: model.RolloutWaves, ProgressDeadline: length("50ms"), OnFailure: model.OnFailureContinue}
	case 1:
		d.Rollout = &model.Rollout{OnFailure: model.OnFailureRollback, ProgressDeadline: length("50ms")}
	case 2:
		two := uint32(2)
		d.TargetEnvs, d.Placement = nil, &model.Placement{Clusters: &two}
	}
	d.Failover = &model.Failover{Enabled: true}
	return d
}

func (h *history) trouble(cluster string) {
	faults := []sim.Faults{
		{Hang: true}, {HangReply: true}, {DropReply: true}, {Status: 503}, {Status: 422}, {Garbage: true},
		{ErrorRate: 0.5}, {Condition: "Pending"}, {Condition: "Down"}, {Refuse: true},
	}
	at := h.random.IntN(len(faults) + 1)
	if at == len(faults) {
		h.w.gate.set(cluster, true)
		return
	}
	h.w.sims[cluster].SetFaults(faults[at])
}

// lose has a cluster forget a unit, and drift tell of it.
func (h *history) lose(cluster string) {
	units := h.w.sims[cluster].Units()
	if len(units) == 0 {
		return
	}
	unit := units[h.random.IntN(len(units))].Unit
	if _, err := h.w.sims[cluster].Lose(unit.ID); err != nil {
		h.w.t.Error(err)
	}
}

// heal ends all trouble. Whoever was given up is asked for again, so that there is
// something to expect of everybody.
func (h *history) heal() {
	w := h.w
	for _, cluster := range h.clusters {
		w.sims[cluster].SetFaults(sim.Faults{})
		w.gate.set(cluster, false)
	}
	for _, key := range h.deployments {
		d := cartOf("img:last", h.some()...)
		d.Key = key
		w.put(d)
	}
	for _, cluster := range h.clusters {
		w.leader().WakeCluster(cluster)
	}
}

// settled tells whether all deployments run where they should, after drift, whose
// part is played here, has told what was lost and what changed.
func (h *history) settled() bool {
	w := h.w
	done := true
	for _, key := range h.deployments {
		s, exists := w.situation(key)
		d := s.deployment
		done = done && exists && d.ObservedGeneration == d.Generation && d.Condition == model.DeploymentRunning &&
			d.RolloutStatus.Phase == model.RolloutComplete && len(s.units) == len(d.TargetEnvs)
		for _, unit := range s.units {
			if settled(unit) && !slices.Contains(w.unitsIn(unit.Cluster), unit.ID) {
				w.leader().Observe(unit.Cluster, Report{Unit: unit.ID, Deployment: key, Lost: true})
				done = false
			}
		}
	}
	return done
}

func (h *history) check() {
	w := h.w
	w.t.Helper()
	recorded := map[string][]string{}
	for _, key := range h.deployments {
		s, _ := w.situation(key)
		for _, unit := range s.units {
			recorded[unit.Cluster] = append(recorded[unit.Cluster], unit.ID)
		}
		if clusters, want := clustersOf(s.units), slices.Sorted(slices.Values(s.deployment.TargetEnvs)); !slices.Equal(clusters, want) && len(s.deployment.AvoidedClusters) == 0 {
			w.t.Errorf("%s: got units in %v, want them in %v", key, clusters, want)
		}
	}
	for _, cluster := range h.clusters {
		got, want := slices.Sorted(slices.Values(w.unitsIn(cluster))), slices.Sorted(slices.Values(recorded[cluster]))
		if !slices.Equal(got, want) {
			w.t.Errorf("cluster %s: got units %v, want those recorded: %v", cluster, got, want)
		}
		var last uint64
		for _, call := range w.sims[cluster].Calls(0) {
			if call.Term < last && (call.Effect == sim.EffectCreated || call.Effect == sim.EffectDeleted) {
				w.t.Errorf("cluster %s: call of term %d took effect after one of term %d", cluster, call.Term, last)
			}
			last = max(last, call.Term)
		}
	}
}
