package fsm

import (
	"fmt"
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/memory"
)

// recordingTx notes what changes, as a driver does that tells others by keys.
type recordingTx struct {
	storage.Tx
	changes []storage.Change
}

func (t *recordingTx) Put(key, value []byte) error {
	old, err := t.Get(key)
	if err != nil {
		return err
	}
	t.changes = append(t.changes, storage.Change{Key: key, Old: old, Value: value})
	return t.Tx.Put(key, value)
}

func (t *recordingTx) Delete(key []byte) error {
	old, err := t.Get(key)
	if err != nil {
		return err
	}
	t.changes = append(t.changes, storage.Change{Key: key, Old: old})
	return t.Tx.Delete(key)
}

// TestAbsorbLearnsWhatApplyDoes lets one machine apply and another one learn of it
// by keys, across the point where the oldest requests are dropped.
func TestAbsorbLearnsWhatApplyDoes(t *testing.T) {
	t.Parallel()
	applies, learns := smallMachine(), smallMachine()
	tree := memory.NewTree()
	for index := uint64(1); index <= 100; index++ {
		tx := &recordingTx{Tx: tree}
		proposals := []storage.Proposal{stateProposal(index, 0), stateProposal(index, 1)}
		if _, _, err := applies.Apply(tx, index, 1, proposals); err != nil {
			t.Fatal(err)
		}
		if err := learns.Absorb(tx.changes); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(applies.requests.index, learns.requests.index); diff != "" {
			t.Fatalf("request table after index %d: -applied +absorbed\n%s", index, diff)
		}
	}
	if got := len(learns.requests.index); got >= 200 {
		t.Errorf("%d requests are remembered, want that the oldest were dropped", got)
	}
	bad := storage.Change{Key: requestKey(7), Value: []byte("what no machine wrote")}
	if err := learns.Absorb([]storage.Change{bad}); err == nil {
		t.Error("a request record that cannot be decoded was absorbed")
	}
}

// TestUndoForgetsTheLastApply abandons every other entry.
func TestUndoForgetsTheLastApply(t *testing.T) {
	t.Parallel()
	m := smallMachine()
	tree := memory.NewTree()
	for index := uint64(1); index <= 100; index++ {
		before := maps.Clone(m.requests.index)
		abandoned := []storage.Proposal{stateProposal(index, 0), stateProposal(index, 1), stateProposal(index, 2)}
		if _, _, err := m.Apply(tree.Copy(), index, 1, abandoned); err != nil {
			t.Fatal(err)
		}
		m.Undo()
		m.Undo()
		if diff := cmp.Diff(before, m.requests.index); diff != "" {
			t.Fatalf("request table after an abandoned index %d: -before +after\n%s", index, diff)
		}
		results, _, err := m.Apply(tree, index, 1, []storage.Proposal{stateProposal(index, 0)})
		if err != nil {
			t.Fatal(err)
		}
		if results[0].Duplicate {
			t.Fatalf("index %d: what was abandoned is remembered", index)
		}
	}
	// A fault leaves nothing to undo of the entry before.
	known := maps.Clone(m.requests.index)
	if _, _, err := m.Apply(tree.Copy(), 101, 1, []storage.Proposal{{Request: storage.Request{ID: "x"}}}); err == nil {
		t.Fatal("a proposal without command was applied")
	}
	m.Undo()
	if diff := cmp.Diff(known, m.requests.index); diff != "" {
		t.Errorf("request table after a fault: -before +after\n%s", diff)
	}
}

// smallMachine forgets requests soon.
func smallMachine() *Machine {
	m := NewMachine()
	m.requests.limit, m.requests.slack = 20, 10
	return m
}

func stateProposal(index uint64, i int) storage.Proposal {
	return storage.Proposal{Request: storage.Request{
		ID:      fmt.Sprintf("request-%d-%d", index, i),
		Command: storage.UpdateRuntimeState{Key: fmt.Sprintf("state-%d", i), Document: fmt.Appendf(nil, `"status":"%d"`, index)},
	}}
}
