package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/cluster"
	"github.com/oprc/oprc-pm/internal/testcluster"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/backup"
)

func putState(ctx context.Context, s storage.Store, key, status string) error {
	c, err := storage.NewUpdateRuntimeState(model.RuntimeState{Key: key, Status: status}, 0)
	if err != nil {
		return err
	}
	_, err = s.Apply(ctx, storage.Request{Command: c})
	return err
}

func saveFrom(t *testing.T, n *cluster.Node) ([]byte, backup.Header) {
	t.Helper()
	dir, err := n.TempDir()
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	h, err := backup.Save(t.Context(), n, &file, backup.SaveOptions{Node: "n", Driver: "raft", At: time.Now(), Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	return file.Bytes(), h
}

// wantContent waits until every node that is up has applied index, and compares what
// they hold then.
func wantContent(t *testing.T, c *testcluster.Cluster, index uint64, want string) {
	t.Helper()
	c.WaitApplied(t, index)
	for _, i := range c.Up() {
		_, err := c.Node(i).View(t.Context(), storage.ReadOptions{Consistency: storage.Stale}, func(r storage.Reader) error {
			digest, err := storage.ContentDigest(r)
			if err == nil && digest.String() != want {
				t.Errorf("content digest of node %d is %s, want that of the backup, %s", i, digest, want)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestBackupDuringLoad backs up from a follower while others write, and restores on
// the running cluster and on a fresh one.
func TestBackupDuringLoad(t *testing.T) {
	var file []byte
	var h backup.Header
	t.Run("running", func(t *testing.T) {
		c := testcluster.New(t, 3)
		leader := c.Leader(t)
		file, h = saveUnderLoad(t, c, c.Node((leader+1)%3))
		_, result, err := backup.Restore(t.Context(), c.Node((leader+2)%3), bytes.NewReader(file), backup.RestoreOptions{Force: true})
		if err != nil {
			t.Fatal(err)
		}
		wantContent(t, c, result.Index, h.ContentDigest)
	})
	t.Run("fresh", func(t *testing.T) {
		c := testcluster.New(t, 3)
		follower := c.Node((c.Leader(t) + 1) % 3)
		id := follower.Status().ClusterID
		_, result, err := backup.Restore(t.Context(), follower, bytes.NewReader(file), backup.RestoreOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if result.Index <= h.Index {
			t.Errorf("restored at index %d, want one after %d of the backup", result.Index, h.Index)
		}
		wantContent(t, c, result.Index, h.ContentDigest)
		if got := follower.Status().ClusterID; got != id {
			t.Errorf("the cluster's id changed from %s to %s", id, got)
		}
		// And it is as durable as any write.
		for i := range 3 {
			c.Crash(i)
			c.Restart(i)
		}
		c.WaitReady()
		if err := putState(t.Context(), c.Node(0), "after", "on"); err != nil {
			t.Fatal(err)
		}
	})
}

// saveUnderLoad makes a backup through node while clients write to all nodes.
func saveUnderLoad(t *testing.T, c *testcluster.Cluster, node *cluster.Node) ([]byte, backup.Header) {
	t.Helper()
	stop := make(chan struct{})
	var writers sync.WaitGroup
	var acknowledged sync.Map
	for w := range 4 {
		writers.Go(func() {
			to := c.Node(w % 3)
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				key := fmt.Sprintf("s-%d-%d", w, i)
				if err := putState(t.Context(), to, key, strings.Repeat("x", 500)); err != nil {
					t.Errorf("write %s: %v", key, err)
					return
				}
				acknowledged.Store(key, true)
			}
		})
	}
	testcluster.Wait(t, "some writes", func() error {
		if at := node.Status().AppliedIndex; at < 200 {
			return fmt.Errorf("index is %d", at)
		}
		return nil
	})
	before := map[string]bool{}
	acknowledged.Range(func(key, _ any) bool { before[key.(string)] = true; return true })
	file, h := saveFrom(t, node)
	close(stop)
	writers.Wait()
	held := keysOf(t, file)
	for key := range before {
		if !held[string(storage.RuntimeStateKey(key))] {
			t.Errorf("%s was acknowledged before the backup began and is not in it", key)
		}
	}
	return file, h
}

func keysOf(t *testing.T, file []byte) map[string]bool {
	t.Helper()
	keys := map[string]bool{}
	if _, err := backup.Read(bytes.NewReader(file), func(key, _ []byte) error {
		keys[string(key)] = true
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return keys
}

// TestRestoreSurvivesTheLeader takes the leader away in the middle of the staging, and
// right after the commit.
func TestRestoreSurvivesTheLeader(t *testing.T) {
	var file []byte
	var h backup.Header
	t.Run("save", func(t *testing.T) {
		source := testcluster.New(t, 1)
		for i := range 40 {
			// What does not compress makes several parts.
			if err := putState(t.Context(), source.Node(0), fmt.Sprint("s", i), incompressible(i, 60<<10)); err != nil {
				t.Fatal(err)
			}
		}
		file, h = saveFrom(t, source.Node(0))
	})
	if len(file) < 2*storage.RestorePartBytes {
		t.Fatalf("the backup has %d bytes only", len(file))
	}
	c := testcluster.New(t, 3)
	leader := c.Leader(t)
	node := c.Node((leader + 1) % 3)
	crash := c.Take(leader)
	var once sync.Once
	var crashed sync.WaitGroup
	_, result, err := backup.Restore(t.Context(), node, bytes.NewReader(file), backup.RestoreOptions{Staged: func(int64) {
		once.Do(func() { crashed.Go(crash) })
	}})
	crashed.Wait()
	if err != nil && model.CodeOf(err) == model.CodeUnavailable {
		// The index cannot be raised while a voter is away: that is said, and nothing is
		// changed.
		c.Restart(leader)
		c.WaitReady()
		_, result, err = backup.Restore(t.Context(), node, bytes.NewReader(file), backup.RestoreOptions{})
	} else {
		c.Restart(leader)
		c.WaitReady()
	}
	if err != nil {
		t.Fatal(err)
	}
	wantContent(t, c, result.Index, h.ContentDigest)
	c.Crash(c.Leader(t))
	up := c.Up()
	if err := putState(t.Context(), c.Node(up[0]), "after", "on"); err != nil {
		t.Fatal(err)
	}
}

func incompressible(seed, size int) string {
	b := make([]byte, size/2)
	state := uint64(seed + 1)
	for i := range b {
		state = state*6364136223846793005 + 1442695040888963407
		b[i] = byte(state >> 56)
	}
	return fmt.Sprintf("%x", b)
}

// TestRaiseNeedsEveryVoter refuses a backup of a later index while a voter is away, and
// changes nothing.
func TestRaiseNeedsEveryVoter(t *testing.T) {
	c := testcluster.New(t, 3)
	var file bytes.Buffer
	_, err := c.Node(0).View(t.Context(), storage.ReadOptions{}, func(r storage.Reader) error {
		file.Reset()
		_, err := backup.Write(t.Context(), &file, backup.Header{Index: 1 << 20}, r)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	leader := c.Leader(t)
	away := (leader + 1) % 3
	c.Crash(away)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	_, _, err = backup.Restore(ctx, c.Node(leader), bytes.NewReader(file.Bytes()), backup.RestoreOptions{Force: true})
	if code := model.CodeOf(err); code != model.CodeUnavailable && code != model.CodeUnknownOutcome {
		t.Errorf("restore with a voter away: got %v, want that it is refused", err)
	}
	if at := c.Node(c.Leader(t)).Status().AppliedIndex; at > 1<<19 {
		t.Errorf("the index was raised to %d", at)
	}
	if err := putState(t.Context(), c.Node(leader), "still", "on"); err != nil {
		t.Errorf("write afterwards: %v", err)
	}
	c.Restart(away)
	c.WaitReady()
	_, result, err := backup.Restore(t.Context(), c.Node(away), bytes.NewReader(file.Bytes()), backup.RestoreOptions{Force: true})
	if err != nil || result.Index <= 1<<20 {
		t.Errorf("restore with all voters: got %+v, %v", result, err)
	}
}

// TestRaiseMark keeps a leader that died while it raised the index from going on.
func TestRaiseMark(t *testing.T) {
	c := testcluster.New(t, 1)
	dir := c.Config(0).DataDir
	c.Crash(0)
	path := filepath.Join(dir, "raise.json")
	if err := os.WriteFile(path, []byte(`{"from":7,"to":1000}`), 0o600); err != nil {
		t.Fatal(err)
	}
	n := cluster.New(*c.Config(0), cluster.Deps{})
	if err := n.Open(t.Context()); err == nil || !strings.Contains(err.Error(), "oprc-pm cluster rejoin --data-dir") {
		t.Errorf("open: got %v, want how to mend it", err)
	}
	if err := errors.Join(n.Close(), os.Remove(path)); err != nil {
		t.Fatal(err)
	}
	c.Restart(0)
	c.WaitReady()
}
