package memory

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tidwall/btree"

	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/storagetest"
)

func TestTx(t *testing.T) {
	t.Parallel()
	storagetest.RunTx(t, func(*testing.T) storagetest.TxDriver {
		d := &treeDriver{}
		d.current.Store(&btree.Map[string, []byte]{})
		return d
	})
}

// treeDriver publishes versions of the tree as Store does, without commands.
type treeDriver struct {
	mu      sync.Mutex
	current atomic.Pointer[btree.Map[string, []byte]]
}

func (d *treeDriver) Update(fn func(storage.Tx) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	next := d.current.Load().Copy()
	if err := fn(tx{reader{next}}); err != nil {
		return err
	}
	d.current.Store(next)
	return nil
}

func (d *treeDriver) View(fn func(storage.Reader) error) error {
	return fn(reader{d.current.Load()})
}
