package fsm

import (
	"errors"
	"testing"

	"github.com/oprc/oprc-pm/storage"
)

// What was written before a fault is not trusted afterwards, even under the same
// boot: it is rebuilt from what is synced.
func TestStateIsRebuiltAfterFault(t *testing.T) {
	t.Parallel()
	for _, fault := range []error{nil, errors.New("write refused by the disk")} {
		dir := t.TempDir()
		f, err := tryOpen(dir)
		if err != nil {
			t.Fatal(err)
		}
		apply(t, f, logEntry(t, 7, storage.MintClusterID{ClusterID: "c"}))
		want := uint64(7)
		if fault != nil {
			_ = f.fail(fault)
			want = 0
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if got := openFSM(t, dir).AppliedIndex(); got != want {
			t.Errorf("applied after fault %v and restart: got %d, want %d", fault, got, want)
		}
	}
}
