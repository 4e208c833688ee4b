package etcd_test

import (
	"fmt"
	"testing"

	"github.com/oprc/oprc-pm/internal/testetcd"
	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/storagetest"
)

// TestConformance runs the suite of all drivers over a real etcd, through a node
// beside which another one follows.
func TestConformance(t *testing.T) {
	t.Parallel()
	for _, members := range []int{1, 3} {
		t.Run(fmt.Sprint(members), func(t *testing.T) {
			t.Parallel()
			servers := testetcd.Start(t, members)
			if members > 1 {
				// A minority is missing all the time.
				servers.Stop(members - 1)
			}
			prefixes := 0
			const historyBytes = 4 << 20
			storagetest.RunStore(t, func(t *testing.T) storage.Store {
				prefixes++
				cfg := config(servers, fmt.Sprintf("/conformance/%d", prefixes))
				cfg.HistoryBytes = historyBytes
				node := open(t, cfg, "node")
				leads(t, node)
				other := open(t, cfg, "other")
				t.Cleanup(func() { sameState(t, node, other) })
				return node
			}, storagetest.HistoryBytes(historyBytes))
		})
	}
}
