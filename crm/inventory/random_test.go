package inventory

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// chaos draws commands over few names, so that they meet. Many are rejected.
type chaos struct {
	testing.TB
	*rand.Rand
}

var (
	clusterNames    = []string{"a", "b", "b-1", "c", "d"}
	deploymentNames = []string{"d", "d-1", "e", "f", "g"}
	classNames      = []string{"Cart", "Cartoon", "Order"}
	unitNames       = []string{"u1", "u2"}
	phases          = []model.UnitPhase{model.UnitPending, model.UnitDeploying, model.UnitRunning, model.UnitDown, model.UnitDeleting}
)

// What an inventory is asked for: these, and what shop makes.
var (
	askedClusters    = slices.Concat(clusterNames, []string{"gone"})
	askedDeployments = slices.Concat(deploymentNames, []string{"cart", "cart-2", "order"})
	askedIDs         = []string{"u1", "u2", "u3", "u4", "u5", "crm-1", "crm-5"}
	exceptions       = append(slices.Clone(askedDeployments), "")
)

func pick[T any](c chaos, of []T) T { return of[c.IntN(len(of))] }

func (c chaos) command() storage.Command {
	switch c.IntN(16) {
	case 0, 1, 12, 13, 14, 15:
		return putCluster(c, pick(c, clusterNames), func(cluster *model.Cluster) {
			cluster.Cordoned = c.IntN(2) == 0
			cluster.Environments = []string{fmt.Sprintf("env%d", c.IntN(3))}
		})
	case 2:
		return storage.DeleteCluster{Name: pick(c, clusterNames), Force: c.IntN(2) == 0}
	case 3, 4:
		return health(pick(c, clusterNames), pick(c, []string{model.ClusterHealthy, model.ClusterUnhealthy}), func(h *model.ClusterHealth) {
			h.ReadyNodes = pointer(c.Uint32N(3))
		})
	case 5:
		return storage.DeleteDeployment{Key: pick(c, deploymentNames)}
	case 6, 7:
		return putDeployment(c, pick(c, deploymentNames), "shop", pick(c, classNames))
	case 8:
		return storage.Barrier{}
	default:
		return c.record()
	}
}

func (c chaos) record() storage.Command {
	r := storage.RecordUnitStatus{Deployment: pick(c, deploymentNames), Generation: 1 + c.Uint64N(4)}
	for _, cluster := range clusterNames {
		name := pick(c, unitNames)
		switch c.IntN(4) {
		case 0:
			r.Remove = append(r.Remove, storage.UnitRef{Cluster: cluster, Unit: name})
		case 1:
			u := unit(r.Deployment, cluster, name, pick(c, []string{"", name, "crm-1", "u2"}), pick(c, phases))
			u.Generation = r.Generation
			r.Put = append(r.Put, u)
		}
	}
	if c.IntN(5) == 0 {
		r.Forget, r.Put = true, nil
		for _, cluster := range clusterNames {
			for _, name := range unitNames {
				r.Remove = append(r.Remove, storage.UnitRef{Cluster: cluster, Unit: name})
			}
		}
	}
	return r
}

// apply applies a command that may well be rejected.
func (w *world) apply(c storage.Command) {
	w.Helper()
	if result, err := w.Apply(w.Context(), storage.Request{Command: c}); err != nil && result.Err() == nil {
		w.Fatalf("apply %T: %v", c, err)
	}
}

// truth is everything that an inventory can be asked for, worked out from a scan
// of the store in the plainest way.
type truth struct {
	Clusters    map[string]ClusterView
	UnitsOn     map[string][]UnitRef
	Found       map[string][]UnitRef
	OnCluster   map[string][]string
	OfClass     map[string][]string
	Deployments map[string][]string
	PlanUnits   map[string]map[string]int
}

func scan(t testing.TB, s Store) (truth, uint64) {
	t.Helper()
	clusters := map[string]ClusterView{}
	classes := map[string]string{}
	var units []UnitRef
	info, err := s.View(t.Context(), storage.ReadOptions{Consistency: storage.Stale}, func(r storage.Reader) error {
		each := func(prefix string, fn func(name string, document []byte) error) error {
			return storage.ScanPrefix(r, []byte(prefix), func(key, value []byte) (bool, error) {
				return true, fn(string(key[len(prefix):]), value)
			})
		}
		if err := each(storage.ClusterPrefix, func(name string, document []byte) error {
			spec, err := model.ParseCluster(document)
			clusters[name] = ClusterView{Spec: spec, Health: model.ClusterHealth{
				ClusterName: name, Status: model.ClusterUnknown, Reason: ReasonNotProbed, Message: "the cluster has not been probed yet",
			}}
			return err
		}); err != nil {
			return err
		}
		if err := each(storage.ClusterHealthPrefix, func(name string, document []byte) error {
			view := clusters[name]
			var err error
			view.Health, err = model.ParseClusterHealth(document)
			clusters[name] = view
			return err
		}); err != nil {
			return err
		}
		if err := each(storage.DeploymentPrefix, func(name string, document []byte) error {
			d, err := model.ParseDeployment(document)
			classes[name] = d.PackageName + "." + d.ClassKey
			return err
		}); err != nil {
			return err
		}
		return each(storage.UnitPrefix, func(name string, document []byte) error {
			u, err := model.ParseUnit(document)
			parts := strings.Split(name, "/")
			units = append(units, UnitRef{Deployment: parts[0], Cluster: parts[1], Unit: parts[2], CRMID: u.CRMID, Phase: u.Phase})
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return tell(clusters, classes, units), info.Index
}

// tell answers the questions from lists.
func tell(clusters map[string]ClusterView, classes map[string]string, units []UnitRef) truth {
	slices.SortFunc(units, func(a, b UnitRef) int {
		return cmp.Or(strings.Compare(a.Cluster, b.Cluster), strings.Compare(a.Deployment, b.Deployment), strings.Compare(a.Unit, b.Unit))
	})
	all := truth{
		Clusters: clusters, UnitsOn: map[string][]UnitRef{}, Found: map[string][]UnitRef{}, OnCluster: map[string][]string{},
		OfClass: map[string][]string{}, Deployments: map[string][]string{}, PlanUnits: map[string]map[string]int{},
	}
	for _, u := range units {
		if view, known := clusters[u.Cluster]; known {
			view.Units++
			clusters[u.Cluster] = view
		}
		all.UnitsOn[u.Cluster] = append(all.UnitsOn[u.Cluster], u)
		for _, id := range u.ids() {
			all.Found[id] = append(all.Found[id], u)
		}
		all.OnCluster[u.Cluster] = append(all.OnCluster[u.Cluster], u.Deployment)
		if u.Phase == model.UnitDeleting {
			continue
		}
		all.Deployments[u.Deployment] = append(all.Deployments[u.Deployment], u.Cluster)
		for _, except := range exceptions {
			if class, known := classes[u.Deployment]; known && except != u.Deployment {
				all.OfClass[class+" "+except] = append(all.OfClass[class+" "+except], u.Cluster)
			}
		}
	}
	for _, except := range exceptions {
		counts := map[string]int{}
		for _, u := range units {
			if _, known := clusters[u.Cluster]; known && u.Deployment != except {
				counts[u.Cluster]++
			}
		}
		all.PlanUnits[except] = counts
	}
	for _, lists := range []map[string][]string{all.OnCluster, all.OfClass, all.Deployments} {
		for key, list := range lists {
			slices.Sort(list)
			lists[key] = slices.Compact(list)
		}
	}
	return all
}

// ask asks the inventory for the same.
func ask(i *Inventory) truth {
	all := truth{
		Clusters: map[string]ClusterView{}, UnitsOn: map[string][]UnitRef{}, Found: map[string][]UnitRef{}, OnCluster: map[string][]string{},
		OfClass: map[string][]string{}, Deployments: map[string][]string{}, PlanUnits: map[string]map[string]int{},
	}
	for _, view := range i.Clusters() {
		view.Noted = time.Time{} // each node's own
		all.Clusters[view.Spec.Name] = view
	}
	note := func(lists map[string][]string, key string, list []string) {
		if len(list) > 0 {
			lists[key] = list
		}
	}
	for _, cluster := range askedClusters {
		if refs := i.UnitsOn(cluster); len(refs) > 0 {
			all.UnitsOn[cluster] = refs
		}
		note(all.OnCluster, cluster, i.DeploymentsOn(cluster))
	}
	for _, id := range askedIDs {
		if refs := i.FindUnit(id); len(refs) > 0 {
			all.Found[id] = refs
		}
	}
	for _, deployment := range askedDeployments {
		note(all.Deployments, deployment, i.DeploymentClusters(deployment))
	}
	for _, except := range exceptions {
		for _, class := range classNames {
			note(all.OfClass, "shop."+class+" "+except, i.ClassClusters("shop."+class, except))
		}
		counts := map[string]int{}
		for _, c := range i.PlanClusters(except) {
			if c.Units != 0 {
				counts[c.Name] = c.Units
			}
		}
		all.PlanUnits[except] = counts
	}
	return all
}

// wantTruth compares an inventory with a fresh scan. Nothing may be written
// meanwhile.
func wantTruth(t testing.TB, i *Inventory, s Store) {
	t.Helper()
	want, index := scan(t, s)
	if err := i.WaitFor(t.Context(), index); err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(want, ask(i)); diff != "" {
		t.Fatalf("at index %d: scan -, inventory +:\n%s", index, diff)
	}
}

func TestRandomCommandsAgreeWithAScan(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			c := chaos{t, rand.New(rand.NewPCG(seed, seed))}
			w := newWorld(t, func(w *world) { w.must(putPackage(w, "shop", classNames...)) })
			for range 700 {
				w.apply(c.command())
				if c.IntN(3) == 0 {
					wantTruth(t, w.inventory, w.Store)
				}
			}
			wantTruth(t, w.inventory, w.Store)
			for name, tree := range map[string]int{"counts": w.inventory.current.Load().counts.Len(), "units": w.inventory.current.Load().units.Len()} {
				if tree == 0 {
					t.Errorf("%s: got nothing, so the test has shown nothing", name)
				}
			}
		})
	}
}

func byName(a, b ClusterView) int { return strings.Compare(a.Spec.Name, b.Spec.Name) }

func TestConcurrentUpdatesAndReaders(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.must(putPackage(w, "shop", classNames...)) })
	var writers, readers sync.WaitGroup
	done := make(chan struct{})
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					ask(w.inventory)
					if views := w.inventory.Clusters(); !slices.IsSortedFunc(views, byName) || len(views) > len(clusterNames) {
						t.Errorf("got %d clusters, want at most %d, sorted", len(views), len(clusterNames))
						return
					}
				}
			}
		})
	}
	for seed := range uint64(3) {
		writers.Go(func() {
			c := chaos{t, rand.New(rand.NewPCG(seed, 7))}
			for range 400 {
				w.apply(c.command())
			}
		})
	}
	writers.Wait()
	close(done)
	readers.Wait()
	wantTruth(t, w.inventory, w.Store)
}
