package testproc

import (
	"fmt"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/internal/testetcd"
	"github.com/oprc/oprc-pm/model"
)

// TestEtcd runs two nodes over an etcd: the example reaches RUNNING, the leader is
// killed, the other one leads and dispatches, and the first comes back without a disk.
func TestEtcd(t *testing.T) {
	t.Parallel()
	servers := testetcd.Start(t, 1)
	var sims []*Sim
	for _, name := range []string{"oaas-1", "oaas-2"} {
		sims = append(sims, NewSim(t, name, model.ProtocolHTTP, "--latency", "20ms", "--time-to-running", "200ms"))
	}
	config := fmt.Sprintf("storage:\n  type: etcd\n  etcd:\n    endpoints: [%s]\n    session_ttl: 2s\ncrm:\n  clusters:\n", servers.Endpoints()[0])
	for _, s := range sims {
		config += fmt.Sprintf("    %s:\n      base_url: %s\n", s.Name, s.BaseURL())
	}
	path := t.TempDir() + "/config.yaml"
	mustWrite(t, path, config)
	c := NewCluster(t, 2, "--config", path)
	leader := c.Leader(t, 20*time.Second)
	other := c.Nodes[1-leader.Index]

	example, err := filepath.Abs("../../deploy/examples/echo.yml")
	if err != nil {
		t.Fatal(err)
	}
	// Through the node that does not lead.
	apply := Start(t, "apply", c.dir, "apply", "-f", example, "--server", other.URL(""))
	if code := apply.Wait(t, 30*time.Second); code != 0 {
		t.Fatalf("apply ended with %d: %s", code, apply.Log())
	}
	waitRunning(t, c, other)
	var health struct {
		Storage struct {
			Details struct {
				Etcd []struct {
					Reachable bool   `json:"reachable"`
					Version   string `json:"version"`
				} `json:"etcd"`
			} `json:"details"`
		} `json:"storage"`
	}
	waitFor(t, 10*time.Second, "health tells of etcd", func() error {
		if err := c.GetJSON(other, "/health", &health); err != nil {
			return err
		}
		if seen := health.Storage.Details.Etcd; len(seen) != 1 || !seen[0].Reachable || seen[0].Version == "" {
			return fmt.Errorf("it says %+v", seen)
		}
		return nil
	})

	leader.Kill()
	mustPut(t, c, other, "shop")
	mustSend(t, c, other, http.MethodPost, "/api/v1/deployments", `{"key":"after","package_name":"shop","class_key":"A","target_envs":["oaas-1"]}`)
	waitFor(t, 30*time.Second, "the other node dispatches", func() error {
		var d model.Deployment
		if err := c.GetJSON(other, "/api/v1/deployments/after", &d); err != nil {
			return err
		}
		if d.Condition != model.DeploymentRunning {
			return fmt.Errorf("the deployment is %s", d.Condition)
		}
		return nil
	})
	c.Start(t, leader.Index)
	c.WaitReady(t, leader.Index, 30*time.Second)
	c.CheckConverged(t, 30*time.Second)
	for _, n := range c.Nodes {
		n.Stop(t, 10*time.Second)
	}
}
