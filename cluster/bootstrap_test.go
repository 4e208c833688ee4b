package cluster_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/cluster"
	"github.com/oprc/oprc-pm/internal/testcluster"
	"github.com/oprc/oprc-pm/storage"
)

// clusterIDs returns the distinct ids of the nodes that are up; "" stands for
// a node without one.
func clusterIDs(c *testcluster.Cluster) map[string][]int {
	out := make(map[string][]int)
	for _, i := range c.Up() {
		id := c.Node(i).Status().ClusterID
		out[id] = append(out[id], i)
	}
	return out
}

// holdsFor fails when cond stops holding within d.
func holdsFor(t *testing.T, d time.Duration, cond func() error) {
	t.Helper()
	deadline := time.After(d)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if err := cond(); err != nil {
			t.Error(err)
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			return
		}
	}
}

// Five nodes that start in any order, all at once, form one cluster.
func TestBootstrapRace(t *testing.T) {
	for round := range 3 {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			c := testcluster.New(t, 5, testcluster.NotStarted())
			for _, i := range rand.Perm(5) {
				c.Start(i)
			}
			c.WaitReady()
			ids := clusterIDs(c)
			if len(ids) != 1 || len(ids[""]) != 0 {
				t.Errorf("cluster ids = %v, want one", ids)
			}
			wantMembers(t, c, 5)
		})
	}
}

// Nodes that expect different numbers do not form a cluster (I5).
func TestBootstrapExpectMismatch(t *testing.T) {
	c := testcluster.New(t, 2, testcluster.WithExpect(3), testcluster.NotStarted())
	c.Add(2)
	for i := range 3 {
		c.Start(i)
	}
	holdsFor(t, time.Second, func() error {
		if ids := clusterIDs(c); len(ids[""]) != 3 {
			return fmt.Errorf("cluster ids = %v, want none", ids)
		}
		return nil
	})
}

// Too few nodes wait, and found a cluster when the last one comes.
func TestBootstrapWaitsForAll(t *testing.T) {
	c := testcluster.New(t, 3, testcluster.NotStarted())
	c.Start(0)
	c.Start(1)
	holdsFor(t, 700*time.Millisecond, func() error {
		if ids := clusterIDs(c); len(ids[""]) != 2 {
			return fmt.Errorf("cluster ids = %v, want none", ids)
		}
		return nil
	})
	// A promise given survives a restart and does not stand in the way.
	c.Crash(1)
	c.Restart(1)
	c.Start(2)
	c.WaitReady()
	wantMembers(t, c, 3)
}

// A fresh node with the founders' settings that meets a living cluster joins it.
func TestFreshNodeJoinsLivingCluster(t *testing.T) {
	c := testcluster.New(t, 3)
	res := mustPut(t, c.Node(0), "p", "1")
	i := c.Add(3)
	c.Start(i)
	c.WaitReady()
	c.WaitVoters(t, 4)
	c.WaitApplied(t, res.Index)
	wantValue(t, c.Node(i), storage.ReadOptions{}, "p", "1")
	if ids := clusterIDs(c); len(ids) != 1 {
		t.Errorf("cluster ids = %v, want one", ids)
	}
}

// The one voter of a cluster of one must notice at once that it got company: its
// reads no longer go without asking.
func TestGrowFromOne(t *testing.T) {
	c := testcluster.New(t, 1)
	mustPut(t, c.Node(0), "p", "0")
	for n := 2; n <= 3; n++ {
		i := c.Add(1)
		c.Start(i) // expect 1 with seeds: waits to be added
		c.WaitReady()
		c.WaitVoters(t, n)
		mustPut(t, c.Node(i), "p", fmt.Sprint(i))
		for j := range n {
			wantValue(t, c.Node(j), storage.ReadOptions{}, "p", fmt.Sprint(i))
		}
	}
	old := c.Leader(t)
	c.Partition(old)
	mustPut(t, c.Node(others(c, old)[0]), "p", "new")
	value, err := testcluster.Get(ctxFor(t, 500*time.Millisecond), c.Node(old), "p", storage.ReadOptions{})
	if err == nil {
		t.Errorf("cut-off leader read %q, want an error", value)
	}
}

// Two nodes that lost their disks and one survivor: the fresh ones never found a
// cluster beside the survivor's, though they are as many as a majority (I5).
func TestNoSecondClusterBesideASurvivor(t *testing.T) {
	c := testcluster.New(t, 3)
	mustPut(t, c.Node(0), "p", "1")
	survivor := 0
	id := c.Node(survivor).Status().ClusterID
	for _, i := range []int{1, 2} {
		c.Crash(i)
	}
	// New directories: new server ids.
	for range 2 {
		c.Start(c.Add(3))
	}
	holdsFor(t, 1500*time.Millisecond, func() error {
		for other, nodes := range clusterIDs(c) {
			if other != "" && other != id {
				return fmt.Errorf("nodes %v formed cluster %s beside %s", nodes, other, id)
			}
		}
		return nil
	})
	// The survivor has no majority; when one of the old nodes comes back, the
	// fresh ones are added.
	c.Restart(1)
	c.WaitReady()
	c.WaitVoters(t, 4)
	wantValue(t, c.Node(3), storage.ReadOptions{}, "p", "1")
}

// Two clusters whose nodes gossip with each other stay two: every node keeps its
// id and its members.
func TestForeignClusterIsRefused(t *testing.T) {
	c := testcluster.New(t, 1)
	a := c.Node(0)
	// A second founder that does not know of the first, then is told.
	i := c.Add(1)
	c.StartAlone(i)
	c.WaitReady()
	b := c.Node(i)
	if a.Status().ClusterID == b.Status().ClusterID {
		t.Fatal("the two clusters have the same id")
	}
	c.Crash(i)
	b = c.Restart(i) // now with the first node as a seed
	testcluster.Wait(t, "gossip between the clusters", func() error {
		if a.GossipMembers() == 0 || b.GossipMembers() == 0 {
			return fmt.Errorf("%d and %d members", a.GossipMembers(), b.GossipMembers())
		}
		return nil
	})
	c.WaitReady()
	err := a.CallStatus(ctxFor(t, 5*time.Second), b.ID())
	if err == nil {
		t.Error("a call between the clusters succeeded")
	} else {
		t.Logf("refused as it should be: %v", err)
	}
	holdsFor(t, 500*time.Millisecond, func() error {
		if len(a.ConfiguredAddrs()) != 1 || len(b.ConfiguredAddrs()) != 1 {
			return fmt.Errorf("configurations %v and %v, want one server each", a.ConfiguredAddrs(), b.ConfiguredAddrs())
		}
		return nil
	})
	c.Forget(i) // it is no replica of the first
}

// The log store of a data directory cannot be changed by a setting.
func TestLogStoreIsFixed(t *testing.T) {
	c := testcluster.New(t, 1)
	c.Crash(0)
	cfg := *c.Config(0)
	cfg.LogStore = cluster.LogStoreWAL
	n := cluster.New(cfg, cluster.Deps{})
	err := n.Open(ctxFor(t, 5*time.Second))
	if err == nil {
		n.Close()
		t.Fatal("open succeeded with another log store")
	}
	t.Log(err)
}

// Two processes cannot share a data directory.
func TestDataDirIsLocked(t *testing.T) {
	c := testcluster.New(t, 1)
	cfg := testcluster.FastConfig()
	cfg.NodeName, cfg.DataDir = "second", c.Config(0).DataDir
	n := cluster.New(cfg, cluster.Deps{})
	err := n.Open(ctxFor(t, 5*time.Second))
	if err == nil {
		n.Close()
		t.Fatal("a second node opened the same data directory")
	}
	t.Log(err)
}
