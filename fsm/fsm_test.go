package fsm

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/VictoriaMetrics/metrics"
	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"

	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/bolt"
)

func TestApplyBatchAnswersEveryEntry(t *testing.T) {
	t.Parallel()
	f := openFSM(t, t.TempDir())
	batch := []*raft.Log{
		{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: []byte("three nodes")},
		logEntry(t, 2, storage.MintClusterID{ClusterID: "id"}),
		logEntry(t, 4, namedPackage(t, "p"), namedPackage(t, "q"), namedPackage(t, "q")),
		{Index: 5, Term: 1, Type: raft.LogConfiguration, Data: []byte("four nodes")},
		logEntry(t, 6),
	}
	for range 2 {
		responses := f.ApplyBatch(batch)
		if len(responses) != len(batch) {
			t.Fatalf("got %d responses, want %d", len(responses), len(batch))
		}
	}
	f = openFSM(t, t.TempDir())
	var got []int
	for _, results := range apply(t, f, batch...) {
		if results == nil {
			got = append(got, -1)
			continue
		}
		got = append(got, len(results))
	}
	if diff := cmp.Diff([]int{-1, 1, 3, -1, 0}, got); diff != "" {
		t.Errorf("results per entry (-want +got):\n%s", diff)
	}
	if got, want := f.ClusterID(), "id"; got != want {
		t.Errorf("cluster id: got %q, want %q", got, want)
	}
	if got := f.ApplyBatch(nil); len(got) != 0 {
		t.Errorf("empty batch: got %v, want nothing", got)
	}
	if results := f.Apply(logEntry(t, 7, storage.Barrier{})).([]storage.Result); len(results) != 1 || results[0].Index != 7 {
		t.Errorf("apply: got %+v, want one result at index 7", results)
	}
	if err := f.db.View(func(_ storage.Reader, m bolt.Meta) error {
		if m.Index != 7 || string(m.Configuration) != "four nodes" {
			t.Errorf("meta: got %+v, want index 7 and the configuration applied last", m)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// TestFaultStops: what cannot be applied is never skipped.
func TestFaultStops(t *testing.T) {
	t.Parallel()
	good := logEntry(t, 2, namedPackage(t, "p"))
	command := good.Data
	// Entry version, count and length (two bytes) come before version and kind.
	newer, unknown := bytes.Clone(command), bytes.Clone(command)
	newer[4], unknown[5] = proposalVersion+1, 200
	if _, err := UnpackEntry(unknown); err == nil || !strings.Contains(err.Error(), "unknown command") {
		t.Fatalf("entry of an unknown kind: got error %v", err)
	}
	tests := map[string]*raft.Log{
		"err_garbage":       {Index: 3, Type: raft.LogCommand, Data: []byte("garbage")},
		"err_empty":         {Index: 3, Type: raft.LogCommand},
		"err_truncated":     {Index: 3, Type: raft.LogCommand, Data: command[:len(command)-1]},
		"err_newer_entry":   {Index: 3, Type: raft.LogCommand, Data: append([]byte{entryVersion + 1}, command[1:]...)},
		"err_newer_command": {Index: 3, Type: raft.LogCommand, Data: newer},
		"err_unknown":       {Index: 3, Type: raft.LogCommand, Data: unknown},
		"err_type_of_entry": {Index: 3, Type: raft.LogNoop},
	}
	for name, bad := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			var faults []error
			f := openFSM(t, dir, func(c *Config) { c.OnFault = func(err error) { faults = append(faults, err) } })
			apply(t, f, logEntry(t, 1, namedPackage(t, "before")))
			snapshot, before := snapshotOf(t, f), contents(t, f)

			for range 2 {
				responses := f.ApplyBatch([]*raft.Log{good, bad, logEntry(t, 4, namedPackage(t, "after"))})
				for i, response := range responses {
					if err, ok := response.(error); !ok || err == nil {
						t.Errorf("response %d: got %v, want an error", i, response)
					}
				}
				if len(responses) != 3 {
					t.Errorf("got %d responses, want 3", len(responses))
				}
			}
			if err, ok := f.Apply(good).(error); !ok {
				t.Errorf("a good entry after the fault: got %v, want an error", err)
			}
			if len(faults) != 1 {
				t.Fatalf("faults announced: got %v, want one", faults)
			}
			if bad.Data != nil && !strings.Contains(faults[0].Error(), "3") {
				t.Errorf("fault: got %q, want it to name entry 3", faults[0])
			}
			if after := contents(t, f); after != before {
				t.Errorf("the state changed (-want +got):\n%s", cmp.Diff(before, after))
			}
			if _, err := f.Snapshot(); err == nil {
				t.Error("snapshot after a fault: got no error, want one")
			}
			input := source(snapshot)
			if err := f.Restore(input); err == nil || input.closed != 1 {
				t.Errorf("restore after a fault: got error %v and %d closes of the source, want an error and one", err, input.closed)
			}
			if err := f.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
			// A state in doubt is not declared clean.
			reopened := openFSM(t, dir, bootID("boot-2"))
			if got := reopened.AppliedIndex(); got != 0 {
				t.Errorf("applied index under another boot after a fault: got %d, want a rebuild from 0", got)
			}
		})
	}
}

func TestOpenContinues(t *testing.T) {
	t.Parallel()
	log := newGenerator(t, 3).log(400)
	want := openFSM(t, t.TempDir())
	replay(t, want, log, 1)
	half := func(t *testing.T, dir string, change ...func(*Config)) *FSM {
		f := openFSM(t, dir, change...)
		replay(t, f, log[:200], 2)
		return f
	}
	finish := func(t *testing.T, dir, boot string, kept bool) {
		t.Helper()
		f := openFSM(t, dir, bootID(boot))
		if got := f.AppliedIndex() > 0; got != kept {
			t.Errorf("the state was kept: %t, want %t", got, kept)
		}
		// Raft hands over everything again; what is there is skipped.
		replay(t, f, log, 3)
		if diff := cmp.Diff(contents(t, want), contents(t, f)); diff != "" {
			t.Errorf("contents (-want +got):\n%s", diff)
		}
		checkDigest(t, f)
	}
	t.Run("ok_killed", func(t *testing.T) {
		dir := t.TempDir()
		half(t, dir)
		finish(t, crashed(t, dir), "boot-1", true)
	})
	t.Run("ok_power_lost", func(t *testing.T) {
		dir := t.TempDir()
		half(t, dir)
		finish(t, crashed(t, dir), "boot-2", false)
	})
	t.Run("ok_closed", func(t *testing.T) {
		dir := t.TempDir()
		if err := half(t, dir).Close(); err != nil {
			t.Fatal(err)
		}
		finish(t, dir, "boot-2", true)
	})
	t.Run("ok_closed_then_killed", func(t *testing.T) {
		dir := t.TempDir()
		if err := half(t, dir).Close(); err != nil {
			t.Fatal(err)
		}
		// Open under the next boot; the clean mark must not outlive that.
		openFSM(t, dir, bootID("boot-2"))
		finish(t, crashed(t, dir), "boot-3", false)
	})
	t.Run("ok_half_a_restore_is_removed", func(t *testing.T) {
		dir := t.TempDir()
		half(t, dir)
		left := crashed(t, dir)
		fresh := filepath.Join(left, stateFile+".restore")
		if err := os.WriteFile(fresh, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		finish(t, left, "boot-1", true)
		if _, err := os.Stat(fresh); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the unfinished restore is still there: %v", err)
		}
	})
}

func TestBootMark(t *testing.T) {
	t.Parallel()
	tests := []struct {
		previous, boot string
		want           bool
	}{
		{"clean", "a", true}, {"a", "a", true}, {"clean", "", true},
		{"b", "a", false}, {"", "a", false}, {"", "", false}, {"unknown", "", false}, {"unknown", "a", false},
	}
	for _, tt := range tests {
		if got := (bootMark{previous: tt.previous, boot: tt.boot}).trusted(); got != tt.want {
			t.Errorf("previous %q, now %q: trusted %t, want %t", tt.previous, tt.boot, got, tt.want)
		}
	}
	dir := t.TempDir()
	m, err := openBootMark(dir, "")
	if err != nil || m.previous != "" {
		t.Fatalf("open: got %+v, %v", m, err)
	}
	m.boot = ""
	for want, set := range map[string]func() error{"unknown": m.setRunning, cleanMark: m.setClean} {
		if err := set(); err != nil {
			t.Fatal(err)
		}
		if again, err := openBootMark(dir, "x"); err != nil || again.previous != want || again.boot != "x" {
			t.Errorf("open again: got %+v, %v, want %q", again, err, want)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	t.Parallel()
	t.Run("err_not_a_directory", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if f, err := tryOpen(path); err == nil {
			t.Errorf("open: got %v, want an error", f)
		}
	})
	t.Run("err_not_a_state_file", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, bootMarkFile), []byte(cleanMark), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, stateFile), []byte(strings.Repeat("garbage", 10_000)), 0o600); err != nil {
			t.Fatal(err)
		}
		if f, err := tryOpen(dir); err == nil {
			t.Errorf("open: got %v, want an error", f)
		}
	})
	t.Run("err_damaged_request_table", func(t *testing.T) {
		t.Parallel()
		for key, value := range map[string][]byte{
			storage.RequestPrefix + "short":  encodeRequests(goldenRequests()),
			string(requestKey(1)):            []byte("garbage"),
			string(requestKey(2)) + "longer": encodeRequests(nil),
		} {
			dir := t.TempDir()
			f := openFSM(t, dir)
			if err := f.db.Update(func(tx storage.Tx, _ *bolt.Meta) error { return tx.Put([]byte(key), value) }); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := tryOpen(dir); err == nil || !strings.Contains(err.Error(), "request table") {
				t.Errorf("open with key %q: got error %v, want one of the request table", key, err)
			}
		}
	})
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	set, dir := metrics.NewSet(), t.TempDir()
	withSet := func(c *Config) { c.Metrics = set }
	written := func() string {
		var b strings.Builder
		set.WritePrometheus(&b)
		return b.String()
	}
	f := openFSM(t, dir, withSet)
	p := storage.Proposal{Request: storage.Request{ID: "a", Command: namedPackage(t, "p")}, At: noon}
	apply(t, f, packLog(t, 3, 1, p, p), logEntry(t, 4, storage.DeletePackage{Name: "nobody"}))
	for _, want := range []string{
		`oprc_fsm_commands_total{result="accepted"} 1`, `oprc_fsm_commands_total{result="duplicate"} 1`,
		`oprc_fsm_commands_total{result="rejected"} 1`, `oprc_fsm_applied_index 4`, `oprc_fsm_state_file_bytes `,
	} {
		if got := written(); !strings.Contains(got, want) {
			t.Errorf("metrics: got\n%s\nwant %s", got, want)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if got := written(); got != "" {
		t.Errorf("metrics after close: got %s, want none", got)
	}
	openFSM(t, dir, withSet) // The names are free again.
}

func TestClose(t *testing.T) {
	t.Parallel()
	f := openFSM(t, t.TempDir())
	apply(t, f, logEntry(t, 1, namedPackage(t, "p")))
	w, err := f.Watch(storage.WatchOptions{Since: 1})
	if err != nil {
		t.Fatal(err)
	}
	var waiting sync.WaitGroup
	for i, wait := range []func() error{
		func() error { return f.WaitApplied(t.Context(), 100) },
		func() error { _, _, err := w.Next(t.Context()); return err },
	} {
		waiting.Go(func() {
			if err := wait(); !errors.Is(err, storage.ErrClosed) {
				t.Errorf("waiter %d: got %v, want %v", i, err, storage.ErrClosed)
			}
		})
	}
	for range 2 {
		if err := f.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	waiting.Wait()
	if _, err := f.View(func(storage.Reader) error { return nil }); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("view: got %v, want %v", err, storage.ErrClosed)
	}
	if _, err := f.Watch(storage.WatchOptions{}); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("watch: got %v, want %v", err, storage.ErrClosed)
	}
	if err := f.WaitApplied(t.Context(), 1); err != nil {
		t.Errorf("wait for what is applied: %v", err)
	}
	if err, ok := f.Apply(logEntry(t, 2)).(error); !ok || !errors.Is(err, storage.ErrClosed) {
		t.Errorf("apply: got %v, want %v", err, storage.ErrClosed)
	}
}

// TestWaitersFindTheEvents: who waited for an index finds its changes.
func TestWaitersFindTheEvents(t *testing.T) {
	t.Parallel()
	f := openFSM(t, t.TempDir())
	const n = 200
	var done sync.WaitGroup
	for i := range uint64(n) {
		done.Go(func() {
			index := i + 1
			if err := f.WaitApplied(t.Context(), index); err != nil {
				t.Errorf("wait: %v", err)
				return
			}
			w, err := f.Watch(storage.WatchOptions{Since: max(1, index-1)})
			if err != nil {
				t.Errorf("watch: %v", err)
				return
			}
			defer w.Close()
			if events, _, err := w.Next(t.Context()); err != nil || len(events) == 0 {
				t.Errorf("events of index %d: got %v, %v, want some", index, events, err)
			}
			if _, err := f.View(func(r storage.Reader) error {
				if doc, err := r.Get(storage.PackageKey(fmt.Sprint(index))); doc == nil {
					return fmt.Errorf("package %d is not there: %w", index, err)
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
		})
	}
	for i := range uint64(n) {
		apply(t, f, logEntry(t, i+1, namedPackage(t, fmt.Sprint(i+1))))
	}
	apply(t, f, logEntry(t, n+1, namedPackage(t, "last")))
	done.Wait()
}
