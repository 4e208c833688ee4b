package bolt_test

import (
	"path/filepath"
	"testing"

	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/bolt"
	"github.com/oprc/oprc-pm/storage/storagetest"
)

func TestTx(t *testing.T) {
	t.Parallel()
	storagetest.RunTx(t, func(t *testing.T) storagetest.TxDriver {
		return driver{open(t, filepath.Join(t.TempDir(), "state.db"))}
	})
}

type driver struct{ db *bolt.DB }

func (d driver) Update(fn func(storage.Tx) error) error {
	return d.db.Update(func(tx storage.Tx, _ *bolt.Meta) error { return fn(tx) })
}

func (d driver) View(fn func(storage.Reader) error) error {
	return d.db.View(func(r storage.Reader, _ bolt.Meta) error { return fn(r) })
}

// open opens a file that is closed with the test.
func open(t *testing.T, path string) *bolt.DB {
	t.Helper()
	db, err := bolt.Open(bolt.Config{Path: path, InitialMmapSize: bolt.DefaultInitialMmapSize})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return db
}
