package testproc

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/model"
)

// TestDispatchSurvivesTheLeader is invariants I6 and I7 on processes: the leader
// is killed while deployments are being made and again while they are removed;
// afterwards the clusters hold exactly what was asked for.
func TestDispatchSurvivesTheLeader(t *testing.T) {
	t.Parallel()
	const deployments = 30
	var sims []*Sim
	for _, name := range []string{"oaas-1", "oaas-2"} {
		sims = append(sims, NewSim(t, name, model.ProtocolHTTP, "--latency", "20ms", "--time-to-running", "200ms"))
	}
	c := NewOrchestration(t, 3, sims)
	mustPut(t, c, c.Nodes[0], "shop")

	for i := range deployments {
		mustSend(t, c, survivor(t, c), http.MethodPost, "/api/v1/deployments",
			fmt.Sprintf(`{"key":"d-%d","package_name":"shop","class_key":"A","target_envs":["oaas-1","oaas-2"]}`, i))
		if i == deployments/2 {
			restartLeader(t, c)
		}
	}
	for _, sim := range sims {
		waitFor(t, 30*time.Second, sim.Name+" runs every deployment once", func() error {
			units, err := sim.Units()
			if err != nil {
				return err
			}
			byDeployment := map[string]int{}
			for _, u := range units {
				byDeployment[u.Unit.DeploymentKey]++
			}
			if len(units) != deployments || len(byDeployment) != deployments {
				return fmt.Errorf("it holds %d units of %d deployments, want %d of each", len(units), len(byDeployment), deployments)
			}
			return nil
		})
	}
	waitFor(t, 30*time.Second, "all deployments RUNNING", func() error {
		var list []model.Deployment
		if err := c.GetJSON(survivor(t, c), "/api/v1/deployments?condition=RUNNING", &list); err != nil {
			return err
		}
		if len(list) != deployments {
			return fmt.Errorf("%d of %d", len(list), deployments)
		}
		return nil
	})

	for i := range deployments {
		mustSend(t, c, survivor(t, c), http.MethodDelete, fmt.Sprintf("/api/v1/deployments/d-%d", i), "")
		if i == deployments/2 {
			restartLeader(t, c)
		}
	}
	waitFor(t, 30*time.Second, "everything gone", func() error {
		var list []json.RawMessage
		if err := c.GetJSON(survivor(t, c), "/api/v1/deployments", &list); err != nil {
			return err
		}
		for _, sim := range sims {
			units, err := sim.Units()
			if err != nil {
				return err
			}
			if len(units) > 0 {
				return fmt.Errorf("%s still holds %d units", sim.Name, len(units))
			}
		}
		if len(list) > 0 {
			return fmt.Errorf("%d deployments are left", len(list))
		}
		return nil
	})
	c.CheckConverged(t, 15*time.Second)
}

// survivor is a node that runs.
func survivor(t *testing.T, c *Cluster) *Node {
	t.Helper()
	for _, n := range c.Nodes {
		if n.Running() {
			return n
		}
	}
	t.Fatal("no node runs")
	return nil
}

// restartLeader kills the leader and starts it again at once.
func restartLeader(t *testing.T, c *Cluster) {
	t.Helper()
	leader := c.Leader(t, 10*time.Second)
	leader.Kill()
	c.Start(t, leader.Index)
}

// mustSend sends a write until a node takes it, as a client that retries does.
func mustSend(t *testing.T, c *Cluster, n *Node, method, path, body string) {
	t.Helper()
	header := http.Header{"Content-Type": {"application/json"}, "Idempotency-Key": {fmt.Sprintf("%s%s-%d", method, path, time.Now().UnixNano())}}
	waitFor(t, 15*time.Second, method+" "+path, func() error {
		response, answer, err := c.Do(t.Context(), n, method, path, header, body)
		if err != nil {
			return err
		}
		if response.StatusCode >= http.StatusInternalServerError {
			return fmt.Errorf("status %d: %s", response.StatusCode, answer)
		}
		if response.StatusCode >= http.StatusBadRequest {
			t.Fatalf("%s %s: status %d: %s", method, path, response.StatusCode, answer)
		}
		return nil
	})
}
