package dispatch

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/crm"
	"github.com/oprc/oprc-pm/crm/inventory"
	"github.com/oprc/oprc-pm/crm/plan"
	"github.com/oprc/oprc-pm/fsm"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/memory"
)

// unreachable is a fleet whose calls are never made, so that what is measured is
// the dispatcher's own work.
type unreachable struct{}

func (unreachable) Client(string) (crm.Client, bool) { return nil, false }
func (unreachable) Concurrency(string) int           { return 1 }

// BenchmarkReconcileSettled looks at a deployment that runs as it should, among
// 1,000 clusters: what a resync costs for each deployment.
func BenchmarkReconcileSettled(b *testing.B) {
	store := memory.New(fsm.NewMachine())
	b.Cleanup(func() { _ = store.Close() })
	apply := func(command storage.Command) {
		b.Helper()
		if _, err := store.Apply(b.Context(), storage.Request{Command: command}); err != nil {
			b.Fatal(err)
		}
	}
	var health storage.RecordClusterHealth
	for i := range 1000 {
		name := fmt.Sprintf("c%04d", i)
		c := model.Cluster{Name: name, BaseURL: "http://127.0.0.1:1", ManagedBy: model.ManagedByAPI}
		document, err := model.EncodeCluster(c)
		if err != nil {
			b.Fatal(err)
		}
		apply(storage.PutCluster{Name: name, Document: document, ManagedBy: c.ManagedBy})
		health.Clusters = append(health.Clusters, storage.NamedHealth{Name: name, Health: model.ClusterHealth{
			ClusterName: name, Status: model.ClusterHealthy, LastSeen: time.Now().UTC(),
		}})
	}
	apply(health)
	p := shop("img:1")
	document, err := model.EncodePackage(p)
	if err != nil {
		b.Fatal(err)
	}
	apply(storage.PutPackage{Name: p.Name, Document: document, Classes: []string{"Cart"}})
	d, three := cart(), uint32(3)
	d.Placement = &model.Placement{Clusters: &three}
	if document, err = model.EncodeDeployment(d); err != nil {
		b.Fatal(err)
	}
	apply(storage.PutDeployment{Key: d.Key, Document: document, Package: "shop", Class: "Cart"})

	inv := inventory.New(store, nil, nil)
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = inv.Run(ctx) }()
	b.Cleanup(func() { cancel(); <-done })
	dispatcher, err := New(DefaultConfig(), Deps{Store: store, Fleet: unreachable{}, Inventory: inv, Policy: plan.DefaultPolicy()})
	if err != nil {
		b.Fatal(err)
	}
	r := dispatcher.newRun(1)
	if !r.catchUp(b.Context()) {
		b.Fatal("the inventory did not catch up")
	}
	look := func() {
		if _, err := r.reconcile(b.Context(), "cart"); err != nil {
			b.Fatal(err)
		}
	}
	look()
	// What the clusters would say.
	r.mu.Lock()
	for ref, t := range r.deployments["cart"].units {
		t.outcome = &outcome{call: callDeploy, crmID: ref.Unit}
	}
	r.mu.Unlock()
	look()
	r.mu.Lock()
	for _, t := range r.deployments["cart"].units {
		t.outcome = &outcome{call: callStatus, condition: "Running"}
	}
	r.mu.Unlock()
	look()
	if got := r.phases[model.UnitRunning]; got != 3 {
		b.Fatalf("running units: got %d, want 3", got)
	}
	writes := dispatcher.metrics.writes.Get()
	for b.Loop() {
		look()
	}
	if got := dispatcher.metrics.writes.Get(); got != writes {
		b.Errorf("writes: got %d, want still %d", got, writes)
	}
}
