package cluster_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/internal/testcluster"
)

// Nodes whose gossip was cut until they had forgotten each other find each other
// again when it is healed. Meanwhile the Raft configuration stays what it is:
// gossip alone makes nobody dead.
func TestGossipPartitionHeals(t *testing.T) {
	c := testcluster.New(t, 3, testcluster.NotStarted())
	for i := range 3 {
		c.Start(i)
	}
	c.WaitReady()
	known := func(want int) func() error {
		return func() error {
			for i := range 3 {
				if got := c.Node(i).GossipMembers(); got != want {
					return fmt.Errorf("node %d knows %d others, want %d", i, got, want)
				}
			}
			return nil
		}
	}
	testcluster.Wait(t, "all to know each other", known(2))
	c.Mute(0, 1, 2)
	testcluster.Wait(t, "all to forget each other", known(0))
	holdsFor(t, time.Second, func() error {
		if err := known(0)(); err != nil {
			return err
		}
		if state := health(t, c.Node(0)); state.Voters != 3 || !state.Healthy {
			return fmt.Errorf("without gossip the state is %+v", state)
		}
		return nil
	})
	c.Mute()
	testcluster.Wait(t, "all to know each other again", known(2))
}
