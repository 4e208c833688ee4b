package inventory

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/oprc/oprc-pm/fsm"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// world is a store with an inventory that follows it.
type world struct {
	testing.TB
	*memory.Store
	inventory *Inventory
}

// newWorld runs an inventory over an empty store, or over what fill puts there.
func newWorld(t testing.TB, fill func(w *world)) *world {
	t.Helper()
	w := &world{TB: t, Store: memory.New(fsm.NewMachine())}
	t.Cleanup(func() { w.Store.Close() })
	if fill != nil {
		fill(w)
	}
	w.inventory = New(w.Store, nil, nil)
	runInventory(t, w.inventory)
	<-w.inventory.Ready()
	return w
}

// runInventory runs an inventory until the test ends.
func runInventory(t testing.TB, i *Inventory) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := i.Run(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, storage.ErrClosed) {
			t.Errorf("inventory ended: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
}

// must applies a command and returns its index.
func (w *world) must(command storage.Command) uint64 {
	w.Helper()
	result, err := w.Apply(w.Context(), storage.Request{Command: command})
	if err != nil {
		w.Fatalf("apply %T: %v", command, err)
	}
	return result.Index
}

// sync waits until the inventory has everything that was applied.
func (w *world) sync() {
	w.Helper()
	if err := w.inventory.WaitFor(w.Context(), w.Status().AppliedIndex); err != nil {
		w.Fatal(err)
	}
}

func putCluster(t testing.TB, name string, change func(c *model.Cluster)) storage.PutCluster {
	t.Helper()
	c := model.Cluster{Name: name, BaseURL: "http://" + name + ".example:8088", ManagedBy: model.ManagedByAPI}
	if change != nil {
		change(&c)
	}
	c.SetDefaults()
	document, err := model.EncodeCluster(c)
	if err != nil {
		t.Fatal(err)
	}
	return storage.PutCluster{Name: name, Document: document, ManagedBy: c.ManagedBy}
}

func putPackage(t testing.TB, name string, classes ...string) storage.PutPackage {
	t.Helper()
	p := model.Package{Name: name}
	for _, key := range classes {
		p.Classes = append(p.Classes, model.Class{Key: key})
	}
	p.SetDefaults()
	document, err := model.EncodePackage(p)
	if err != nil {
		t.Fatal(err)
	}
	return storage.PutPackage{Name: name, Document: document, Classes: classes}
}

func putDeployment(t testing.TB, key, pkg, class string) storage.PutDeployment {
	t.Helper()
	d := model.Deployment{Key: key, PackageName: pkg, ClassKey: class}
	d.SetDefaults()
	document, err := model.EncodeDeployment(d)
	if err != nil {
		t.Fatal(err)
	}
	return storage.PutDeployment{Key: key, Document: document, Package: pkg, Class: class}
}

func unit(deployment, cluster, id, crmID string, phase model.UnitPhase) model.UnitStatus {
	return model.UnitStatus{
		ID: id, DeploymentKey: deployment, Cluster: cluster, Generation: 1, Phase: phase, CRMID: crmID, LastTransitionTime: noon,
	}
}

func record(deployment string, units ...model.UnitStatus) storage.RecordUnitStatus {
	return storage.RecordUnitStatus{Deployment: deployment, Generation: 1, Put: units}
}

func health(name, status string, change func(h *model.ClusterHealth)) storage.RecordClusterHealth {
	h := model.ClusterHealth{ClusterName: name, Status: status, LastSeen: noon, Circuit: model.CircuitClosed}
	if change != nil {
		change(&h)
	}
	return storage.RecordClusterHealth{Clusters: []storage.NamedHealth{{Name: name, Health: h}}}
}

// shop fills a world with two classes, three deployments and three clusters.
func shop(w *world) {
	w.must(putPackage(w, "shop", "Cart", "Order"))
	for _, name := range []string{"a", "b", "c"} {
		w.must(putCluster(w, name, nil))
	}
	for key, class := range map[string]string{"cart": "Cart", "cart-2": "Cart", "order": "Order"} {
		w.must(putDeployment(w, key, "shop", class))
	}
	w.must(record("cart", unit("cart", "a", "u1", "crm-1", model.UnitRunning), unit("cart", "b", "u2", "u2", model.UnitDeleting)))
	w.must(record("cart-2", unit("cart-2", "b", "u3", "", model.UnitPending), unit("cart-2", "a", "u4", "crm-1", model.UnitRunning)))
	w.must(record("order", unit("order", "b", "u5", "crm-5", model.UnitRunning)))
}

func pointer[T any](value T) *T { return &value }

func named(prefix string, n int) string { return fmt.Sprintf("%s-%04d", prefix, n) }
