package storagetest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/storage"
)

// TxDriver is a driver's transactions. Update is called by one goroutine at a
// time, View by many.
type TxDriver interface {
	// Update commits what fn wrote; when fn fails, nothing of it.
	Update(fn func(storage.Tx) error) error
	View(fn func(storage.Reader) error) error
}

// RunTx checks the promises of storage.Reader and storage.Tx. open returns an
// empty driver and cleans up after itself.
func RunTx(t *testing.T, open func(t *testing.T) TxDriver) {
	tests := []struct {
		name string
		run  func(t *testing.T, d TxDriver)
	}{
		{"get_put_delete", testGetPutDelete},
		{"scan_is_ordered", testScanIsOrdered},
		{"scan_bounds", testScanBounds},
		{"scan_prefix", testScanPrefix},
		{"scan_stops", testScanStops},
		{"own_writes_are_seen", testOwnWrites},
		{"err_failed_tx_leaves_nothing", testFailedTx},
		{"err_empty_value", testEmptyValue},
		{"big_values", testBigValues},
		{"many_keys", testManyKeys},
		{"view_is_isolated", testViewIsolation},
		{"readers_beside_a_writer", testReadersBesideWriter},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.run(t, open(t))
		})
	}
}

func update(t *testing.T, d TxDriver, fn func(tx storage.Tx) error) {
	t.Helper()
	if err := d.Update(fn); err != nil {
		t.Fatalf("update: %v", err)
	}
}

func view(t *testing.T, d TxDriver, fn func(r storage.Reader) error) {
	t.Helper()
	if err := d.View(fn); err != nil {
		t.Fatalf("view: %v", err)
	}
}

// put stores pairs given as key, value, key, value.
func put(t *testing.T, d TxDriver, pairs ...string) {
	t.Helper()
	update(t, d, func(tx storage.Tx) error { return putAll(tx, pairs...) })
}

func putAll(tx storage.Tx, pairs ...string) error {
	for i := 0; i < len(pairs); i += 2 {
		if err := tx.Put([]byte(pairs[i]), []byte(pairs[i+1])); err != nil {
			return err
		}
	}
	return nil
}

// pairsOf returns what a scan finds, as key, value, key, value.
func pairsOf(r storage.Reader, start, end []byte) ([]string, error) {
	var pairs []string
	err := r.Scan(start, end, func(key, value []byte) (bool, error) {
		pairs = append(pairs, string(key), string(value))
		return true, nil
	})
	return pairs, err
}

func wantPairs(t *testing.T, d TxDriver, want ...string) {
	t.Helper()
	view(t, d, func(r storage.Reader) error {
		got, err := pairsOf(r, nil, nil)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("pairs (-want +got):\n%s", diff)
		}
		return err
	})
}

func testGetPutDelete(t *testing.T, d TxDriver) {
	wantPairs(t, d)
	put(t, d, "a", "1", "b", "2")
	put(t, d, "a", "3")
	update(t, d, func(tx storage.Tx) error {
		return errors.Join(tx.Delete([]byte("b")), tx.Delete([]byte("never there")))
	})
	wantPairs(t, d, "a", "3")
	view(t, d, func(r storage.Reader) error {
		for key, want := range map[string][]byte{"a": []byte("3"), "b": nil, "": nil, "aa": nil} {
			got, err := r.Get([]byte(key))
			if err != nil || !bytes.Equal(got, want) || (got == nil) != (want == nil) {
				t.Errorf("get %q: got %q, %v, want %q", key, got, err, want)
			}
		}
		return nil
	})
}

func testScanIsOrdered(t *testing.T, d TxDriver) {
	// Byte order: not that of a language, not that of insertion.
	want := []string{"\x00", "\x00\x00", "A", "Z", "a", "a\x00b", "aa", "b", "ä", "\xfe", "\xff", "\xff\xff"}
	shuffled := slices.Clone(want)
	slices.Reverse(shuffled)
	update(t, d, func(tx storage.Tx) error {
		for _, key := range shuffled {
			if err := tx.Put([]byte(key), []byte("v")); err != nil {
				return err
			}
		}
		return nil
	})
	view(t, d, func(r storage.Reader) error {
		var got []string
		err := r.Scan(nil, nil, func(key, _ []byte) (bool, error) {
			got = append(got, string(key))
			return true, nil
		})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("keys (-want +got):\n%s", diff)
		}
		return err
	})
}

func testScanBounds(t *testing.T, d TxDriver) {
	put(t, d, "a", "1", "b", "2", "c", "3", "d", "4")
	tests := []struct {
		start, end string
		want       []string
	}{
		{"", "", []string{"a", "1", "b", "2", "c", "3", "d", "4"}},
		{"b", "", []string{"b", "2", "c", "3", "d", "4"}},
		{"b", "d", []string{"b", "2", "c", "3"}},
		{"aa", "cc", []string{"b", "2", "c", "3"}},
		{"", "a", nil},
		{"b", "b", nil},
		{"c", "a", nil},
		{"e", "", nil},
	}
	for _, tt := range tests {
		view(t, d, func(r storage.Reader) error {
			var end []byte // An empty end bounds everything away, nil nothing.
			if tt.end != "" {
				end = []byte(tt.end)
			}
			got, err := pairsOf(r, []byte(tt.start), end)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("scan [%q, %q) (-want +got):\n%s", tt.start, tt.end, diff)
			}
			return err
		})
	}
	view(t, d, func(r storage.Reader) error {
		got, err := pairsOf(r, nil, []byte{})
		if len(got) != 0 {
			t.Errorf("scan before the empty key: got %q, want nothing", got)
		}
		return err
	})
}

func testScanPrefix(t *testing.T, d TxDriver) {
	put(t, d, "p", "1", "p/", "2", "p/a", "3", "p/\xff\xff", "4", "p0", "5", "\xff", "6", "\xff\xff", "7", "\xff\xffz", "8")
	tests := []struct {
		prefix string
		want   []string
	}{
		{"p/", []string{"p/", "2", "p/a", "3", "p/\xff\xff", "4"}},
		{"p/\xff", []string{"p/\xff\xff", "4"}},
		{"\xff", []string{"\xff", "6", "\xff\xff", "7", "\xff\xffz", "8"}},
		{"\xff\xff", []string{"\xff\xff", "7", "\xff\xffz", "8"}},
		{"q", nil},
	}
	for _, tt := range tests {
		view(t, d, func(r storage.Reader) error {
			var got []string
			err := storage.ScanPrefix(r, []byte(tt.prefix), func(key, value []byte) (bool, error) {
				got = append(got, string(key), string(value))
				return true, nil
			})
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("prefix %q (-want +got):\n%s", tt.prefix, diff)
			}
			return err
		})
	}
}

func testScanStops(t *testing.T, d TxDriver) {
	put(t, d, "a", "1", "b", "2", "c", "3")
	broken := errors.New("broken")
	for _, want := range []error{nil, broken} {
		var seen []string
		err := d.View(func(r storage.Reader) error {
			return r.Scan(nil, nil, func(key, _ []byte) (bool, error) {
				seen = append(seen, string(key))
				// An error ends the scan whatever the first value says.
				return want != nil, want
			})
		})
		if !errors.Is(err, want) {
			t.Errorf("scan: got error %v, want %v", err, want)
		}
		if diff := cmp.Diff([]string{"a"}, seen); diff != "" {
			t.Errorf("keys seen with error %v (-want +got):\n%s", want, diff)
		}
	}
}

func testOwnWrites(t *testing.T, d TxDriver) {
	put(t, d, "a", "1", "c", "3")
	update(t, d, func(tx storage.Tx) error {
		if err := errors.Join(putAll(tx, "b", "2", "c", "33"), tx.Delete([]byte("a"))); err != nil {
			return err
		}
		got, err := pairsOf(tx, nil, nil)
		if diff := cmp.Diff([]string{"b", "2", "c", "33"}, got); diff != "" {
			t.Errorf("scan inside the transaction (-want +got):\n%s", diff)
		}
		if value, err := tx.Get([]byte("a")); value != nil || err != nil {
			t.Errorf("get of what was deleted: got %q, %v, want nil", value, err)
		}
		return errors.Join(err, putAll(tx, "a", "again"))
	})
	wantPairs(t, d, "a", "again", "b", "2", "c", "33")
}

func testFailedTx(t *testing.T, d TxDriver) {
	put(t, d, "a", "1", "b", "2")
	broken := errors.New("broken")
	err := d.Update(func(tx storage.Tx) error {
		return errors.Join(putAll(tx, "a", "11", "new", "x"), tx.Delete([]byte("b")), broken)
	})
	if !errors.Is(err, broken) {
		t.Errorf("update: got error %v, want %v", err, broken)
	}
	wantPairs(t, d, "a", "1", "b", "2")
	put(t, d, "c", "3")
	wantPairs(t, d, "a", "1", "b", "2", "c", "3")
}

func testEmptyValue(t *testing.T, d TxDriver) {
	for _, value := range [][]byte{nil, {}} {
		if err := d.Update(func(tx storage.Tx) error { return tx.Put([]byte("a"), value) }); err == nil {
			t.Errorf("put of %#v: got no error, want one", value)
		}
	}
	wantPairs(t, d)
}

func testBigValues(t *testing.T, d TxDriver) {
	const size = 1 << 20
	key := func(i int) []byte { return fmt.Appendf(nil, "big/%d", i) }
	value := func(i int) []byte { return bytes.Repeat([]byte{byte('a' + i)}, size+i) }
	for i := range 4 {
		update(t, d, func(tx storage.Tx) error { return tx.Put(key(i), value(i)) })
	}
	view(t, d, func(r storage.Reader) error {
		for i := range 4 {
			if got, err := r.Get(key(i)); err != nil || !bytes.Equal(got, value(i)) {
				t.Errorf("get %s: got %d bytes, %v, want the %d bytes that were put", key(i), len(got), err, size+i)
			}
		}
		return nil
	})
}

func testManyKeys(t *testing.T, d TxDriver) {
	const n, perTx = 10_000, 1_000
	key := func(i int) []byte { return fmt.Appendf(nil, "key/%06d", i) }
	for from := 0; from < n; from += perTx {
		update(t, d, func(tx storage.Tx) error {
			for i := from; i < from+perTx; i++ {
				// Not in key order.
				if err := tx.Put(key(i*7919%n), []byte("v")); err != nil {
					return err
				}
			}
			return nil
		})
	}
	update(t, d, func(tx storage.Tx) error {
		for i := 0; i < n; i += 2 {
			if err := tx.Delete(key(i)); err != nil {
				return err
			}
		}
		return nil
	})
	view(t, d, func(r storage.Reader) error {
		next := 1
		err := storage.ScanPrefix(r, []byte("key/"), func(k, _ []byte) (bool, error) {
			if want := key(next); !bytes.Equal(k, want) {
				return false, fmt.Errorf("scan: got key %s, want %s", k, want)
			}
			next += 2
			return true, nil
		})
		if next != n+1 {
			t.Errorf("scan ended before %s, want all keys up to %s", key(next), key(n-1))
		}
		return err
	})
}

func testViewIsolation(t *testing.T, d TxDriver) {
	put(t, d, "a", "1", "b", "1")
	opened, written := make(chan struct{}), make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		isOpen := sync.OnceFunc(func() { close(opened) })
		defer isOpen()
		err := d.View(func(r storage.Reader) error {
			if got, err := r.Get([]byte("a")); string(got) != "1" || err != nil {
				t.Errorf("before the write: got %q, %v, want 1", got, err)
			}
			isOpen()
			<-written
			got, err := pairsOf(r, nil, nil)
			if diff := cmp.Diff([]string{"a", "1", "b", "1"}, got); diff != "" {
				t.Errorf("beside the write (-want +got):\n%s", diff)
			}
			return err
		})
		if err != nil {
			t.Errorf("view: %v", err)
		}
	})
	<-opened
	update(t, d, func(tx storage.Tx) error {
		return errors.Join(putAll(tx, "a", "2", "c", "2"), tx.Delete([]byte("b")))
	})
	wantPairs(t, d, "a", "2", "c", "2")
	close(written)
	done.Wait()
}

func testReadersBesideWriter(t *testing.T, d TxDriver) {
	const writes, readers = 200, 4
	pair := func(i int) []string { return []string{"x", fmt.Sprint(i), "y", fmt.Sprint(i)} }
	put(t, d, pair(0)...)
	stop := make(chan struct{})
	var done sync.WaitGroup
	for range readers {
		done.Go(func() {
			for {
				err := d.View(func(r storage.Reader) error {
					got, err := pairsOf(r, nil, nil)
					if err == nil && (len(got) != 4 || got[1] != got[3]) {
						err = fmt.Errorf("half of a write is visible: %q", got)
					}
					return err
				})
				if err != nil {
					t.Errorf("view beside the writer: %v", err)
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
	for i := range writes {
		put(t, d, pair(i+1)...)
	}
	close(stop)
	done.Wait()
	wantPairs(t, d, pair(writes)...)
}
