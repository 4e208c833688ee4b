package inventory

import (
	"fmt"
	"testing"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// large is a snapshot of 1,000 clusters and 10,000 deployments of three units.
func large() *Inventory {
	i := New(nil, nil, nil)
	s := newSnapshot()
	for n := range 1000 {
		name := named("c", n)
		spec := model.Cluster{Name: name, BaseURL: "http://" + name, Labels: map[string]string{"zone": fmt.Sprint(n % 10)}}
		health := model.ClusterHealth{ClusterName: name, Status: model.ClusterHealthy, Availability: pointer(0.99), NodeCount: pointer(uint32(5))}
		s.setCluster(name, clusterEntry{spec: &spec, health: &health})
	}
	for n := range 10_000 {
		key := named("d", n)
		s.setClass(key, fmt.Sprintf("shop.Class%d", n%100))
		for k := range 3 {
			id := fmt.Sprintf("%s-%d", key, k)
			s.setUnit(UnitRef{Deployment: key, Cluster: named("c", (n*7+k*13)%1000), Unit: id, CRMID: "crm-" + id, Phase: model.UnitRunning})
		}
	}
	i.current.Store(s)
	return i
}

func BenchmarkPlanClusters(b *testing.B) {
	i := large()
	for b.Loop() {
		if got := i.PlanClusters("d-0042"); len(got) != 1000 {
			b.Fatal(len(got))
		}
	}
	b.ReportAllocs()
}

func BenchmarkClassClusters(b *testing.B) {
	i := large()
	for b.Loop() {
		if got := i.ClassClusters("shop.Class42", "d-0042"); len(got) == 0 {
			b.Fatal("no clusters")
		}
	}
}

func BenchmarkClusters(b *testing.B) {
	i := large()
	for b.Loop() {
		if got := i.Clusters(); len(got) != 1000 {
			b.Fatal(len(got))
		}
	}
}

func BenchmarkFindUnit(b *testing.B) {
	i := large()
	for b.Loop() {
		if got := i.FindUnit("crm-d-0042-1"); len(got) != 1 {
			b.Fatal(len(got))
		}
	}
}

// BenchmarkUpdate is one unit that changes, published.
func BenchmarkUpdate(b *testing.B) {
	i := large()
	phases := []model.UnitPhase{model.UnitRunning, model.UnitDown}
	n := 0
	for b.Loop() {
		n++
		s := i.current.Load().edit()
		document := fmt.Appendf(nil, `{"id":"d-0042-1","crm_id":"crm-d-0042-1","phase":%q}`, phases[n%2])
		i.publish(s, uint64(n), i.applyAll(s, []storage.Event{{Type: storage.EventPut, Kind: storage.KindUnit, Key: "d-0042/c-0307/d-0042-1", Document: document}}))
	}
	b.ReportAllocs()
}
