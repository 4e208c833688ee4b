package fsm

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// replay applies a log in random batches and returns the results by index.
func replay(t testing.TB, f *FSM, log []*raft.Log, seed uint64) map[uint64][]storage.Result {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	results := map[uint64][]storage.Result{}
	for len(log) > 0 {
		n := min(len(log), 1+rng.IntN(64))
		for i, result := range apply(t, f, log[:n]...) {
			results[log[i].Index] = result
		}
		log = log[n:]
	}
	return results
}

// TestReplayIsDeterministic is invariants I3 and I4: the same log gives the same
// state and the same answers, however it is cut into batches, and with or
// without a snapshot in between.
func TestReplayIsDeterministic(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			log := newGenerator(t, seed).log(2000)
			a, b, c := openFSM(t, t.TempDir()), openFSM(t, t.TempDir()), openFSM(t, t.TempDir())
			want := replay(t, a, log, 1)
			got := replay(t, b, log, 2)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("results (-first +second):\n%s", diff)
			}

			first := openFSM(t, t.TempDir())
			half := len(log) / 2
			replay(t, first, log[:half], 3)
			restore(t, c, snapshotOf(t, first))
			rest := replay(t, c, log[half:], 4)
			for index, result := range rest {
				if diff := cmp.Diff(want[index], result); diff != "" {
					t.Errorf("results at index %d after a restore (-first +restored):\n%s", index, diff)
				}
			}

			full := contents(t, a)
			for name, other := range map[string]*FSM{"in other batches": b, "through a snapshot": c} {
				if diff := cmp.Diff(full, contents(t, other)); diff != "" {
					t.Errorf("contents %s (-want +got):\n%s", name, diff)
				}
				checkDigest(t, other)
				checkIndexes(t, other)
				checkClusters(t, other)
			}
			checkMix(t, want)
			checkChanges(t, a)
			if _, err := a.View(func(r storage.Reader) error {
				last, ok, err := storage.ReadRestored(r)
				if err == nil && (!ok || last.FromIndex != 100) {
					t.Errorf("the log restored %+v last, want a restore in it", last)
				}
				return err
			}); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// checkMix makes sure that the log was worth replaying.
func checkMix(t *testing.T, results map[uint64][]storage.Result) {
	t.Helper()
	seen := map[string]int{}
	for _, entry := range results {
		for _, r := range entry {
			switch {
			case r.Duplicate:
				seen["duplicate"]++
			default:
				seen[fmt.Sprintf("%s %d", r.Code, r.Outcome)]++
			}
		}
	}
	for _, want := range []string{
		"duplicate", " 1", " 2", " 3", " 4", string(model.CodeConflict) + " 0", string(model.CodeNotFound) + " 0",
		string(model.CodeInvalid) + " 0", string(model.CodeFailedPrecondition) + " 0",
	} {
		if seen[want] < 5 {
			t.Errorf("the log has %d results of the kind %q, want some: %v", seen[want], want, seen)
		}
	}
}

// checkChanges makes sure that documents of every kind came and went.
func checkChanges(t *testing.T, f *FSM) {
	t.Helper()
	w, err := f.Watch(storage.WatchOptions{Since: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	seen := map[string]int{}
	// Nothing comes any more, so nothing is waited for: the last entries may have
	// changed nothing.
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for {
		events, _, err := w.Next(over)
		if errors.Is(err, context.Canceled) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, event := range events {
			seen[fmt.Sprint(event.Type, " ", event.Kind)]++
		}
	}
	for _, kind := range []storage.Kind{
		storage.KindPackage, storage.KindDeployment, storage.KindUnit, storage.KindCluster, storage.KindClusterHealth,
		storage.KindEvent, storage.KindRevision,
	} {
		for _, change := range []storage.EventType{storage.EventPut, storage.EventDelete} {
			if name := fmt.Sprint(change, " ", kind); seen[name] < 5 {
				t.Errorf("the log has %d changes of the sort %q, want some: %v", seen[name], name, seen)
			}
		}
	}
}

func TestDigestIsThatOfTheContentAtEveryStep(t *testing.T) {
	t.Parallel()
	f := openFSM(t, t.TempDir())
	for _, entry := range newGenerator(t, 42).log(300) {
		apply(t, f, entry)
		checkDigest(t, f)
		checkIndexes(t, f)
	}
}

func TestEntriesAreAppliedOnce(t *testing.T) {
	t.Parallel()
	log := newGenerator(t, 7).log(200)
	f, want := openFSM(t, t.TempDir()), openFSM(t, t.TempDir())
	replay(t, want, log, 1)
	replay(t, f, log[:150], 2)
	// A restarted Raft hands over from the last snapshot on, again.
	for i, results := range apply(t, f, log[50:]...) {
		if skipped := i < 100; skipped != (results == nil) && log[50+i].Type == raft.LogCommand {
			t.Errorf("entry %d: got %v, want results only for entries after %d", log[50+i].Index, results, log[149].Index)
		}
	}
	apply(t, f, log...)
	if diff := cmp.Diff(contents(t, want), contents(t, f)); diff != "" {
		t.Errorf("contents (-want +got):\n%s", diff)
	}
}
