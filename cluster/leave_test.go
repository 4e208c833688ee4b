package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/cluster"
	"github.com/oprc/oprc-pm/internal/testcluster"
	"github.com/oprc/oprc-pm/model"
)

// leave makes node i leave and shuts it down when it says so, as the program
// does.
func leave(t *testing.T, c *testcluster.Cluster, i int) {
	t.Helper()
	if err := c.Node(i).Leave(ctxFor(t, 20*time.Second), false); err != nil {
		t.Fatalf("leave: %v", err)
	}
	waitLeft(t, c, i)
}

func waitLeft(t *testing.T, c *testcluster.Cluster, i int) {
	t.Helper()
	select {
	case <-c.Node(i).Left():
		c.Stop(i)
	case <-time.After(20 * time.Second):
		t.Fatalf("node %d did not leave", i)
	}
}

// wantServers waits until the leader's configuration has n servers, and keeps
// them.
func wantServers(t *testing.T, c *testcluster.Cluster, n int) {
	t.Helper()
	check := func() error {
		if got := len(c.Node(c.Leader(t)).ConfiguredAddrs()); got != n {
			return fmt.Errorf("%d servers, want %d", got, n)
		}
		return nil
	}
	testcluster.Wait(t, fmt.Sprintf("%d servers", n), check)
	holdsFor(t, 500*time.Millisecond, check)
}

// Nodes leave one by one, the leader too, down to the last, which stays. What
// was written is there to the end.
func TestLeave(t *testing.T) {
	c := testcluster.New(t, 3)
	mustPut(t, c.Node(0), "p", "1")
	leave(t, c, c.Leader(t))
	c.WaitVoters(t, 2)
	wantServers(t, c, 2)
	mustPut(t, c.Node(c.Up()[0]), "p", "2")
	leave(t, c, others(c, c.Leader(t))[0])
	wantServers(t, c, 1)
	last := c.Node(c.Leader(t))
	mustPut(t, last, "p", "3")

	err := last.Leave(ctxFor(t, 10*time.Second), false)
	if got, want := model.CodeOf(err), model.CodeFailedPrecondition; got != want {
		t.Errorf("the last voter leaves: %v, want %s", err, want)
	}
	err = last.Remove(ctxFor(t, 10*time.Second), last.ID(), true)
	if got, want := model.CodeOf(err), model.CodeFailedPrecondition; got != want {
		t.Errorf("the last voter is removed: %v, want %s", err, want)
	}
	select {
	case <-last.Left():
		t.Error("the last voter left")
	default:
	}
}

// A node that left and is started again joins again.
func TestLeaveAndReturn(t *testing.T) {
	c := testcluster.New(t, 3)
	i := others(c, c.Leader(t))[0]
	leave(t, c, i)
	wantServers(t, c, 2)
	c.Restart(i)
	c.WaitVoters(t, 3)
	res := mustPut(t, c.Node(i), "p", "1")
	c.WaitApplied(t, res.Index)
}

// A vote that is needed is not given up: of three voters one is dead.
func TestLeaveOfNeededVoteIsRefused(t *testing.T) {
	c := testcluster.New(t, 3)
	leader := c.Leader(t)
	i, dead := others(c, leader)[0], others(c, leader)[1]
	deadID := c.Node(dead).ID()
	c.Crash(dead)
	for name, do := range map[string]func(ctx context.Context) error{
		"leave":  func(ctx context.Context) error { return c.Node(i).Leave(ctx, false) },
		"remove": func(ctx context.Context) error { return c.Node(leader).Remove(ctx, c.Node(i).ID(), false) },
	} {
		err := do(ctxFor(t, 20*time.Second))
		if got, want := model.CodeOf(err), model.CodeFailedPrecondition; got != want {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
	mustPut(t, c.Node(i), "p", "1")
	// Without the dead one there are two voters, and the way is open.
	if err := c.Node(i).Remove(ctxFor(t, 20*time.Second), deadID, false); err != nil {
		t.Fatalf("remove the dead node: %v", err)
	}
	wantServers(t, c, 2)
	leave(t, c, i)
	wantServers(t, c, 1)
}

// A living node is removed by name from any node: it leaves, and stops.
func TestRemoveLivingNode(t *testing.T) {
	c := testcluster.New(t, 3)
	leader := c.Leader(t)
	for _, target := range []int{leader, others(c, leader)[0]} {
		asked := others(c, target)[0]
		if err := c.Node(asked).Remove(ctxFor(t, 20*time.Second), c.Config(target).NodeName, false); err != nil {
			t.Fatalf("remove node %d: %v", target, err)
		}
		waitLeft(t, c, target)
		wantServers(t, c, len(c.Up()))
	}
	err := c.Node(c.Up()[0]).Remove(ctxFor(t, 20*time.Second), "nobody", false)
	if got, want := model.CodeOf(err), model.CodeNotFound; got != want {
		t.Errorf("remove nobody: %v, want %s", err, want)
	}
}

// A server that is struck off while it is cut off does not know that it is. When
// it is back it neither unseats the leader nor is added again by the gossip that
// never lost it.
func TestRemovedNodeDoesNotDisturb(t *testing.T) {
	// A busy machine must not cost the leader its lease.
	c := testcluster.New(t, 3, testcluster.WithConfig(func(_ int, cfg *cluster.Config) {
		cfg.HeartbeatTimeout, cfg.ElectionTimeout, cfg.LeaderLeaseTimeout = time.Second, time.Second, time.Second
	}))
	leader := c.Leader(t)
	i := others(c, leader)[0]
	c.Partition(i)
	if err := c.Node(leader).Remove(ctxFor(t, 20*time.Second), c.Node(i).ID(), false); err != nil {
		t.Fatal(err)
	}
	before := c.Node(leader).Status()
	c.Heal()
	holdsFor(t, 5*time.Second, func() error {
		if now := c.Node(leader).Status(); now.Term != before.Term || now.Role != before.Role {
			return fmt.Errorf("the leader is %s in term %d, was %s in term %d", now.Role, now.Term, before.Role, before.Term)
		}
		if got := len(c.Node(leader).ConfiguredAddrs()); got != 2 {
			return fmt.Errorf("%d servers, want 2", got)
		}
		return nil
	})
	mustPut(t, c.Node(leader), "p", "1")
	c.Forget(i)
}

// Join meets nodes that this one was not told of.
func TestJoinAtRunTime(t *testing.T) {
	c := testcluster.New(t, 3)
	i := c.Add(1)
	c.Config(i).Join = []string{"127.0.0.1:1"} // wait to be added
	c.StartAlone(i)
	err := c.Node(i).Join(ctxFor(t, 10*time.Second), []string{"127.0.0.1:1"})
	if got, want := model.CodeOf(err), model.CodeUnavailable; got != want {
		t.Errorf("join nobody: %v, want %s", err, want)
	}
	if err := c.Node(i).Join(ctxFor(t, 10*time.Second), []string{c.Node(0).GossipAddr()}); err != nil {
		t.Fatal(err)
	}
	c.WaitVoters(t, 4)
}

// A caller whose time is up is told so, and the node stays.
func TestLeaveInTime(t *testing.T) {
	c := testcluster.New(t, 3)
	leader := c.Leader(t)
	for _, i := range others(c, leader) {
		c.Crash(i)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	err := c.Node(leader).Leave(ctx, false)
	if err == nil || !errors.Is(err, context.DeadlineExceeded) && model.CodeOf(err) != model.CodeFailedPrecondition && model.CodeOf(err) != model.CodeUnavailable {
		t.Errorf("leave without a majority: %v, want a refusal", err)
	}
	select {
	case <-c.Node(leader).Left():
		t.Error("it left")
	default:
	}
}
