package cluster_test

import (
	"testing"
	"time"

	"github.com/oprc/oprc-pm/cluster"
	"github.com/oprc/oprc-pm/internal/testcluster"
)

// The only voter does not wait for a leader to be heard of: neither when it founds
// its cluster nor when it comes back.
func TestOnlyVoterLeadsAtOnce(t *testing.T) {
	const timeout = time.Minute // longer than anything here takes
	begin := time.Now()
	c := testcluster.New(t, 1, testcluster.WithConfig(func(_ int, c *cluster.Config) {
		c.HeartbeatTimeout, c.ElectionTimeout = timeout, timeout
	}))
	c.Stop(0)
	c.Start(0)
	c.WaitReady()
	if took := time.Since(begin); took > timeout/2 {
		t.Errorf("it took %s", took)
	}
	if why := c.Node(0).Starting(); why != "" {
		t.Errorf("it is starting: %s", why)
	}
}

// A node without a leader is starting until it has been ready once.
func TestStarting(t *testing.T) {
	c := testcluster.New(t, 3)
	for i := range 3 {
		c.Stop(i)
	}
	if why := c.Start(0).Starting(); why == "" {
		t.Error("it has started without a majority")
	}
	c.Start(1)
	c.WaitReady()
	if why := c.Node(0).Starting(); why != "" {
		t.Errorf("it is ready and still starting: %s", why)
	}
	c.Stop(1) // which takes the majority away
	if why := c.Node(0).Starting(); why != "" {
		t.Errorf("it started once and is starting again: %s", why)
	}
	c.Start(1)
	c.Start(2)
	c.WaitReady()
}
