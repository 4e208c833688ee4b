package storagetest

import (
	"bytes"
	"context"
	"fmt"

	"github.com/oprc/oprc-pm/storage"
)

// PutRegister is a command that stores a small package, to be used as a register;
// value is kept in its version.
func PutRegister(name, value string) storage.PutPackage {
	return storage.PutPackage{Name: name, Document: fmt.Appendf(nil,
		`"name":%q,"version":%q,"metadata":{"tags":[]},"dependencies":[],"classes":[],"functions":[],"deployments":[]`,
		name, value)}
}

// GetRegister reads back the value that PutRegister stored; "" when there is none.
func GetRegister(ctx context.Context, s storage.Store, name string, opts storage.ReadOptions) (string, error) {
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
