package httpapi

import (
	"bytes"
	"maps"
	"slices"

	"github.com/oprc/oprc-pm/storage"
)

// overlay is a transaction whose writes stay in memory, over a view that they
// hide. It lets a command run as it would, and leaves no trace.
type overlay struct {
	base storage.Reader
	// written holds the new values; nil stands for a deleted key.
	written map[string][]byte
}

func newOverlay(base storage.Reader) *overlay {
	return &overlay{base: base, written: map[string][]byte{}}
}

func (o *overlay) Put(key, value []byte) error {
	o.written[string(key)] = value
	return nil
}

func (o *overlay) Delete(key []byte) error {
	o.written[string(key)] = nil
	return nil
}

func (o *overlay) Get(key []byte) ([]byte, error) {
	if value, ok := o.written[string(key)]; ok {
		return value, nil
	}
	return o.base.Get(key)
}

// Scan merges the pairs of the view with those written since, in key order.
func (o *overlay) Scan(start, end []byte, fn func(key, value []byte) (bool, error)) error {
	ours := slices.Sorted(maps.Keys(o.written))
	ours = slices.DeleteFunc(ours, func(key string) bool {
		return key < string(start) || end != nil && key >= string(end)
	})
	ended := false
	// visit calls fn with our own pairs before limit; nil is all.
	visit := func(limit []byte) error {
		for len(ours) > 0 && !ended && (limit == nil || ours[0] < string(limit)) {
			key := ours[0]
			ours = ours[1:]
			value := o.written[key]
			if value == nil {
				continue
			}
			more, err := fn([]byte(key), value)
			if err != nil {
				return err
			}
			ended = !more
		}
		return nil
	}
	err := o.base.Scan(start, end, func(key, value []byte) (bool, error) {
		if err := visit(key); err != nil || ended {
			return false, err
		}
		if len(ours) > 0 && ours[0] == string(key) {
			// Ours hides the other.
			err := visit(append(bytes.Clone(key), 0))
			return !ended, err
		}
		more, err := fn(key, value)
		ended = !more
		return more, err
	})
	if err != nil || ended {
		return err
	}
	return visit(nil)
}
