package cluster

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
)

// openTestStores opens the stores below dir, which the test must close.
func openTestStores(t *testing.T, dir string, cfg Config) (*raftStores, error) {
	t.Helper()
	d, err := openDataDir(dir, cfg.LogStore)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	return openRaftStores(d, cfg, slog.New(slog.DiscardHandler))
}

func storeEntries(t *testing.T, s *raftStores, first, last uint64) error {
	t.Helper()
	var entries []*raft.Log
	for i := first; i <= last; i++ {
		entries = append(entries, &raft.Log{Index: i, Term: 1, Type: raft.LogNoop})
	}
	return s.log.StoreLogs(entries)
}

func createSnapshot(t *testing.T, s *raftStores, index uint64) {
	t.Helper()
	sink, err := s.snaps.Create(raft.SnapshotVersionMax, index, 1, raft.Configuration{}, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(sink, "state"); err != nil {
		t.Fatal(err)
	}
	if err := sink.Close(); err != nil {
		t.Fatal(err)
	}
}

// A log whose beginning is neither there nor in a snapshot is refused with a
// clear message, rather than opened with entries missing.
func TestMissingEntriesAreRefused(t *testing.T) {
	t.Parallel()
	for _, store := range []string{LogStoreBolt, LogStoreWAL} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			cfg := DefaultConfig()
			cfg.LogStore = store
			dir := filepath.Join(t.TempDir(), "node")
			open := func() (*raftStores, error) { return openTestStores(t, dir, cfg) }
			s, err := open()
			if err != nil {
				t.Fatal(err)
			}
			if err := storeEntries(t, s, 1, 30); err != nil {
				t.Fatal(err)
			}
			createSnapshot(t, s, 20)
			if err := s.log.DeleteRange(1, 20); err != nil {
				t.Fatal(err)
			}
			if err := s.close(); err != nil {
				t.Fatal(err)
			}
			if s, err = open(); err != nil {
				t.Fatalf("log that begins right after the snapshot: %v", err)
			}
			if err := s.close(); err != nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(filepath.Join(dir, "raft", "snapshots")); err != nil {
				t.Fatal(err)
			}
			s, err = open()
			if err == nil {
				err = s.close()
				t.Fatalf("a log without its beginning was opened (%v)", err)
			}
			if !strings.Contains(err.Error(), "begins at index 21") {
				t.Errorf("error = %v, want one that names index 21", err)
			}
		})
	}
}

// A node that stopped between storing an installed snapshot and resetting its
// log takes the entries after the snapshot.
func TestInterruptedInstallLeavesNoGap(t *testing.T) {
	t.Parallel()
	for _, store := range []string{LogStoreBolt, LogStoreWAL} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			cfg := DefaultConfig()
			cfg.LogStore = store
			s, err := openTestStores(t, filepath.Join(t.TempDir(), "node"), cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := s.close(); err != nil {
					t.Error(err)
				}
			}()
			if err := storeEntries(t, s, 1, 10); err != nil {
				t.Fatal(err)
			}
			createSnapshot(t, s, 50)
			if err := s.dropCovered(); err != nil {
				t.Fatal(err)
			}
			if err := storeEntries(t, s, 51, 52); err != nil {
				t.Errorf("store the entries after the snapshot: %v", err)
			}
			if last, err := s.log.LastIndex(); err != nil || last != 52 {
				t.Errorf("last index = %d, %v, want 52", last, err)
			}
		})
	}
}

// Entries under the newest snapshot may be missing: bbolt keeps what was there when
// a snapshot was installed, and goes on behind it. One that is missing behind the
// snapshot is damage.
func TestGapUnderTheSnapshotIsNoDamage(t *testing.T) {
	t.Parallel()
	cfg, dir := DefaultConfig(), filepath.Join(t.TempDir(), "node")
	s, err := openTestStores(t, dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	createSnapshot(t, s, 50)
	if err := errors.Join(storeEntries(t, s, 1, 10), storeEntries(t, s, 51, 60), s.close()); err != nil {
		t.Fatal(err)
	}
	if s, err = openTestStores(t, dir, cfg); err != nil {
		t.Fatalf("a gap under the snapshot: %v", err)
	}
	if err := errors.Join(s.log.DeleteRange(55, 55), s.close()); err != nil {
		t.Fatal(err)
	}
	if s, err = openTestStores(t, dir, cfg); err == nil {
		t.Fatalf("a gap behind the snapshot was opened (%v)", s.close())
	}
	if !strings.Contains(err.Error(), "entry 55") || !strings.Contains(err.Error(), "cluster rejoin") {
		t.Errorf("error = %v, want one that names entry 55 and the command", err)
	}
}
