package fsm

import (
	"bytes"

	"github.com/oprc/oprc-pm/storage"
)

// digestTx keeps a digest up to date with the writes that go through it.
type digestTx struct {
	storage.Tx
	digest storage.Digest
}

func (t *digestTx) Put(key, value []byte) error {
	old, err := t.Get(key)
	if err != nil {
		return err
	}
	if old != nil {
		if bytes.Equal(old, value) {
			return nil
		}
		t.digest.Remove(key, old)
	}
	t.digest.Add(key, value)
	return t.Tx.Put(key, value)
}

func (t *digestTx) Delete(key []byte) error {
	old, err := t.Get(key)
	if err != nil || old == nil {
		return err
	}
	t.digest.Remove(key, old)
	return t.Tx.Delete(key)
}
