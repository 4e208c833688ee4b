package control

import (
	"bytes"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/backup"
)

// TestFenceAfterARestore restores what a cluster in a late term made into one that
// begins to count: the CRMs, which have seen that term, obey all the same.
func TestFenceAfterARestore(t *testing.T) {
	t.Parallel()
	const late = 5000
	w := newWorld(t, 2)
	w.overGRPC("c1")
	for _, name := range w.names {
		if err := w.sims[name].SetTerm(late); err != nil {
			t.Fatal(err)
		}
	}
	stop := w.lead(2)
	w.waitFor(model.ClusterHealthy, w.names...)
	w.deploy("early", func(d *model.Deployment) { d.TargetEnvs = w.names })
	until(t, "the CRMs to refuse a leader of a low term", func() bool {
		for _, units := range w.units() {
			for _, u := range units {
				if u.LastError != "" {
					return true
				}
			}
		}
		return false
	}, w.history)
	stop()

	var file bytes.Buffer
	_, err := w.store.View(t.Context(), storage.ReadOptions{}, func(r storage.Reader) error {
		_, err := backup.Write(t.Context(), &file, backup.Header{CreatedAt: time.Now(), Index: w.store.Status().AppliedIndex, Term: late}, r)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := backup.Restore(t.Context(), w.store, bytes.NewReader(file.Bytes()), backup.RestoreOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	w.lead(1)
	w.settled()
	for _, name := range w.names {
		if term := w.sims[name].Term(); term <= late {
			t.Errorf("%s has seen term %d, want one after %d", name, term, late)
		}
	}
}
