package cluster_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/cluster"
	"github.com/oprc/oprc-pm/internal/testcluster"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// health asks node i for the cluster's health.
func health(t *testing.T, n *cluster.Node) storage.ClusterState {
	t.Helper()
	state, err := n.Health(ctxFor(t, 20*time.Second))
	if err != nil {
		t.Fatalf("health: %v", err)
	}
	return state
}

// serverIn finds a server by id.
func serverIn(state storage.ClusterState, id string) (storage.ServerHealth, bool) {
	for _, s := range state.Servers {
		if s.ID == id {
			return s, true
		}
	}
	return storage.ServerHealth{}, false
}

// nodeEvents counts the events of a reason about a node.
func nodeEvents(t *testing.T, n *cluster.Node, name, reason string) int {
	t.Helper()
	count := 0
	_, err := n.View(ctxFor(t, 20*time.Second), storage.ReadOptions{}, func(r storage.Reader) error {
		events, err := storage.DecodeEvents(r, storage.EventQuery{Kind: model.EventAboutNode, Name: name, Reason: reason})
		count = len(events)
		return err
	})
	if err != nil {
		t.Fatalf("list events: %v", err)
	}
	return count
}

// autopilot changes the autopilot's settings of all nodes.
func autopilot(fn func(a *cluster.AutopilotConfig)) testcluster.Option {
	return testcluster.WithConfig(func(_ int, c *cluster.Config) { fn(&c.Autopilot) })
}

// A new node votes only after it was healthy for the whole stabilization time,
// also when the leader itself is younger than that.
func TestNewNodeIsStableBeforeItVotes(t *testing.T) {
	const stable = 2 * time.Second
	c := testcluster.New(t, 3, autopilot(func(a *cluster.AutopilotConfig) { a.ServerStabilizationTime = stable }))
	c.Stop(c.Leader(t)) // a young leader
	c.Leader(t)
	begin := time.Now()
	i := c.Add(3)
	c.Start(i)
	id := c.Node(i).ID()
	testcluster.Wait(t, "the new node to vote", func() error {
		state, err := c.Node(c.Leader(t)).Health(ctxFor(t, 20*time.Second))
		if err != nil {
			return err
		}
		s, ok := serverIn(state, id)
		if !ok || !s.Voter {
			return fmt.Errorf("it is %+v", s)
		}
		return nil
	})
	if took := time.Since(begin); took < stable {
		t.Errorf("the new node became a voter after %s, want at least %s", took, stable)
	}
}

// A voter that dies is alarmed at once, long before anything is removed, and so
// is its return. Every node can tell.
func TestDeadVoterIsAlarmedAtOnce(t *testing.T) {
	c := testcluster.New(t, 3)
	leader := c.Leader(t)
	dead := others(c, leader)[0]
	id, name := c.Node(dead).ID(), c.Config(dead).NodeName
	testcluster.Wait(t, "a tolerance of one", func() error {
		if state := health(t, c.Node(leader)); state.FailureTolerance != 1 || !state.Healthy || state.Voters != 3 {
			return fmt.Errorf("state %+v", state)
		}
		return nil
	})
	c.Crash(dead)
	testcluster.Wait(t, "the alarm", func() error {
		for _, i := range c.Up() {
			state := health(t, c.Node(i))
			s, ok := serverIn(state, id)
			if !ok || s.Healthy || s.Alive || s.Reason == "" || s.Name != name || state.FailureTolerance != 0 || state.Healthy {
				return fmt.Errorf("node %d sees %+v", i, state)
			}
		}
		if got := nodeEvents(t, c.Node(leader), name, "VoterLost"); got != 1 {
			return fmt.Errorf("%d events, want 1", got)
		}
		if got := c.Node(leader).DeadVoters(); got != 1 {
			return fmt.Errorf("the metric says %d dead voters", got)
		}
		return nil
	})
	c.Restart(dead)
	testcluster.Wait(t, "the all-clear", func() error {
		if state := health(t, c.Node(c.Leader(t))); state.FailureTolerance != 1 || !state.Healthy {
			return fmt.Errorf("state %+v", state)
		}
		if got := nodeEvents(t, c.Node(leader), name, "VoterBack"); got != 1 {
			return fmt.Errorf("%d events, want 1", got)
		}
		return nil
	})
	// And then there is silence: nothing is written by the passage of time.
	index := c.Node(leader).Status().AppliedIndex
	holdsFor(t, time.Second, func() error {
		if now := c.Node(leader).Status().AppliedIndex; now != index {
			return fmt.Errorf("the log grew from %d to %d", index, now)
		}
		return nil
	})
}

// A dead server goes after the threshold; one that comes back within it stays
// what it was, and one that comes back later is added again.
func TestDeadServerIsRemoved(t *testing.T) {
	const threshold = 3 * time.Second
	c := testcluster.New(t, 5, autopilot(func(a *cluster.AutopilotConfig) { a.DeadServerThreshold = threshold }))
	leader := c.Leader(t)
	rebooting, dead := others(c, leader)[0], others(c, leader)[1]
	id := c.Node(dead).ID()

	c.Crash(rebooting)
	c.Restart(rebooting)
	c.Crash(dead)
	begin := time.Now()
	c.WaitVoters(t, 4)
	testcluster.Wait(t, "the dead server to go", func() error {
		state := health(t, c.Node(leader))
		if _, there := serverIn(state, id); there || state.Voters != 4 {
			return fmt.Errorf("state %+v", state)
		}
		return nil
	})
	// It may have answered for the last time one round before it died.
	if took, least := time.Since(begin), threshold-2*c.Config(dead).Autopilot.Interval; took < least {
		t.Errorf("it went after %s, want at least %s", took, least)
	}
	if s, ok := serverIn(health(t, c.Node(leader)), c.Node(rebooting).ID()); !ok || !s.Voter {
		t.Errorf("the node that rebooted is %+v, want a voter", s)
	}
	c.Restart(dead)
	c.WaitVoters(t, 5)
	if got := c.Node(dead).ID(); got != id {
		t.Errorf("the node that came back has id %s, want %s", got, id)
	}
}

// Below the minimum nothing is removed, however long it is dead.
func TestCleanupKeepsMinQuorum(t *testing.T) {
	c := testcluster.New(t, 3, autopilot(func(a *cluster.AutopilotConfig) {
		a.DeadServerThreshold, a.MinQuorum = time.Second, 3
	}))
	leader := c.Leader(t)
	c.Crash(others(c, leader)[0])
	holdsFor(t, 4*time.Second, func() error {
		if got := len(c.Node(leader).ConfiguredAddrs()); got != 3 {
			return fmt.Errorf("%d servers, want 3", got)
		}
		return nil
	})
}

// A node of the same name with an empty disk takes the place of its old self,
// long before the threshold; at the same address or at another.
func TestReplacedNodeTakesItsPlace(t *testing.T) {
	for _, moved := range []bool{false, true} {
		t.Run(fmt.Sprintf("moved=%t", moved), func(t *testing.T) {
			c := testcluster.New(t, 3)
			leader := c.Leader(t)
			lost := others(c, leader)[0]
			res := mustPut(t, c.Node(leader), "p", "1")
			old := c.Node(lost).ID()
			c.Crash(lost)
			if err := os.RemoveAll(c.Config(lost).DataDir); err != nil {
				t.Fatal(err)
			}
			if moved {
				c.Config(lost).ClusterAddr, c.Config(lost).GossipAddr = "127.0.0.1:0", "127.0.0.1:0"
			}
			c.Start(lost)
			fresh := c.Node(lost).ID()
			testcluster.Wait(t, "the new self to vote and the old one to go", func() error {
				state := health(t, c.Node(c.Leader(t)))
				s, ok := serverIn(state, fresh)
				if _, there := serverIn(state, old); there || !ok || !s.Voter || state.Voters != 3 || state.FailureTolerance != 1 {
					return fmt.Errorf("state %+v", state)
				}
				return nil
			})
			c.WaitApplied(t, res.Index)
			wantValue(t, c.Node(lost), storage.ReadOptions{}, "p", "1")
		})
	}
}

// Two living nodes of one name are a mistake, and none of them is removed.
func TestLivingNamesakeIsKept(t *testing.T) {
	c := testcluster.New(t, 3)
	i := c.Add(3)
	c.Config(i).NodeName = c.Config(0).NodeName
	c.Start(i)
	c.WaitVoters(t, 4)
	holdsFor(t, 2*time.Second, func() error {
		if got := len(c.Node(i).ConfiguredAddrs()); got != 4 {
			return fmt.Errorf("%d servers, want 4", got)
		}
		return nil
	})
	if _, err := c.Node(0).Resolve(c.Config(0).NodeName); model.CodeOf(err) != model.CodeConflict {
		t.Errorf("resolve a name of two nodes: %v, want a conflict", err)
	}
}

// The leader of a cluster without a majority answers for the health as long as it
// leads, and whoever asks when nobody leads is told so in time.
func TestHealthWithoutLeader(t *testing.T) {
	c := testcluster.New(t, 3)
	leader := c.Leader(t)
	for _, i := range others(c, leader) {
		c.Crash(i)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	testcluster.Wait(t, "the leader to step down", func() error {
		if role := c.Node(leader).Status().Role; role == storage.RoleLeader {
			return fmt.Errorf("it is %s", role)
		}
		return nil
	})
	if _, err := c.Node(leader).Health(ctx); model.CodeOf(err) != model.CodeUnavailable {
		t.Errorf("health without a leader: %v, want unavailable", err)
	}
}
