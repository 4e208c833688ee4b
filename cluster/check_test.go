package cluster_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/oprc/oprc-pm/cluster"
	"github.com/oprc/oprc-pm/internal/testcluster"
	"github.com/oprc/oprc-pm/storage"
)

// stoppedNode is the directory of a node that was the only one, with a snapshot and
// a log beyond it, closed in good order.
func stoppedNode(t *testing.T, c *testcluster.Cluster) string {
	t.Helper()
	for i := range 40 {
		mustPut(t, c.Node(0), fmt.Sprintf("p%d", i%7), fmt.Sprint(i))
	}
	if _, err := c.Node(0).Compact(ctxFor(t, 20*time.Second)); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		mustPut(t, c.Node(0), fmt.Sprintf("q%d", i), fmt.Sprint(i))
	}
	c.Stop(0)
	return c.Config(0).DataDir
}

func oneNode(t *testing.T, store string) *testcluster.Cluster {
	t.Helper()
	return testcluster.New(t, 1, testcluster.WithConfig(func(_ int, cfg *cluster.Config) { cfg.LogStore = store }))
}

// contents are the hashes of all files below dir, to see that nothing changed.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || entry.Name() == "LOCK" {
			return err
		}
		data, err := os.ReadFile(path)
		sum := sha256.Sum256(data)
		out[strings.TrimPrefix(path, dir)] = hex.EncodeToString(sum[:])
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func unchanged(t *testing.T, dir string, before map[string]string) {
	t.Helper()
	for path, sum := range contents(t, dir) {
		if before[path] != sum {
			t.Errorf("%s was changed", path)
		}
		delete(before, path)
	}
	for path := range before {
		t.Errorf("%s is gone", path)
	}
}

func mustCheck(t *testing.T, dir string) cluster.CheckReport {
	t.Helper()
	report, err := cluster.Check(dir)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func copied(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "node")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// A whole directory has no problem, the report says what is in it, and checking
// changes nothing. A directory in use is not checked.
func TestCheckWholeDirectory(t *testing.T) {
	for _, store := range []string{cluster.LogStoreBolt, cluster.LogStoreWAL} {
		t.Run(store, func(t *testing.T) {
			c := oneNode(t, store)
			if _, err := cluster.Check(c.Config(0).DataDir); err == nil || !strings.Contains(err.Error(), "in use") {
				t.Errorf("check of a running node: %v, want it refused", err)
			}
			dir := stoppedNode(t, c)
			before := contents(t, dir)
			report := mustCheck(t, dir)
			unchanged(t, dir, before)
			if len(report.Problems) > 0 || len(report.Snapshots) != 1 || !report.Snapshots[0].Whole || report.State == nil {
				t.Fatalf("report %+v", report)
			}
			if report.LastIndex == 0 || report.LastIndex < report.State.Index || report.Term == 0 || len(report.Configuration) != 1 ||
				report.Configuration[0].ID != report.ServerID || report.LastTerm == 0 || report.FirstIndex == 0 {
				t.Errorf("report %+v", report)
			}
			c.StartAlone(0)
			c.WaitReady()
			if st := c.Node(0).Status(); st.AppliedIndex == report.State.Index && st.Digest != report.State.Digest {
				t.Errorf("digest %s, the report said %s", st.Digest, report.State.Digest)
			}
		})
	}
}

// damage is one thing that can happen to a directory: do makes it happen, file is
// what must be named by the check and by the node that refuses to start, and by
// what it is mended.
type damage struct {
	name   string
	do     func(t *testing.T, dir string)
	file   string
	says   string
	remedy string
	// starts: the node can start all the same.
	starts bool
}

func truncated(file string, percent int64) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		path := filepath.Join(dir, file)
		info, err := os.Stat(path)
		if err == nil {
			err = os.Truncate(path, info.Size()*percent/100)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func removed(file string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		if err := os.RemoveAll(filepath.Join(dir, file)); err != nil {
			t.Fatal(err)
		}
	}
}

// overwritten writes garbage over a part of a file.
func overwritten(pattern string, at int64, length int) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		paths, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		file, err := os.OpenFile(paths[len(paths)-1], os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = file.WriteAt(bytes.Repeat([]byte{0xA5}, length), at)
		if err := errors.Join(err, file.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

func edited(change func(map[string]any)) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		path := filepath.Join(dir, "node.json")
		data, err := os.ReadFile(path)
		record := map[string]any{}
		if err == nil {
			err = json.Unmarshal(data, &record)
		}
		change(record)
		data, _ = json.Marshal(record)
		if err := errors.Join(err, os.WriteFile(path, data, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

// inBolt changes a bbolt file with bbolt: its pages stay whole.
func inBolt(file, bucket string, change func(*bbolt.Bucket) error) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		db, err := bbolt.Open(filepath.Join(dir, file), 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = db.Update(func(tx *bbolt.Tx) error { return change(tx.Bucket([]byte(bucket))) })
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

func deleteEntry(b *bbolt.Bucket) error {
	cursor := b.Cursor()
	cursor.Last()
	for range 3 {
		cursor.Prev()
	}
	return cursor.Delete()
}

func flipInLastEntry(b *bbolt.Bucket) error {
	key, value := b.Cursor().Last()
	value = bytes.Clone(value)
	value[len(value)/2] ^= 1
	return b.Put(bytes.Clone(key), value)
}

const (
	byRejoin  = "oprc-pm cluster rejoin --data-dir"
	byRebuild = "oprc-pm cluster rebuild --data-dir"
	byNewer   = "start the release that wrote it"
	byCompact = "oprc-pm cluster compact"
)

var damages = []damage{
	{name: "torn log", do: truncated("raft/log.db", 60), file: "raft/log.db", says: "end is missing", remedy: byRejoin},
	{name: "log of no bytes", do: truncated("raft/log.db", 0), file: "raft/log.db", says: "0 bytes", remedy: byRejoin},
	{name: "log pages overwritten", do: overwritten("raft/log.db", 2*4096, 1<<16), file: "raft/log.db", says: "damaged", remedy: byRejoin},
	{name: "log's first meta page", do: overwritten("raft/log.db", 20, 8), file: "raft/log.db", says: "meta page 0", remedy: byRejoin},
	{name: "log's second meta page", do: overwritten("raft/log.db", 4096+20, 8), file: "raft/log.db", says: "meta page 1", remedy: byRejoin},
	{name: "log entry missing", do: inBolt("raft/log.db", "logs", deleteEntry), file: "raft/log.db", says: "log not found", remedy: byRejoin},
	{name: "log entry changed", do: inBolt("raft/log.db", "logs", flipInLastEntry), file: "raft/log.db", says: "entry", remedy: byRejoin},
	{name: "log missing", do: removed("raft/log.db"), file: "raft/log.db", says: "missing", remedy: byRejoin},
	{name: "vote missing", do: removed("raft/stable.db"), file: "raft/stable.db", says: "missing", remedy: byRejoin},
	{name: "torn vote", do: truncated("raft/stable.db", 50), file: "raft/stable.db", says: "end is missing", remedy: byRejoin},
	{name: "term changed", do: inBolt("raft/stable.db", "conf", func(b *bbolt.Bucket) error {
		term := bytes.Clone(b.Get([]byte("CurrentTerm")))
		term[7] ^= 4
		return b.Put([]byte("CurrentTerm"), term)
	}), file: "raft/stable.db", says: "checksum", remedy: byRejoin},
	{name: "vote changed", do: inBolt("raft/stable.db", "conf", func(b *bbolt.Bucket) error {
		vote := bytes.Clone(b.Get([]byte("LastVoteCand")))
		vote[1] ^= 1
		return b.Put([]byte("LastVoteCand"), vote)
	}), file: "raft/stable.db", says: "checksum", remedy: byRejoin},
	{name: "no vote given yet", do: inBolt("raft/stable.db", "conf", func(b *bbolt.Bucket) error {
		return b.Delete([]byte("LastVoteCand"))
	}), file: ""},
	{name: "raft directory missing", do: removed("raft"), file: "raft/stable.db", says: "missing", remedy: byRejoin},
	{name: "torn state", do: truncated("fsm/state.db", 70), file: "fsm/state.db", says: "end is missing", remedy: byRebuild},
	{name: "state overwritten", do: overwritten("fsm/state.db", 3*4096, 1<<15), file: "fsm/state.db", says: "damaged", remedy: byRebuild},
	{name: "state of a newer release", do: inBolt("fsm/state.db", "meta", func(b *bbolt.Bucket) error {
		return b.Put([]byte("format"), []byte{9})
	}), file: "fsm/state.db", says: "newer", remedy: byNewer},
	{name: "state missing", do: removed("fsm/state.db"), starts: true},
	{name: "state and its mark missing", do: removed("fsm"), starts: true},
	{name: "snapshot overwritten", do: overwritten("raft/snapshots/*/state.bin", 5000, 100), file: "raft/snapshots/", says: "damaged", remedy: byCompact, starts: true},
	{name: "torn snapshot", do: truncatedSnapshot, file: "raft/snapshots/", says: "", remedy: byCompact, starts: true},
	{name: "snapshot of no use and no state", do: func(t *testing.T, dir string) {
		truncatedSnapshot(t, dir)
		removed("fsm")(t, dir)
	}, file: "raft/snapshots", says: "", remedy: byRejoin},
	{name: "snapshots missing", do: removed("raft/snapshots"), file: "raft/log.db", says: "entries between are missing", remedy: byRejoin},
	{name: "identity missing", do: removed("node.json"), file: "node.json", says: "missing", remedy: byRejoin},
	{name: "identity damaged", do: truncated("node.json", 50), file: "node.json", says: "JSON", remedy: byRejoin},
	{name: "another node's identity", do: edited(func(m map[string]any) { m["server_id"] = strings.Repeat("ab", 16) }),
		file: "raft/stable.db", says: "files of two nodes", remedy: byRejoin},
	{name: "another cluster's identity", do: edited(func(m map[string]any) { m["cluster_id"] = strings.Repeat("cd", 16) }),
		file: "fsm/state.db", says: "files of two nodes", remedy: byRejoin},
	{name: "directory of a newer release", do: edited(func(m map[string]any) { m["format"] = 7 }), file: "node.json", says: "format 7", remedy: byNewer},
}

func truncatedSnapshot(t *testing.T, dir string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "raft/snapshots/*/state.bin"))
	if err != nil || len(paths) != 1 {
		t.Fatalf("%v, %v", paths, err)
	}
	if err := os.Truncate(paths[0], 9000); err != nil {
		t.Fatal(err)
	}
}

// TestDamage: every damage is found offline and named with the command that mends
// it; the node does not start with it, says the same, and leaves every byte alone.
func TestDamage(t *testing.T) {
	c := testcluster.New(t, 1, testcluster.WithConfig(func(_ int, cfg *cluster.Config) { cfg.TrailingLogs = 10 }))
	whole := stoppedNode(t, c)
	for _, d := range damages {
		t.Run(d.name, func(t *testing.T) {
			dir := copied(t, whole)
			d.do(t, dir)
			before := contents(t, dir)
			checkNames(t, mustCheck(t, dir), d, dir)
			unchanged(t, dir, before)

			c.Config(0).DataDir = dir
			defer func() { c.Config(0).DataDir = whole }()
			if d.file == "" || d.starts {
				c.StartAlone(0)
				c.WaitReady()
				wantValue(t, c.Node(0), storage.ReadOptions{}, "q9", "9")
				c.Crash(0)
				return
			}
			err := c.TryStart(0)
			var damage *cluster.DamageError
			if !errors.As(err, &damage) {
				t.Fatalf("start: %v, want a damaged directory", err)
			}
			if !strings.HasPrefix(damage.File, filepath.Join(dir, d.file)) || !strings.Contains(damage.Remedy, d.remedy) {
				t.Errorf("start: %v, want it to name %s and %q", err, d.file, d.remedy)
			}
			// Opening a whole file may begin a page of it; what was wrong is as it was.
			after := contents(t, dir)
			for path := range before {
				if after[path] == "" {
					t.Errorf("%s is gone", path)
				}
			}
			checkNames(t, mustCheck(t, dir), d, dir)
		})
	}
}

func checkNames(t *testing.T, report cluster.CheckReport, d damage, dir string) {
	t.Helper()
	if d.file == "" {
		if len(report.Problems) > 0 {
			t.Errorf("problems %+v, want none", report.Problems)
		}
		return
	}
	for _, p := range report.Problems {
		if strings.HasPrefix(p.File, filepath.Join(dir, d.file)) && strings.Contains(p.Problem, d.says) && strings.Contains(p.Remedy, d.remedy) {
			return
		}
	}
	t.Errorf("problems %+v, want one of %s that says %q and %q", report.Problems, d.file, d.says, d.remedy)
}

// TestCheckFindsFlippedBytes flips bytes all over the files: nothing crashes, and
// what goes unseen has changed nothing that matters.
func TestCheckFindsFlippedBytes(t *testing.T) {
	for _, store := range []string{cluster.LogStoreBolt, cluster.LogStoreWAL} {
		t.Run(store, func(t *testing.T) { testFlippedBytes(t, store) })
	}
}

func testFlippedBytes(t *testing.T, store string) {
	dir := copied(t, stoppedNode(t, oneNode(t, store)))
	want := mustCheck(t, dir)
	if len(want.Problems) > 0 {
		t.Fatalf("%+v", want.Problems)
	}
	patterns := []string{"raft/log.db", "raft/stable.db", "fsm/state.db", "raft/snapshots/*/state.bin"}
	if store == cluster.LogStoreWAL {
		patterns = []string{"raft/wal/wal-meta.db", "raft/wal/*.wal"}
	}
	for _, pattern := range patterns {
		paths, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		found, unseen := flipThrough(t, paths[0], func(at int64) bool {
			got := mustCheck(t, dir)
			if len(got.Problems) > 0 {
				return true
			}
			if got.Position != want.Position || got.Term != want.Term || *got.State != *want.State {
				t.Errorf("%s: a byte changed at %d went unseen, and the report is %+v", pattern, at, got)
			}
			return false
		})
		t.Logf("%s: %d found, %d harmless", pattern, found, unseen)
		if found == 0 {
			t.Errorf("%s: no damage was found", pattern)
		}
	}
}

// flipThrough changes a byte, asks, and puts it back, at offsets all over what is
// in use of a file.
func flipThrough(t *testing.T, path string, ask func(at int64) bool) (found, unseen int) {
	t.Helper()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	used := len(bytes.TrimRight(whole, "\x00"))
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	const flips = 60
	for i := range flips {
		at := int64((i*used/flips + i*i*37) % used)
		for _, b := range []byte{whole[at] ^ 0x10, whole[at]} {
			if _, err := file.WriteAt([]byte{b}, at); err != nil {
				t.Fatal(err)
			}
			if b == whole[at] {
				break
			}
			if ask(at) {
				found++
			} else {
				unseen++
			}
		}
	}
	return found, unseen
}
