package plan

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/model"
)

// fleet is a thousand clusters as an operator may have them.
func fleet(n int) []Cluster {
	r := random{rand.New(rand.NewPCG(1, 2))}
	clusters := make([]Cluster, n)
	for i := range clusters {
		clusters[i] = cluster(fmt.Sprintf("cluster-%04d", i), load(r.IntN(400), 500), up(0.9+r.Float64()/10),
			labels("zone", fmt.Sprintf("zone-%02d", i%30), "region", fmt.Sprintf("region-%d", i%6), "tier", one(r, "gold", "iron")),
			within(fmt.Sprintf("env-%d", i%4)))
		clusters[i].CPU, clusters[i].Memory = r.IntN(100), r.IntN(100)
		clusters[i].Nodes, clusters[i].ReadyNodes = ptr(uint32(20)), ptr(uint32(19))
		clusters[i].Status = one(r, model.ClusterHealthy, model.ClusterHealthy, model.ClusterHealthy, model.ClusterHealthy,
			model.ClusterDegraded, model.ClusterUnhealthy)
		clusters[i].Cordoned = r.chance(3)
	}
	return clusters
}

// constrained asks for a bit of everything.
func constrained(clusters []Cluster) Input {
	d := grid()
	d.NFRRequirements.Availability = ptr(0.99999)
	d.Placement = &model.Placement{
		Clusters:     ptr(uint32(6)),
		Requirements: []model.LabelRequirement{{Key: "tier", Operator: model.LabelIn, Values: []string{"gold", "iron"}}},
		Spread:       []model.SpreadConstraint{{Label: "region"}, {Label: "zone", Required: true}},
		Affinity:     []model.AffinityTerm{{Class: "Stock"}, {Deployment: "stock"}},
		AntiAffinity: []model.AffinityTerm{{Class: "other.Noise", Required: true}},
	}
	d.Failover = &model.Failover{Enabled: true, Backups: []string{"cluster-0001", "cluster-0002"}}
	in := input(d, clusters...)
	where := neighbours{}
	for i, c := range clusters {
		if i%5 == 0 {
			where["class shop.Stock"] = append(where["class shop.Stock"], c.Name)
		}
		if i%7 == 0 {
			where["class other.Noise"] = append(where["class other.Noise"], c.Name)
		}
	}
	in.Neighbours = where
	in.Package.Classes = append(in.Package.Classes, model.Class{Key: "Stock"})
	return in
}

func BenchmarkMake(b *testing.B) {
	clusters := fleet(1000)
	plain := input(cart(), clusters...)
	plain.Deployment.NFRRequirements.Availability = ptr(0.999)
	busy := constrained(clusters)
	quorum := constrained(clusters)
	quorum.Package = strong()
	quorum.Deployment.Placement.Clusters = nil
	quorum.Deployment.NFRRequirements.Availability = ptr(0.999999999)
	everywhere := constrained(clusters)
	everywhere.Deployment.Placement.Clusters = ptr(uint32(50))
	for name, in := range map[string]Input{
		"plain": plain, "constrained": busy, "placed": again(busy, mustMake(b, busy)), "quorum": quorum, "in 50": everywhere,
	} {
		for _, explain := range []bool{false, true} {
			in.Explain = explain
			b.Run(fmt.Sprintf("%s/explain=%v", name, explain), func(b *testing.B) {
				b.ReportAllocs()
				var took []time.Duration
				for b.Loop() {
					start := time.Now()
					if _, err := Make(in); err != nil {
						b.Fatal(err)
					}
					took = append(took, time.Since(start))
				}
				slices.Sort(took)
				b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
			})
		}
	}
}

// TestPlanTime bounds what a plan over a thousand clusters may take, by far: it is
// to catch what grows with the square, on whatever machine.
func TestPlanTime(t *testing.T) {
	in := constrained(fleet(1000))
	in.Explain = true
	best := time.Hour
	for range 5 {
		start := time.Now()
		mustMake(t, in)
		best = min(best, time.Since(start))
	}
	if best > 100*time.Millisecond {
		t.Errorf("planning over 1,000 clusters took %v at best, want less than 100ms", best)
	}
}

// TestPlanAllocations: what is worked out for each of a thousand clusters, and said
// of them, is not an allocation each.
func TestPlanAllocations(t *testing.T) {
	in := constrained(fleet(1000))
	in.Explain = true
	mustMake(t, in)
	if got, most := testing.AllocsPerRun(20, func() { mustMake(t, in) }), 400.0; got > most {
		t.Errorf("%.0f allocations per plan, want at most %.0f", got, most)
	}
}
