package control

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/crm/sim"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// This suite has, for each protocol and each way in which a cluster can fail,
// deployments of every placement strategy created, changed, moved away, deleted
// and left alone while one of their clusters, c1, fails so. What does not depend
// on c1 has to go on meanwhile; when c1 is well again everything has to be as if
// nothing had happened.

// broken is the cluster that fails.
const broken = "c1"

// strategies place a deployment so that it uses c1, or so that it does not.
var strategies = []struct {
	name   string
	within func(d *model.Deployment)
	away   func(d *model.Deployment)
}{
	{
		"explicit targets",
		func(d *model.Deployment) { d.TargetEnvs = []string{"c0", broken} },
		func(d *model.Deployment) { d.TargetEnvs = []string{"c0", "c3"} },
	},
	{
		"environment mapping",
		func(d *model.Deployment) { d.TargetEnvs = []string{"edge"} },
		func(d *model.Deployment) { d.TargetEnvs = []string{"core"} },
	},
	{
		"load balancing",
		func(d *model.Deployment) { d.Placement = inPool("left", 2) },
		func(d *model.Deployment) { d.Placement = inPool("right", 2) },
	},
	{
		"affinity",
		func(d *model.Deployment) {
			d.Placement = inPool("left", 1)
			d.Placement.Affinity = []model.AffinityTerm{{Deployment: "anchor", Required: true}}
		},
		func(d *model.Deployment) {
			d.Placement = inPool("left", 1)
			d.Placement.AntiAffinity = []model.AffinityTerm{{Deployment: "anchor", Required: true}}
		},
	},
	{
		"failover with backups",
		func(d *model.Deployment) { d.TargetEnvs, d.Failover = []string{broken}, patient("c4") },
		func(d *model.Deployment) { d.TargetEnvs, d.Failover = []string{"c2"}, patient("c4") },
	},
	{
		"spread over zones",
		func(d *model.Deployment) { d.Placement = acrossZones("a", "b") },
		func(d *model.Deployment) { d.Placement = acrossZones("a", "c") },
	},
}

func inPool(pool string, clusters uint32) *model.Placement {
	return &model.Placement{Clusters: &clusters, Selector: map[string]string{"pool": pool}}
}

func acrossZones(zones ...string) *model.Placement {
	two := uint32(2)
	return &model.Placement{
		Clusters: &two, Spread: []model.SpreadConstraint{{Label: "zone", Required: true}},
		Requirements: []model.LabelRequirement{{Key: "zone", Operator: model.LabelIn, Values: zones}},
	}
}

// patient opts in, with a toleration that these tests do not wait for.
func patient(backups ...string) *model.Failover {
	toleration := model.Duration("1h")
	return &model.Failover{Enabled: true, Toleration: &toleration, Backups: backups}
}

// failures are the ways in which c1 fails.
var failures = []struct {
	name  string
	steps []sim.Step
}{
	{"refused", always(sim.Faults{Refuse: true})},
	{"slow", always(sim.Faults{Latency: sim.Duration(150 * time.Millisecond)})},
	{"hung", always(sim.Faults{Hang: true})},
	{"5xx", always(sim.Faults{Status: 503})},
	{"some 5xx", always(sim.Faults{ErrorRate: 0.5})},
	{"garbage", always(sim.Faults{Garbage: true})},
	{"wrong term", always(sim.Faults{StaleTerm: true})},
	{"flapping", []sim.Step{
		{For: sim.Duration(250 * time.Millisecond), Faults: sim.Faults{Refuse: true}},
		{For: sim.Duration(250 * time.Millisecond)},
	}},
	{"lost after accept", always(sim.Faults{Calls: []string{"deploy", "delete"}, DropReply: true})},
	{"hung after accept", always(sim.Faults{Calls: []string{"deploy", "delete"}, HangReply: true})},
}

func always(f sim.Faults) []sim.Step { return []sim.Step{{Faults: f}} }

// transitions of the suite.
var transitions = []string{"create", "change", "move", "delete", "leave alone"}

func TestStrategiesAndTransitionsWhileAClusterFails(t *testing.T) {
	t.Parallel()
	for _, protocol := range []model.ClusterProtocol{model.ProtocolHTTP, model.ProtocolGRPC} {
		for _, failure := range failures {
			t.Run(failure.name+" over "+string(protocol), func(t *testing.T) {
				t.Parallel()
				s := newSuite(t, protocol)
				s.prepare()
				s.sims[broken].SetSchedule(failure.steps...)
				s.transit()
				s.goesOn()
				s.sims[broken].SetFaults(sim.Faults{})
				s.returned()
				after := s.settledState()
				for _, transition := range transitions {
					t.Run(transition, func(t *testing.T) {
						for _, strategy := range strategies {
							t.Run(strategy.name, func(t *testing.T) { s.check(t, after, transition, strategy.name) })
						}
					})
				}
			})
		}
	}
}

// suite is a world of five clusters with labels and environments.
type suite struct {
	*world
	// before are the units of deployments before anything failed.
	before map[string][]model.UnitStatus
	// marks are how long the journals were then.
	marks map[string]int
}

func newSuite(t *testing.T, protocol model.ClusterProtocol) *suite {
	t.Helper()
	s := &suite{world: newWorld(t, 5)}
	if protocol == model.ProtocolGRPC {
		s.overGRPC(broken)
	}
	labels := map[string]map[string]string{
		"c0": {"pool": "left", "zone": "a"}, "c1": {"pool": "left", "zone": "b"},
		"c2": {"pool": "right", "zone": "c"}, "c3": {"pool": "right"},
	}
	environments := map[string][]string{"c1": {"edge"}, "c2": {"core"}}
	for _, name := range s.names {
		cluster := s.crmCfg.Clusters[name]
		cluster.Labels, cluster.Environments, cluster.Timeout = labels[name], environments[name], 500*time.Millisecond
		s.crmCfg.Clusters[name] = cluster
	}
	s.withoutRetries(broken)
	return s
}

func keyOf(strategy, transition string) string {
	return strings.ReplaceAll(strategy+"-"+transition, " ", "-")
}

// prepare deploys what is changed, moved, deleted or left alone later.
func (s *suite) prepare() {
	s.t.Helper()
	s.lead(1)
	s.waitFor(model.ClusterHealthy, s.names...)
	s.deploy("anchor", func(d *model.Deployment) { d.TargetEnvs = []string{broken} })
	s.settled()
	for _, strategy := range strategies {
		for _, transition := range transitions[1:] {
			s.deploy(keyOf(strategy.name, transition), strategy.within)
		}
	}
	s.settled()
	s.before, s.marks = s.units(), map[string]int{}
	for _, name := range s.names {
		s.marks[name] = len(s.sims[name].Calls(0))
	}
	for key, in := range s.placement() {
		if !slices.Contains(in, broken) {
			s.t.Fatalf("%s is in %v, want it to use %s", key, in, broken)
		}
	}
}

// transit makes all transitions of all strategies.
func (s *suite) transit() {
	s.t.Helper()
	log := "debug"
	for _, strategy := range strategies {
		s.deploy(keyOf(strategy.name, "create"), strategy.within)
		s.deploy(keyOf(strategy.name, "change"), func(d *model.Deployment) {
			strategy.within(d)
			d.ODGM = &model.ODGMDataSpec{Log: &log}
		})
		s.deploy(keyOf(strategy.name, "move"), strategy.away)
		s.apply(storage.DeleteDeployment{Key: keyOf(strategy.name, "delete")})
	}
}

// goesOn waits until all that does not depend on c1 is done while it fails.
func (s *suite) goesOn() {
	s.t.Helper()
	until(s.t, "what can be done without the cluster that fails is done", func() bool {
		units, placed, held := s.units(), s.placement(), s.held()
		for _, strategy := range strategies {
			moved, created, deleted := keyOf(strategy.name, "move"), keyOf(strategy.name, "create"), keyOf(strategy.name, "delete")
			if slices.Contains(placed[moved], broken) || len(placed[moved]) == 0 || !runsElsewhere(units[moved], len(placed[moved])) {
				return false
			}
			// Found well for a moment, c1 may have its place back: who stood in then
			// runs on until c1 does.
			elsewhere := slices.DeleteFunc(slices.Clone(placed[created]), func(name string) bool { return name == broken })
			if !runsElsewhere(units[created], len(elsewhere)) {
				return false
			}
			for _, u := range s.before[deleted] {
				if u.Cluster != broken && slices.Contains(held, u.Cluster+" "+u.ID) {
					return false
				}
			}
		}
		return true
	}, s.history)
}

// returned waits until what was created while c1 failed uses it, and the clusters
// hold exactly what is recorded. Whoever planned without a cluster that was lost
// plans again when it is found well.
func (s *suite) returned() {
	s.t.Helper()
	until(s.t, "everything is as if nothing had failed", func() bool {
		placed := s.placement()
		for _, strategy := range strategies {
			if !slices.Contains(placed[keyOf(strategy.name, "create")], broken) {
				return false
			}
		}
		return s.isSettled("")
	}, s.history)
}

// runsElsewhere tells whether at least so many units run outside c1.
func runsElsewhere(units []model.UnitStatus, want int) bool {
	running := 0
	for _, u := range units {
		if u.Cluster != broken && u.Phase == model.UnitRunning {
			running++
		}
	}
	return running >= want
}

// settledState is what there is once everything has settled.
type settledState struct {
	placed  map[string][]string
	units   map[string][]model.UnitStatus
	effects []effect
}

func (s *suite) settledState() settledState {
	return settledState{s.placement(), s.units(), s.effects()}
}

// check asserts what became of a deployment, once everything has settled.
func (s *suite) check(t *testing.T, after settledState, transition, strategy string) {
	t.Helper()
	key := keyOf(strategy, transition)
	placed, exists := after.placed[key]
	now, before := idsOf(after.units[key]), idsOf(s.before[key])
	switch transition {
	case "create":
		if !slices.Contains(placed, broken) {
			t.Errorf("got it in %v, want it to use %s, which is well", placed, broken)
		}
	case "change":
		if !slices.Contains(placed, broken) || slices.ContainsFunc(now, func(id string) bool { return slices.Contains(before, id) }) {
			t.Errorf("got units %v in %v, want none of %v, and %s used", now, placed, before, broken)
		}
		after.replacedInOrder(t, key)
	case "move":
		if slices.Contains(placed, broken) || len(placed) == 0 {
			t.Errorf("got it in %v, want it away from %s", placed, broken)
		}
	case "delete":
		if exists || len(now) > 0 {
			t.Errorf("got units %v, exists %t, want nothing left", now, exists)
		}
	case "leave alone":
		if !slices.Equal(now, before) {
			t.Errorf("got units %v, want still %v", now, before)
		}
		if touched := s.touched(before); len(touched) > 0 {
			t.Errorf("units were touched: %v", touched)
		}
	}
}

// replacedInOrder asserts that no unit of a deployment was deleted in a cluster
// before its successor was there.
func (s settledState) replacedInOrder(t *testing.T, key string) {
	t.Helper()
	held := map[string]int{}
	for _, e := range s.effects {
		switch {
		case e.Deployment != key:
		case e.Effect == sim.EffectCreated:
			held[e.cluster]++
		default:
			if held[e.cluster]--; held[e.cluster] < 1 {
				t.Errorf("%s was deleted from %s before another unit of %s was there", e.Unit, e.cluster, key)
			}
		}
	}
}

// touched are the deployments and deletions of units since the failure began.
func (s *suite) touched(ids []string) (calls []string) {
	for _, name := range s.names {
		for _, call := range s.sims[name].Calls(0)[s.marks[name]:] {
			if call.Effect != sim.EffectNone && call.Effect != "" && slices.Contains(ids, name+"/"+call.Unit) {
				calls = append(calls, fmt.Sprintf("%s %s in %s: %s", call.Name, call.Unit, name, call.Effect))
			}
		}
	}
	return calls
}

// idsOf are the units as cluster/unit, sorted.
func idsOf(units []model.UnitStatus) (ids []string) {
	for _, u := range units {
		ids = append(ids, u.Cluster+"/"+u.ID)
	}
	slices.Sort(ids)
	return ids
}
