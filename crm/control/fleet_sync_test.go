package control

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/VictoriaMetrics/metrics"

	"github.com/oprc/oprc-pm/crm"
	"github.com/oprc/oprc-pm/crm/inventory"
	"github.com/oprc/oprc-pm/model"
)

// TestFleetIsNeverSetBack: a leader run and the follower bring the fleet in step at
// the same time, and neither with an older view than the other has used.
func TestFleetIsNeverSetBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	set := metrics.NewSet()
	fleet, err := crm.NewFleet(w.crmCfg, set, w.logger)
	if err != nil {
		t.Fatal(err)
	}
	defer fleet.Close()
	inv := inventory.New(w.store, w.logger, set)
	c, err := New(w.cfg, Deps{Store: w.store, Fleet: fleet, Inventory: inv, Logger: w.logger, Metrics: set})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { _ = inv.Run(ctx) })
	for range 2 {
		wg.Go(func() {
			for ctx.Err() == nil {
				c.syncFleet()
			}
		})
	}
	for n := range 300 {
		name := fmt.Sprintf("n%d", n)
		w.put(model.Cluster{Name: name, BaseURL: "http://127.0.0.1:1", ManagedBy: model.ManagedByAPI})
		if err := c.catchUp(ctx); err != nil {
			t.Fatal(err)
		}
		c.syncFleet()
		if _, known := fleet.Client(name); !known {
			t.Fatalf("cluster %s was known and has no client any more", name)
		}
	}
}
