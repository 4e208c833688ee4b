package cluster_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oprc/oprc-pm/cluster"
	"github.com/oprc/oprc-pm/internal/testcluster"
	"github.com/oprc/oprc-pm/storage"
)

// A node whose log is torn says so, is moved aside by the command that it names,
// and comes back empty; it votes again under its name and has everything.
func TestRejoinAfterDamage(t *testing.T) {
	c := testcluster.New(t, 3)
	mustPut(t, c.Node(0), "p", "1")
	victim := (c.Leader(t) + 1) % 3
	before := c.Node(victim).ID()
	dir := c.Config(victim).DataDir
	if _, err := cluster.Rejoin(dir, false); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("rejoin of a running node: %v, want it refused", err)
	}
	c.Crash(victim)
	truncated("raft/log.db", 50)(t, dir)
	var damage *cluster.DamageError
	if err := c.TryStart(victim); !errors.As(err, &damage) || !strings.Contains(damage.Remedy, byRejoin) {
		t.Fatalf("start: %v, want the command that mends it", err)
	}
	torn := contents(t, filepath.Join(dir, "raft"))
	result, err := cluster.Rejoin(dir, false)
	if err != nil || len(result.Moved) == 0 {
		t.Fatalf("%+v, %v", result, err)
	}
	unchanged(t, filepath.Join(result.To, "raft"), torn)
	res := mustPut(t, c.Node(c.Leader(t)), "p", "2")
	c.Config(victim).BootstrapExpect = 1
	c.Start(victim)
	c.WaitApplied(t, res.Index)
	c.WaitVoters(t, 3)
	if id := c.Node(victim).ID(); id == before {
		t.Error("the node came back with the identity whose log is lost")
	}
	wantValue(t, c.Node(victim), storage.ReadOptions{}, "p", "2")
}

// The only voter is not moved aside, but by force; nor one of which that cannot be
// told.
func TestRejoinOfTheOnlyVoterIsRefused(t *testing.T) {
	c := testcluster.New(t, 1)
	mustPut(t, c.Node(0), "p", "1")
	c.Crash(0)
	whole := c.Config(0).DataDir
	for name, do := range map[string]func(*testing.T, string){
		"whole":    func(*testing.T, string) {},
		"torn":     truncated("raft/log.db", 50),
		"no log":   removed("raft"),
		"nothing":  func(t *testing.T, dir string) { removed("raft")(t, dir); removed("fsm")(t, dir) },
		"no trace": func(t *testing.T, dir string) { removed("node.json")(t, dir); truncated("fsm/state.db", 10)(t, dir) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := copied(t, whole)
			do(t, dir)
			before := contents(t, dir)
			if _, err := cluster.Rejoin(dir, false); !errors.Is(err, cluster.ErrOnlyCopy) {
				t.Errorf("rejoin: %v, want %v", err, cluster.ErrOnlyCopy)
			}
			unchanged(t, dir, before)
			if _, err := cluster.Rejoin(dir, true); err != nil {
				t.Errorf("by force: %v", err)
			}
			if _, err := os.Stat(filepath.Join(dir, "raft")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("raft is still there: %v", err)
			}
		})
	}
}

// A torn state file is rebuilt from snapshot and log, also by the only voter; not
// where those are damaged too.
func TestRebuild(t *testing.T) {
	c := testcluster.New(t, 1, testcluster.WithConfig(func(_ int, cfg *cluster.Config) { cfg.TrailingLogs = 10 }))
	dir := stoppedNode(t, c)
	want := mustCheck(t, dir).State
	truncated("fsm/state.db", 60)(t, dir)
	both := copied(t, dir)
	truncated("raft/log.db", 60)(t, both)
	before := contents(t, both)
	if _, err := cluster.Rebuild(both); err == nil {
		t.Error("rebuilt from a torn log")
	}
	unchanged(t, both, before)
	if result, err := cluster.Rebuild(dir); err != nil || len(result.Moved) != 1 {
		t.Fatalf("%+v, %v", result, err)
	}
	c.StartAlone(0)
	c.WaitReady()
	wantValue(t, c.Node(0), storage.ReadOptions{}, "q9", "9")
	wantValue(t, c.Node(0), storage.ReadOptions{}, "p4", "39")
	c.Stop(0)
	if got := mustCheck(t, dir); got.State == nil || got.State.Index < want.Index || len(got.Problems) > 0 {
		t.Errorf("%+v, want at least index %d", got, want.Index)
	}
}

// The state is read once after the start: what the disk changed inside a value
// stops the node before it does harm, and says what to do.
func TestChangedStateIsFoundAfterTheStart(t *testing.T) {
	c := testcluster.New(t, 1)
	dir := stoppedNode(t, c)
	flipInState(t, dir)
	c.StartAlone(0)
	node := c.Node(0)
	testcluster.Wait(t, "the node to stop itself", func() error {
		if err := node.Err(); err == nil {
			return errors.New("it runs")
		}
		return nil
	})
	if err := node.Err(); !strings.Contains(err.Error(), "not what was written") || !strings.Contains(err.Error(), byRebuild) {
		t.Errorf("fault: %v", err)
	}
	c.Forget(0)
}
