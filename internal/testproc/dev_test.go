package testproc

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/model"
)

// TestDev is what a newcomer sees: the example from the field reaches RUNNING in
// both simulated clusters, ^C ends everything within five seconds, and the next
// run continues from the data.
func TestDev(t *testing.T) {
	t.Parallel()
	example, err := filepath.Abs("../../deploy/examples/echo.yml")
	if err != nil {
		t.Fatal(err)
	}
	c := &Cluster{dir: dataDir(t), HTTP: &http.Client{Timeout: 10 * time.Second}}
	n := &Node{Name: "dev", Addrs: NewAddrs(t)}
	c.Nodes = []*Node{n}
	dev := []string{"dev", "--http-addr", n.Addrs.HTTP, "--data-dir", filepath.Join(c.dir, "data")}

	n.Process = Start(t, "dev", c.dir, append(dev, "--apply", example)...)
	first := waitRunning(t, c, n)
	waitFor(t, 5*time.Second, "the table", func() error {
		if log := n.Log(); !strings.Contains(log, "oaas-1") || !strings.Contains(log, "RUNNING") {
			return fmt.Errorf("it printed: %s", log)
		}
		return nil
	})
	for _, path := range []string{"/", "/livez", "/readyz", "/health", "/metrics", "/openapi.yaml", "/api/v1/packages/example"} {
		if status, body, err := c.Get(n, path); err != nil || status != http.StatusOK {
			t.Errorf("GET %s: status %d, %v: %.200s", path, status, err, body)
		}
	}
	interrupt(t, n)

	n.Process = Start(t, "dev", c.dir, dev...)
	second := waitRunning(t, c, n)
	if first.CreatedAt == nil || second.CreatedAt == nil || !first.CreatedAt.Equal(*second.CreatedAt) || first.Generation != second.Generation {
		t.Errorf("the second run does not continue: deployment was %+v, is %+v", first.Meta, second.Meta)
	}
	interrupt(t, n)
}

// waitRunning waits until the example runs in both clusters.
func waitRunning(t *testing.T, c *Cluster, n *Node) model.Deployment {
	t.Helper()
	var deployment model.Deployment
	waitFor(t, 15*time.Second, "the example running", func() error {
		if !n.Running() {
			t.Fatalf("the node ended: %s", n.Log())
		}
		if err := c.GetJSON(n, "/api/v1/deployments/Record", &deployment); err != nil {
			return err
		}
		if deployment.Condition != model.DeploymentRunning {
			return fmt.Errorf("it is %s", deployment.Condition)
		}
		var units []model.UnitStatus
		if err := c.GetJSON(n, "/api/v1/deployments/Record/units", &units); err != nil {
			return err
		}
		running := map[string]bool{}
		for _, u := range units {
			running[u.Cluster] = u.Phase == model.UnitRunning
		}
		if len(units) != 2 || !running["oaas-1"] || !running["oaas-2"] {
			return fmt.Errorf("its units are %+v", units)
		}
		return nil
	})
	return deployment
}

func interrupt(t *testing.T, n *Node) {
	t.Helper()
	n.Signal(t, syscall.SIGINT)
	if code := n.Wait(t, 5*time.Second); code != 0 {
		t.Errorf("exit code %d after an interrupt, want 0\n%s", code, n.Log())
	}
}
