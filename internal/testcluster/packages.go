package testcluster

import (
	"context"

	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/storagetest"
)

// Put is a command that stores a small package; value is kept in its version.
func Put(name, value string) storage.PutPackage { return storagetest.PutRegister(name, value) }

// Get reads back the value that Put stored; "" when there is none.
func Get(ctx context.Context, s storage.Store, name string, opts storage.ReadOptions) (string, error) {
	return storagetest.GetRegister(ctx, s, name, opts)
}
