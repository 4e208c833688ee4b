package testproc

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/oprc/oprc-pm/model"
)

// This suite is that of package control, on processes: deployments of every
// placement strategy are created, changed, moved away, deleted and left alone while
// the clusters http-1 and grpc-1 fail in one way after the other. What does not
// depend on them goes on meanwhile; afterwards everything is as if nothing had
// happened.

// suiteStrategies place a deployment so that it uses the cluster of a protocol that
// fails, or so that it does not.
var suiteStrategies = []struct {
	name         string
	within, away func(protocol string) fields
}{
	{
		"explicit targets",
		func(p string) fields { return fields{"target_envs": []string{"home", p + "-1"}} },
		func(string) fields { return fields{"target_envs": []string{"home", "other"}} },
	},
	{
		"environment mapping",
		func(p string) fields { return fields{"target_envs": []string{"edge-" + p}} },
		func(string) fields { return fields{"target_envs": []string{"core"}} },
	},
	{
		"load balancing",
		func(p string) fields {
			return fields{"placement": fields{"clusters": 2, "selector": fields{"left-" + p: "y"}}}
		},
		func(string) fields {
			return fields{"placement": fields{"clusters": 2, "selector": fields{"right": "y"}}}
		},
	},
	{
		"affinity",
		func(p string) fields {
			return fields{"placement": fields{"clusters": 1, "affinity": []fields{{"deployment": "anchor-" + p, "required": true}}}}
		},
		func(p string) fields {
			return fields{"placement": fields{
				"clusters": 1, "selector": fields{"left-" + p: "y"},
				"anti_affinity": []fields{{"deployment": "anchor-" + p, "required": true}},
			}}
		},
	},
	{
		"failover with backups",
		func(p string) fields { return fields{"target_envs": []string{p + "-1"}, "failover": optedIn("1h")} },
		func(string) fields { return fields{"target_envs": []string{"other"}, "failover": optedIn("1h")} },
	},
	{
		"spread over zones",
		func(p string) fields {
			return fields{"placement": fields{
				"clusters": 2, "selector": fields{"left-" + p: "y"}, "spread": []fields{{"label": "zone", "required": true}},
			}}
		},
		func(string) fields {
			return fields{"placement": fields{
				"clusters": 2, "spread": []fields{{"label": "zone", "required": true}},
				"requirements": []fields{{"key": "zone", "operator": "In", "values": []string{"a", "c"}}},
			}}
		},
	},
}

func optedIn(toleration string) fields {
	return fields{"enabled": true, "toleration": toleration, "backups": []string{"backup"}}
}

// suiteFailures are the faults of simulators, as they are told.
var suiteFailures = []struct{ name, faults, schedule string }{
	{"refused", `{"refuse":true}`, ""},
	{"slow", `{"latency":"300ms"}`, ""},
	{"hung", `{"hang":true}`, ""},
	{"5xx", `{"status":503}`, ""},
	{"garbage", `{"garbage":true}`, ""},
	{"wrong term", `{"stale_term":true}`, ""},
	{"flapping", "", `[{"for":"1s","faults":{"refuse":true}},{"for":"1s","faults":{}}]`},
	{"lost after accept", `{"calls":["deploy","delete"],"drop_reply":true}`, ""},
}

var (
	suiteTransitions = []string{"create", "change", "move", "delete", "leave alone"}
	suiteProtocols   = []string{"http", "grpc"}
)

func suiteKey(parts ...string) string { return strings.ReplaceAll(strings.Join(parts, "-"), " ", "-") }

// each calls fn for every strategy and protocol.
func each(fn func(strategy, protocol string, within, away fields)) {
	for _, strategy := range suiteStrategies {
		for _, protocol := range suiteProtocols {
			fn(strategy.name, protocol, strategy.within(protocol), strategy.away(protocol))
		}
	}
}

// TestStrategiesAndTransitionsWhileClustersFail goes through all failures, one
// after the other, over two sets of processes: each has every other failure.
func TestStrategiesAndTransitionsWhileClustersFail(t *testing.T) {
	t.Parallel()
	suites := []*strategySuite{newStrategySuite(t), newStrategySuite(t)}
	var running sync.WaitGroup
	for n, s := range suites {
		running.Go(func() {
			for i := n; i < len(suiteFailures); i += len(suites) {
				failure := suiteFailures[i]
				t.Run(failure.name, func(t *testing.T) { s.runFailure(t, failure.name, failure.faults, failure.schedule) })
			}
		})
	}
	running.Wait()
	t.Run("no older leader was heeded", func(t *testing.T) {
		for _, s := range suites {
			for _, sim := range s.sims {
				checkTerms(t, sim, 1)
			}
		}
	})
}

func (s *strategySuite) runFailure(t *testing.T, name, faults, schedule string) {
	t.Helper()
	each(func(strategy, protocol string, within, _ fields) {
		for _, transition := range suiteTransitions[1:] {
			s.create(t, suiteKey(name, strategy, transition, protocol), within)
		}
	})
	s.settled(t)
	was, err := s.fleet()
	if err != nil {
		t.Fatal(err)
	}
	before := map[string][]string{}
	for key, units := range was.units {
		before[key] = unitIDs(units)
	}
	marks, err := s.marks()
	if err != nil {
		t.Fatal(err)
	}
	s.fail(t, faults, schedule, "http-1", "grpc-1")
	each(func(strategy, protocol string, within, away fields) {
		key := func(transition string) string { return suiteKey(name, strategy, transition, protocol) }
		changed := maps.Clone(within)
		changed["functions"] = []fields{{"function_key": "A.f", "config": fields{"V": "2"}}}
		s.create(t, key("create"), within)
		s.update(t, key("change"), changed)
		s.update(t, key("move"), away)
		s.remove(t, key("delete"))
	})
	waitFor(t, strategyLimit, "what can be done without the clusters that fail is done", func() error {
		now, err := s.fleet()
		if err != nil {
			return err
		}
		return now.goesOn(name, before)
	})
	s.fail(t, "{}", "", "http-1", "grpc-1")
	if name == "wrong term" {
		// What was refused for its term is tried again rarely, or when a
		// person touches the cluster.
		for _, cluster := range []string{"http-1", "grpc-1"} {
			s.send(t, http.MethodPost, "/api/v1/clusters/"+cluster+"/cordon", "")
			s.send(t, http.MethodPost, "/api/v1/clusters/"+cluster+"/uncordon", "")
		}
	}
	s.returned(t, name)
	now, err := s.fleet()
	if err != nil {
		t.Fatal(err)
	}
	did, err := s.effects(marks)
	if err != nil {
		t.Fatal(err)
	}
	for _, transition := range suiteTransitions {
		t.Run(transition, func(t *testing.T) {
			each(func(strategy, protocol string, _, _ fields) {
				t.Run(strategy+" over "+protocol, func(t *testing.T) {
					now.checkTransition(t, transition, suiteKey(name, strategy, transition, protocol), protocol+"-1", before, did)
				})
			})
		})
	}
	for key := range maps.Clone(s.wanted) {
		if !strings.HasPrefix(key, "anchor-") {
			s.remove(t, key)
		}
	}
	s.settled(t)
}

// returned waits until what was created while clusters failed uses them, and the
// clusters hold exactly what is planned. Whoever planned without a cluster that was
// lost plans again when it is found well.
func (s *strategySuite) returned(t *testing.T, failure string) {
	t.Helper()
	waitFor(t, strategyLimit, "everything is as if nothing had failed", func() error {
		now, err := s.fleet()
		if err != nil {
			return err
		}
		each(func(strategy, protocol string, _, _ fields) {
			key := suiteKey(failure, strategy, "create", protocol)
			if places := placesOf(now.deployments[key]); !slices.Contains(places, protocol+"-1") {
				err = errors.Join(err, fmt.Errorf("%s is in %v, want it to use %s-1", key, places, protocol))
			}
		})
		if err != nil {
			return err
		}
		return checkFleet(s.Cluster, s.Nodes[0], s.sims, s.wanted)
	})
}

// goesOn tells what is not done of all that does not depend on the clusters that
// fail.
func (f fleet) goesOn(failure string, before map[string][]string) (err error) {
	each(func(strategy, protocol string, _, _ fields) {
		for _, transition := range []string{"create", "move"} {
			err = errors.Join(err, f.runsElsewhere(suiteKey(failure, strategy, transition, protocol), protocol+"-1", transition == "move"))
		}
		for _, id := range before[suiteKey(failure, strategy, "delete", protocol)] {
			if _, held := f.held[id]; held && !strings.HasPrefix(id, protocol+"-1/") {
				err = errors.Join(err, fmt.Errorf("%s is not deleted", id))
			}
		}
	})
	return err
}

// runsElsewhere tells whether a deployment's units outside a cluster run; left: it
// must not be placed there.
func (f fleet) runsElsewhere(key, broken string, left bool) error {
	d, stored := f.deployments[key]
	if !stored {
		return fmt.Errorf("%s is not stored", key)
	}
	for _, name := range placesOf(d) {
		switch {
		case name == broken && left:
			return fmt.Errorf("%s is still placed in %s", key, broken)
		case name == broken:
		case !slices.ContainsFunc(f.units[key], func(u model.UnitStatus) bool { return u.Cluster == name && u.Phase == model.UnitRunning }):
			return fmt.Errorf("%s does not run in %s", key, name)
		}
	}
	if d.ObservedGeneration != d.Generation {
		return fmt.Errorf("%s was not looked at", key)
	}
	return nil
}

// effect is what a call did to a unit in a cluster.
type effect struct{ unit, effect string }

// marks are the ends of the journals.
func (s *strategySuite) marks() (map[string]uint64, error) {
	marks := map[string]uint64{}
	for _, sim := range s.sims {
		calls, err := sim.Calls(0)
		if err != nil {
			return nil, err
		}
		if len(calls) > 0 {
			marks[sim.Name] = calls[len(calls)-1].Seq
		}
	}
	return marks, nil
}

// effects are what calls since the marks did, by cluster, in order.
func (s *strategySuite) effects(marks map[string]uint64) (map[string][]effect, error) {
	did := map[string][]effect{}
	for _, sim := range s.sims {
		calls, err := sim.Calls(marks[sim.Name])
		if err != nil {
			return nil, err
		}
		for _, call := range calls {
			if call.Effect == "created" || call.Effect == "deleted" {
				did[sim.Name] = append(did[sim.Name], effect{call.Unit, call.Effect})
			}
		}
	}
	return did, nil
}

// checkTransition asserts what became of a deployment, once everything has settled.
func (f fleet) checkTransition(t *testing.T, transition, key, broken string, before map[string][]string, did map[string][]effect) {
	t.Helper()
	d, stored := f.deployments[key]
	places, now := placesOf(d), unitIDs(f.units[key])
	uses := slices.Contains(places, broken)
	switch transition {
	case "create":
		if !uses {
			t.Errorf("got it in %v, want it to use %s, which is well", places, broken)
		}
	case "change":
		if !uses || slices.ContainsFunc(now, func(id string) bool { return slices.Contains(before[key], id) }) {
			t.Errorf("got units %v, want none of %v, and %s used", now, before[key], broken)
		}
		replacedInOrder(t, before[key], now, did)
	case "move":
		if uses || len(places) == 0 {
			t.Errorf("got it in %v, want it away from %s", places, broken)
		}
	case "delete":
		if stored || len(now) > 0 {
			t.Errorf("got units %v, stored %t, want it gone", now, stored)
		}
	case "leave alone":
		if !slices.Equal(now, before[key]) {
			t.Errorf("got units %v, want still %v", now, before[key])
		}
		for _, id := range now {
			cluster, unit, _ := strings.Cut(id, "/")
			if i := slices.IndexFunc(did[cluster], func(e effect) bool { return e.unit == unit }); i >= 0 {
				t.Errorf("%s was %s, want it untouched", id, did[cluster][i].effect)
			}
		}
	}
}

// replacedInOrder asserts that each unit went only after its successor in the same
// cluster was there.
func replacedInOrder(t *testing.T, before, now []string, did map[string][]effect) {
	t.Helper()
	when := func(id, what string) int {
		cluster, unit, _ := strings.Cut(id, "/")
		return slices.Index(did[cluster], effect{unit, what})
	}
	for _, next := range now {
		cluster, _, _ := strings.Cut(next, "/")
		for _, old := range before {
			if !strings.HasPrefix(old, cluster+"/") {
				continue
			}
			if made, gone := when(next, "created"), when(old, "deleted"); made < 0 || gone < made {
				t.Errorf("%s was deleted (call %d) before %s was there (call %d)", old, gone, next, made)
			}
		}
	}
}
