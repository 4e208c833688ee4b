package memory

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/storagetest"
)

func TestTx(t *testing.T) {
	t.Parallel()
	storagetest.RunTx(t, func(*testing.T) storagetest.TxDriver {
		d := &treeDriver{}
		d.current.Store(NewTree())
		return d
	})
}

// treeDriver publishes versions of the tree as Store does, without commands.
type treeDriver struct {
	mu      sync.Mutex
	current atomic.Pointer[Tree]
}

func (d *treeDriver) Update(fn func(storage.Tx) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	next := d.current.Load().Copy()
	if err := fn(next); err != nil {
		return err
	}
	d.current.Store(next)
	return nil
}

func (d *treeDriver) View(fn func(storage.Reader) error) error {
	return fn(d.current.Load())
}
