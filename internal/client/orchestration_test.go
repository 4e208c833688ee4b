package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/model"
)

// Every call goes where the API expects it, with the parameters it stands for.
func TestOrchestrationCalls(t *testing.T) {
	t.Parallel()
	var got string
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = strings.TrimSpace(fmt.Sprintf("%s %s %s", r.Method, r.URL.RequestURI(), body))
		if r.Method == http.MethodGet && !strings.HasSuffix(r.URL.Path, "/plan") && r.URL.Path != "/api/v1/clusters/a" {
			answer(w, http.StatusOK, "[]")
			return
		}
		answer(w, http.StatusOK, `{"id":"x","status":"done","revision":3}`)
	})
	c := newClient(t, nil, server)
	ctx := t.Context()
	cluster := model.Cluster{Name: "a", BaseURL: "http://crm", Protocol: model.ProtocolHTTP}
	const clusterBody = `{"name":"a","base_url":"http://crm","protocol":"http"}`
	for _, test := range []struct {
		name string
		call func() error
		want string
	}{
		{"get cluster", func() error { _, err := c.GetCluster(ctx, "a"); return err }, "GET /api/v1/clusters/a"},
		{"create cluster", func() error { _, err := c.CreateCluster(ctx, cluster, WriteOptions{}); return err }, "POST /api/v1/clusters " + clusterBody},
		{"put cluster", func() error { _, err := c.PutCluster(ctx, cluster, WriteOptions{}); return err }, "PUT /api/v1/clusters/a " + clusterBody},
		{"delete cluster", func() error { _, err := c.DeleteCluster(ctx, "a", WriteOptions{}); return err }, "DELETE /api/v1/clusters/a"},
		{"delete cluster by force", func() error { _, err := c.DeleteCluster(ctx, "a", WriteOptions{Force: true}); return err }, "DELETE /api/v1/clusters/a?force=true"},
		{"cordon", func() error { _, err := c.ActOnCluster(ctx, "a/b", Cordon, WriteOptions{}); return err }, "POST /api/v1/clusters/a%2Fb/cordon"},
		{"drain", func() error { _, err := c.ActOnCluster(ctx, "a", Drain, WriteOptions{}); return err }, "POST /api/v1/clusters/a/drain"},
		{"units of a cluster", func() error {
			_, _, err := c.ListClusterUnits(ctx, "a", url.Values{"min_index": {"7"}})
			return err
		}, "GET /api/v1/clusters/a/units?min_index=7"},
		{"pause", func() error { _, err := c.ActOnDeployment(ctx, "d", Pause, WriteOptions{}); return err }, "POST /api/v1/deployments/d/pause"},
		{"rollback", func() error {
			r, err := c.Rollback(ctx, "d", 3, WriteOptions{})
			if err == nil && r.Revision != 3 {
				err = fmt.Errorf("revision %d", r.Revision)
			}
			return err
		}, `POST /api/v1/deployments/d/rollback {"revision":3}`},
		{"revisions", func() error { _, err := c.ListRevisions(ctx, "d"); return err }, "GET /api/v1/deployments/d/revisions"},
		{"events", func() error { _, err := c.ListEvents(ctx, url.Values{"kind": {"cluster"}}); return err }, "GET /api/v1/events?kind=cluster"},
		{"plan of a stored deployment", func() error { _, err := c.GetPlan(ctx, "d"); return err }, "GET /api/v1/deployments/d/plan"},
		{"delete from one cluster", func() error {
			_, err := c.DeleteDeployment(ctx, "d", WriteOptions{Cluster: "a"})
			return err
		}, "DELETE /api/v1/deployments/d?cluster=a"},
	} {
		if err := test.call(); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

// A package is planned together with the deployments that go with it.
func TestPlanPackageSendsItsDeployments(t *testing.T) {
	t.Parallel()
	var query string
	var sent struct {
		Name        string
		Deployments []model.Deployment
	}
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		query = r.URL.RawQuery
		if err := json.NewDecoder(r.Body).Decode(&sent); err != nil {
			t.Error(err)
		}
		answer(w, http.StatusOK, `{"id":"shop","would":"update","deployments":[{"id":"d","would":"roll"}],"plans":[{"id":"d","would":"roll","units":[{"id":"u"}]}],"omitted":2}`)
	})
	c := newClient(t, nil, server)
	planned, err := c.PlanPackage(t.Context(), model.Package{Name: "shop"}, []model.Deployment{{Key: "d", PackageName: "shop", ClassKey: "C"}}, true)
	if err != nil {
		t.Fatal(err)
	}
	if query != "apply_deployments=true&dry_run=true&force=true" || sent.Name != "shop" || len(sent.Deployments) != 1 || sent.Deployments[0].Key != "d" {
		t.Errorf("sent %+v with %s", sent, query)
	}
	if planned.Would != "update" || planned.Omitted != 2 || !planned.Deployments[0].Changed() || planned.Plans[0].Units[0].ID != "u" {
		t.Errorf("got %+v", planned)
	}
	if _, err := c.PlanDeployment(t.Context(), model.Deployment{Key: "d"}); err != nil || query != "dry_run=true" {
		t.Errorf("plan of a deployment: %v, query %s", err, query)
	}
}

// A partial list says which clusters it lacks.
func TestFailedClusters(t *testing.T) {
	t.Parallel()
	for header, want := range map[[2]string][]FailedCluster{
		{"", ""}:                  nil,
		{"a=timeout,b=busy", "2"}: {{"a", "timeout"}, {"b", "busy"}},
		{"a=timeout", "3"}:        {{"a", "timeout"}, {Name: "2 more"}},
		{"garbage", "x"}:          nil,
	} {
		server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Oprc-Failed-Clusters", header[0])
			w.Header().Set("X-Oprc-Failed-Count", header[1])
			answer(w, http.StatusOK, "[]")
		})
		list, err := newClient(t, nil, server).ListRaw(t.Context(), Resource(Records), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, list.Failed); diff != "" {
			t.Errorf("%v (-want +got):\n%s", header, diff)
		}
	}
}

// What a cluster's CRM did wrong is told with the cluster's name, and not tried
// again: the server has waited for the CRM already.
func TestClusterErrors(t *testing.T) {
	t.Parallel()
	asked := 0
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		asked++
		answer(w, http.StatusGatewayTimeout, `{"error":"cluster edge-1: no answer in time","code":"cluster_timeout","cluster":"edge-1"}`)
	})
	_, _, err := newClient(t, nil, server).GetRaw(t.Context(), Resource(Records, "u"), nil)
	var answered *Error
	if model.CodeOf(err) != model.CodeClusterTimeout || asked != 1 {
		t.Errorf("%v after %d requests", err, asked)
	}
	if !errors.As(err, &answered) || answered.Cluster != "edge-1" {
		t.Errorf("cluster is not told: %+v", answered)
	}
}
