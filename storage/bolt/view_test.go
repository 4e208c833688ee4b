package bolt_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/bolt"
)

// TestViewMeta: every view sees the meta of its own moment, also one that stays
// open while others come and go, and one of a file that was replaced.
func TestViewMeta(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db := openAt(t, filepath.Join(dir, "state.db"))
	write(t, db, 1)
	err := db.View(func(_ storage.Reader, before bolt.Meta) error {
		for i := uint64(2); i < 5; i++ {
			write(t, db, i)
			for range 2 {
				checkMeta(t, db, i)
			}
		}
		if diff := cmp.Diff(metaOf(1), before); diff != "" {
			t.Errorf("the open view: -want +got\n%s", diff)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	// Another file, whose transactions have the same numbers.
	other := openAt(t, filepath.Join(dir, "other.db"))
	for i := uint64(11); i < 15; i++ {
		write(t, other, i)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if err := db.Replace(filepath.Join(dir, "other.db")); err != nil {
		t.Fatal(err)
	}
	checkMeta(t, db, 14)
}

func openAt(t *testing.T, path string) *bolt.DB {
	t.Helper()
	db, err := bolt.Open(bolt.Config{Path: path, InitialMmapSize: 1 << 24})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func metaOf(i uint64) bolt.Meta {
	return bolt.Meta{Index: i, Term: 2 * i, Digest: [2]uint64{3 * i, 4 * i}, Configuration: fmt.Appendf(nil, "configuration %d", i)}
}

func write(t *testing.T, db *bolt.DB, i uint64) {
	t.Helper()
	err := db.Update(func(tx storage.Tx, m *bolt.Meta) error {
		*m = metaOf(i)
		return tx.Put([]byte("key"), fmt.Append(nil, i))
	})
	if err != nil {
		t.Fatal(err)
	}
}

func checkMeta(t *testing.T, db *bolt.DB, i uint64) {
	t.Helper()
	err := db.View(func(r storage.Reader, m bolt.Meta) error {
		if diff := cmp.Diff(metaOf(i), m); diff != "" {
			t.Errorf("meta: -want +got\n%s", diff)
		}
		value, err := r.Get([]byte("key"))
		if want := fmt.Sprint(i); string(value) != want {
			t.Errorf("value: got %s, want %s", value, want)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
