package dispatch

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/oprc/oprc-pm/crm"
	"github.com/oprc/oprc-pm/crm/sim"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// fuse ends a leader run after a number of its steps: a step is a command that was
// committed or a call that a cluster has carried out. What the run would have
// learnt from it is lost, as in a crash.
type fuse struct {
	left  atomic.Int64
	blown atomic.Bool

	// mu guards cancel, which ends the run that is on.
	mu     sync.Mutex
	cancel context.CancelFunc
}

func (f *fuse) set(steps int) { f.left.Store(int64(steps)) }

func (f *fuse) guard(cancel context.CancelFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cancel = cancel
}

func (f *fuse) burn() {
	if f.left.Add(-1) != 0 {
		return
	}
	f.blown.Store(true)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cancel()
}

type fusedStore struct {
	Store
	fuse *fuse
}

func (s fusedStore) Apply(ctx context.Context, req storage.Request) (storage.Result, error) {
	result, err := s.Store.Apply(ctx, req)
	s.fuse.burn()
	return result, err
}

type fusedFleet struct {
	*crm.Fleet
	fuse *fuse
}

func (f fusedFleet) Client(name string) (crm.Client, bool) {
	client, known := f.Fleet.Client(name)
	return fusedClient{Client: client, fuse: f.fuse}, known
}

type fusedClient struct {
	crm.Client
	fuse *fuse
}

func (c fusedClient) Deploy(ctx context.Context, from crm.Origin, unit model.DeploymentUnit) (model.CRMResponse, error) {
	response, err := c.Client.Deploy(ctx, from, unit)
	c.fuse.burn()
	return response, err
}

func (c fusedClient) Delete(ctx context.Context, from crm.Origin, id string) error {
	err := c.Client.Delete(ctx, from, id)
	c.fuse.burn()
	return err
}

// leadAlways has one leader after the other until the test ends: when the fuse
// ends one run, the next begins.
func (w *world) leadAlways(f *fuse) {
	w.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for term := uint64(1); ctx.Err() == nil; term++ {
			d, err := New(w.cfg, Deps{
				Store: fusedStore{w.store, f}, Fleet: fusedFleet{w.fleet, f}, Inventory: w.inventory,
				Gate: w.gate, Policy: w.policy, Logger: w.logger, Metrics: metrics.NewSet(),
			})
			if err != nil {
				w.t.Error(err)
				return
			}
			w.mu.Lock()
			w.last = d
			w.mu.Unlock()
			runCtx, cancel := context.WithCancel(ctx)
			f.guard(cancel)
			w.store.term.Store(term)
			d.Run(runCtx, term)
			cancel()
		}
	})
	w.t.Cleanup(func() { stop(); wg.Wait() })
}

// crashScenario is a change of a deployment that runs in a and b; done tells that
// it is over.
type crashScenario struct {
	before func(w *world)
	change func(w *world)
	done   func(w *world) bool
	check  func(t *testing.T, w *world)
}

func crashScenarios() map[string]crashScenario {
	edge := func() model.Deployment {
		d := cart("a", "b")
		d.EnvTemplates = map[string]string{"a": "edge", "b": "edge"}
		return d
	}
	settled := func(w *world) bool {
		s, exists := w.situation("cart")
		d := s.deployment
		return exists && d.ObservedGeneration == d.Generation && d.Condition == model.DeploymentRunning &&
			d.RolloutStatus.Phase == model.RolloutComplete && len(s.units) == len(d.Status.SelectedEnvs)
	}
	return map[string]crashScenario{
		"create": {
			before: func(*world) {},
			change: func(w *world) { w.put(cart("a", "b")) },
			done:   settled,
		},
		"update in waves": {
			change: func(w *world) {
				d := edge()
				d.Rollout = &model.Rollout{Strategy: model.RolloutWaves}
				w.put(d)
			},
			done: settled,
		},
		"move": {
			before: func(w *world) {
				w.put(optedIn())
				w.running()
				w.unhealthy("a")
			},
			change: func(w *world) {
				w.leader().Evict("cart", "a", model.AvoidFailover, "lost")
				// Whoever leads next is asked again, as failover does.
				until(w.t, "the deployment avoids a", func() bool {
					w.leader().Evict("cart", "a", model.AvoidFailover, "lost")
					return len(w.deployment().AvoidedClusters) == 1
				})
			},
			done: settled,
			check: func(t *testing.T, w *world) {
				w.madeBeforeBroken(t, "c", "a")
			},
		},
		"delete": {
			change: func(w *world) { w.apply(storage.DeleteDeployment{Key: "cart"}) },
			done:   func(w *world) bool { _, exists := w.situation("cart"); return !exists },
		},
		"return to the last good revision": {
			change: func(w *world) {
				w.sims["a"].SetFaults(sim.Faults{Units: []sim.UnitFault{{Image: "img:bad", Condition: "Pending"}}})
				w.sims["b"].SetFaults(sim.Faults{Units: []sim.UnitFault{{Image: "img:bad", Refuse: 422}}})
				d := cart("a", "b")
				bad, yes := "img:bad", true
				d.Functions = []model.FunctionDeploymentSpec{{FunctionKey: "Cart.add", ProvisionConfig: &model.ProvisionConfig{ContainerImage: &bad}}}
				d.RollbackOnPartial = &yes
				w.put(d)
			},
			done: func(w *world) bool { return w.deployment().Generation == 3 && settled(w) },
		},
		"give up the first generation": {
			before: func(*world) {},
			change: func(w *world) {
				w.sims["b"].SetFaults(sim.Faults{Units: []sim.UnitFault{{Image: "*", Refuse: 422}}})
				d, yes := cart("a", "b"), true
				d.RollbackOnPartial = &yes
				w.put(d)
			},
			done: func(w *world) bool {
				s, exists := w.situation("cart")
				return exists && s.deployment.RolloutStatus != nil && s.deployment.RolloutStatus.Phase == model.RolloutRolledBack &&
					len(s.units) == 0 && s.deployment.Status.ReplicationFactor == 0
			},
		},
	}
}

// TestLeaderChangeAtEveryStep carries out each change as often as it has steps,
// and has the leader crash after another one each time.
func TestLeaderChangeAtEveryStep(t *testing.T) {
	t.Parallel()
	for name, scenario := range crashScenarios() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for step := 1; ; step++ {
				blown := false
				t.Run(fmt.Sprintf("crash after step %d", step), func(t *testing.T) { blown = crashAt(t, scenario, step) })
				if !blown || t.Failed() {
					break // the change has no more steps
				}
			}
		})
	}
}

// crashAt carries out a change whose leader crashes after a step, and tells
// whether the change had that many.
func crashAt(t *testing.T, scenario crashScenario, step int) (blown bool) {
	w := newWorld(t, withClusters("c"))
	f := &fuse{}
	w.leadAlways(f)
	if scenario.before == nil {
		w.put(cart("a", "b"))
		w.running()
		w.phase(model.RolloutComplete)
	} else {
		scenario.before(w)
	}
	f.set(step)
	scenario.change(w)
	until(t, "the change is carried out", func() bool { return scenario.done(w) })
	w.converged()
	w.noDuplicates(t)
	w.wantedWasNotDeleted(t)
	if scenario.check != nil {
		scenario.check(t, w)
	}
	return f.blown.Load()
}

// optedIn is cart in a and b, which may be moved.
func optedIn() model.Deployment {
	d := cart("a", "b")
	d.Failover = &model.Failover{Enabled: true}
	return d
}

// noDuplicates asserts that no unit was made twice without being deleted between.
func (w *world) noDuplicates(t *testing.T) {
	t.Helper()
	for name := range w.sims {
		exists := map[string]bool{}
		for _, effect := range w.effects(name) {
			var what, id string
			_, _ = fmt.Sscan(effect, &what, &id)
			if made := what == "created"; made == exists[id] {
				t.Errorf("cluster %s: %s, although it was so already: %v", name, effect, w.effects(name))
			}
			exists[id] = what == "created"
		}
	}
}

// wantedWasNotDeleted asserts that none of the units that there are now was
// deleted at any time.
func (w *world) wantedWasNotDeleted(t *testing.T) {
	t.Helper()
	for name := range w.sims {
		for _, id := range w.unitsIn(name) {
			if slices.Contains(w.effects(name), "deleted "+id) {
				t.Errorf("cluster %s: unit %s was deleted although it is wanted: %v", name, id, w.effects(name))
			}
		}
	}
}

// madeBeforeBroken asserts that the first unit of one cluster was made, and asked
// after, before any of another was deleted.
func (w *world) madeBeforeBroken(t *testing.T, made, broken string) {
	t.Helper()
	at := func(cluster, name string, effect sim.Effect) (at time.Time) {
		for _, call := range w.sims[cluster].Calls(0) {
			if call.Name == name && (effect == "" || call.Effect == effect) {
				return call.At
			}
		}
		return at
	}
	seen, deleted := at(made, "status", ""), at(broken, "delete", sim.EffectDeleted)
	if seen.IsZero() || deleted.IsZero() || !seen.Before(deleted) {
		t.Errorf("unit in %s was seen at %v, the one in %s deleted at %v; want it in that order", made, seen, broken, deleted)
	}
}
