package memory_test

import (
	"testing"

	"github.com/oprc/oprc-pm/fsm"
	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/memory"
	"github.com/oprc/oprc-pm/storage/storagetest"
)

func TestStore(t *testing.T) {
	t.Parallel()
	storagetest.RunStore(t, func(t *testing.T) storage.Store {
		s := memory.New(fsm.NewMachine())
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
		return s
	})
}
