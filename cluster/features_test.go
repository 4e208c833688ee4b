package cluster_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/cluster"
	"github.com/oprc/oprc-pm/fsm"
	"github.com/oprc/oprc-pm/internal/testcluster"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// Every kind of command belongs to one feature, and levels only grow.
func TestFeaturesCoverEveryKind(t *testing.T) {
	t.Parallel()
	seen := map[byte]string{}
	last := 0
	for _, f := range cluster.Features() {
		if f.Level != last+1 || f.Name == "" || f.Release == "" {
			t.Errorf("feature %+v comes after level %d", f, last)
		}
		last = f.Level
		for _, kind := range f.Kinds {
			if seen[kind] != "" {
				t.Errorf("kind %d belongs to %s and %s", kind, seen[kind], f.Name)
			}
			seen[kind] = f.Name
		}
	}
	for kind := byte(1); kind <= fsm.MaxKind; kind++ {
		if seen[kind] == "" {
			t.Errorf("kind %d belongs to no feature: which release was the first to decode it?", kind)
		}
	}
	if len(seen) != int(fsm.MaxKind) {
		t.Errorf("%d kinds belong to features, there are %d", len(seen), fsm.MaxKind)
	}
	for _, c := range []struct {
		command storage.Command
		want    string
	}{{storage.Barrier{}, "documents"}, {storage.StageRestore{ID: "r", Data: []byte("x")}, "restore"}, {storage.AbortRestore{ID: "r"}, "restore"}} {
		data, err := fsm.EncodeProposal(storage.Proposal{Request: storage.Request{Command: c.command}})
		if err != nil {
			t.Fatal(err)
		}
		if got := seen[fsm.PeekKind(data)]; got != c.want {
			t.Errorf("%T belongs to %q, want %q", c.command, got, c.want)
		}
	}
}

// A command that one server could not decode is refused, wherever it is proposed,
// and names that server: whether it votes or not, and also while it is down and
// after the leader that knew it was restarted. Once it has a newer release, or is
// removed, the command is taken.
func TestCommandNeedsFeatureOnEveryServer(t *testing.T) {
	const old = 2
	c := testcluster.New(t, 3, testcluster.WithConfig(func(i int, c *cluster.Config) {
		if i == old {
			c.Features, c.Version = 1, "0.1.7"
		}
	}))
	staged := storage.Request{Command: storage.StageRestore{ID: "r", Data: []byte("part")}}
	refused := func(i int) {
		t.Helper()
		_, err := c.Node(i).Apply(t.Context(), staged)
		if model.CodeOf(err) != model.CodeFailedPrecondition || !strings.Contains(err.Error(), "node-2") || !strings.Contains(err.Error(), "0.2") {
			t.Errorf("at node %d: %v, want failed_precondition with node-2 and the release", i, err)
		}
	}
	for i := range 3 {
		refused(i)
	}
	if _, err := c.Node(0).Apply(t.Context(), storage.Request{Command: storage.PutPackage{
		Mode: storage.Create, Name: "p", Document: []byte(`"name":"p"`)}}); err != nil {
		t.Errorf("a command that all know: %v", err)
	}

	c.Stop(old)
	refused(0)
	c.Stop(0)
	c.Start(0)
	c.WaitReady()
	refused(0)
	refused(1)

	cfg := c.Config(old)
	cfg.Features, cfg.Version = 0, "0.2.0"
	c.Start(old)
	testcluster.Wait(t, "the command to be taken", func() error {
		_, err := c.Node(1).Apply(t.Context(), staged)
		return err
	})
}

// So does a server without a vote, and one that is removed does not count.
func TestCommandNeedsFeatureOnNonVoter(t *testing.T) {
	c := testcluster.New(t, 1, testcluster.WithConfig(func(i int, c *cluster.Config) {
		c.Autopilot.ServerStabilizationTime, c.Autopilot.DeadServerThreshold = time.Hour, 2*time.Hour // it stays without a vote
		if i == 1 {
			c.Features = 1
		}
	}))
	staged := storage.Request{Command: storage.StageRestore{ID: "r", Data: []byte("part")}}
	if _, err := c.Node(0).Apply(t.Context(), staged); err != nil {
		t.Fatal(err)
	}
	c.Add(1)
	c.Start(1)
	testcluster.Wait(t, "the second to be known", func() error {
		members, err := c.Node(0).Members(t.Context())
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(members, func(m storage.Member) bool { return m.Name == "node-1" && m.AppliedIndex > 0 }) {
			return fmt.Errorf("members are %+v", members)
		}
		return nil
	})
	if _, err := c.Node(0).Apply(t.Context(), staged); model.CodeOf(err) != model.CodeFailedPrecondition || !strings.Contains(err.Error(), "node-1") {
		t.Errorf("got %v, want failed_precondition with node-1", err)
	}
}
