package fsm

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"

	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/bolt"
)

// withLimit makes a small request table.
func withLimit(f *FSM) *FSM {
	f.machine.requests.limit, f.machine.requests.slack = 40, 8
	return f
}

// TestRequestTableForgetsTheSame: what is forgotten, and when, is the same on a
// replica that ran through, one that was restarted and one that was restored.
func TestRequestTableForgetsTheSame(t *testing.T) {
	t.Parallel()
	log := newGenerator(t, 51).log(600)
	through := withLimit(openFSM(t, t.TempDir()))
	results := replay(t, through, log, 1)

	dir := t.TempDir()
	var other *FSM
	for i := 0; i < len(log); i += 50 {
		other = withLimit(openFSM(t, dir))
		if i == 300 {
			donor := withLimit(openFSM(t, t.TempDir()))
			replay(t, donor, log[:300], 7)
			restore(t, other, snapshotOf(t, donor))
		}
		for index, got := range replay(t, other, log[i:i+50], uint64(i)) {
			if diff := cmp.Diff(results[index], got); diff != "" {
				t.Errorf("results at %d (-through +restarted):\n%s", index, diff)
			}
		}
		if i+50 < len(log) {
			if err := other.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if diff := cmp.Diff(contents(t, through), contents(t, other)); diff != "" {
		t.Errorf("contents (-through +restarted):\n%s", diff)
	}
	if diff := cmp.Diff(through.machine.requests.index, other.machine.requests.index); diff != "" {
		t.Errorf("tables (-through +restarted):\n%s", diff)
	}
	if got := len(through.machine.requests.index); got < 40 || got >= 48 {
		t.Errorf("the table holds %d requests, want 40 to 47", got)
	}
}

func TestRequestTableKeepsTheNewest(t *testing.T) {
	t.Parallel()
	f := withLimit(openFSM(t, t.TempDir()))
	send := func(index uint64, n int) storage.Result {
		t.Helper()
		return apply(t, f, packLog(t, index, 1, storage.Proposal{
			Request: storage.Request{ID: fmt.Sprint("request ", n), Command: stateCommand(t, fmt.Sprint(n), "up")}, At: noon,
		}))[0][0]
	}
	const n = 200
	for i := range n {
		send(uint64(i+1), i)
	}
	// The newest are answered from memory, the oldest run anew and find their
	// work done.
	index := uint64(n)
	for i, want := range map[int]bool{n - 1: true, n - 36: true, 0: false, n - 49: false} {
		index++
		result := send(index, i)
		if result.Duplicate != want {
			t.Errorf("request %d sent again: got %+v, want a duplicate: %t", i, result, want)
		}
		if !want && result.Outcome != storage.Unchanged {
			t.Errorf("forgotten request %d: got %+v, want it unchanged", i, result)
		}
	}
	// The keys in the file are those of the table.
	stored := newRequestTable()
	if err := f.db.View(func(r storage.Reader, _ bolt.Meta) error { return stored.load(r) }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(stored.index, f.machine.requests.index); diff != "" {
		t.Errorf("table (-stored +in memory):\n%s", diff)
	}
}

// TestRequestTableOfAFailedTransaction: a machine whose transaction was abandoned
// is loaded again and knows nothing of it.
func TestRequestTableOfAFailedTransaction(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := storage.Proposal{Request: storage.Request{ID: "a", Command: namedPackage(t, "p")}, At: noon}
	broken := errors.New("broken")
	err := w.db.Update(func(tx storage.Tx, _ *bolt.Meta) error {
		if _, _, err := w.machine.Apply(tx, 1, 1, []storage.Proposal{p}); err != nil {
			return err
		}
		return broken
	})
	if !errors.Is(err, broken) {
		t.Fatalf("update: got %v, want %v", err, broken)
	}
	if err := w.db.View(func(r storage.Reader, _ bolt.Meta) error { return w.machine.Load(r) }); err != nil {
		t.Fatal(err)
	}
	results, _ := w.run(p)
	if results[0].Duplicate || results[0].Outcome != storage.Created {
		t.Errorf("the request again: got %+v, want it created", results[0])
	}
}

// TestRejectionsTouchOnlyTheRequestTable is invariant I9 at the state: what is
// refused leaves nothing but its answer.
func TestRejectionsTouchOnlyTheRequestTable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := newGenerator(t, 61)
	rejected := 0
	for range 1500 {
		p := g.proposal()
		before := w.digest()
		results, events := w.run(p)
		g.index = w.index
		changed := w.digest() != before
		if results[0].Code == "" && !results[0].Duplicate {
			silent := false // what changes something that watchers are not told of
			switch p.Command.(type) {
			case storage.MintClusterID:
				silent = true
			case storage.StageRestore, storage.AbortRestore, storage.CommitRestore:
				continue
			}
			if want := len(events) > 0 || silent; changed != want {
				t.Errorf("%T: data changed: %t, want %t (%d events)", p.Command, changed, want, len(events))
			}
			continue
		}
		rejected++
		if changed || len(events) > 0 {
			t.Errorf("%T was answered %+v, but changed the data (%d events)", p.Command, results[0], len(events))
		}
	}
	if rejected < 100 {
		t.Errorf("only %d commands were rejected, the test proves nothing", rejected)
	}
}

// TestApplyOfOneEntryIsOneBatch: a fault in a later entry of a batch takes the
// earlier ones back, from the request table too.
func TestApplyOfOneEntryIsOneBatch(t *testing.T) {
	t.Parallel()
	f := openFSM(t, t.TempDir())
	f.ApplyBatch([]*raft.Log{logEntry(t, 1, namedPackage(t, "p")), {Index: 2, Type: raft.LogCommand, Data: []byte("x")}})
	if got := f.AppliedIndex(); got != 0 {
		t.Errorf("applied index: got %d, want 0", got)
	}
	if _, err := f.View(func(r storage.Reader) error {
		return r.Scan(nil, nil, func(key, _ []byte) (bool, error) { return false, fmt.Errorf("%q is there", key) })
	}); err != nil {
		t.Error(err)
	}
}
