package testproc

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/model"
)

// strategyLimit is how long anything of the suite may take; on a busy machine that
// is much longer than it should.
const strategyLimit = 60 * time.Second

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
	all := fields{"key": key, "package_name": "shop", "class_key": "A"}
	maps.Copy(all, wish)
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
		return checkFleet(s.Cluster, s.Nodes[0], s.sims, s.wanted)
	})
}

// fleet is what the clusters hold and what is recorded.
func (s *strategySuite) fleet() (fleet, error) { return readFleet(s.Cluster, s.Nodes[0], s.sims) }

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
	err = s.GetJSON(s.Nodes[0], "/api/v1/deployments/"+key, &d)
	return d, err
}

func (s *strategySuite) units(key string) (units []model.UnitStatus, err error) {
	err = s.GetJSON(s.Nodes[0], "/api/v1/deployments/"+key+"/units", &units)
	return units, err
}

// placesOf are the clusters that a deployment is placed in, sorted.
func placesOf(d model.Deployment) (names []string) {
	for _, place := range d.PlacedOn {
		names = append(names, place.Cluster)
	}
	slices.Sort(names)
	return names
}
