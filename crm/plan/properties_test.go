package plan

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/model"
)

// cases of each property. Every case has a seed of its own, which is reported.
const cases = 3000

// random makes inputs.
type random struct{ *rand.Rand }

func seeded(seed uint64) random { return random{rand.New(rand.NewPCG(seed, 0x0bc))} }

func forCases(t *testing.T, check func(t *testing.T, r random)) {
	t.Helper()
	for seed := range uint64(cases) {
		check(t, seeded(seed))
		if t.Failed() {
			t.Fatalf("that was with seed %d", seed)
		}
	}
}

func (r random) chance(percent int) bool { return r.IntN(100) < percent }

func one[T any](r random, list ...T) T { return list[r.IntN(len(list))] }

func (r random) health(c *Cluster) {
	c.Status = one(r, model.ClusterHealthy, model.ClusterHealthy, model.ClusterHealthy, model.ClusterDegraded,
		model.ClusterUnhealthy, model.ClusterUnknown)
	c.Availability, c.Nodes, c.ReadyNodes = nil, nil, nil
	switch {
	case r.chance(40):
		c.Availability = ptr(one(r, 0.5, 0.9, 0.95, 0.99, 0.999, r.Float64()))
	case r.chance(50):
		c.Nodes = ptr(uint32(r.IntN(5)))
		c.ReadyNodes = ptr(uint32(r.IntN(int(*c.Nodes) + 1)))
	}
	c.Units = r.IntN(12)
	c.CPU, c.Memory = r.IntN(102)-1, r.IntN(102)-1
}

func (r random) clusters() []Cluster {
	clusters := make([]Cluster, 1+r.IntN(12))
	for i := range clusters {
		c := &clusters[i]
		*c = cluster(fmt.Sprintf("c%02d", i), labels("zone", one(r, "z1", "z2", "z3"), "tier", one(r, "gold", "iron")))
		if r.chance(10) {
			delete(c.Labels, "zone")
		}
		if r.chance(50) {
			c.Environments = []string{one(r, "eu", "us")}
		}
		r.health(c)
		c.Weight = one[uint32](r, 0, 50, 100, 100, 100, 200)
		c.Capacity = one(r, 0, 0, 5, 10, 20)
		c.Cordoned, c.Draining = r.chance(8), r.chance(8)
	}
	return clusters
}

func (r random) some(names []string, most int) []string {
	var list []string
	for range r.IntN(most + 1) {
		list = append(list, one(r, names...))
	}
	return list
}

func (r random) placement() *model.Placement {
	p := &model.Placement{}
	if r.chance(40) {
		p.Clusters = ptr(uint32(1 + r.IntN(5)))
	}
	if r.chance(20) {
		p.Selector = map[string]string{"tier": one(r, "gold", "iron")}
	}
	if r.chance(20) {
		p.Requirements = []model.LabelRequirement{{Key: "zone", Operator: one(r, model.LabelExists, model.LabelNotIn), Values: []string{"z1"}}}
	}
	if r.chance(40) {
		p.Spread = []model.SpreadConstraint{{Label: "zone", Required: r.chance(50)}, {Label: "tier"}}
	}
	if r.chance(30) {
		p.Affinity = []model.AffinityTerm{{Class: "near", Required: r.chance(50)}}
	}
	if r.chance(30) {
		p.AntiAffinity = []model.AffinityTerm{{Deployment: "far", Required: r.chance(50), Weight: ptr(uint32(90))}}
	}
	if r.chance(20) {
		p.Weights = map[string]uint32{"c01": 0, "c02": 1000}
	}
	return p
}

func (r random) input() Input {
	in := Input{Clusters: r.clusters(), Package: shop("img")}
	if r.chance(25) {
		in.Package = strong()
	}
	names := []string{"nowhere"}
	for _, c := range in.Clusters {
		names = append(names, c.Name)
	}
	d := cart()
	switch r.IntN(4) {
	case 0:
		d.TargetEnvs = append(r.some(names, 4), one(r, names...))
	case 1:
		d.TargetEnvs = []string{one(r, "eu", "us")}
	case 2:
		d.TargetEnvs = append(r.some(names, 2), one(r, "eu", "us"))
	default:
		d.AvailableEnvs = r.some(append(names, "eu"), 5)
	}
	if r.chance(60) {
		d.Placement = r.placement()
	}
	if r.chance(50) {
		d.Failover = &model.Failover{Enabled: r.chance(70), Backups: r.some(names, 3)}
		if r.chance(30) {
			d.Failover.Failback = ptr(false)
		}
	}
	if r.chance(50) {
		d.NFRRequirements.Availability = ptr(one(r, 0, 0.9, 0.99, 0.999, 0.999999, 1))
	}
	if r.chance(50) {
		d.NFRRequirements.MinThroughputRPS = ptr(uint32(1 + r.IntN(5000)))
	}
	if r.chance(30) {
		d.ODGM = &model.ODGMDataSpec{EnvNodeIDs: map[string][]uint64{"c00": {7, 0}, "c01": {7, 8}, "eu": {9}}, PartitionCount: ptr(uint32(3))}
	}
	for _, name := range r.some(names, 1) {
		d.AvoidedClusters = append(d.AvoidedClusters, model.AvoidedCluster{Cluster: name, Reason: model.AvoidFailover})
	}
	for _, name := range r.some(names, 3) {
		if !slices.ContainsFunc(d.PlacedOn, func(p model.PlacedCluster) bool { return p.Cluster == name }) && r.chance(50) {
			d.PlacedOn = append(d.PlacedOn, model.PlacedCluster{Cluster: name, NodeIDs: []uint64{uint64(100 + len(d.PlacedOn))}})
		}
	}
	in.Deployment = d
	somewhere := func() []string { return slices.Compact(slices.Sorted(slices.Values(r.some(names, 4)))) }
	in.Neighbours = neighbours{"class near": somewhere(), "deployment far": somewhere()}
	return in
}

func planned(t *testing.T, in Input) (Plan, bool) {
	t.Helper()
	plan, err := Make(in)
	var planErr *Error
	if err != nil && !errors.As(err, &planErr) {
		t.Fatalf("error of another type: %v", err)
	}
	return plan, err == nil
}

func TestPlanIsTheSameForEveryOrderOfTheInput(t *testing.T) {
	t.Parallel()
	forCases(t, func(t *testing.T, r random) {
		in := r.input()
		in.Explain = true
		first, _ := planned(t, in)
		other := in
		other.Clusters = slices.Clone(in.Clusters)
		r.Shuffle(len(other.Clusters), func(i, j int) {
			other.Clusters[i], other.Clusters[j] = other.Clusters[j], other.Clusters[i]
		})
		for i := range other.Clusters {
			other.Clusters[i].Labels = rebuilt(other.Clusters[i].Labels)
		}
		if p := in.Deployment.Placement; p != nil {
			clone := *p
			clone.Selector, clone.Weights = rebuilt(p.Selector), rebuilt(p.Weights)
			other.Deployment.Placement = &clone
		}
		second, _ := planned(t, other)
		if diff := cmp.Diff(first, second); diff != "" {
			t.Errorf("(-first +second):\n%s", diff)
		}
	})
}

// rebuilt returns an equal map that was filled in another order.
func rebuilt[V any](m map[string]V) map[string]V {
	if m == nil {
		return nil
	}
	other := make(map[string]V, len(m)*3)
	for _, key := range slices.Backward(slices.Sorted(maps.Keys(m))) {
		other[key] = m[key]
	}
	return other
}

func TestPlacesStayInWhateverHealth(t *testing.T) {
	t.Parallel()
	forCases(t, func(t *testing.T, r random) {
		in := r.input()
		first, ok := planned(t, in)
		if !ok {
			return
		}
		same, ok := planned(t, again(in, first))
		if diff := cmp.Diff(first.Placed, same.Placed); !ok || diff != "" {
			t.Errorf("planned again, all the same: %v (-first +again):\n%s", ok, diff)
		}
		if diff := cmp.Diff(first.SelectedClusters(), same.SelectedClusters()); diff != "" {
			t.Fatalf("(-first +again):\n%s", diff)
		}
		for i := range first.Units {
			if first.Units[i].ID != same.Units[i].ID {
				t.Errorf("unit of %s: got id %s, then %s", first.Units[i].TargetCluster, first.Units[i].ID, same.Units[i].ID)
			}
		}
		// What lacked something may go on to get it, and who stands in for another
		// may make room, when health changes. Everything else must not.
		unsettled := first.Shortfall != "" || len(first.Stranded) > 0 || len(first.Placed) > len(first.Units) ||
			first.Requirements.AchievedAvailability < first.Requirements.Availability
		decided := in.Deployment.Placement != nil && in.Deployment.Placement.Clusters != nil
		for _, place := range first.Placed {
			decided = decided || place.Needed > 0
			unsettled = unsettled || place.For != "" || place.Unfit ||
				place.Wish != "" && place.Needed == 0 && (in.Deployment.Placement == nil || in.Deployment.Placement.Clusters == nil)
		}
		// So may an environment to which named targets give all that it needs.
		targetsEnvironment := slices.Contains(in.Deployment.TargetEnvs, "eu") || slices.Contains(in.Deployment.TargetEnvs, "us")
		if unsettled || targetsEnvironment && !decided {
			return
		}
		worse := again(in, first)
		worse.Clusters = slices.Clone(in.Clusters)
		for i := range worse.Clusters {
			r.health(&worse.Clusters[i])
			worse.Clusters[i].Cordoned = r.chance(20)
			worse.Clusters[i].Capacity = r.IntN(10)
		}
		later, _ := planned(t, worse)
		if diff := cmp.Diff(first.Placed, later.Placed); diff != "" {
			t.Errorf("in other health (-first +later):\n%s", diff)
		}
	})
}

func TestMoveChangesOnlyTheUnitOfThePlaceThatMoves(t *testing.T) {
	t.Parallel()
	moves := 0
	forCases(t, func(t *testing.T, r random) {
		in := r.input()
		in.Deployment.AvoidedClusters, in.Deployment.ODGM = nil, nil
		first, ok := planned(t, in)
		if !ok || len(first.Stranded) > 0 {
			return
		}
		from := one(r, first.SelectedClusters()...)
		second, ok := planned(t, avoid(again(in, first), from))
		if !ok || slices.Contains(second.Stranded, from) || len(second.Units) != len(first.Units) {
			return
		}
		before := map[string]string{}
		for _, unit := range first.Units {
			before[unit.TargetCluster] = unit.ID
		}
		var came []string
		for _, unit := range second.Units {
			switch id, was := before[unit.TargetCluster]; {
			case !was:
				came = append(came, unit.TargetCluster)
				if replaces := placeIn(second, unit.TargetCluster).Replaces; replaces != from {
					t.Errorf("%s replaces %q, want %s", unit.TargetCluster, replaces, from)
				}
			case id != unit.ID:
				t.Errorf("%s: got unit %s, want it to stay %s", unit.TargetCluster, unit.ID, id)
			}
			if unit.TargetCluster == from {
				t.Errorf("%s is still selected", from)
			}
		}
		if len(came) != 1 {
			t.Errorf("got %v in place of %s, want one cluster", came, from)
		}
		moves++
	})
	if moves < cases/20 {
		t.Errorf("only %d of %d cases moved", moves, cases)
	}
}

var dnsLabel = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,61}[a-z0-9])$`)

func TestEveryPlanIsSound(t *testing.T) {
	t.Parallel()
	forCases(t, func(t *testing.T, r random) {
		in := r.input()
		in.Explain = true
		plan, ok := planned(t, in)
		for _, c := range in.Clusters {
			verdictOn(t, plan, c.Name)
		}
		for _, v := range plan.Verdicts {
			if len(v.Reasons) == 0 || v.Score < 0 || v.Score > 1 {
				t.Errorf("got verdict %+v, want reasons and a score from 0 to 1", v)
			}
			if ok && v.Selected != slices.Contains(plan.SelectedClusters(), v.Cluster) {
				t.Errorf("verdict %+v is not what was selected: %v", v, plan.SelectedClusters())
			}
		}
		if !ok {
			return
		}
		without := in
		without.Explain = false
		quiet, _ := planned(t, without)
		quiet.Verdicts = plan.Verdicts
		if diff := cmp.Diff(plan, quiet); diff != "" {
			t.Errorf("explaining changes the plan (-with +without):\n%s", diff)
		}
		checkIdentity(t, plan)
		checkNewPlaces(t, in, plan)
		if len(plan.Units) > plan.Requirements.Clusters || (len(plan.Units) < plan.Requirements.Clusters) != (plan.Shortfall != "") {
			t.Errorf("got %d units of %d with shortfall %q", len(plan.Units), plan.Requirements.Clusters, plan.Shortfall)
		}
	})
}

func checkIdentity(t *testing.T, plan Plan) {
	t.Helper()
	ids, clusters, nodes := map[string]bool{}, map[string]bool{}, map[uint64]bool{0: true}
	for _, unit := range plan.Units {
		place := placeIn(plan, unit.TargetCluster)
		if !dnsLabel.MatchString(unit.ID) || ids[unit.ID] {
			t.Errorf("got unit id %q, want a DNS label of its own", unit.ID)
		}
		if clusters[unit.TargetCluster] || place.Cluster != unit.TargetCluster {
			t.Errorf("cluster %s: selected twice, or not placed: %v", unit.TargetCluster, plan.Placed)
		}
		ids[unit.ID], clusters[unit.TargetCluster] = true, true
		own := unit.ODGM.EnvNodeIDs[unit.TargetCluster]
		if len(own) == 0 || unit.ODGM.NodeID != own[0] || !slices.Equal(own, place.NodeIDs) {
			t.Errorf("got node ids %v of %s, its own %d, recorded %v", own, unit.TargetCluster, unit.ODGM.NodeID, place.NodeIDs)
		}
		for _, id := range own {
			if nodes[id] {
				t.Errorf("node id %d: 0 or given twice", id)
			}
			nodes[id] = true
		}
		for _, f := range unit.Functions {
			if c := f.ProvisionConfig; c != nil && c.MinScale != nil && c.MaxScale != nil && *c.MinScale > *c.MaxScale {
				t.Errorf("got min_scale %d over max_scale %d", *c.MinScale, *c.MaxScale)
			}
		}
	}
}

// checkNewPlaces checks by other means that what is new may be where it is.
func checkNewPlaces(t *testing.T, in Input, plan Plan) {
	t.Helper()
	d := in.Deployment
	for _, c := range in.Clusters {
		was := slices.ContainsFunc(d.PlacedOn, func(p model.PlacedCluster) bool { return p.Cluster == c.Name })
		if was || !slices.Contains(plan.SelectedClusters(), c.Name) {
			continue
		}
		isNamed := slices.Contains(d.TargetEnvs, c.Name)
		avoided := slices.ContainsFunc(d.AvoidedClusters, func(a model.AvoidedCluster) bool { return a.Cluster == c.Name })
		switch {
		case c.Cordoned, c.Draining, c.Capacity > 0 && c.Units >= c.Capacity:
			t.Errorf("new in %s, which takes nothing: %+v", c.Name, c)
		case avoided && !(isNamed && slices.Contains(plan.Stranded, c.Name)):
			t.Errorf("new in %s, which is avoided", c.Name)
		case !isNamed && c.Status != model.ClusterHealthy && c.Status != model.ClusterDegraded:
			t.Errorf("new in %s, which is %s", c.Name, c.Status)
		}
		p := d.Placement
		if p == nil {
			continue
		}
		for key, value := range p.Selector {
			if c.Labels[key] != value {
				t.Errorf("new in %s, against the selector", c.Name)
			}
		}
		for _, term := range p.Affinity {
			if term.Required && !slices.Contains(in.Neighbours.ClassClusters("near", ""), c.Name) {
				t.Errorf("new in %s, against the required affinity", c.Name)
			}
		}
		for _, term := range p.AntiAffinity {
			if term.Required && slices.Contains(in.Neighbours.DeploymentClusters("far"), c.Name) {
				t.Errorf("new in %s, against the required anti-affinity", c.Name)
			}
		}
	}
}

func TestAchievedAvailabilityIsThatOfAllOutcomes(t *testing.T) {
	t.Parallel()
	forCases(t, func(t *testing.T, r random) {
		ps := make([]float64, r.IntN(11))
		for i := range ps {
			ps[i] = one(r, 0, 1, 0.9, 0.99, r.Float64())
		}
		for _, quorum := range []bool{false, true} {
			sum := newReliability(quorum)
			for _, p := range ps {
				sum.add(p)
			}
			want := bruteForce(ps, quorum)
			if got := sum.value(); got < want-1e-9 || got > want+1e-9 {
				t.Errorf("%v, quorum %v: got %v, want %v", ps, quorum, got, want)
			}
		}
	})
}

// bruteForce adds up all outcomes in which enough clusters are up.
func bruteForce(ps []float64, quorum bool) float64 {
	total := 0.0
	for outcome := range 1 << len(ps) {
		probability, alive := 1.0, 0
		for i, p := range ps {
			if outcome>>i&1 == 1 {
				alive++
				probability *= p
			} else {
				probability *= 1 - p
			}
		}
		if quorum && alive > len(ps)/2 || !quorum && alive > 0 {
			total += probability
		}
	}
	return total
}

func TestFloorIsTheWorstThatWillDo(t *testing.T) {
	t.Parallel()
	forCases(t, func(t *testing.T, r random) {
		sum := newReliability(r.chance(50))
		for range r.IntN(3) {
			sum.add(r.Float64())
		}
		list := make([]float64, 1+r.IntN(8))
		for i := range list {
			list[i] = one(r, 0.5, 0.9, 0.99, r.Float64())
		}
		slices.SortFunc(list, func(a, b float64) int { return cmpDescending(a, b) })
		more, target := 1+r.IntN(4), one(r, 0.9, 0.99, 0.9999)
		floor := sum.floor(list, more, target)
		possible := false
		for i, p := range list {
			others := slices.Delete(slices.Clone(list), i, i+1)
			will := sum.reachesWith(p, others, more, target)
			possible = possible || will
			if will && p < floor || !will && floor > 0 && p >= floor {
				t.Errorf("%v of %v, %d to come: reaches %v is %v, floor is %v", p, list, more, target, will, floor)
			}
		}
		if possible != (floor > 0) {
			t.Errorf("floor is %v, but it being possible is %v", floor, possible)
		}
	})
}

func cmpDescending(a, b float64) int {
	switch {
	case a > b:
		return -1
	case a < b:
		return 1
	}
	return 0
}

func TestRequiredSpreadHoldsForNewPlaces(t *testing.T) {
	t.Parallel()
	checked := 0
	forCases(t, func(t *testing.T, r random) {
		in := r.input()
		d := &in.Deployment
		d.TargetEnvs, d.AvailableEnvs = nil, nil
		skew := 1 + r.IntN(2)
		d.Placement = &model.Placement{
			Clusters: ptr(uint32(1 + r.IntN(8))),
			Spread:   []model.SpreadConstraint{{Label: "zone", Required: true, MaxSkew: ptr(uint32(skew))}},
		}
		if r.chance(30) {
			d.Placement.Selector = map[string]string{"tier": "gold"}
		}
		plan, ok := planned(t, in)
		if !ok || len(plan.Stranded) > 0 {
			return
		}
		counts := map[string]int{}
		for _, c := range in.Clusters {
			zone, labelled := c.Labels["zone"]
			if !labelled || d.Placement.Selector != nil && c.Labels["tier"] != "gold" {
				continue
			}
			counts[zone] += 0
			if slices.Contains(plan.SelectedClusters(), c.Name) {
				counts[zone]++
			}
		}
		fewest := slices.Min(append(slices.Collect(maps.Values(counts)), cases))
		for _, c := range in.Clusters {
			was := slices.ContainsFunc(d.PlacedOn, func(p model.PlacedCluster) bool { return p.Cluster == c.Name })
			if was || !slices.Contains(plan.SelectedClusters(), c.Name) {
				continue
			}
			zone, labelled := c.Labels["zone"]
			if !labelled || counts[zone]-fewest > skew {
				t.Errorf("new in %s, zone %q: got %v, want at most %d more than elsewhere", c.Name, zone, counts, skew)
			}
			checked++
		}
	})
	if checked < cases/2 {
		t.Errorf("only %d new places in %d cases", checked, cases)
	}
}
