package bolt_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/bolt"
)

// filled makes a closed state file with a correct digest, values of one page and
// of many, and free pages.
func filled(t *testing.T, path string) bolt.Meta {
	t.Helper()
	db, err := bolt.Open(bolt.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	m := bolt.Meta{}
	digest := storage.Digest{}
	for round := range 4 {
		err := db.Update(func(tx storage.Tx, meta *bolt.Meta) error {
			for i := range 120 {
				key := fmt.Appendf(nil, "package/%04d", i*7%120)
				value := bytes.Repeat([]byte{byte(round + 1)}, 40+i%8/7*9000+i%50)
				if old, _ := tx.Get(key); old != nil {
					digest.Remove(key, old)
				}
				digest.Add(key, value)
				if err := tx.Put(key, value); err != nil {
					return err
				}
			}
			*meta = bolt.Meta{Index: uint64(round + 1), Term: 3, Digest: digest}
			m = *meta
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestCheckFileFindsEveryDamage flips bytes all over a file: what is not found
// must have changed nothing that anybody reads, and nothing may crash.
func TestCheckFileFindsEveryDamage(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.db")
	want := filled(t, path)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := bolt.CheckFile(path); err != nil || m.Index != want.Index || m.Digest != want.Digest {
		t.Fatalf("check of a whole file: %+v, %v", m, err)
	}
	found, harmless := 0, 0
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	check := func(at int, flip byte) {
		what := fmt.Sprintf("a byte changed at %d", at)
		if _, err := file.WriteAt([]byte{whole[at] ^ flip}, int64(at)); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if _, err := file.WriteAt(whole[at:at+1], int64(at)); err != nil {
				t.Fatal(err)
			}
		}()
		m, err := bolt.CheckFile(path)
		if err != nil {
			found++
			return
		}
		harmless++
		if m.Index != want.Index || m.Term != want.Term || m.Digest != want.Digest {
			t.Errorf("%s went unseen: the file says index %d, term %d, digest %x", what, m.Index, m.Term, m.Digest)
		}
	}
	for at := 0; at < len(whole); at += 1 + (at*31)%7919 {
		check(at, 0x5a)
	}
	for page := 0; page < len(whole); page += 4096 { // every field of every page's head
		for _, at := range []int{0, 3, 8, 9, 10, 11, 12, 15, 16, 20, 24, 28} {
			check(page+at, 0xff)
		}
	}
	for _, size := range []int{0, 1, 4095, 4096, 8192, len(whole) / 2, len(whole) - 4096} {
		if err := os.WriteFile(path, whole[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := bolt.CheckFile(path); err == nil {
			t.Errorf("a file cut to %d of %d bytes passes", size, len(whole))
		}
	}
	if found < 100 || harmless == 0 {
		t.Errorf("found %d, harmless %d: the test reached too little of the file", found, harmless)
	}
}

func TestVerifyFileOfOthers(t *testing.T) {
	t.Parallel()
	for _, options := range []*bbolt.Options{nil, {NoFreelistSync: true, FreelistType: bbolt.FreelistMapType}} {
		path := filepath.Join(t.TempDir(), "log.db")
		db, err := bbolt.Open(path, 0o600, options)
		if err != nil {
			t.Fatal(err)
		}
		if err := bolt.VerifyFile(path); err != nil {
			t.Errorf("an empty file: %v", err)
		}
		err = db.Update(func(tx *bbolt.Tx) error {
			outer, err := tx.CreateBucket([]byte("outer"))
			if err != nil {
				return err
			}
			inner, err := outer.CreateBucket([]byte("inner"))
			if err != nil {
				return err
			}
			for i := range 3000 {
				if err := inner.Put(fmt.Appendf(nil, "%06d", i*17%3000), bytes.Repeat([]byte("v"), i%300)); err != nil {
					return err
				}
			}
			return nil
		})
		for i := range 50 { // delete, reuse, split and merge
			err = errors.Join(err, db.Update(func(tx *bbolt.Tx) error {
				inner := tx.Bucket([]byte("outer")).Bucket([]byte("inner"))
				for j := range 40 {
					if err := inner.Delete(fmt.Appendf(nil, "%06d", i*60+j)); err != nil {
						return err
					}
				}
				return inner.Put(fmt.Appendf(nil, "0%05d", i), make([]byte, 10_000))
			}))
		}
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
		if err := bolt.VerifyFile(path); err != nil {
			t.Error(err)
		}
	}
}

// TestCompactBesideWrites: what is written while the copy is made is in it.
func TestCompactBesideWrites(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.db")
	filled(t, path)
	db := open(t, path)
	if err := db.Update(func(tx storage.Tx, m *bolt.Meta) error { // make room
		for i := range 100 {
			if err := tx.Delete(fmt.Appendf(nil, "package/%04d", i)); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	write := func(i uint64) error {
		return db.Update(func(tx storage.Tx, m *bolt.Meta) error {
			m.Index = i
			if i%3 == 0 {
				if err := tx.Delete(fmt.Appendf(nil, "counter/%04d", i-1)); err != nil {
					return err
				}
			}
			return tx.Put(fmt.Appendf(nil, "counter/%04d", i), fmt.Append(nil, i))
		})
	}
	stop, done := make(chan struct{}), make(chan uint64)
	go func() {
		i := uint64(100)
		for {
			select {
			case <-stop:
				done <- i
				return
			default:
			}
			if err := write(i); err != nil {
				t.Error(err)
			}
			i++
		}
	}()
	for range 5 {
		before, after, err := db.Compact()
		if err != nil || after > before+1<<17 { // writes go on
			t.Errorf("compact: %d bytes became %d: %v", before, after, err)
		}
	}
	close(stop)
	end := <-done
	if err := write(end); err != nil {
		t.Fatal(err)
	}
	if err := db.View(func(r storage.Reader, m bolt.Meta) error {
		if m.Index != end {
			t.Errorf("index %d, want %d", m.Index, end)
		}
		for i := uint64(100); i <= end; i++ {
			got, err := r.Get(fmt.Appendf(nil, "counter/%04d", i))
			if err != nil {
				return err
			}
			if gone := i%3 == 2 && i < end; (got == nil) != gone {
				t.Errorf("counter %d: got %q, want gone %v", i, got, gone)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if stats := db.Stats(); stats.Bytes == 0 || stats.Bytes > 1<<18+1<<17 {
		t.Errorf("stats %+v: the deleted megabytes should be gone", stats)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := bolt.VerifyFile(path); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path + ".compact"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the copy is still there: %v", err)
	}
}

func TestCompactGivesUp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	full := errors.New("no space left on device")
	var fault error
	path := filepath.Join(dir, "state.db")
	filled(t, path)
	db, err := bolt.Open(bolt.Config{Path: path, Fault: func(op, path string) error {
		if op == "sync" && filepath.Ext(path) == ".compact" {
			return fault
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	fault = full
	if _, _, err := db.Compact(); !errors.Is(err, full) {
		t.Errorf("compact on a full disk: %v", err)
	}
	want(t, db, "package/0000", string(bytes.Repeat([]byte{4}, 40)), 4)
	fault = nil
	if _, _, err := db.Compact(); err != nil {
		t.Errorf("compact afterwards: %v", err)
	}
	want(t, db, "package/0000", string(bytes.Repeat([]byte{4}, 40)), 4)
}
