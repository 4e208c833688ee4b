package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/cluster"
	"github.com/oprc/oprc-pm/internal/testcluster"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// Two of three disks are lost for good. The third is refused a recovery while
// nobody vouches for the others' logs, says so without touching anything, and
// then leads alone; the others come back empty and are voters again.
func TestRecoverLostQuorum(t *testing.T) {
	for _, store := range []string{cluster.LogStoreBolt, cluster.LogStoreWAL} {
		t.Run(store, func(t *testing.T) { testRecoverLostQuorum(t, store) })
	}
}

func testRecoverLostQuorum(t *testing.T, store string) {
	c := testcluster.New(t, 3, testcluster.WithConfig(func(_ int, cfg *cluster.Config) { cfg.LogStore = store }))
	res := mustPut(t, c.Node(0), "p", "1")
	c.WaitApplied(t, res.Index)
	survivor := 0
	for _, i := range []int{2, 1} {
		c.Crash(i)
		if err := os.RemoveAll(c.Config(i).DataDir); err != nil {
			t.Fatal(err)
		}
	}
	id, dir := c.Node(survivor).ID(), c.Config(survivor).DataDir
	if _, err := cluster.Recover(cluster.RecoverOptions{DataDir: dir}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("recover a running node: %v, want it refused", err)
	}
	c.Crash(survivor)

	report, err := cluster.Recover(cluster.RecoverOptions{DataDir: dir, Do: true})
	if !errors.Is(err, cluster.ErrObjections) || len(report.Objections) != 2 || report.Done || report.Backup != "" {
		t.Fatalf("recover with unknown others = %+v, %v, want two objections", report, err)
	}
	report, err = cluster.Recover(cluster.RecoverOptions{DataDir: dir, AcceptDataLoss: true})
	if err != nil || report.Done || report.Backup != "" || len(report.Before) != 3 || len(report.After) != 1 || report.After[0].ID != id {
		t.Fatalf("dry run = %+v, %v", report, err)
	}
	if report.LastIndex < res.Index {
		t.Errorf("the log ends at %d, want at least %d", report.LastIndex, res.Index)
	}
	c.Config(survivor).BootstrapExpect = 1
	c.StartAlone(survivor)
	holdsFor(t, 500*time.Millisecond, func() error {
		if role := c.Node(survivor).Status().Role; role == storage.RoleLeader {
			return fmt.Errorf("it is %s after a dry run", role)
		}
		return nil
	})
	c.Crash(survivor)

	report, err = cluster.Recover(cluster.RecoverOptions{DataDir: dir, AcceptDataLoss: true, Do: true})
	if err != nil || !report.Done {
		t.Fatalf("recover = %+v, %v", report, err)
	}
	if _, err := os.Stat(filepath.Join(report.Backup, "stable.db")); err != nil {
		t.Errorf("the backup lacks the stable store: %v", err)
	}
	c.StartAlone(survivor)
	c.WaitReady()
	c.WaitVoters(t, 1)
	wantValue(t, c.Node(survivor), storage.ReadOptions{}, "p", "1")
	for _, i := range []int{1, 2} {
		c.Start(i)
	}
	c.WaitVoters(t, 3)
	mustPut(t, c.Node(1), "p", "2")
	wantServers(t, c, 3)
}

// Logs that differ are told apart, whichever is ahead; equal ones are no
// objection.
func TestRecoverComparesLogs(t *testing.T) {
	c := testcluster.New(t, 2)
	res := mustPut(t, c.Node(0), "p", "1")
	c.WaitApplied(t, res.Index)
	leader := c.Leader(t)
	behind := others(c, leader)[0]
	c.Crash(behind)
	// The leader appends what nobody else ever gets.
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := c.Node(leader).Apply(ctx, storage.Request{Command: testcluster.Put("p", "2")}); err == nil {
		t.Fatal("a write without a majority was acknowledged")
	}
	c.Crash(leader)

	position := func(i int) cluster.Position {
		t.Helper()
		p, err := cluster.PositionOf(c.Config(i).DataDir)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, tt := range []struct {
		on, with int
		says     string
	}{{behind, leader, "holds more"}, {leader, behind, "holds less"}} {
		report, err := cluster.Recover(cluster.RecoverOptions{DataDir: c.Config(tt.on).DataDir, Others: []cluster.Position{position(tt.with)}, Do: true})
		if !errors.Is(err, cluster.ErrObjections) || len(report.Objections) != 1 || !strings.Contains(report.Objections[0], tt.says) || report.Done {
			t.Errorf("recover node %d = %+v, %v, want an objection that the other %s", tt.on, report, err, tt.says)
		}
	}
	equal := position(behind)
	equal.ServerID = position(leader).ServerID
	report, err := cluster.Recover(cluster.RecoverOptions{DataDir: c.Config(behind).DataDir, Others: []cluster.Position{equal}})
	if err != nil || len(report.Objections) != 0 {
		t.Errorf("recover with equal logs = %+v, %v, want no objection", report, err)
	}
	equal.ClusterID = "another"
	report, err = cluster.Recover(cluster.RecoverOptions{DataDir: c.Config(behind).DataDir, Others: []cluster.Position{equal}})
	if !errors.Is(err, cluster.ErrObjections) {
		t.Errorf("recover with another cluster's log = %+v, %v, want an objection", report, err)
	}
	if _, err := cluster.Recover(cluster.RecoverOptions{DataDir: t.TempDir()}); err == nil {
		t.Error("an empty directory was recovered")
	}
}

// A state file that holds more than the log is not opened: the node would vote
// without entries that it acknowledged. The error says how to go on.
func TestStateAheadOfLogIsRefused(t *testing.T) {
	c := testcluster.New(t, 1)
	mustPut(t, c.Node(0), "p", "1")
	c.Crash(0)
	dir := c.Config(0).DataDir
	old := filepath.Join(t.TempDir(), "raft")
	if err := os.CopyFS(old, os.DirFS(filepath.Join(dir, "raft"))); err != nil {
		t.Fatal(err)
	}
	c.StartAlone(0)
	c.WaitReady()
	mustPut(t, c.Node(0), "p", "2")
	c.Crash(0)
	if err := os.RemoveAll(filepath.Join(dir, "raft")); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(dir, "raft"), os.DirFS(old)); err != nil {
		t.Fatal(err)
	}
	node := cluster.New(*c.Config(0), cluster.Deps{})
	err := node.Open(t.Context())
	if err == nil {
		if cerr := node.Close(); cerr != nil {
			t.Error(cerr)
		}
		t.Fatal("the node opened a state that is ahead of its log")
	}
	for _, want := range []string{"state file has applied index", "log and snapshots end at index", "oprc-pm cluster rejoin"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not say %q", err, want)
		}
	}
	if model.CodeOf(err) == model.CodeUnavailable {
		t.Errorf("code of %v = unavailable", err)
	}
}

// More fresh nodes than expected found one cluster all the same: the lowest ids
// found it, and the others are added.
func TestMoreFreshNodesThanExpected(t *testing.T) {
	c := testcluster.New(t, 5, testcluster.WithExpect(3), testcluster.NotStarted())
	for i := range 5 {
		c.Start(i)
	}
	c.WaitReady()
	c.WaitVoters(t, 5)
	if ids := clusterIDs(c); len(ids) != 1 || len(ids[""]) != 0 {
		t.Errorf("cluster ids = %v, want one", ids)
	}
}
