package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/storage"
)

// pairs is a Reader over a map.
type pairs map[string]string

func (p pairs) Get(key []byte) ([]byte, error) {
	if value, ok := p[string(key)]; ok {
		return []byte(value), nil
	}
	return nil, nil
}

func (p pairs) Scan(start, end []byte, fn func(key, value []byte) (bool, error)) error {
	keys := []string{}
	for key := range p {
		if key >= string(start) && (end == nil || key < string(end)) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		if more, err := fn([]byte(key), []byte(p[key])); err != nil || !more {
			return err
		}
	}
	return nil
}

func scanned(t *testing.T, r storage.Reader, start, end []byte, limit int) []string {
	t.Helper()
	got := []string{}
	err := r.Scan(start, end, func(key, value []byte) (bool, error) {
		got = append(got, string(key)+"="+string(value))
		return len(got) != limit, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// Whatever is written, an overlay reads as the same writes to the state itself
// would, and the state stays as it is.
func TestOverlayReadsAsIfWritten(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	key := func() []byte { return fmt.Appendf(nil, "k%02d", rng.IntN(20)) }
	for range 2000 {
		base, model := pairs{}, pairs{}
		for range rng.IntN(12) {
			k := string(key())
			base[k], model[k] = "old", "old"
		}
		before := fmt.Sprint(base)
		o := newOverlay(base)
		for i := range rng.IntN(12) {
			k := key()
			if rng.IntN(3) == 0 {
				_ = o.Delete(k)
				delete(model, string(k))
				continue
			}
			value := fmt.Sprint(i)
			_ = o.Put(k, []byte(value))
			model[string(k)] = value
		}
		start, end := key(), key()
		switch rng.IntN(4) {
		case 0:
			start = nil
		case 1:
			end = nil
		}
		limit := rng.IntN(6) - 1
		if diff := cmp.Diff(scanned(t, model, start, end, limit), scanned(t, o, start, end, limit)); diff != "" {
			t.Fatalf("scan of %q to %q, limit %d, of %v with %q (-want +got):\n%s", start, end, limit, base, o.written, diff)
		}
		k := key()
		want, _ := model.Get(k)
		if got, _ := o.Get(k); !bytes.Equal(got, want) {
			t.Fatalf("get %s: %q, want %q", k, got, want)
		}
		if fmt.Sprint(base) != before {
			t.Fatal("the base was changed")
		}
	}
}

func TestOverlayPassesErrorsOn(t *testing.T) {
	t.Parallel()
	o := newOverlay(pairs{"a": "1", "c": "3"})
	_ = o.Put([]byte("b"), []byte("2"))
	for _, at := range []string{"a", "b", "c"} {
		err := o.Scan(nil, nil, func(key, _ []byte) (bool, error) {
			if string(key) == at {
				return false, context.Canceled
			}
			return true, nil
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error at %s: got %v", at, err)
		}
	}
}
