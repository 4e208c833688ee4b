package bolt_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/bolt"
)

// set writes a key and the meta that goes with it.
func set(t *testing.T, db *bolt.DB, key, value string, m bolt.Meta) {
	t.Helper()
	err := db.Update(func(tx storage.Tx, meta *bolt.Meta) error {
		*meta = m
		return tx.Put([]byte(key), []byte(value))
	})
	if err != nil {
		t.Fatalf("update: %v", err)
	}
}

// want checks a key and the index it is the state of.
func want(t *testing.T, db *bolt.DB, key, value string, index uint64) {
	t.Helper()
	err := db.View(func(r storage.Reader, m bolt.Meta) error {
		got, err := r.Get([]byte(key))
		if string(got) != value || m.Index != index {
			t.Errorf("got %q at index %d, want %q at %d", got, m.Index, value, index)
		}
		return err
	})
	if err != nil {
		t.Fatalf("view: %v", err)
	}
}

func TestMetaGoesWithTheData(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.db")
	db := open(t, path)
	want(t, db, "k", "", 0)
	m := bolt.Meta{Index: 7, Term: 2, Digest: [2]uint64{1, 1 << 63}, Configuration: []byte("three nodes")}
	set(t, db, "k", "v", m)

	broken := errors.New("broken")
	if err := db.Update(func(tx storage.Tx, m *bolt.Meta) error {
		m.Index = 8
		return errors.Join(tx.Put([]byte("k"), []byte("w")), broken)
	}); !errors.Is(err, broken) {
		t.Errorf("update: got %v, want %v", err, broken)
	}
	want(t, db, "k", "v", 7)

	// A meta without a configuration leaves the stored one.
	set(t, db, "k", "w", bolt.Meta{Index: 9, Term: 3, Digest: m.Digest})
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open(t, path)
	want(t, db, "k", "w", 9)
	if err := db.View(func(_ storage.Reader, got bolt.Meta) error {
		if got.Term != 3 || got.Digest != m.Digest || string(got.Configuration) != "three nodes" {
			t.Errorf("meta: got %+v, want term 3 and the rest of %+v", got, m)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	newer := filepath.Join(t.TempDir(), "newer.db")
	if err := open(t, newer).Close(); err != nil {
		t.Fatal(err)
	}
	inner, err := bbolt.Open(newer, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(inner.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("meta")).Put([]byte("format"), []byte{2})
	}), inner.Close()); err != nil {
		t.Fatal(err)
	}
	garbage := filepath.Join(t.TempDir(), "garbage.db")
	if err := os.WriteFile(garbage, bytes.Repeat([]byte("garbage "), 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{newer: "newer", garbage: garbage, filepath.Join(newer, "x"): newer} {
		if _, err := bolt.Open(bolt.Config{Path: path}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("open %s: got error %v, want one that says %q", path, err, want)
		}
	}
}

// TestReplaceWaitsForNobody replaces the file inside a view of it.
func TestReplaceWaitsForNobody(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fresh := filepath.Join(dir, "fresh.db")
	db, other := open(t, filepath.Join(dir, "state.db")), open(t, fresh)
	set(t, db, "k", "old", bolt.Meta{Index: 1})
	set(t, other, "k", "new", bolt.Meta{Index: 50})
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	snapshot, err := db.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	err = db.View(func(r storage.Reader, _ bolt.Meta) error {
		if err := db.Replace(fresh); err != nil {
			return err
		}
		want(t, db, "k", "new", 50)
		set(t, db, "k", "newer", bolt.Meta{Index: 51})
		if got, err := r.Get([]byte("k")); string(got) != "old" || err != nil {
			t.Errorf("the old view: got %q, %v, want old", got, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	// The snapshot, too, is of the file that it was taken of.
	copied := filepath.Join(dir, "copy.db")
	var out bytes.Buffer
	n, err := snapshot.WriteTo(&out)
	if err != nil || n != snapshot.Size() || n != int64(out.Len()) {
		t.Errorf("write: got %d bytes, %v, want %d", n, err, snapshot.Size())
	}
	if got := snapshot.Meta().Index; got != 1 {
		t.Errorf("index of the snapshot: got %d, want 1", got)
	}
	snapshot.Close()
	snapshot.Close()
	if err := os.WriteFile(copied, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, open(t, copied), "k", "old", 1)
	want(t, db, "k", "newer", 51)
	if _, err := os.Stat(fresh); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the replacement is still at its old place: %v", err)
	}
	if db.Size() == 0 {
		t.Error("size: got 0")
	}
}

func TestReplaceErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db := open(t, filepath.Join(dir, "state.db"))
	set(t, db, "k", "v", bolt.Meta{Index: 1})
	if err := db.Replace(filepath.Join(dir, "missing.db")); err == nil {
		t.Error("replace by a missing file: got no error")
	}
	want(t, db, "k", "v", 1)

	garbage := filepath.Join(dir, "garbage.db")
	if err := os.WriteFile(garbage, bytes.Repeat([]byte("garbage "), 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := db.Replace(garbage); err == nil {
		t.Error("replace by garbage: got no error")
	}
	wantClosed(t, db)
}

func wantClosed(t *testing.T, db *bolt.DB) {
	t.Helper()
	_, snapshotErr := db.Snapshot()
	for what, err := range map[string]error{
		"view":     db.View(func(storage.Reader, bolt.Meta) error { return nil }),
		"update":   db.Update(func(storage.Tx, *bolt.Meta) error { return nil }),
		"snapshot": snapshotErr,
		"sync":     db.Sync(),
	} {
		if !errors.Is(err, storage.ErrClosed) {
			t.Errorf("%s: got %v, want %v", what, err, storage.ErrClosed)
		}
	}
}

func TestCloseWaitsForViews(t *testing.T) {
	t.Parallel()
	db := open(t, filepath.Join(t.TempDir(), "state.db"))
	set(t, db, "k", "v", bolt.Meta{Index: 1})
	if err := db.Sync(); err != nil {
		t.Errorf("sync: %v", err)
	}
	opened, goOn := make(chan struct{}), make(chan struct{})
	var views, closing sync.WaitGroup
	views.Go(func() {
		err := db.View(func(r storage.Reader, _ bolt.Meta) error {
			close(opened)
			<-goOn
			got, err := r.Get([]byte("k"))
			if string(got) != "v" {
				t.Errorf("while the file closes: got %q, want v", got)
			}
			return err
		})
		if err != nil {
			t.Errorf("view: %v", err)
		}
	})
	<-opened
	closing.Go(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	// Who comes later is turned away at once, not after the open view.
	for {
		err := db.View(func(storage.Reader, bolt.Meta) error { return nil })
		if errors.Is(err, storage.ErrClosed) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	close(goOn)
	views.Wait()
	closing.Wait()
	if err := db.Close(); err != nil {
		t.Errorf("close again: %v", err)
	}
	wantClosed(t, db)
}

func TestReplaceBesideViews(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db := open(t, filepath.Join(dir, "state.db"))
	set(t, db, "k", "v", bolt.Meta{Index: 1})
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			var last uint64
			for {
				err := db.View(func(r storage.Reader, m bolt.Meta) error {
					if m.Index < last {
						t.Errorf("a later view shows index %d after %d", m.Index, last)
					}
					last = m.Index
					return r.Scan(nil, nil, func(_, _ []byte) (bool, error) { return true, nil })
				})
				if err != nil {
					t.Errorf("view: %v", err)
					return
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for i := range uint64(20) {
		path := filepath.Join(dir, "fresh.db")
		fresh, err := bolt.Open(bolt.Config{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		set(t, fresh, "k", "w", bolt.Meta{Index: 10 + i})
		if err := errors.Join(fresh.Close(), db.Replace(path)); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	readers.Wait()
	want(t, db, "k", "w", 29)
}
