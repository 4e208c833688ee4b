package fsm

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// revise is a record of a revision; keepFrom 0 drops nothing.
func revise(deployment string, number uint64, good bool, keepFrom uint64) storage.RecordUnitStatus {
	r := model.Revision{
		Revision: number, DeploymentKey: deployment, Generation: 1, Template: fmt.Sprint("t", number), CreatedAt: noon,
		Deployment: model.Deployment{Key: deployment, PackageName: "app", ClassKey: "main"},
	}
	if good {
		r.GoodSince = &r.CreatedAt
	}
	return storage.RecordUnitStatus{Deployment: deployment, Generation: 1, Revision: &r, KeepRevisionsFrom: keepFrom}
}

func dropBefore(deployment string, keepFrom uint64) storage.RecordUnitStatus {
	return storage.RecordUnitStatus{Deployment: deployment, Generation: 1, KeepRevisionsFrom: keepFrom}
}

func TestRecordRevision(t *testing.T) {
	t.Parallel()
	one := []storage.Command{revise("busy", 1, false, 0)}
	two := append(one, revise("busy", 2, false, 0))
	runMachineTests(t, []machineTest{
		{name: "ok_first", command: revise("busy", 1, false, 0), want: storage.Updated, generation: 1},
		{name: "ok_same", given: one, command: revise("busy", 1, false, 0), want: storage.Unchanged},
		{name: "ok_turns_out_good", given: one, command: revise("busy", 1, true, 0), want: storage.Updated},
		{name: "ok_drop_nothing", given: two, command: dropBefore("busy", 1), want: storage.Unchanged},
		{name: "ok_drop_without_any", command: dropBefore("busy", 5), want: storage.Unchanged},
		{name: "ok_drop", given: two, command: dropBefore("busy", 2), want: storage.Updated},
		{name: "err_older_generation", command: storage.RecordUnitStatus{
			Deployment: "busy", Generation: 2, Revision: revise("busy", 1, false, 0).Revision,
		}, code: model.CodeConflict},
		{name: "err_gone", command: revise("nobody", 1, false, 0), code: model.CodeConflict},
	})
}

func TestRevisionsKept(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		// good of the revisions 1, 2, and so on.
		good     []bool
		keepFrom uint64
		want     []uint64
	}{
		{"newest_from_a_number_on", []bool{false, false, false, false}, 3, []uint64{3, 4}},
		{"last_good_stays", []bool{true, true, false, false, false}, 5, []uint64{2, 5}},
		{"older_good_goes", []bool{true, false, false, true}, 3, []uint64{3, 4}},
		{"newest_stays_in_any_case", []bool{false, false}, 9, []uint64{2}},
		{"newest_and_last_good_stay", []bool{true, false, false}, 9, []uint64{1, 3}},
		{"only_the_good_newest", []bool{true, true}, 9, []uint64{2}},
		{"none_dropped", []bool{false, false}, 0, []uint64{1, 2}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.must(namedPackage(t, "app"), deployCommand(t, "d", "app"), deployCommand(t, "d2", "app"), revise("d2", 1, false, 0))
			for i, good := range tt.good {
				w.must(revise("d", uint64(i+1), good, 0))
			}
			_, changes := w.run(storage.Proposal{Request: storage.Request{Command: dropBefore("d", tt.keepFrom)}, At: noon})
			var got []uint64
			w.view(func(r storage.Reader) error {
				return storage.ListRevisions(r, "d", func(number uint64, _ []byte) (bool, error) {
					got = append(got, number)
					return true, nil
				})
			})
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("revisions (-want +got):\n%s", diff)
			}
			if got, want := len(changes), len(tt.good)-len(tt.want); got != want {
				t.Errorf("changes announced: got %d, want %d", got, want)
			}
			for _, c := range changes {
				if c.Type != storage.EventDelete || c.Kind != storage.KindRevision || !strings.HasPrefix(c.Key, "d/0000000000000000000") {
					t.Errorf("change: got %+v, want the end of a revision of d", c)
				}
			}
		})
	}
}

// TestRevisionIsTheUsersDocument: what the control plane observed is not part of
// what a rollback returns to.
func TestRevisionIsTheUsersDocument(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(namedPackage(t, "app"), deployCommand(t, "d", "app"))
	c := revise("d", 12, true, 0)
	want := *c.Revision
	c.Revision.Deployment.Generation = 7
	c.Revision.Deployment.Condition = model.DeploymentRunning
	w.must(c)
	w.view(func(r storage.Reader) error {
		got, found, err := storage.DecodeRevision(r, "d", 12)
		want.Deployment.SetDefaults()
		if diff := cmp.Diff(want, got); diff != "" || !found {
			t.Errorf("revision, found %t (-want +got):\n%s", found, diff)
		}
		return err
	})
}

// TestForgetDropsRevisions, whichever way a deployment is forgotten.
func TestForgetDropsRevisions(t *testing.T) {
	t.Parallel()
	ways := map[string]func(w *world){
		"without_units": func(w *world) { w.must(storage.DeleteDeployment{Key: "d"}) },
		"with_units": func(w *world) {
			c := revise("d", 3, false, 0)
			c.Generation, c.Revision.Generation = 2, 2
			c.Forget, c.Remove = true, []storage.UnitRef{{Cluster: "east", Unit: "u"}}
			w.must(recordPut("d", 1, running("d", "east", "u")), storage.DeleteDeployment{Key: "d"}, c)
		},
		"with_its_package": func(w *world) { w.must(storage.DeletePackage{Name: "app", Cascade: true}) },
	}
	for name, forget := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.must(namedPackage(t, "app"), deployCommand(t, "d", "app"), revise("d", 1, true, 0), revise("d", 2, false, 0))
			w.register("east")
			forget(w)
			w.view(func(r storage.Reader) error {
				if doc, err := r.Get(storage.DeploymentKey("d")); doc != nil || err != nil {
					t.Errorf("deployment: got %s, %v, want nothing", doc, err)
				}
				left, err := storage.DecodeRevisions(r, "d")
				if len(left) != 0 {
					t.Errorf("revisions of a forgotten deployment: got %+v, want none", left)
				}
				return err
			})
		})
	}
}

func TestWasGood(t *testing.T) {
	t.Parallel()
	for record, want := range map[string]bool{
		`{}`: false, `{"good_since":null}`: false, `{"revision":1,"good_since":"2026-01-01T00:00:00Z","deployment":{}}`: true,
		// What the user wrote is not looked into.
		`{"deployment":{"good_since":"x"},"good_since":"x"}`: false,
	} {
		if got, err := wasGood([]byte(record)); got != want || err != nil {
			t.Errorf("was good %s: got %t, %v, want %t", record, got, err, want)
		}
	}
	if _, err := wasGood([]byte(`{"revision"`)); err == nil {
		t.Error("damaged revision: got no error, want one")
	}
}
