package bolt

import (
	"bytes"
	"fmt"

	"go.etcd.io/bbolt"
)

// view is a storage.Reader over the data bucket.
type view struct{ bucket *bbolt.Bucket }

func (v *view) Get(key []byte) ([]byte, error) { return v.bucket.Get(key), nil }

func (v *view) Scan(start, end []byte, fn func(key, value []byte) (bool, error)) error {
	cursor := v.bucket.Cursor()
	for key, value := cursor.Seek(start); key != nil; key, value = cursor.Next() {
		if end != nil && bytes.Compare(key, end) >= 0 {
			return nil
		}
		more, err := fn(key, value)
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// transaction is a storage.Tx over the data bucket.
type transaction struct {
	view
	written writes // nil: nobody wants to know
}

func (t *transaction) Put(key, value []byte) error {
	if len(value) == 0 {
		return fmt.Errorf("put %s: value is empty", key)
	}
	if err := t.bucket.Put(key, value); err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	t.written.note(key, value)
	return nil
}

func (t *transaction) Delete(key []byte) error {
	if err := t.bucket.Delete(key); err != nil {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	t.written.note(key, nil)
	return nil
}
