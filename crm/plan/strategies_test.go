package plan

import (
	"fmt"
	"slices"
	"testing"

	"github.com/oprc/oprc-pm/model"
)

func TestExplicitTargets(t *testing.T) {
	t.Parallel()
	t.Run("each once, in the order given", func(t *testing.T) {
		t.Parallel()
		selects(t, mustMake(t, input(cart("c", "a", "c"), named("a", "b", "c")...)), "c", "a")
	})
	t.Run("come before what is available", func(t *testing.T) {
		t.Parallel()
		d := cart("a")
		d.AvailableEnvs = []string{"b"}
		selects(t, mustMake(t, input(d, named("a", "b")...)), "a")
	})
	t.Run("unknown ones are reported and the others planned", func(t *testing.T) {
		t.Parallel()
		plan := mustMake(t, input(cart("x", "a", "x"), named("a")...))
		selects(t, plan, "a")
		if !slices.Equal(plan.UnknownEnvs, []string{"x"}) {
			t.Errorf("unknown: got %v, want x", plan.UnknownEnvs)
		}
	})
	t.Run("only unknown ones are an error", func(t *testing.T) {
		t.Parallel()
		plan, err := fails(t, input(cart("x"), named("a")...), ReasonUnknownEnvironment)
		contains(t, err.Message, "x")
		if !slices.Equal(plan.UnknownEnvs, []string{"x"}) {
			t.Errorf("unknown: got %v, want x", plan.UnknownEnvs)
		}
	})
	for _, health := range []string{model.ClusterDegraded, model.ClusterUnhealthy, model.ClusterUnknown} {
		t.Run("are taken when "+health, func(t *testing.T) {
			t.Parallel()
			in := input(cart("a", "b"), change(named("a", "b"), "a", status(health))...)
			in.Explain = true
			plan := mustMake(t, in)
			selects(t, plan, "a", "b")
			says(t, plan, "a", "named in target_envs; "+health)
		})
	}
	t.Run("are taken whatever the weight", func(t *testing.T) {
		t.Parallel()
		selects(t, mustMake(t, input(cart("a"), cluster("a", weight(0)))), "a")
	})
	for name, unfit := range map[string]func(*Cluster){"cordoned": cordoned, "full": load(5, 5)} {
		t.Run("take nothing new while "+name, func(t *testing.T) {
			t.Parallel()
			plan := mustMake(t, input(cart("a", "b"), change(named("a", "b"), "a", unfit)...))
			selects(t, plan, "b")
			contains(t, plan.Shortfall, "1 "+name+" (a)")
			_, err := fails(t, input(cart("a"), cluster("a", unfit)), ReasonNoFit)
			contains(t, err.Message, name)
		})
		t.Run("keep what they have while "+name, func(t *testing.T) {
			t.Parallel()
			in := input(cart("a", "b"), named("a", "b")...)
			first := mustMake(t, in)
			in.Clusters = change(in.Clusters, "a", unfit)
			selects(t, mustMake(t, again(in, first)), "a", "b")
		})
	}
	t.Run("that do not match the deployment's own selector are none", func(t *testing.T) {
		t.Parallel()
		d := cart("a", "b")
		d.Placement = &model.Placement{Selector: map[string]string{"tier": "gold"}}
		in := input(d, cluster("a"), cluster("b", labels("tier", "gold")))
		in.Explain = true
		plan := mustMake(t, in)
		selects(t, plan, "b")
		contains(t, plan.Shortfall, "a")
		says(t, plan, "a", "the selector asks for tier=gold, it has no tier")
	})
	t.Run("and a number of clusters do not interfere", func(t *testing.T) {
		t.Parallel()
		d := cart("a", "b")
		d.Placement = &model.Placement{Clusters: ptr(uint32(1))}
		selects(t, mustMake(t, input(d, named("a", "b", "c")...)), "a", "b")
	})
}

func TestEnvironmentMapping(t *testing.T) {
	t.Parallel()
	clusters := []Cluster{
		cluster("one", within("staging")), cluster("two", within("prod"), up(0.9)), cluster("three", within("prod"), up(0.9)),
		cluster("four", within("prod"), up(0.9), status(model.ClusterUnhealthy)),
	}
	t.Run("one cluster", func(t *testing.T) {
		t.Parallel()
		selects(t, mustMake(t, input(cart("staging"), clusters...)), "one")
	})
	t.Run("as many as the availability needs", func(t *testing.T) {
		t.Parallel()
		plan := mustMake(t, input(cart("prod"), clusters...))
		selectsSet(t, plan, "three", "two")
	})
	t.Run("as many as are asked for", func(t *testing.T) {
		t.Parallel()
		d := cart("prod")
		d.Placement = &model.Placement{Clusters: ptr(uint32(1))}
		if plan := mustMake(t, input(d, clusters...)); len(plan.Units) != 1 {
			t.Errorf("got %v, want one", plan.SelectedClusters())
		}
	})
	t.Run("several environments and clusters", func(t *testing.T) {
		t.Parallel()
		selectsSet(t, mustMake(t, input(cart("prod", "one", "staging"), clusters...)), "one", "three", "two")
	})
	t.Run("a cluster's name comes before an environment's", func(t *testing.T) {
		t.Parallel()
		selects(t, mustMake(t, input(cart("a"), cluster("a"), cluster("b", within("a")))), "a")
	})
	t.Run("says what an environment lacks", func(t *testing.T) {
		t.Parallel()
		d := cart("prod")
		d.Placement = &model.Placement{Clusters: ptr(uint32(3))}
		plan := mustMake(t, input(d, clusters...))
		contains(t, plan.Shortfall, "environment prod gives 2 of 3 clusters; the others: 1 Unhealthy (four)")
	})
	t.Run("the templates and node ids of an environment go with it", func(t *testing.T) {
		t.Parallel()
		d := cart("staging")
		d.EnvTemplates = map[string]string{"staging": "knative"}
		d.ODGM = &model.ODGMDataSpec{EnvNodeIDs: map[string][]uint64{"staging": {42}}}
		unit := mustMake(t, input(d, clusters...)).Units[0]
		if unit.SelectedTemplate != "knative" || unit.ODGM.NodeID != 42 || unit.TargetCluster != "one" {
			t.Errorf("got template %q and node %d in %s, want knative and 42 in one", unit.SelectedTemplate, unit.ODGM.NodeID, unit.TargetCluster)
		}
	})
	t.Run("available_envs may name environments", func(t *testing.T) {
		t.Parallel()
		d := cart()
		d.AvailableEnvs = []string{"nowhere", "prod"}
		selectsSet(t, mustMake(t, input(d, clusters...)), "three", "two")
	})
	t.Run("none of available_envs exists", func(t *testing.T) {
		t.Parallel()
		d := cart()
		d.AvailableEnvs = []string{"nowhere"}
		_, _ = fails(t, input(d, clusters...), ReasonNoEnvironment)
	})
	t.Run("there are no clusters", func(t *testing.T) {
		t.Parallel()
		_, _ = fails(t, input(cart()), ReasonNoEnvironment)
	})
}

func TestLoadBalancing(t *testing.T) {
	t.Parallel()
	best := func(t *testing.T, want string, clusters ...Cluster) Plan {
		t.Helper()
		in := input(cart(), clusters...)
		in.Explain = true
		plan := mustMake(t, in)
		selects(t, plan, want)
		return plan
	}
	nodes := func(n uint32) func(*Cluster) { return func(c *Cluster) { c.Nodes, c.ReadyNodes = &n, &n } }
	t.Run("by units of capacity", func(t *testing.T) {
		t.Parallel()
		plan := best(t, "b", cluster("a", load(50, 100)), cluster("b", load(60, 300)))
		says(t, plan, "b", "load 60/300")
		says(t, plan, "a", "load 50/100; others are better or enough")
		if a, b := verdictOn(t, plan, "a"), verdictOn(t, plan, "b"); a.Score >= b.Score || a.Selected || !b.Selected {
			t.Errorf("got %+v and %+v, want b selected for its score", a, b)
		}
	})
	t.Run("by units and ready nodes without capacity", func(t *testing.T) {
		t.Parallel()
		best(t, "b", cluster("a", load(10, 0), nodes(3)), cluster("b", load(20, 0), nodes(30)))
	})
	t.Run("by reported cpu and memory", func(t *testing.T) {
		t.Parallel()
		best(t, "b", cluster("a", func(c *Cluster) { c.CPU, c.Memory = 10, 95 }), cluster("b", func(c *Cluster) { c.CPU, c.Memory = 20, 20 }))
	})
	t.Run("the degraded are second choice", func(t *testing.T) {
		t.Parallel()
		best(t, "b", cluster("a", status(model.ClusterDegraded)), cluster("b", load(90, 100)))
		plan := best(t, "a", cluster("a", status(model.ClusterDegraded)), cluster("b", load(100, 100)))
		says(t, plan, "a", "only second choice")
		says(t, plan, "b", "not eligible: full: 100 units of 100")
	})
	for _, health := range []string{model.ClusterUnhealthy, model.ClusterUnknown, ""} {
		t.Run("never to "+health, func(t *testing.T) {
			t.Parallel()
			best(t, "b", cluster("a", status(health)), cluster("b", load(99, 100)))
			_, _ = fails(t, input(cart(), cluster("a", status(health))), ReasonNoFit)
		})
	}
	t.Run("never to the cordoned, drained or avoided", func(t *testing.T) {
		t.Parallel()
		in := avoid(input(cart(), cluster("a", cordoned), cluster("b", draining), cluster("c"), cluster("d", load(99, 100))), "c")
		selects(t, mustMake(t, in), "d")
	})
	t.Run("weights share the load", func(t *testing.T) {
		t.Parallel()
		clusters := []Cluster{cluster("a", weight(100), load(0, 1000)), cluster("b", weight(200), load(0, 1000)), cluster("c", weight(0), load(0, 1000))}
		for i := range 300 {
			d := cart()
			d.Key = fmt.Sprint("d", i)
			for _, name := range mustMake(t, input(d, clusters...)).SelectedClusters() {
				clusters = change(clusters, name, func(c *Cluster) { c.Units++ })
			}
		}
		if a, b, c := clusters[0].Units, clusters[1].Units, clusters[2].Units; a < 95 || a > 105 || c != 0 {
			t.Errorf("got %d, %d and %d units, want 100, 200 and none", a, b, c)
		}
	})
	t.Run("weights of the deployment replace those of clusters", func(t *testing.T) {
		t.Parallel()
		d := cart()
		d.Placement = &model.Placement{Weights: map[string]uint32{"a": 0, "b": 1}}
		selects(t, mustMake(t, input(d, cluster("a"), cluster("b"))), "b")
	})
	t.Run("equal clusters are used alike", func(t *testing.T) {
		t.Parallel()
		count := map[string]int{}
		for i := range 400 {
			d := cart()
			d.Key = fmt.Sprint("d", i)
			count[mustMake(t, input(d, named("a", "b", "c", "d")...)).SelectedClusters()[0]]++
		}
		for name, n := range count {
			if n < 70 || n > 130 {
				t.Errorf("%s: got %d of 400, want about 100", name, n)
			}
		}
	})
}

func TestAffinity(t *testing.T) {
	t.Parallel()
	where := neighbours{"class shop.Stock": {"b"}, "class other.Log": {"c"}, "deployment stock-eu": {"b"}}
	clusters := []Cluster{cluster("a"), cluster("b", load(40, 0)), cluster("c", load(60, 0))}
	with := func(p model.Placement) Input {
		d := cart()
		d.Placement = &p
		in := input(d, clusters...)
		in.Package.Classes = append(in.Package.Classes, model.Class{Key: "Stock"})
		in.Neighbours, in.Explain = where, true
		return in
	}
	terms := func(terms ...model.AffinityTerm) []model.AffinityTerm { return terms }
	cases := map[string]struct {
		placement model.Placement
		want      string
	}{
		"none: by load":                     {model.Placement{}, "a"},
		"to a class of the own package":     {model.Placement{Affinity: terms(model.AffinityTerm{Class: "Stock"})}, "b"},
		"to a class of another package":     {model.Placement{Affinity: terms(model.AffinityTerm{Class: "other.Log"})}, "c"},
		"to a deployment":                   {model.Placement{Affinity: terms(model.AffinityTerm{Deployment: "stock-eu"})}, "b"},
		"a light one gives way to load":     {model.Placement{Affinity: terms(model.AffinityTerm{Class: "Stock", Weight: ptr(uint32(1))})}, "a"},
		"required":                          {model.Placement{Affinity: terms(model.AffinityTerm{Class: "other.Log", Required: true})}, "c"},
		"required comes before preferred":   {model.Placement{Affinity: terms(model.AffinityTerm{Class: "Stock", Weight: ptr(uint32(100))}, model.AffinityTerm{Class: "other.Log", Required: true})}, "c"},
		"the heavier of two":                {model.Placement{Affinity: terms(model.AffinityTerm{Class: "Stock", Weight: ptr(uint32(20))}, model.AffinityTerm{Class: "other.Log", Weight: ptr(uint32(100))})}, "c"},
		"away from a class, required":       {model.Placement{Affinity: terms(model.AffinityTerm{Class: "Stock"}), AntiAffinity: terms(model.AffinityTerm{Class: "Stock", Required: true})}, "a"},
		"away from a class, preferred":      {model.Placement{AntiAffinity: terms(model.AffinityTerm{Class: "nothing"}, model.AffinityTerm{Class: "Stock"})}, "a"},
		"to and away from oneself: nothing": {model.Placement{Affinity: terms(model.AffinityTerm{Deployment: "cart", Required: true}), AntiAffinity: terms(model.AffinityTerm{Deployment: "cart", Required: true})}, "a"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			selects(t, mustMake(t, with(c.placement)), c.want)
		})
	}
	t.Run("the reasons name the neighbours", func(t *testing.T) {
		t.Parallel()
		plan := mustMake(t, with(model.Placement{Affinity: terms(model.AffinityTerm{Class: "Stock", Required: true}, model.AffinityTerm{Deployment: "stock-eu"})}))
		says(t, plan, "b", "beside deployment stock-eu")
		says(t, plan, "a", "class shop.Stock does not run there, which is required")
		plan = mustMake(t, with(model.Placement{AntiAffinity: terms(model.AffinityTerm{Class: "Stock", Required: true})}))
		says(t, plan, "b", "class shop.Stock runs there, which is to be kept away from")
	})
	t.Run("required, but nowhere", func(t *testing.T) {
		t.Parallel()
		_, err := fails(t, with(model.Placement{Affinity: terms(model.AffinityTerm{Class: "Nothing", Required: true})}), ReasonNoFit)
		contains(t, err.Message, "3 without the required neighbours (a, b, c)")
	})
	t.Run("a deployment does not follow others about", func(t *testing.T) {
		t.Parallel()
		in := with(model.Placement{Affinity: terms(model.AffinityTerm{Class: "Stock", Required: true})})
		in = again(in, mustMake(t, in))
		in.Neighbours = neighbours{"class shop.Stock": {"c"}}
		selects(t, mustMake(t, in), "b")
	})
	t.Run("a changed requirement moves", func(t *testing.T) {
		t.Parallel()
		in := with(model.Placement{Affinity: terms(model.AffinityTerm{Class: "Stock", Required: true})})
		first := mustMake(t, in)
		in = again(with(model.Placement{AntiAffinity: terms(model.AffinityTerm{Class: "Stock", Required: true})}), first)
		plan := mustMake(t, in)
		selects(t, plan, "a")
		if plan.Placed[0].Replaces != "b" {
			t.Errorf("got place %+v, want it to replace b", plan.Placed[0])
		}
	})
	t.Run("a changed requirement that fits nowhere keeps, and moves when it can", func(t *testing.T) {
		t.Parallel()
		in := with(model.Placement{Affinity: terms(model.AffinityTerm{Class: "Stock", Required: true})})
		first := mustMake(t, in)
		in = again(with(model.Placement{Affinity: terms(model.AffinityTerm{Class: "Later", Required: true})}), first)
		kept := mustMake(t, in)
		selects(t, kept, "b")
		if !slices.Equal(kept.Stranded, []string{"b"}) || !kept.Placed[0].Unfit {
			t.Errorf("got stranded %v and %+v, want b, unfit", kept.Stranded, kept.Placed[0])
		}
		in = again(in, kept)
		in.Neighbours = neighbours{"class Later": {"c"}}
		selects(t, mustMake(t, in), "c")
	})
}

func TestSpread(t *testing.T) {
	t.Parallel()
	zones := []Cluster{
		cluster("a1", labels("zone", "a")), cluster("a2", labels("zone", "a")), cluster("a3", labels("zone", "a")),
		cluster("b1", labels("zone", "b"), load(50, 0)), cluster("b2", labels("zone", "b"), load(50, 0)),
		cluster("none"),
	}
	with := func(clusters int, spread ...model.SpreadConstraint) Input {
		d := cart()
		d.Placement = &model.Placement{Clusters: ptr(uint32(clusters)), Spread: spread}
		in := input(d, zones...)
		in.Explain = true
		return in
	}
	zonesOf := func(p Plan) map[string]int {
		count := map[string]int{}
		for _, name := range p.SelectedClusters() {
			count[name[:1]]++
		}
		return count
	}
	t.Run("over zones, whatever the load", func(t *testing.T) {
		t.Parallel()
		plan := mustMake(t, with(2, model.SpreadConstraint{Label: "zone"}))
		if got := zonesOf(plan); got["a"] != 1 || got["b"] != 1 {
			t.Errorf("got %v, want one in each zone", plan.SelectedClusters())
		}
		for _, v := range plan.Verdicts {
			if v.Selected {
				contains(t, v.Reasons[0], "zone "+v.Cluster[:1]+" has none yet")
			}
		}
	})
	t.Run("keeps the skew as small as it can be", func(t *testing.T) {
		t.Parallel()
		plan := mustMake(t, with(5, model.SpreadConstraint{Label: "zone"}))
		if got := zonesOf(plan); got["a"] != 3 || got["b"] != 2 {
			t.Errorf("got %v, want all with a zone", plan.SelectedClusters())
		}
	})
	t.Run("required: rather fewer clusters than a greater skew", func(t *testing.T) {
		t.Parallel()
		in := with(5, model.SpreadConstraint{Label: "zone", Required: true})
		in.Clusters = change(in.Clusters, "b2", status(model.ClusterUnhealthy))
		plan := mustMake(t, in)
		if got := zonesOf(plan); got["a"] != 2 || got["b"] != 1 {
			t.Errorf("got %v, want 2 of a and 1 of b", plan.SelectedClusters())
		}
		contains(t, plan.Shortfall, "against the required spread")
	})
	t.Run("max_skew allows more", func(t *testing.T) {
		t.Parallel()
		in := with(5, model.SpreadConstraint{Label: "zone", Required: true, MaxSkew: ptr(uint32(2))})
		in.Clusters = change(in.Clusters, "b2", status(model.ClusterUnhealthy))
		if got := zonesOf(mustMake(t, in)); got["a"] != 3 || got["b"] != 1 {
			t.Errorf("got %v, want 3 of a and 1 of b", got)
		}
	})
	t.Run("the first constraint matters most", func(t *testing.T) {
		t.Parallel()
		in := with(2, model.SpreadConstraint{Label: "region"}, model.SpreadConstraint{Label: "zone"})
		in.Clusters = []Cluster{
			cluster("x", labels("region", "r1", "zone", "a")), cluster("y", labels("region", "r1", "zone", "b")),
			cluster("z", labels("region", "r2", "zone", "a"), load(90, 0)),
		}
		plan := mustMake(t, in)
		if !slices.Contains(plan.SelectedClusters(), "z") {
			t.Errorf("got %v, want both regions", plan.SelectedClusters())
		}
	})
	t.Run("kept places count", func(t *testing.T) {
		t.Parallel()
		in := with(2, model.SpreadConstraint{Label: "zone"})
		in.Deployment.PlacedOn = []model.PlacedCluster{{Cluster: "b1", NodeIDs: []uint64{1}}}
		if got := zonesOf(mustMake(t, in)); got["a"] != 1 || got["b"] != 1 {
			t.Errorf("got %v, want one in each zone", got)
		}
	})
}

func TestSelectors(t *testing.T) {
	t.Parallel()
	clusters := []Cluster{cluster("a", labels("tier", "gold", "gpu", "")), cluster("b", labels("tier", "iron")), cluster("c")}
	cases := map[string]struct {
		placement model.Placement
		want      []string
	}{
		"selector":                              {model.Placement{Selector: map[string]string{"tier": "iron"}}, []string{"b"}},
		"In":                                    {model.Placement{Requirements: []model.LabelRequirement{{Key: "tier", Operator: model.LabelIn, Values: []string{"x", "gold"}}}}, []string{"a"}},
		"NotIn":                                 {model.Placement{Requirements: []model.LabelRequirement{{Key: "tier", Operator: model.LabelNotIn, Values: []string{"gold"}}}}, []string{"b", "c"}},
		"Exists":                                {model.Placement{Requirements: []model.LabelRequirement{{Key: "tier", Operator: model.LabelExists}}}, []string{"a", "b"}},
		"DoesNotExist":                          {model.Placement{Requirements: []model.LabelRequirement{{Key: "tier", Operator: model.LabelDoesNotExist}}}, []string{"c"}},
		"an empty value is not a missing label": {model.Placement{Selector: map[string]string{"gpu": ""}}, []string{"a"}},
		"all must hold":                         {model.Placement{Selector: map[string]string{"tier": "gold"}, Requirements: []model.LabelRequirement{{Key: "gpu", Operator: model.LabelExists}}}, []string{"a"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := cart()
			c.placement.Clusters = ptr(uint32(3))
			d.Placement = &c.placement
			selectsSet(t, mustMake(t, input(d, clusters...)), c.want...)
		})
	}
	t.Run("a changed selector moves what does not match", func(t *testing.T) {
		t.Parallel()
		d := cart()
		d.Placement = &model.Placement{Selector: map[string]string{"tier": "gold"}}
		in := input(d, clusters...)
		in = again(in, mustMake(t, in))
		in.Deployment.Placement = &model.Placement{Selector: map[string]string{"tier": "iron"}}
		selects(t, mustMake(t, in), "b")
		in.Deployment.Placement = &model.Placement{Selector: map[string]string{"tier": "wood"}}
		plan := mustMake(t, in)
		selects(t, plan, "a")
		if !slices.Equal(plan.Stranded, []string{"a"}) {
			t.Errorf("stranded: got %v, want a", plan.Stranded)
		}
	})
}
