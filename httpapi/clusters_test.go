package httpapi_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/crm/sim"
	"github.com/oprc/oprc-pm/httpapi"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// hungServer accepts connections and says nothing, for as long as the test runs.
func hungServer(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var open []net.Conn
		for {
			conn, err := listener.Accept()
			if err != nil {
				break
			}
			open = append(open, conn)
		}
		for _, conn := range open {
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-ended
	})
	return "http://" + listener.Addr().String()
}

// refusedURL is where nobody listens.
func refusedURL(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return "http://" + listener.Addr().String()
}

// subset checks that got holds all that want does, and allows more members.
func subset(t testing.TB, path string, want, got any) {
	t.Helper()
	switch want := want.(type) {
	case map[string]any:
		object, ok := got.(map[string]any)
		if !ok {
			t.Errorf("%s: got %v, want an object", path, got)
			return
		}
		for name, value := range want {
			member, there := object[name]
			if !there {
				t.Errorf("%s.%s is missing", path, name)
				continue
			}
			subset(t, path+"."+name, value, member)
		}
	case []any:
		list, ok := got.([]any)
		if !ok || len(list) != len(want) {
			t.Errorf("%s: got %v, want %v", path, got, want)
			return
		}
		for i := range want {
			subset(t, fmt.Sprintf("%s[%d]", path, i), want[i], list[i])
		}
	default:
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
}

// TestClusterShapes holds clusters and environments to the shapes that existing
// clients read.
func TestClusterShapes(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	a.addCluster("edge-1", "http://127.0.0.1:1")
	a.addCluster("edge-2", "http://127.0.0.1:2")
	a.setHealth("edge-1", model.ClusterHealthy, func(h *model.ClusterHealth) { h.ClusterName, h.CRMVersion = "oaas-ns", ptr("0.1.0") })
	one := `{"cluster_name":"oaas-ns","status":"Healthy","crm_version":"0.1.0","node_count":3,"ready_nodes":3,"availability":0.99}`
	two := `{"cluster_name":"edge-2","status":"Unknown","crm_version":null,"node_count":null,"ready_nodes":null,"availability":null}`
	list := `[{"name":"edge-1","health":` + one + `,"labels":{"zone":"z-edge-1"},"managed_by":"api","units":0,"protocol":"http","weight":100},{"name":"edge-2","health":` + two + `}]`
	for path, want := range map[string]string{
		"/api/v1/envs":                   list,
		clusters:                         list,
		clusters + "?consistency=stale":  list,
		clusters + "?min_index=2":        list,
		"/api/v1/envs/health":            "[" + one + "," + two + "]",
		"/api/v1/envs/edge-1/health":     one,
		"/api/v1/clusters/edge-2/health": two,
		clusters + "/edge-1":             `{"name":"edge-1","base_url":"http://127.0.0.1:1","health":` + one + `,"units":0}`,
	} {
		got := a.must(a.get(path), 200)
		subset(t, path, decode[any](t, []byte(want)), decode[any](t, got.body))
		if got.header.Get("X-Oprc-Index") == "" {
			t.Errorf("%s: X-Oprc-Index is missing", path)
		}
		// The answer is from memory, also where the leader is out of reach.
		if got.header.Get("X-Oprc-Last-Contact-Ms") != "0" {
			t.Errorf("%s: X-Oprc-Last-Contact-Ms %q, want 0", path, got.header.Get("X-Oprc-Last-Contact-Ms"))
		}
	}
	a.must(a.get("/api/v1/envs/none/health"), 404)
	a.must(a.get(clusters+"/none"), 404)
}

func TestClusterLifecycle(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	word := func(got answer) string { t.Helper(); return decode[map[string]any](t, got.body)["status"].(string) }
	created := a.must(a.do(call{"POST", clusters, `{"name":"edge-1","url":"http://crm:8088"}`, nil}), 201)
	if word(created) != "created" || created.header.Get("ETag") == "" {
		t.Errorf("created: %s, ETag %q", created.body, created.header.Get("ETag"))
	}
	a.must(a.do(call{"POST", clusters, `{"name":"edge-1","url":"http://crm:8088"}`, nil}), 409)
	// What was written can be read here at once.
	if got := names(t, a.must(a.get(clusters), 200).body); !cmp.Equal(got, []string{"edge-1"}) {
		t.Errorf("list after create: %v", got)
	}
	changed := `{"name":"edge-1","base_url":"http://crm:9000","weight":50}`
	a.must(a.do(call{"PUT", clusters + "/edge-1", changed, []string{`If-Match: "77"`}}), 412)
	if got := word(a.must(a.do(call{"PUT", clusters + "/edge-1", changed, []string{"If-Match: " + created.header.Get("ETag")}}), 200)); got != "updated" {
		t.Errorf("put: %s", got)
	}
	if got := word(a.must(a.do(call{"PUT", clusters + "/edge-1", changed, nil}), 200)); got != "unchanged" {
		t.Errorf("put again: %s", got)
	}
	// What is read can be written again, strictly.
	read := a.must(a.get(clusters+"/edge-1"), 200)
	if got := word(a.must(a.do(call{"PUT", clusters + "/edge-1?strict=true", string(read.body), nil}), 200)); got != "unchanged" {
		t.Errorf("put of what was read: %s", got)
	}
	if got := word(a.must(a.do(call{"PUT", clusters + "/edge-2", `{"name":"edge-2","base_url":"http://crm:1"}`, nil}), 201)); got != "created" {
		t.Errorf("put of a new one: %s", got)
	}
	a.must(a.do(call{"DELETE", clusters + "/edge-2", "", nil}), 204)
	a.must(a.get(clusters+"/edge-2"), 404)
	a.must(a.do(call{"DELETE", clusters + "/edge-2", "", nil}), 404)
}

// TestDeletionOfConfiguredClusterWarns: what the configuration names is registered
// again by the next leader.
func TestDeletionOfConfiguredClusterWarns(t *testing.T) {
	t.Parallel()
	a := start(t, options{deps: func(d *httpapi.Deps) {
		d.Configured = func(cluster string) bool { return cluster == "mine" }
	}})
	for _, name := range []string{"mine", "other"} {
		a.must(a.do(call{"PUT", clusters + "/" + name, `{"name":"` + name + `","base_url":"http://crm:1"}`, nil}), 201)
	}
	got := decode[map[string]any](t, a.must(a.do(call{"DELETE", clusters + "/mine", "", nil}), 200).body)
	if text, _ := got["message"].(string); got["status"] != "deleted" || !strings.Contains(text, "it comes back when") {
		t.Errorf("answer %v, want status deleted and a warning", got)
	}
	a.must(a.get(clusters+"/mine"), 404)
	a.must(a.do(call{"DELETE", clusters + "/mine", "", nil}), 404)
	a.must(a.do(call{"DELETE", clusters + "/other", "", nil}), 204)
}

func TestCordonAndDrain(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	a.addCluster("edge-1", "http://crm:1")
	a.apply(putClusterOfConfig(t, "conf-1"))
	for _, name := range []string{"edge-1", "conf-1"} {
		for _, step := range []struct {
			action, word       string
			cordoned, draining bool
		}{
			{"cordon", "cordoned", true, false}, {"cordon", "unchanged", true, false}, {"drain", "draining", true, true},
			{"uncordon", "uncordoned", false, false}, {"uncordon", "unchanged", false, false}, {"drain", "draining", false, true},
		} {
			got := a.must(a.do(call{"POST", clusters + "/" + name + "/" + step.action, "", nil}), 200)
			if word := decode[map[string]any](t, got.body)["status"]; word != step.word {
				t.Errorf("%s %s: %v, want %s", step.action, name, word, step.word)
			}
			c := decode[model.Cluster](t, a.must(a.get(clusters+"/"+name), 200).body)
			if c.Cordoned != step.cordoned || c.Draining != step.draining {
				t.Errorf("after %s: cordoned %v draining %v", step.action, c.Cordoned, c.Draining)
			}
		}
	}
	if c := decode[model.Cluster](t, a.get(clusters+"/conf-1").body); c.ManagedBy != model.ManagedByConfig {
		t.Errorf("conf-1 is managed by %q, want config", c.ManagedBy)
	}
	a.must(a.do(call{"POST", clusters + "/edge-1/cordon", "", []string{`If-Match: "1"`}}), 412)
	a.must(a.do(call{"POST", clusters + "/none/drain", "", nil}), 404)
	a.must(a.do(call{"POST", clusters + "/none/drain", "", []string{"If-Match: *"}}), 412)
	// A key makes the change once, and its repetition is no conflict.
	for range 3 {
		a.must(a.do(call{"POST", clusters + "/edge-1/cordon", "", []string{"Idempotency-Key: k1"}}), 200)
	}
}

func putClusterOfConfig(t *testing.T, name string) storage.PutCluster {
	t.Helper()
	document, err := model.EncodeCluster(model.Cluster{Name: name, BaseURL: "http://" + name, Protocol: model.ProtocolHTTP, ManagedBy: model.ManagedByConfig})
	if err != nil {
		t.Fatal(err)
	}
	return storage.PutCluster{Name: name, Document: document, ManagedBy: model.ManagedByConfig}
}

// A cluster of the configuration can be cordoned and drained by people, and
// nothing else.
func TestClusterOfTheConfiguration(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	a.apply(putClusterOfConfig(t, "conf-1"))
	body := func(members string) string { return `{"name":"conf-1","base_url":"http://conf-1"` + members + `}` }
	got := a.must(a.do(call{"PUT", clusters + "/conf-1", body(`,"weight":7`), nil}), 409)
	if !strings.Contains(string(got.body), "managed by the configuration") {
		t.Errorf("refusal: %s", got.body)
	}
	a.must(a.do(call{"PUT", clusters + "/conf-1", body(`,"cordoned":true`), nil}), 200)
	a.must(a.do(call{"PUT", clusters + "/conf-1", body(""), nil}), 200)
	c := decode[model.Cluster](t, a.must(a.get(clusters+"/conf-1"), 200).body)
	if c.Cordoned || c.ManagedBy != model.ManagedByConfig {
		t.Errorf("afterwards: %+v", c)
	}
}

// Also a cluster that is drained is kept while deployments name it: they would
// lose what stands in for it.
func TestDeleteClusterThatDeploymentsName(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	a.addCluster("edge-1", "http://crm:1")
	a.addCluster("edge-2", "http://crm:2")
	a.must(a.putPackage("shop"), 201)
	for i := range 7 {
		a.putDeployment(fmt.Sprintf("d%d", i), "shop", "edge-1", "edge-2")
	}
	got := a.must(a.do(call{"DELETE", clusters + "/edge-1", "", nil}), 409)
	if want := "named in target_envs by d0, d1, d2, d3, d4 and 2 more: take it off them first"; !strings.Contains(string(got.body), want) {
		t.Errorf("got %s, want %q", got.body, want)
	}
	for i := range 6 {
		a.must(a.do(call{"DELETE", fmt.Sprintf("%s/d%d?cluster=edge-1", deps, i), "", nil}), 200)
	}
	a.must(a.do(call{"DELETE", clusters + "/edge-1", "", nil}), 409)
	a.must(a.do(call{"DELETE", deps + "/d6", "", nil}), 200)
	a.must(a.do(call{"DELETE", clusters + "/edge-1", "", nil}), 204)
	a.must(a.do(call{"DELETE", clusters + "/edge-1", "", nil}), 404)
	a.must(a.do(call{"DELETE", clusters + "/edge-2?force=true", "", nil}), 204)
}

func TestDeleteClusterWithUnits(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	a.addCluster("edge-1", "http://crm:1")
	a.must(a.putPackage("shop"), 201)
	a.putDeployment("shop.K", "shop", "edge-1")
	a.record(storage.RecordUnitStatus{Deployment: "shop.K", Generation: 1, Put: []model.UnitStatus{
		{ID: "k-1", DeploymentKey: "shop.K", Cluster: "edge-1", Generation: 1, Phase: model.UnitRunning},
	}})
	got := a.must(a.get(clusters+"/edge-1/units"), 200)
	if units := decode[[]model.UnitStatus](t, got.body); len(units) != 1 || units[0].ID != "k-1" {
		t.Errorf("units of the cluster: %s", got.body)
	}
	a.must(a.do(call{"DELETE", clusters + "/edge-1", "", nil}), 409)
	a.must(a.do(call{"DELETE", clusters + "/edge-1?force=true", "", nil}), 204)
	a.must(a.get(clusters+"/edge-1/units"), 404)
	if units := decode[[]model.UnitStatus](t, a.must(a.get(deps+"/shop.K/units"), 200).body); len(units) != 0 {
		t.Errorf("units of the deployment after a forced delete: %+v", units)
	}
}

// A fresh probe is made when it is asked for; a hung CRM delays it no longer
// than its own deadline, and the others not at all.
func TestRefresh(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	good := sim.StartFor(t, sim.Config{Name: "good-ns", Nodes: 5})
	a.addCluster("good", good.URL())
	a.addCluster("hung", hungServer(t))
	a.addCluster("refused", refusedURL(t))
	began := time.Now()
	list := decode[[]model.ClusterInfo](t, a.must(a.get(clusters+"?refresh=true"), 200).body)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
	var got []string
	for _, c := range list {
		got = append(got, c.Name+" "+c.Health.Status)
	}
	if diff := cmp.Diff([]string{"good Healthy", "hung Unhealthy", "refused Unhealthy"}, got); diff != "" {
		t.Errorf("fresh health (-want +got):\n%s", diff)
	}
	health := decode[model.ClusterHealth](t, a.must(a.get("/api/v1/envs/good/health?refresh=true"), 200).body)
	if health.Status != model.ClusterHealthy || health.NodeCount == nil || *health.NodeCount != 5 {
		t.Errorf("fresh health of one: %+v", health)
	}
	if one := decode[model.Cluster](t, a.must(a.get(clusters+"/good?refresh=true"), 200).body); one.Health == nil || one.Health.Status != model.ClusterHealthy {
		t.Errorf("fresh cluster: %+v", one.Health)
	}
	// Without being asked, nobody is asked.
	if health := decode[model.ClusterHealth](t, a.must(a.get("/api/v1/envs/good/health"), 200).body); health.Status != model.ClusterUnknown {
		t.Errorf("health from memory: %+v", health)
	}
}
