package memory

import (
	"bytes"
	"fmt"

	"github.com/tidwall/btree"

	"github.com/oprc/oprc-pm/storage"
)

// Tree is ordered pairs in memory: a storage.Tx whose versions are cheap. Copy
// makes one that changes apart from the original; a version that nobody writes to
// any more is read by many goroutines without a lock.
type Tree struct{ pairs *btree.Map[string, []byte] }

var _ storage.Tx = (*Tree)(nil)

// NewTree returns an empty tree.
func NewTree() *Tree { return &Tree{pairs: &btree.Map[string, []byte]{}} }

// Copy returns a version to write to. The time does not depend on the size: pages
// are copied when they are first written to.
func (t *Tree) Copy() *Tree { return &Tree{pairs: t.pairs.Copy()} }

// Len is the number of pairs.
func (t *Tree) Len() int { return t.pairs.Len() }

// Get implements storage.Reader.
func (t *Tree) Get(key []byte) ([]byte, error) {
	value, _ := t.pairs.Get(string(key))
	return value, nil
}

// Scan implements storage.Reader.
func (t *Tree) Scan(start, end []byte, fn func(key, value []byte) (bool, error)) error {
	var failed error
	t.pairs.Ascend(string(start), func(k string, value []byte) bool {
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

// Put implements storage.Tx.
func (t *Tree) Put(key, value []byte) error {
	if len(value) == 0 {
		return fmt.Errorf("put %s: value is empty", key)
	}
	t.pairs.Set(string(key), value)
	return nil
}

// Delete implements storage.Tx.
func (t *Tree) Delete(key []byte) error {
	t.pairs.Delete(string(key))
	return nil
}
