package testcluster

import (
	"bytes"
	"context"
	"fmt"

	"github.com/oprc/oprc-pm/storage"
)

// Put is a command that stores a small package; value is kept in its version.
func Put(name, value string) storage.PutPackage {
	return storage.PutPackage{Name: name, Document: []byte(fmt.Sprintf(
		`"name":%q,"version":%q,"metadata":{"tags":[]},"dependencies":[],"classes":[],"functions":[],"deployments":[]`,
		name, value))}
}

// Get reads back the value that Put stored; "" when there is none.
func Get(ctx context.Context, s storage.Store, name string, opts storage.ReadOptions) (string, error) {
	var value string
	_, err := s.View(ctx, opts, func(r storage.Reader) error {
		doc, err := r.Get(storage.PackageKey(name))
		if err != nil || doc == nil {
			return err
		}
		_, rest, _ := bytes.Cut(doc, []byte(`"version":"`))
		v, _, found := bytes.Cut(rest, []byte(`"`))
		if !found {
			return fmt.Errorf("document of %s has no value: %s", name, doc)
		}
		value = string(v)
		return nil
	})
	return value, err
}
