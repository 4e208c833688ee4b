package bolt_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/bolt"
)

// BenchmarkViewGet is one read of a document of 2 KiB out of 1000, without the
// copy to the caller.
func BenchmarkViewGet(b *testing.B) {
	db, err := bolt.Open(bolt.Config{Path: filepath.Join(b.TempDir(), "state.db"), InitialMmapSize: 1 << 26})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	keys := make([][]byte, 1000)
	err = db.Update(func(tx storage.Tx, m *bolt.Meta) error {
		m.Index, m.Configuration = 7, make([]byte, 200)
		for i := range keys {
			keys[i] = fmt.Appendf(nil, "package/bench-%07d", i)
			if err := tx.Put(keys[i], make([]byte, 2048)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i = (i + 7) % len(keys)
		err := db.View(func(r storage.Reader, m bolt.Meta) error {
			if value, err := r.Get(keys[i]); err != nil || len(value) != 2048 || m.Index != 7 {
				return fmt.Errorf("got %d bytes at index %d: %w", len(value), m.Index, err)
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}
