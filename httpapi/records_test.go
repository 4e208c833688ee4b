package httpapi_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/crm/sim"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

const (
	recordsPath  = "/api/v1/deployment-records"
	runtimesPath = "/api/v1/class-runtimes"
	statusPath   = "/api/v1/deployment-status"
)

// fieldRecord is a record as CRMs in the field write it.
const fieldRecord = `{"id":"cart-k3x9a0bz","deployment_unit_id":"cart-k3x9a0bz","package_name":"shop","class_key":"shop.Cart",
 "target_environment":"oaas-ns","cluster_name":"oaas-ns",
 "status":{"condition":"Running","phase":"RUNNING","message":"Available","last_updated":"2026-01-02T03:04:05+00:00",
   "functions":[{"function_key":"Cart.add","service":"cart-k3x9a0bz","port":80,"predicted_url":"http://cart-k3x9a0bz:80/",
     "observed_url":null,"template":"k8s_deployment","ready":true,"reason":null,"message":null,"last_transition_time":null}]},
 "nfr_compliance":null,
 "resource_refs":[{"kind":"Service","name":"cart-k3x9a0bz","namespace":"oaas-ns","uid":null}],
 "created_at":"2026-01-02T03:00:00Z","updated_at":"2026-01-02T03:00:00Z"}`

// fieldCRM answers as a CRM in the field does.
func fieldCRM(t testing.TB) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case strings.HasSuffix(r.URL.Path, "/deployment-records"):
			_, _ = w.Write([]byte("[" + fieldRecord + "]"))
		case strings.HasSuffix(r.URL.Path, "/deployment-records/cart-k3x9a0bz"):
			_, _ = w.Write([]byte(fieldRecord))
		case strings.Contains(r.URL.Path, "cart-k3x9a0bz"):
			_, _ = w.Write([]byte(`{"id":"cart-k3x9a0bz","status":"Running","phase":"Unknown","message":"Available","last_updated":"2026-01-02T03:04:05.1+00:00"}`))
		default:
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"error":"deployment not found"}`))
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// TestRecordShapes holds records, runtimes and statuses to the shapes that
// existing clients read.
func TestRecordShapes(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	a.addCluster("edge-1", fieldCRM(t))
	want := strings.NewReplacer(`"cluster_name":"oaas-ns"`, `"cluster_name":"edge-1"`, `"updated_at":"2026-01-02T03:00:00Z"}`, `"updated_at":"2026-01-02T03:00:00Z","partition_count":1}`).Replace(fieldRecord)
	for path, want := range map[string]string{
		runtimesPath: "[" + want + "]",
		recordsPath:  "[" + want + "]",
		runtimesPath + "?package_name=shop&class_key=Cart&environment=edge-1&status=running&cluster=edge-1": "[" + want + "]",
		runtimesPath + "?class_key=shop.Cart&environment=oaas-ns&status=RUNNING":                            "[" + want + "]",
		runtimesPath + "?package_name=other":                                                                "[]",
		runtimesPath + "?class_key=Other":                                                                   "[]",
		runtimesPath + "?environment=elsewhere":                                                             "[]",
		runtimesPath + "?status=Down":                                                                       "[]",
		runtimesPath + "?limit=0":                                                                           "[]",
		runtimesPath + "?offset=1":                                                                          "[]",
		runtimesPath + "?cluster=nowhere":                                                                   "[]",
		runtimesPath + "/cart-k3x9a0bz":                                                                     want,
		recordsPath + "/cart-k3x9a0bz?cluster=edge-1":                                                       want,
		recordsPath + "/cart-k3x9a0bz?env=edge-1&cluster=ignored":                                           want,
		statusPath + "/cart-k3x9a0bz":                                                                       `{"id":"cart-k3x9a0bz","status":"Running","phase":"Unknown","message":"Available","last_updated":"2026-01-02T03:04:05.1+00:00"}`,
	} {
		got := a.must(a.get(path), 200)
		if diff := cmp.Diff(decode[any](t, []byte(want)), decode[any](t, got.body)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
	a.must(a.get(runtimesPath+"/unheard-of"), 404)
	a.must(a.get(statusPath+"/unheard-of"), 404)
	for _, path := range []string{recordsPath + "?cluster=nowhere", recordsPath + "/x?cluster=nowhere", statusPath + "/x?env=nowhere"} {
		if body := decode[errorBody](t, a.must(a.get(path), 400).body); len(body.Problems) != 1 || body.Problems[0].Path != "cluster" {
			t.Errorf("%s: %+v", path, body)
		}
	}
}

// broken adds one cluster of each sort that does not answer as it should.
func (a *api) broken() {
	a.addCluster("hung", hungServer(a.t))
	a.addCluster("refused", refusedURL(a.t))
	garbage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"id": [[[ <html>`))
	}))
	a.t.Cleanup(garbage.Close)
	a.addCluster("garbage", garbage.URL)
}

// One hung, one refused and one garbage CRM keep nobody from what the others
// say, and the answer tells which are missing.
func TestRecordsArePartialAndSayWhoIsMissing(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	a.addCluster("edge-1", fieldCRM(t))
	a.broken()
	for _, path := range []string{recordsPath, runtimesPath} {
		began := time.Now()
		got := a.must(a.get(path), 200)
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s took %s", path, took)
		}
		if records := decode[[]model.DeploymentRecord](t, got.body); len(records) != 1 {
			t.Errorf("%s: %s", path, got.body)
		}
		failed := got.header.Get("X-Oprc-Failed-Clusters")
		for _, name := range []string{"garbage=", "hung=timeout", "refused="} {
			if !strings.Contains(failed, name) {
				t.Errorf("%s: %s is not in %q", path, name, failed)
			}
		}
		if strings.Contains(failed, "edge-1") || got.header.Get("X-Oprc-Failed-Count") != "3" {
			t.Errorf("%s: failed %q, count %q", path, failed, got.header.Get("X-Oprc-Failed-Count"))
		}
	}
	// A unit that one cluster knows is found, whatever the others do.
	a.must(a.get(recordsPath+"/cart-k3x9a0bz"), 200)
	a.must(a.get(statusPath+"/cart-k3x9a0bz"), 200)
}

// When the only CRM that could tell does not, the status says why and the body
// names the cluster.
func TestFailedCRMsHaveTheirOwnStatus(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	a.broken()
	field := sim.StartFor(t, sim.Config{Name: "hung-grpc"})
	field.SetFaults(sim.Faults{Hang: true})
	a.must(a.do(call{"POST", clusters, fmt.Sprintf(`{"name":"hung-grpc","base_url":%q,"protocol":"grpc"}`, field.GRPCURL()), nil}), 201)
	for cluster, want := range map[string]struct {
		status int
		code   string
	}{
		"hung": {504, "cluster_timeout"}, "hung-grpc": {504, "cluster_timeout"}, "refused": {503, "cluster_unavailable"}, "garbage": {502, "cluster_failed"},
	} {
		for _, path := range []string{recordsPath + "?cluster=" + cluster, recordsPath + "/u-1?cluster=" + cluster, statusPath + "/u-1?env=" + cluster} {
			began := time.Now()
			got := a.must(a.get(path), want.status)
			body := decode[struct{ Error, Code, Cluster string }](t, got.body)
			if body.Code != want.code || body.Cluster != cluster || !strings.Contains(body.Error, cluster) {
				t.Errorf("%s: %s", path, got.body)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("%s took %s", path, took)
			}
		}
	}
	// Nobody knows the unit, but not everybody could be asked: that is not 404.
	if got := a.get(recordsPath + "/u-1"); got.status < 502 {
		t.Errorf("a unit that nobody knows while some do not answer: %d %s", got.status, got.body)
	}
}

// A cluster whose circuit is open is not asked: a list is not slowed by what is
// known to be down.
func TestRecordsSkipOpenCircuits(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	a.addCluster("edge-1", fieldCRM(t))
	a.addCluster("hung", hungServer(t))
	a.setHealth("hung", model.ClusterUnhealthy, func(h *model.ClusterHealth) { h.Circuit = model.CircuitOpen })
	began := time.Now()
	got := a.must(a.get(recordsPath), 200)
	if took := time.Since(began); took >= crmDeadline {
		t.Errorf("took %s, want less than the cluster's deadline", took)
	}
	if failed := got.header.Get("X-Oprc-Failed-Clusters"); failed != "hung=circuit_open" {
		t.Errorf("failed %q", failed)
	}
}

// The status of a deployment is answered by its key from what is recorded, and
// that of a unit by its CRM, by either id.
func TestDeploymentStatus(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	a.addCluster("edge-1", fieldCRM(t))
	a.must(a.putPackage("shop"), 201)
	a.putDeployment("shop.K", "shop", "edge-1")
	subset(t, "pending", map[string]any{"id": "shop.K", "status": "Pending", "phase": "PENDING", "message": nil},
		decode[any](t, a.must(a.get(statusPath+"/shop.K"), 200).body))
	at := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
	a.apply(storage.RecordUnitStatus{Deployment: "shop.K", Generation: 1, Put: []model.UnitStatus{
		{ID: "k-7", DeploymentKey: "shop.K", Cluster: "edge-1", Generation: 1, Phase: model.UnitDown, CRMID: "cart-k3x9a0bz", LastTransitionTime: at},
	}, Observed: &model.DeploymentObserved{ObservedGeneration: 1, Condition: model.DeploymentDown,
		Status: &model.DeploymentStatusSummary{ReplicationFactor: 1, LastError: "image cannot be pulled"}}})
	subset(t, "down", map[string]any{"id": "shop.K", "status": "Down", "phase": "DOWN", "message": "image cannot be pulled",
		"units": []any{map[string]any{"id": "k-7", "cluster": "edge-1"}}},
		decode[any](t, a.must(a.get(statusPath+"/shop.K"), 200).body))
	// The CRM knows the unit by an id of its own.
	for _, id := range []string{"k-7", "cart-k3x9a0bz"} {
		got := decode[model.CRMStatus](t, a.must(a.get(statusPath+"/"+id), 200).body)
		if got.ID != "cart-k3x9a0bz" || got.Status != "Running" {
			t.Errorf("status of %s: %+v", id, got)
		}
	}
}

// TestTopologyShape holds the topology to the shape that existing clients read.
func TestTopologyShape(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	a.addCluster("edge-1", fieldCRM(t))
	a.setHealth("edge-1", model.ClusterHealthy, nil)
	a.must(a.do(call{"POST", pkgs, `{"name":"shop","classes":[{"key":"Cart"}]}`, nil}), 201)
	a.must(a.do(call{"POST", deps, `{"key":"shop.Cart","package_name":"shop","class_key":"Cart","target_envs":["edge-1"],
	  "functions":[{"function_key":"Cart.add"}],"odgm":{"partition_count":4}}`, nil}), 200)
	a.apply(storage.RecordUnitStatus{Deployment: "shop.Cart", Generation: 1, Observed: &model.DeploymentObserved{ObservedGeneration: 1, Condition: model.DeploymentRunning}})
	want := `{"nodes":[{"id":"package::shop","node_type":"package","status":"healthy","metadata":{},"deployed_classes":[]},
    {"id":"class::Cart","node_type":"class","status":"healthy","metadata":{"package":"shop","partitions":"4"},"deployed_classes":["Cart"]},
    {"id":"function::Cart::Cart.add","node_type":"function","status":"healthy","metadata":{"class":"Cart"},"deployed_classes":[]},
    {"id":"env::edge-1","node_type":"environment","status":"healthy","metadata":{"name":"edge-1"},"deployed_classes":[]}],
   "edges":[{"from_id":"package::shop","to_id":"class::Cart","metadata":{}},
    {"from_id":"class::Cart","to_id":"function::Cart::Cart.add","metadata":{}},
    {"from_id":"class::Cart","to_id":"env::edge-1","metadata":{}}]}`
	for _, path := range []string{"/api/v1/topology", "/api/v1/topology?source=deployments", "/api/v1/topology?source=anything"} {
		got := decode[map[string]any](t, a.must(a.get(path), 200).body)
		if stamp, _ := got["timestamp"].(map[string]any); stamp["seconds"] == nil || stamp["nanos"] == nil {
			t.Errorf("%s: timestamp %v", path, got["timestamp"])
		}
		delete(got, "timestamp")
		if diff := cmp.Diff(decode[map[string]any](t, []byte(want)), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
	// A class of the same name in another package is another node.
	a.must(a.do(call{"POST", pkgs, `{"name":"toys","classes":[{"key":"Cart"}]}`, nil}), 201)
	a.must(a.do(call{"POST", deps, `{"key":"toys.Cart","package_name":"toys","class_key":"Cart","target_envs":["edge-1","mars"]}`, nil}), 200)
	graph := decode[model.TopologySnapshot](t, a.must(a.get("/api/v1/topology"), 200).body)
	states := map[string]string{}
	for _, node := range graph.Nodes {
		if states[node.ID] != "" {
			t.Errorf("node %s is there twice", node.ID)
		}
		states[node.ID] = node.Status
	}
	if states["class::toys.Cart"] != "degraded" || states["env::mars"] != "unknown" {
		t.Errorf("states: %v", states)
	}
	if got := a.get("/api/v1/topology?source=zenoh&cluster=nowhere"); got.status != 400 {
		t.Errorf("data plane of an unknown cluster: %d", got.status)
	}
	if got := a.get("/api/v1/topology?source=zenoh&cluster=edge-1"); got.status != 502 {
		t.Errorf("data plane of a CRM that knows none: %d %s", got.status, got.body)
	}
}
