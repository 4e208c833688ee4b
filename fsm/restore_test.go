package fsm

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/backup"
	"github.com/oprc/oprc-pm/storage/memory"
)

func backupOf(t testing.TB, r storage.Reader, h backup.Header) []byte {
	t.Helper()
	h.CreatedAt = noon
	var file bytes.Buffer
	if _, err := backup.Write(t.Context(), &file, h, r); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// stage puts a file into the state, in parts of some bytes, and returns the command
// that restores it.
func (w *world) stage(id string, file []byte, size int) storage.CommitRestore {
	w.Helper()
	c := storage.CommitRestore{ID: id, Sha256: sha256.Sum256(file)}
	for ; len(file) > 0; c.Parts++ {
		n := min(len(file), size)
		w.must(storage.StageRestore{ID: id, Part: c.Parts, Data: file[:n]})
		file = file[n:]
	}
	return c
}

// restoreWorlds are a world with a backup of it, of index 90 in term 7, and another
// one at a later index.
func restoreWorlds(t *testing.T) (source, target *world, file []byte) {
	t.Helper()
	source, target = newWorld(t), newWorld(t)
	source.must(storage.MintClusterID{ClusterID: "source"}, namedPackage(t, "base"), namedPackage(t, "shop", "base"),
		clusterCommand(t, "east", model.ManagedByAPI), deployCommand(t, "d", "shop", "east"), stateCommand(t, "same", "on"))
	source.run(storage.Proposal{Request: storage.Request{ID: "of the source", Command: stateCommand(t, "s", "on")}, At: noon})
	source.view(func(r storage.Reader) error {
		file = backupOf(t, r, backup.Header{Index: 90, Term: 7})
		return nil
	})
	target.index = 100
	target.must(storage.MintClusterID{ClusterID: "target"}, namedPackage(t, "base"), namedPackage(t, "old"), deployCommand(t, "old", "old", "west"))
	target.run(storage.Proposal{Request: storage.Request{ID: "of the target", Command: stateCommand(t, "t", "on")}, At: noon})
	return source, target, file
}

func TestRestoreReplacesTheState(t *testing.T) {
	t.Parallel()
	_, target, file := restoreWorlds(t)
	header, err := backup.Inspect(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	c := target.stage("r", file, 100)
	c.Force = true
	results, events := target.run(storage.Proposal{Request: storage.Request{ID: "commit", Command: c}, At: noon})
	want := storage.Result{Index: target.index, Outcome: storage.Updated}
	if diff := cmp.Diff(want, results[0]); diff != "" {
		t.Fatalf("result: -want +got\n%s", diff)
	}
	target.view(func(r storage.Reader) error {
		content, err := storage.ContentDigest(r)
		if content.String() != header.ContentDigest {
			t.Errorf("content digest %s, want that of the backup, %s", content, header.ContentDigest)
		}
		for key, value := range map[string]string{
			"system/cluster_id": "target",
			"system/term_base":  strconv.Itoa(7 + 1<<20),
			"system/restored":   fmt.Sprintf(`{"id":"r","index":%d,"from_cluster":"source","from_index":90}`, target.index),
		} {
			if got, _ := r.Get([]byte(key)); string(got) != value {
				t.Errorf("%s: got %q, want %q", key, got, value)
			}
		}
		if part, _ := r.Get(storage.RestorePartKey("r", 0)); part != nil {
			t.Error("the staged parts are still there")
		}
		if err != nil {
			return err
		}
		return compareIndexes(t, r)
	})
	seen := map[string]storage.EventType{}
	for _, e := range events {
		seen[string(e.Kind)+" "+e.Key] = e.Type
	}
	wantEvents := map[string]storage.EventType{
		// Both have a package base, of different times.
		"package base": storage.EventPut, "package shop": storage.EventPut, "package old": storage.EventDelete,
		"deployment d": storage.EventPut, "deployment old": storage.EventDelete, "cluster east": storage.EventPut,
		"runtime_state same": storage.EventPut, "runtime_state s": storage.EventPut, "runtime_state t": storage.EventDelete,
	}
	if diff := cmp.Diff(wantEvents, seen); diff != "" {
		t.Errorf("events: -want +got\n%s", diff)
	}
	again := func(id string, c storage.Command) storage.Result {
		results, _ := target.run(storage.Proposal{Request: storage.Request{ID: id, Command: c}, At: noon})
		return results[0]
	}
	if r := again("of the source", stateCommand(t, "s", "on")); !r.Duplicate {
		t.Errorf("a request that the backup knows was not recognized: %+v", r)
	}
	if r := again("of the target", stateCommand(t, "t", "on")); r.Duplicate || r.Outcome != storage.Created {
		t.Errorf("a request that was lost with the state before: got %+v, want it done", r)
	}
	repeated := want
	repeated.Duplicate = true
	if diff := cmp.Diff(repeated, again("commit", c)); diff != "" {
		t.Errorf("the same restore again: -want +got\n%s", diff)
	}
}

// TestRestoreWritesWhatDiffers restores a state over itself.
func TestRestoreWritesWhatDiffers(t *testing.T) {
	t.Parallel()
	source, _, file := restoreWorlds(t)
	source.index = 100
	c := source.stage("r", file, 100)
	c.Force = true
	if _, events := source.run(storage.Proposal{Request: storage.Request{Command: c}, At: noon}); len(events) > 0 {
		t.Errorf("got %d events, want none where nothing differs: %v", len(events), events)
	}
}

func TestRestoreIsRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(w *world, c *storage.CommitRestore, file []byte)
		want   model.Code
	}{
		"documents":   {func(_ *world, c *storage.CommitRestore, _ []byte) { c.Force = false }, model.CodeConflict},
		"other_file":  {func(_ *world, c *storage.CommitRestore, _ []byte) { c.Sha256[0]++ }, model.CodeInvalid},
		"fewer_parts": {func(_ *world, c *storage.CommitRestore, _ []byte) { c.Parts-- }, model.CodeInvalid},
		"no_parts":    {func(_ *world, c *storage.CommitRestore, _ []byte) { c.Parts = 0 }, model.CodeInvalid},
		"more_parts":  {func(_ *world, c *storage.CommitRestore, _ []byte) { c.Parts++ }, model.CodeConflict},
		"other_id":    {func(_ *world, c *storage.CommitRestore, _ []byte) { c.ID = "x" }, model.CodeConflict},
		"too_early":   {func(w *world, _ *storage.CommitRestore, _ []byte) { w.index = 89 }, model.CodeFailedPrecondition},
		"aborted": {func(w *world, c *storage.CommitRestore, _ []byte) {
			w.must(storage.AbortRestore{ID: c.ID})
		}, model.CodeConflict},
		"overtaken": {func(w *world, _ *storage.CommitRestore, file []byte) {
			w.stage("other", file, 1000)
		}, model.CodeConflict},
		"damaged": {func(w *world, c *storage.CommitRestore, file []byte) {
			bad := bytes.Clone(file)
			bad[len(bad)/2] ^= 1
			force := c.Force
			*c = w.stage("r", bad, 100)
			c.Force = force
		}, model.CodeInvalid},
		"newer_release": {func(w *world, c *storage.CommitRestore, file []byte) {
			bad := bytes.Clone(file)
			bad[8]++
			*c = w.stage("r", bad, 100)
		}, model.CodeInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, target, file := restoreWorlds(t)
			c := target.stage("r", file, 100)
			c.Force = true
			test.change(target, &c, file)
			before := target.digest()
			result := target.do(c)
			if result.Code != test.want {
				t.Errorf("got %+v, want code %s", result, test.want)
			}
			if after := target.digest(); after != before {
				t.Errorf("the state changed: digest %s before and %s after", before, after)
			}
		})
	}
}

func TestRestoreOverNothingThatPeopleMade(t *testing.T) {
	t.Parallel()
	_, _, file := restoreWorlds(t)
	w := newWorld(t)
	w.index = 100
	w.must(storage.MintClusterID{ClusterID: "fresh"}, clusterCommand(t, "configured", model.ManagedByConfig))
	if r := w.do(w.stage("r", file, 64)); r.Code != "" {
		t.Errorf("restore where only the configuration's cluster is: %+v", r)
	}
	made := newWorld(t)
	made.index = 100
	made.must(clusterCommand(t, "added", model.ManagedByAPI))
	if r := made.do(made.stage("r", file, 64)); r.Code != model.CodeConflict {
		t.Errorf("restore over a cluster that somebody added: got %+v, want a conflict", r)
	}
}

func TestStageRestoreChecksItsPart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, data := range [][]byte{nil, make([]byte, storage.RestorePartBytes+1)} {
		if r := w.do(storage.StageRestore{ID: "r", Data: data}); r.Code != model.CodeInvalid {
			t.Errorf("a part of %d bytes: got %+v, want it refused", len(data), r)
		}
	}
	if _, err := EncodeProposal(storage.Proposal{Request: storage.Request{Command: storage.StageRestore{ID: "a/b", Data: []byte("x")}}}); err == nil {
		t.Error("an id with a slash was accepted")
	}
}

// TestFencesGrowOverRestores restores a backup again and again, in both directions.
func TestFencesGrowOverRestores(t *testing.T) {
	t.Parallel()
	_, target, file := restoreWorlds(t)
	last := uint64(0)
	for i := range 4 {
		c := target.stage(fmt.Sprint("r", i), file, 1000)
		c.Force = true
		target.must(c)
		target.view(func(r storage.Reader) error {
			fence, err := storage.Fence(r, 1)
			if fence <= last || fence <= 90 {
				t.Errorf("restore %d: a leader's fence is %d, want more than %d", i, fence, last)
			}
			last = fence
			file = backupOf(t, r, backup.Header{Index: 90, Term: 2})
			return err
		})
	}
}

// TestUndoOfARestore abandons a restore: the driver commits something else.
func TestUndoOfARestore(t *testing.T) {
	t.Parallel()
	_, _, file := restoreWorlds(t)
	m, tree := smallMachine(), memory.NewTree()
	apply := func(tree storage.Tx, index uint64, c storage.Command, id string) storage.Result {
		t.Helper()
		results, _, err := m.Apply(tree, index, 1, []storage.Proposal{{Request: storage.Request{ID: id, Command: c}}})
		if err != nil {
			t.Fatal(err)
		}
		return results[0]
	}
	for i := range uint64(5) {
		apply(tree, 100+i, stateProposal(i, 0).Command, fmt.Sprint("request-", i))
	}
	apply(tree, 110, storage.StageRestore{ID: "r", Data: file}, "stage")
	before := maps.Clone(m.requests.index)
	commit := storage.CommitRestore{ID: "r", Parts: 1, Sha256: sha256.Sum256(file), Force: true}
	for range 2 {
		if r := apply(tree.Copy(), 111, commit, "commit"); r.Code != "" || r.Duplicate {
			t.Fatalf("restore: %+v", r)
		}
		m.Undo()
		m.Undo()
		if diff := cmp.Diff(before, m.requests.index); diff != "" {
			t.Fatalf("request table after an abandoned restore: -before +after\n%s", diff)
		}
	}
	tx := &recordingTx{Tx: tree.Copy()}
	learns := smallMachine()
	if err := learns.Load(tree); err != nil {
		t.Fatal(err)
	}
	apply(tx, 111, commit, "commit")
	if err := learns.Absorb(tx.changes); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m.requests.index, learns.requests.index); diff != "" {
		t.Errorf("request table: -applied +absorbed\n%s", diff)
	}
	if cmp.Equal(before, m.requests.index) {
		t.Error("the request table is that of before the restore")
	}
}

// TestRestoreInTheLog restores through the log, over entries that are handed over
// again.
func TestRestoreInTheLog(t *testing.T) {
	t.Parallel()
	_, _, file := restoreWorlds(t)
	dir, told := t.TempDir(), 0
	f := openFSM(t, dir, func(c *Config) { c.OnRestored = func() { told++ } })
	log := []*raft.Log{
		logEntry(t, 100, storage.MintClusterID{ClusterID: "target"}),
		logEntry(t, 101, storage.StageRestore{ID: "r", Data: file}),
		logEntry(t, 102, storage.CommitRestore{ID: "r", Parts: 1, Sha256: sha256.Sum256(file)}),
		logEntry(t, 103, storage.CommitRestore{ID: "r", Parts: 1, Sha256: sha256.Sum256(file)}),
		logEntry(t, 104, storage.CommitRestore{ID: "other"}),
	}
	results := apply(t, f, log...)
	if results[2][0].Code != "" || !results[3][0].Duplicate || results[4][0].Code == "" || told != 1 {
		t.Errorf("got %+v and %d restores announced, want one, its repetition, and one refused", results, told)
	}
	apply(t, f, log...)
	if told != 1 || f.ClusterID() != "target" {
		t.Errorf("%d restores were announced, cluster id %q", told, f.ClusterID())
	}
	checkDigest(t, f)
}
