package httpapi_test

import (
	"strings"
	"testing"

	"github.com/oprc/oprc-pm/httpapi"
	"github.com/oprc/oprc-pm/internal/testcluster"
	"github.com/oprc/oprc-pm/storage"
)

const controlPlane = "/api/v1/cluster"

// A driver without servers of its own says so.
func TestControlPlaneNeedsServers(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	for _, c := range []call{
		{"GET", controlPlane + "/health", "", nil},
		{"POST", controlPlane + "/leave", "", nil},
		{"POST", controlPlane + "/members/n1/remove", "", nil},
		{"POST", controlPlane + "/transfer-leader", "{}", nil},
		{"POST", controlPlane + "/join", `{"addrs":["h:1"]}`, nil},
	} {
		got := a.must(a.do(c), 412)
		if code := decode[errorBody](t, got.body).Code; code != "failed_precondition" {
			t.Errorf("%s %s: code %s", c.method, c.path, code)
		}
	}
}

// Requests about the servers of a cluster of one, which refuses most of them.
func TestControlPlane(t *testing.T) {
	// The HTTP server's clock, once started, is not the cluster's to clean up.
	clock := start(t, options{})
	clock.must(clock.get("/livez"), 200)
	c := testcluster.New(t, 1)
	node := c.Node(0)
	a := start(t, options{deps: func(d *httpapi.Deps) { d.Admin, d.NodeName = node, "node-0" }})
	var state storage.ClusterState
	testcluster.Wait(t, "the leader to know itself", func() error {
		state = decode[storage.ClusterState](t, a.must(a.get(controlPlane+"/health"), 200).body)
		return nil
	})
	if len(state.Servers) != 1 || state.Servers[0].Name != "node-0" || state.Voters != 1 || state.FailureTolerance != 0 || state.Leader != node.ID() {
		t.Errorf("health = %+v", state)
	}
	for _, tt := range []struct {
		path, body string
		status     int
		field      string
	}{
		{"/leave", "", 412, "last voter"},
		{"/leave?force=perhaps", "", 400, "force"},
		{"/members/node-0/remove?force=true", "", 412, "last voter"},
		{"/members/nobody/remove", "", 404, "nobody"},
		{"/members/a%2fb/remove", "", 400, "name"},
		{"/members/node-0/remove?force=x", "", 400, "force"},
		{"/transfer-leader", `{"to":"nobody"}`, 404, "nobody"},
		{"/transfer-leader", `{"to":7}`, 400, "body"},
		{"/transfer-leader", `{"who":"n"}`, 400, "who"},
		{"/transfer-leader", `{"to":"n"} {}`, 400, "body"},
		{"/transfer-leader", `{"to":"node-0"}`, 200, "transferred"},
		{"/join", `{}`, 400, "addrs"},
		{"/join", `{"addrs":["a b"]}`, 400, "addrs"},
		{"/join", `{"addrs":["http://h:1"]}`, 400, "addrs"},
		{"/join", `{"addrs":["127.0.0.1:1"]}`, 503, "127.0.0.1:1"},
	} {
		got := a.do(call{"POST", controlPlane + tt.path, tt.body, nil})
		if got.status != tt.status || !strings.Contains(string(got.body), tt.field) {
			t.Errorf("%s %s: status %d, want %d, naming %s: %s", tt.path, tt.body, got.status, tt.status, tt.field, got.body)
		}
	}
	select {
	case <-node.Left():
		t.Error("the node left")
	default:
	}
}
