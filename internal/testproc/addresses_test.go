package testproc

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// TestAllAddressesChange is a whole cluster that is stopped and comes back with
// the same names and disks at other addresses, as pods do.
func TestAllAddressesChange(t *testing.T) {
	t.Parallel()
	for _, stop := range []struct {
		name string
		stop func(*testing.T, *Node)
	}{
		{"stopped", func(t *testing.T, n *Node) { n.Stop(t, 15*time.Second) }},
		{"killed", func(_ *testing.T, n *Node) { n.Kill() }},
	} {
		t.Run(stop.name, func(t *testing.T) {
			t.Parallel()
			c := NewCluster(t, 3)
			for i := range 50 {
				mustPut(t, c, c.Nodes[i%3], fmt.Sprintf("p-%d", i))
			}
			for _, n := range c.Nodes {
				stop.stop(t, n)
			}
			for _, n := range c.Nodes {
				n.Addrs = NewAddrs(t)
			}
			begin := time.Now()
			for i := range c.Nodes {
				c.Start(t, i)
			}
			for i := range c.Nodes {
				c.WaitReady(t, i, 10*time.Second)
			}
			c.Leader(t, 10*time.Second-time.Since(begin))
			t.Logf("a leader %s after the start", time.Since(begin).Round(time.Millisecond))
			for _, n := range c.Nodes {
				packages := listPackages(t, c, n)
				if len(packages) != 50 {
					t.Errorf("%s holds %d packages, want 50", n.Name, len(packages))
				}
			}
			mustPut(t, c, c.Nodes[0], "after")
			c.CheckConverged(t, 10*time.Second)
		})
	}
}

func mustPut(t *testing.T, c *Cluster, n *Node, name string) {
	t.Helper()
	header := http.Header{"Content-Type": {"application/json"}}
	response, body, err := c.Do(t.Context(), n, http.MethodPut, "/api/v1/packages/"+name, header, packageBody(name, "1"))
	if err != nil {
		t.Fatalf("put %s at %s: %v", name, n.Name, err)
	}
	if response.StatusCode != http.StatusCreated && response.StatusCode != http.StatusOK {
		t.Fatalf("put %s at %s: status %d: %s", name, n.Name, response.StatusCode, body)
	}
}
