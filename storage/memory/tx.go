package memory

import (
	"bytes"
	"fmt"

	"github.com/tidwall/btree"
)

// reader is a storage.Reader over one version of the tree.
type reader struct{ tree *btree.Map[string, []byte] }

func (r reader) Get(key []byte) ([]byte, error) {
	value, _ := r.tree.Get(string(key))
	return value, nil
}

func (r reader) Scan(start, end []byte, fn func(key, value []byte) (bool, error)) error {
	var failed error
	r.tree.Ascend(string(start), func(k string, value []byte) bool {
		key := []byte(k)
		if end != nil && bytes.Compare(key, end) >= 0 {
			return false
		}
		more, err := fn(key, value)
		failed = err
		return more && err == nil
	})
	return failed
}

// tx is a storage.Tx over a version that is not published yet.
type tx struct{ reader }

func (t tx) Put(key, value []byte) error {
	if len(value) == 0 {
		return fmt.Errorf("put %s: value is empty", key)
	}
	t.tree.Set(string(key), value)
	return nil
}

func (t tx) Delete(key []byte) error {
	t.tree.Delete(string(key))
	return nil
}
