package testproc

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/model"
)

// This suite is that of package control, on processes: deployments of every
// placement strategy are created, changed, moved away, deleted and left alone while
// the clusters http-1 and grpc-1 fail in one way after the other. What does not
// depend on them goes on meanwhile; afterwards everything is as if nothing had
// happened.

// strategyLimit is how long anything of the suite may take.
const strategyLimit = 20 * time.Second

// suiteConfig is that of the nodes; clusters follow.
const suiteConfig = `crm:
  health_check_interval: 500ms
  circuit_breaker: {failure_threshold: 3, timeout: 500ms, retry_timeout: 500ms}
  failover: {toleration: 2s, recovery: 1s}
  drift: {interval: 1s}
  clusters:
    home: {base_url: %s, labels: {zone: a, left-http: "y", left-grpc: "y"}}
    other: {base_url: %s, protocol: grpc, environments: [core], labels: {zone: c, right: "y"}}
    backup: {base_url: %s, labels: {right: "y"}}
    http-1: {base_url: %s, timeout: 1s, retry_attempts: 1, environments: [edge-http], labels: {zone: b, left-http: "y"}}
    grpc-1: {base_url: %s, protocol: grpc, timeout: 1s, retry_attempts: 1, environments: [edge-grpc], labels: {zone: b, left-grpc: "y"}}
`

// fields of a deployment's document.
type fields map[string]any

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

// strategySuite is a cluster of nodes over five simulated clusters.
type strategySuite struct {
	*Cluster
	// top is the test that the processes belong to.
	top    *testing.T
	sims   []*Sim
	byName map[string]*Sim
	wanted map[string]bool
	sent   int
}

func newStrategySuite(t *testing.T) *strategySuite {
	t.Helper()
	s := &strategySuite{top: t, byName: map[string]*Sim{}, wanted: map[string]bool{}}
	var urls []any
	for _, cluster := range []struct {
		name     string
		protocol model.ClusterProtocol
	}{
		{"home", model.ProtocolHTTP}, {"other", model.ProtocolGRPC}, {"backup", model.ProtocolHTTP},
		{"http-1", model.ProtocolHTTP}, {"grpc-1", model.ProtocolGRPC},
	} {
		sim := NewSim(t, cluster.name, cluster.protocol, "--time-to-running", "50ms", "--journal-size", "1000000")
		s.sims, s.byName[cluster.name] = append(s.sims, sim), sim
		urls = append(urls, sim.BaseURL())
	}
	path := filepath.Join(dataDir(t), "config.yaml")
	if err := os.WriteFile(path, []byte(fmt.Sprintf(suiteConfig, urls...)), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Cluster = NewCluster(t, 3, "--config", path)
	mustPut(t, s.Cluster, s.Nodes[0], "shop")
	for _, protocol := range suiteProtocols {
		s.create(t, "anchor-"+protocol, fields{"target_envs": []string{protocol + "-1"}})
	}
	s.settled(t)
	return s
}

func (s *strategySuite) send(t *testing.T, method, path, body string) {
	t.Helper()
	s.sent++
	mustSend(t, s.Cluster, s.Nodes[s.sent%len(s.Nodes)], method, path, body)
}

func document(t *testing.T, key string, wish fields) string {
	t.Helper()
	all := maps.Clone(wish)
	all["key"], all["package_name"], all["class_key"] = key, "shop", "A"
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (s *strategySuite) create(t *testing.T, key string, wish fields) {
	t.Helper()
	s.send(t, http.MethodPost, "/api/v1/deployments", document(t, key, wish))
	s.wanted[key] = true
}

func (s *strategySuite) update(t *testing.T, key string, wish fields) {
	t.Helper()
	s.send(t, http.MethodPut, "/api/v1/deployments/"+key, document(t, key, wish))
}

func (s *strategySuite) remove(t *testing.T, key string) {
	t.Helper()
	s.send(t, http.MethodDelete, "/api/v1/deployments/"+key, "")
	delete(s.wanted, key)
}

// settled waits until the clusters hold exactly what is recorded and planned.
func (s *strategySuite) settled(t *testing.T) {
	t.Helper()
	waitFor(t, strategyLimit, "the clusters hold exactly what is planned", func() error {
		return checkFleet(s.Cluster, s.sims, s.wanted)
	})
}

// fail has clusters fail, or no longer.
func (s *strategySuite) fail(t *testing.T, faults, schedule string, names ...string) {
	t.Helper()
	for _, name := range names {
		err := s.byName[name].SetFaults(faults)
		if faults == "" {
			err = s.byName[name].control(http.MethodPut, "/sim/schedule", schedule, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func (s *strategySuite) deployment(key string) (d model.Deployment, err error) {
	return d, getJSON(s.Cluster, s.Nodes[0], "/api/v1/deployments/"+key, &d)
}

func (s *strategySuite) units(key string) (units []model.UnitStatus, err error) {
	return units, getJSON(s.Cluster, s.Nodes[0], "/api/v1/deployments/"+key+"/units", &units)
}

// held are the ids of the units that the clusters hold, as cluster/unit, by
// deployment where that is known.
func (s *strategySuite) held() (map[string]bool, error) {
	held := map[string]bool{}
	for _, sim := range s.sims {
		units, err := sim.Units()
		if err != nil {
			return nil, err
		}
		for _, u := range units {
			held[sim.Name+"/"+u.Unit.ID] = true
		}
	}
	return held, nil
}

// placesOf are the clusters that a deployment is placed in, sorted.
func placesOf(d model.Deployment) (names []string) {
	for _, place := range d.PlacedOn {
		names = append(names, place.Cluster)
	}
	slices.Sort(names)
	return names
}

func unitIDs(units []model.UnitStatus) (ids []string) {
	for _, u := range units {
		ids = append(ids, u.Cluster+"/"+u.ID)
	}
	slices.Sort(ids)
	return ids
}

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
// after the other, over one set of processes.
func TestStrategiesAndTransitionsWhileClustersFail(t *testing.T) {
	t.Parallel()
	s := newStrategySuite(t)
	for _, failure := range suiteFailures {
		t.Run(failure.name, func(t *testing.T) { s.runFailure(t, failure.name, failure.faults, failure.schedule) })
	}
	t.Run("no older leader was heeded", func(t *testing.T) {
		for _, sim := range s.sims {
			checkTerms(t, sim, 0)
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
	before := map[string][]string{}
	for key := range s.wanted {
		units, err := s.units(key)
		if err != nil {
			t.Fatal(err)
		}
		before[key] = unitIDs(units)
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
		return s.goesOn(name, before)
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
	for _, transition := range suiteTransitions {
		t.Run(transition, func(t *testing.T) {
			each(func(strategy, protocol string, _, _ fields) {
				t.Run(strategy+" over "+protocol, func(t *testing.T) {
					s.check(t, suiteKey(name, strategy, transition, protocol), transition, protocol+"-1", before)
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
	waitFor(t, strategyLimit, "everything is as if nothing had failed", func() (err error) {
		each(func(strategy, protocol string, _, _ fields) {
			key := suiteKey(failure, strategy, "create", protocol)
			d, lookErr := s.deployment(key)
			if err = errors.Join(err, lookErr); err == nil && !slices.Contains(placesOf(d), protocol+"-1") {
				err = fmt.Errorf("%s is in %v, want it to use %s-1", key, placesOf(d), protocol)
			}
		})
		if err != nil {
			return err
		}
		return checkFleet(s.Cluster, s.sims, s.wanted)
	})
}

// goesOn tells what is not done of all that does not depend on the clusters that
// fail.
func (s *strategySuite) goesOn(failure string, before map[string][]string) (err error) {
	held, err := s.held()
	if err != nil {
		return err
	}
	each(func(strategy, protocol string, _, _ fields) {
		if err != nil {
			return
		}
		for _, transition := range []string{"create", "move"} {
			err = errors.Join(err, s.runsElsewhere(suiteKey(failure, strategy, transition, protocol), protocol+"-1", transition == "move"))
		}
		for _, id := range before[suiteKey(failure, strategy, "delete", protocol)] {
			if held[id] && !strings.HasPrefix(id, protocol+"-1/") {
				err = errors.Join(err, fmt.Errorf("%s is not deleted", id))
			}
		}
	})
	return err
}

// runsElsewhere tells whether a deployment's units outside a cluster run; left: it
// must not be placed there.
func (s *strategySuite) runsElsewhere(key, broken string, left bool) error {
	d, err := s.deployment(key)
	if err != nil {
		return err
	}
	units, err := s.units(key)
	if err != nil {
		return err
	}
	for _, name := range placesOf(d) {
		switch {
		case name == broken && left:
			return fmt.Errorf("%s is still placed in %s", key, broken)
		case name == broken:
		case !slices.ContainsFunc(units, func(u model.UnitStatus) bool { return u.Cluster == name && u.Phase == model.UnitRunning }):
			return fmt.Errorf("%s does not run in %s", key, name)
		}
	}
	if d.ObservedGeneration != d.Generation {
		return fmt.Errorf("%s was not looked at", key)
	}
	return nil
}

// check asserts what became of a deployment, once everything has settled.
func (s *strategySuite) check(t *testing.T, key, transition, broken string, before map[string][]string) {
	t.Helper()
	if transition == "delete" {
		if status, _, err := s.Get(s.Nodes[0], "/api/v1/deployments/"+key); err != nil || status != http.StatusNotFound {
			t.Errorf("got status %d, %v, want it gone", status, err)
		}
		return
	}
	d, err := s.deployment(key)
	if err != nil {
		t.Fatal(err)
	}
	units, err := s.units(key)
	if err != nil {
		t.Fatal(err)
	}
	now, uses := unitIDs(units), slices.Contains(placesOf(d), broken)
	switch transition {
	case "create":
		if !uses {
			t.Errorf("got it in %v, want it to use %s, which is well", placesOf(d), broken)
		}
	case "change":
		if !uses || slices.ContainsFunc(now, func(id string) bool { return slices.Contains(before[key], id) }) {
			t.Errorf("got units %v, want none of %v, and %s used", now, before[key], broken)
		}
	case "move":
		if uses {
			t.Errorf("got it in %v, want it away from %s", placesOf(d), broken)
		}
	case "leave alone":
		if !slices.Equal(now, before[key]) {
			t.Errorf("got units %v, want still %v", now, before[key])
		}
	}
}
