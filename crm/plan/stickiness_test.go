package plan

import (
	"slices"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/model"
)

func TestPlacesAreKept(t *testing.T) {
	t.Parallel()
	in := input(cart(), named("a", "b", "c")...)
	first := mustMake(t, in)
	home := first.SelectedClusters()[0]
	for name, worse := range map[string]func(*Cluster){
		"Unhealthy": status(model.ClusterUnhealthy), "Unknown": status(model.ClusterUnknown), "Degraded": status(model.ClusterDegraded),
		"full": load(9, 3), "cordoned": cordoned, "of weight 0": weight(0), "less available": up(0.1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := again(in, first)
			in.Clusters = change(in.Clusters, home, worse)
			selects(t, mustMake(t, in), home)
		})
	}
	t.Run("draining: it moves", func(t *testing.T) {
		t.Parallel()
		in := again(in, first)
		in.Clusters = change(in.Clusters, home, draining)
		plan := mustMake(t, in)
		if slices.Contains(plan.SelectedClusters(), home) || len(plan.Units) != 1 {
			t.Errorf("got %v, want another than %s", plan.SelectedClusters(), home)
		}
	})
	t.Run("avoided: it moves, with its node ids", func(t *testing.T) {
		t.Parallel()
		plan := mustMake(t, avoid(again(in, first), home))
		place := plan.Placed[0]
		if place.Cluster == home || place.Replaces != home || !slices.Equal(place.NodeIDs, first.Placed[0].NodeIDs) {
			t.Errorf("got %+v, want another cluster with the node ids of %+v", place, first.Placed[0])
		}
		if unit, moved := plan.SuccessorOf(home); !moved || unit.TargetCluster != place.Cluster {
			t.Errorf("successor of %s: got %v in %s", home, moved, unit.TargetCluster)
		}
		// Nobody goes back by itself to what was not asked for by name.
		selects(t, mustMake(t, avoid(again(in, plan))), place.Cluster)
	})
	t.Run("no fit means keep", func(t *testing.T) {
		t.Parallel()
		in := avoid(again(in, first), home)
		in.Clusters = slices.Clone(in.Clusters)
		for i := range in.Clusters {
			if in.Clusters[i].Name != home {
				in.Clusters[i].Status = model.ClusterUnhealthy
			}
		}
		in.Explain = true
		plan := mustMake(t, in)
		selects(t, plan, home)
		if !slices.Equal(plan.Stranded, []string{home}) {
			t.Errorf("stranded: got %v, want %s", plan.Stranded, home)
		}
		says(t, plan, home, "no other cluster fits, so the deployment stays")
	})
	t.Run("a cluster that is gone is replaced", func(t *testing.T) {
		t.Parallel()
		in := again(in, first)
		in.Clusters = slices.DeleteFunc(slices.Clone(in.Clusters), func(c Cluster) bool { return c.Name == home })
		plan := mustMake(t, in)
		if len(plan.Units) != 1 || plan.Placed[0].Replaces != home || !slices.Equal(plan.Placed[0].NodeIDs, first.Placed[0].NodeIDs) {
			t.Errorf("got %+v, want one in place of %s", plan.Placed, home)
		}
	})
}

func TestNumberOfClusters(t *testing.T) {
	t.Parallel()
	three := func(change ...func(*Cluster)) []Cluster {
		return []Cluster{cluster("a", change...), cluster("b", change...), cluster("c", change...)}
	}
	asked := func(availability float64) model.Deployment {
		d := cart()
		d.NFRRequirements.Availability = &availability
		return d
	}
	cases := map[string]struct {
		in   Input
		want int
	}{
		"the policy's 0.99 in one of 0.99":      {input(cart(), three()...), 1},
		"0.999 in two of 0.99":                  {input(asked(0.999), three()...), 2},
		"0.99 in two of 0.9, rounding or not":   {input(asked(0.99), three(up(0.9))...), 2},
		"0.999 in three of 0.9":                 {input(asked(0.999), three(up(0.9))...), 3},
		"the best first":                        {input(asked(0.999), append(three(up(0.9)), cluster("d", up(0.999)))...), 1},
		"1 is as good as nine nines":            {input(asked(1), three(up(0.999))...), 3},
		"more than there is: all":               {input(asked(0.99999), three(up(0.9))...), 3},
		"0 in one":                              {input(asked(0), three(up(0.5))...), 1},
		"by ready nodes":                        {input(asked(0.99), three(func(c *Cluster) { c.Nodes, c.ReadyNodes = ptr(uint32(10)), ptr(uint32(9)) })...), 2},
		"a cluster without nodes counts as 0":   {input(asked(0.9), cluster("a", up(0.9)), cluster("b", func(c *Cluster) { c.Nodes, c.ReadyNodes = ptr(uint32(0)), ptr(uint32(0)) })), 1},
		"figures out of range are cut":          {input(asked(0.99), cluster("a", up(7)), cluster("b", up(-1))), 1},
		"strong: three, although one is enough": {Input{Deployment: cart(), Package: strong(), Clusters: three()}, 3},
		"strong: five for 0.99 of 0.9": {Input{Deployment: cart(), Package: strong(), Clusters: append(three(up(0.9)),
			cluster("d", up(0.9)), cluster("e", up(0.9)), cluster("f", up(0.9)))}, 5},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plan := mustMake(t, c.in)
			if got := len(plan.Units); got != c.want {
				t.Errorf("got %d clusters, want %d: %+v", got, c.want, plan.Requirements)
			}
		})
	}
	t.Run("more clusters are never worse without a quorum", func(t *testing.T) {
		t.Parallel()
		sum, last := newReliability(false), 0.0
		for _, p := range []float64{0.9, 0.5, 0.99, 0.1, 0} {
			sum.add(p)
			if sum.value() < last {
				t.Errorf("got %v after %v", sum.value(), last)
			}
			last = sum.value()
		}
	})
	t.Run("a quorum of three at 0.9", func(t *testing.T) {
		t.Parallel()
		sum := newReliability(true)
		for range 3 {
			sum.add(0.9)
		}
		if got := figure(sum.value()); got != "0.972" {
			t.Errorf("got %s, want 0.972", got)
		}
	})
	t.Run("strong with too few clusters takes all and says so", func(t *testing.T) {
		t.Parallel()
		plan := mustMake(t, Input{Deployment: cart(), Package: strong(), Clusters: named("a", "b")})
		if len(plan.Units) != 2 || plan.Requirements.Clusters != 3 {
			t.Errorf("got %d of %d, want 2 of 3", len(plan.Units), plan.Requirements.Clusters)
		}
		contains(t, plan.Shortfall, "2 of 3 clusters")
		in := again(Input{Deployment: cart(), Package: strong(), Clusters: named("a", "b", "c")}, plan)
		selectsSet(t, mustMake(t, in), "a", "b", "c")
	})
	t.Run("limited by the policy", func(t *testing.T) {
		t.Parallel()
		d := asked(0.99999)
		d.Placement = &model.Placement{Clusters: ptr(uint32(3))}
		in := input(d, three()...)
		in.Policy.MaxClusters = 2
		plan := mustMake(t, in)
		if len(plan.Units) != 2 {
			t.Errorf("got %v, want two", plan.SelectedClusters())
		}
		contains(t, plan.Requirements.Notes[0], "placement.clusters 3 is limited to 2")
	})
	t.Run("a selection that is not available enough is told", func(t *testing.T) {
		t.Parallel()
		d := cart("a")
		d.NFRRequirements.Availability = ptr(0.999)
		plan := mustMake(t, input(d, cluster("a", up(0.95))))
		if plan.Requirements.AchievedAvailability != 0.95 && figure(plan.Requirements.AchievedAvailability) != "0.95" {
			t.Errorf("achieved: got %v, want 0.95", plan.Requirements.AchievedAvailability)
		}
		contains(t, plan.Requirements.Notes[0], "reaches availability 0.95, less than 0.999")
	})
}

func TestNumberChangesWithTheWishOnly(t *testing.T) {
	t.Parallel()
	d := cart()
	d.NFRRequirements.Availability = ptr(0.999)
	in := input(d, named("a", "b", "c", "d")...)
	first := mustMake(t, in)
	if len(first.Units) != 2 {
		t.Fatalf("got %v, want two", first.SelectedClusters())
	}
	in = again(in, first)
	t.Run("clusters that get worse add nothing", func(t *testing.T) {
		t.Parallel()
		in := in
		in.Clusters = slices.Clone(in.Clusters)
		for i := range in.Clusters {
			in.Clusters[i].Availability = ptr(0.5)
		}
		selects(t, mustMake(t, in), first.SelectedClusters()...)
	})
	t.Run("clusters that get better take nothing away", func(t *testing.T) {
		t.Parallel()
		in := in
		in.Clusters = slices.Clone(in.Clusters)
		for i := range in.Clusters {
			in.Clusters[i].Availability = ptr(1.0)
		}
		selects(t, mustMake(t, in), first.SelectedClusters()...)
	})
	t.Run("more is asked for: more, and the others stay", func(t *testing.T) {
		t.Parallel()
		in := in
		in.Deployment.NFRRequirements.Availability = ptr(0.999999)
		plan := mustMake(t, in)
		if got := plan.SelectedClusters(); len(got) != 3 || !slices.Equal(got[:2], first.SelectedClusters()) {
			t.Errorf("got %v, want one more than %v", got, first.SelectedClusters())
		}
	})
	t.Run("less is asked for: the unhealthy goes first", func(t *testing.T) {
		t.Parallel()
		in := in
		in.Deployment.NFRRequirements.Availability = ptr(0.9)
		in.Clusters = change(in.Clusters, first.SelectedClusters()[0], status(model.ClusterUnhealthy))
		selects(t, mustMake(t, in), first.SelectedClusters()[1])
	})
	t.Run("a number is asked for", func(t *testing.T) {
		t.Parallel()
		in := in
		in.Deployment.Placement = &model.Placement{Clusters: ptr(uint32(4))}
		if got := mustMake(t, in).SelectedClusters(); len(got) != 4 {
			t.Errorf("got %v, want four", got)
		}
	})
	t.Run("while there were too few it grows", func(t *testing.T) {
		t.Parallel()
		few := input(d, named("a")...)
		plan := mustMake(t, few)
		if len(plan.Units) != 1 || plan.Placed[0].Needed != 0 {
			t.Fatalf("got %+v, want one, undecided", plan.Placed)
		}
		few = again(few, plan)
		few.Clusters = named("a", "b", "c")
		if got := mustMake(t, few).SelectedClusters(); len(got) != 2 || got[0] != "a" {
			t.Errorf("got %v, want a and one more", got)
		}
	})
}

func TestFailover(t *testing.T) {
	t.Parallel()
	with := func(f *model.Failover, targets ...string) Input {
		d := cart(targets...)
		d.Failover = f
		in := input(d, named("a", "b", "c", "d")...)
		in.Explain = true
		return in
	}
	t.Run("backups in order in place of a lost target", func(t *testing.T) {
		t.Parallel()
		in := with(&model.Failover{Enabled: true, Backups: []string{"nowhere", "d", "c"}}, "a", "b")
		first := mustMake(t, in)
		plan := mustMake(t, avoid(again(in, first), "a"))
		selects(t, plan, "d", "b")
		if place := plan.Placed[0]; place.For != "a" || place.Replaces != "a" {
			t.Errorf("got %+v, want it to stand in for a and to replace it", place)
		}
		if plan.Units[1].ID != first.Units[1].ID {
			t.Error("the unit of b was changed")
		}
		says(t, plan, "d", "stands in for a, which is avoided")
		says(t, plan, "a", "left for d: avoided since")
		next := mustMake(t, avoid(again(in, plan), "a", "d"))
		selects(t, next, "c", "b")
		stuck := mustMake(t, avoid(again(in, next), "a", "d", "c"))
		selects(t, stuck, "c", "b")
		if !slices.Equal(stuck.Stranded, []string{"c"}) {
			t.Errorf("stranded: got %v, want c", stuck.Stranded)
		}
	})
	t.Run("backups that are not healthy are passed over", func(t *testing.T) {
		t.Parallel()
		in := with(&model.Failover{Enabled: true, Backups: []string{"c", "d"}}, "a")
		in = again(in, mustMake(t, in))
		in.Clusters = change(in.Clusters, "c", status(model.ClusterUnhealthy))
		selects(t, mustMake(t, avoid(in, "a")), "d")
	})
	t.Run("any cluster without backups", func(t *testing.T) {
		t.Parallel()
		in := with(&model.Failover{Enabled: true}, "a", "b")
		in = again(in, mustMake(t, in))
		in.Clusters = change(in.Clusters, "c", load(50, 0))
		selects(t, mustMake(t, avoid(in, "a")), "d", "b")
	})
	t.Run("only available clusters, when the deployment says which", func(t *testing.T) {
		t.Parallel()
		in := with(&model.Failover{Enabled: true}, "a")
		in.Deployment.AvailableEnvs = []string{"c"}
		in = again(in, mustMake(t, in))
		selects(t, mustMake(t, avoid(in, "a")), "c")
	})
	t.Run("at first in place of an unhealthy target", func(t *testing.T) {
		t.Parallel()
		in := with(&model.Failover{Enabled: true, Backups: []string{"c"}}, "a", "b")
		in.Clusters = change(in.Clusters, "a", status(model.ClusterUnhealthy))
		plan := mustMake(t, in)
		selectsSet(t, plan, "b", "c")
		// It does not go back before the target has recovered.
		selects(t, mustMake(t, again(in, plan)), plan.SelectedClusters()...)
	})
	t.Run("not without opting in", func(t *testing.T) {
		t.Parallel()
		in := with(&model.Failover{Backups: []string{"c"}}, "a")
		in.Clusters = change(in.Clusters, "a", status(model.ClusterUnhealthy))
		selects(t, mustMake(t, in), "a")
	})
	t.Run("once placed, health alone moves nothing", func(t *testing.T) {
		t.Parallel()
		in := with(&model.Failover{Enabled: true, Backups: []string{"c"}}, "a")
		in = again(in, mustMake(t, in))
		in.Clusters = change(in.Clusters, "a", status(model.ClusterUnhealthy))
		selects(t, mustMake(t, in), "a")
	})
	t.Run("back to a target that has recovered", func(t *testing.T) {
		t.Parallel()
		in := with(&model.Failover{Enabled: true}, "a", "b")
		home := mustMake(t, in)
		away := mustMake(t, avoid(again(in, home), "a"))
		back := mustMake(t, avoid(again(in, away)))
		selects(t, back, "a", "b")
		if back.Units[0].ID != home.Units[0].ID || back.Placed[0].For != "" || back.Placed[0].Replaces != away.Placed[0].Cluster {
			t.Errorf("got %+v, want a as it was, replacing %s", back.Placed[0], away.Placed[0].Cluster)
		}
		says(t, back, "a", "back in its own place")
	})
	t.Run("not back when failback is off", func(t *testing.T) {
		t.Parallel()
		in := with(&model.Failover{Enabled: true, Failback: ptr(false)}, "a", "b")
		away := mustMake(t, avoid(again(in, mustMake(t, in)), "a"))
		selects(t, mustMake(t, avoid(again(in, away))), away.SelectedClusters()...)
		// Unless the stand-in is lost.
		selects(t, mustMake(t, avoid(again(in, away), away.SelectedClusters()[0])), "a", "b")
	})
	t.Run("a drained target moves without opting in", func(t *testing.T) {
		t.Parallel()
		in := with(nil, "a", "b")
		in = again(in, mustMake(t, in))
		in.Clusters = change(in.Clusters, "a", draining)
		plan := mustMake(t, in)
		if plan.Placed[0].For != "a" || slices.Contains(plan.SelectedClusters(), "a") {
			t.Errorf("got %+v, want another in place of a", plan.Placed)
		}
	})
	t.Run("backups of an environment", func(t *testing.T) {
		t.Parallel()
		in := with(&model.Failover{Enabled: true, Backups: []string{"d"}}, "prod")
		in.Clusters = change(in.Clusters, "a", within("prod"))
		home := mustMake(t, in)
		selects(t, home, "a")
		away := mustMake(t, avoid(again(in, home), "a"))
		selects(t, away, "d")
		if away.Placed[0].For != "prod" {
			t.Errorf("got %+v, want it to stand in for prod", away.Placed[0])
		}
		selects(t, mustMake(t, avoid(again(in, away), "a")), "d")
		selects(t, mustMake(t, avoid(again(in, away))), "a")
	})
	t.Run("two lost targets do not get one stand-in", func(t *testing.T) {
		t.Parallel()
		in := with(&model.Failover{Enabled: true, Backups: []string{"c"}}, "a", "b")
		plan := mustMake(t, avoid(again(in, mustMake(t, in)), "a", "b"))
		selects(t, plan, "c", "b")
		if !slices.Equal(plan.Stranded, []string{"b"}) {
			t.Errorf("stranded: got %v, want b", plan.Stranded)
		}
	})
	t.Run("a target that is avoided and all there is, is still planned", func(t *testing.T) {
		t.Parallel()
		in := with(&model.Failover{Enabled: true}, "a")
		in.Clusters = named("a")
		plan := mustMake(t, avoid(in, "a"))
		selects(t, plan, "a")
		if !slices.Equal(plan.Stranded, []string{"a"}) {
			t.Errorf("stranded: got %v, want a", plan.Stranded)
		}
	})
}

func TestReasonsAreForPeople(t *testing.T) {
	t.Parallel()
	since := time.Date(2026, 3, 1, 3, 4, 5, 0, time.UTC)
	d := cart()
	d.AvailableEnvs = []string{"b", "c", "d", "e", "f"}
	d.AvoidedClusters = []model.AvoidedCluster{{Cluster: "d", Reason: model.AvoidDrain, Message: "maintenance", Since: since}}
	in := input(d,
		cluster("a"),
		cluster("b", status(model.ClusterUnhealthy), func(c *Cluster) { c.Reason, c.Message, c.Since = "ProbeFailed", "no answer", &since }),
		cluster("c", load(12, 100)), cluster("d"), cluster("e", draining), cluster("f", up(0.5)))
	in.Explain = true
	plan := mustMake(t, in)
	selects(t, plan, "c")
	for cluster, want := range map[string]string{
		"a": "not among available_envs",
		"b": "not eligible: Unhealthy since 2026-03-01T03:04:05Z: ProbeFailed, no answer",
		"c": "score 0.9",
		"d": "not eligible: avoided since 2026-03-01T03:04:05Z: Drain, maintenance",
		"e": "not eligible: drained",
		"f": "not eligible: availability 0.5 is too low to reach 0.99 with as few clusters",
	} {
		says(t, plan, cluster, want)
	}
	says(t, plan, "c", "load 12/100")
	kept := again(in, plan)
	kept.Clusters = append(kept.Clusters, cluster("g"))
	kept.Deployment.AvailableEnvs = append(kept.Deployment.AvailableEnvs, "g")
	says(t, mustMake(t, kept), "g", "not needed, the deployment keeps its places")
	says(t, mustMake(t, kept), "c", "keeps its place")
}
