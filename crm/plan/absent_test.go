package plan

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/model"
)

// keeps checks that a plan has the same units as another in some clusters.
func keeps(t *testing.T, before, after Plan, clusters ...string) {
	t.Helper()
	was, is := unitIDs(before), unitIDs(after)
	for _, cluster := range clusters {
		if is[cluster] == "" || is[cluster] != was[cluster] {
			t.Errorf("unit in %s: got %q, want it to stay %q", cluster, is[cluster], was[cluster])
		}
	}
}

func reports(t *testing.T, p Plan, unknown ...string) {
	t.Helper()
	if !slices.Equal(p.UnknownEnvs, unknown) {
		t.Errorf("unknown: got %v, want %v", p.UnknownEnvs, unknown)
	}
}

// TestStandInOutlivesItsTarget: c stands in for b when b's cluster is removed.
func TestStandInOutlivesItsTarget(t *testing.T) {
	t.Parallel()
	for name, failover := range map[string]*model.Failover{
		"for a drained one":                  nil,
		"for a lost one":                     {Enabled: true, Backups: []string{"c", "d"}},
		"for a lost one, without going back": {Enabled: true, Backups: []string{"c", "d"}, Failback: ptr(false)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := cart("a", "b")
			d.Failover, d.AvailableEnvs = failover, []string{"c", "d"}
			in := input(d, cluster("a"), cluster("b"), cluster("c"), cluster("d", load(90, 100)))
			in.Explain = true
			home := mustMake(t, in)
			away := mustMake(t, avoid(again(in, home), "b"))
			selects(t, away, "a", "c")

			for _, avoided := range [][]string{{"b"}, nil} {
				lost := unregister(avoid(again(in, away), avoided...), "b")
				orphaned := mustMake(t, lost)
				selects(t, orphaned, "a", "c")
				keeps(t, away, orphaned, "a", "c")
				reports(t, orphaned, "b")
				if !slices.Equal(orphaned.StoodIn, []string{"b"}) || orphaned.Shortfall != "" || orphaned.Placed[1].For != "b" {
					t.Errorf("got %v stood in, shortfall %q, places %+v, want c for b", orphaned.StoodIn, orphaned.Shortfall, orphaned.Placed)
				}
				says(t, orphaned, "c", "keeps its place; stands in for b, which is not registered")
				says(t, orphaned, "b", "not registered")
				if diff := cmp.Diff(away.Placed, orphaned.Placed); diff != "" {
					t.Errorf("places (-before +after):\n%s", diff)
				}

				// b is registered again.
				back := mustMake(t, avoid(again(in, orphaned)))
				if failover != nil && failover.Failback != nil {
					selects(t, back, "a", "c")
					keeps(t, away, back, "a", "c")
				} else {
					selects(t, back, "a", "b")
					keeps(t, home, back, "a", "b")
				}
				still := avoid(again(in, orphaned), "b")
				keeps(t, away, mustMake(t, still), "a", "c")

				// Its stand-in is lost, too: another one comes as for a cluster that
				// exists, and so it does while b is away.
				next := mustMake(t, avoid(again(lost, orphaned), "c"))
				selects(t, next, "a", "d")
				keeps(t, away, next, "a")

				// The user takes b's name away: now the place goes.
				lost.Deployment.TargetEnvs = []string{"a"}
				less := mustMake(t, again(lost, orphaned))
				selects(t, less, "a")
				reports(t, less)
				if len(less.Placed) != 1 || less.Units[0].ID == away.Units[0].ID {
					t.Errorf("got places %+v, want one, and a's unit to know of one", less.Placed)
				}
			}
		})
	}
}

// TestPlaceOfARemovedTargetIsKeptOpen: nothing stands in for b when its cluster is
// removed.
func TestPlaceOfARemovedTargetIsKeptOpen(t *testing.T) {
	t.Parallel()
	d := cart("a", "b", "c")
	d.NFRRequirements.MinThroughputRPS = ptr(uint32(900))
	d.AvailableEnvs = []string{"d"}
	in := input(d, named("a", "b", "c", "d")...)
	in.Explain = true
	home := mustMake(t, in)
	t.Run("without failover", func(t *testing.T) {
		t.Parallel()
		lost := unregister(again(in, home), "b")
		open := mustMake(t, lost)
		selects(t, open, "a", "c")
		keeps(t, home, open, "a", "c")
		reports(t, open, "b")
		says(t, open, "b", "not registered: its place is kept open")
		if len(open.StoodIn) > 0 || open.Requirements.Clusters != 2 || open.Shortfall != "" {
			t.Errorf("got %v stood in, %d clusters needed, shortfall %q, want none, 2, none", open.StoodIn, open.Requirements.Clusters, open.Shortfall)
		}
		if diff := cmp.Diff(home.Placed, open.Placed); diff != "" {
			t.Errorf("places (-before +after):\n%s", diff)
		}
		if got, want := open.Units[0].ODGM, home.Units[0].ODGM; *got.ReplicaCount != 3 || !cmp.Equal(got.EnvNodeIDs, want.EnvNodeIDs) {
			t.Errorf("got %d replicas, nodes %v, want 3, %v", *got.ReplicaCount, got.EnvNodeIDs, want.EnvNodeIDs)
		}
		again2 := mustMake(t, again(lost, open))
		keeps(t, home, again2, "a", "c")
		keeps(t, home, mustMake(t, again(in, again2)), "a", "b", "c")

		lost.Deployment.TargetEnvs = []string{"a", "c"}
		less := mustMake(t, again(lost, open))
		selects(t, less, "a", "c")
		reports(t, less)
		if len(less.Placed) != 2 || *less.Units[0].ODGM.ReplicaCount != 2 {
			t.Errorf("got places %+v, want two", less.Placed)
		}
		lost.Deployment.TargetEnvs = []string{"a", "c", "d"}
		other := mustMake(t, again(lost, open))
		selects(t, other, "a", "d", "c")
		keeps(t, home, other, "a", "c")
	})
	t.Run("a target comes meanwhile", func(t *testing.T) {
		t.Parallel()
		lost := unregister(again(in, home), "b")
		lost.Deployment.TargetEnvs = []string{"a", "b", "c", "d"}
		four := mustMake(t, lost)
		selects(t, four, "a", "c", "d")
		lost.Clusters = in.Clusters
		keeps(t, four, mustMake(t, again(lost, four)), "a", "c", "d")
	})
	for name, failover := range map[string]*model.Failover{
		"with failover":             {Enabled: true},
		"with failover and backups": {Enabled: true, Backups: []string{"d"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := in
			in.Deployment.Failover = failover
			lost := unregister(again(in, home), "b")
			away := mustMake(t, lost)
			selects(t, away, "a", "d", "c")
			keeps(t, home, away, "a", "c")
			reports(t, away, "b")
			if place := away.Placed[1]; place.For != "b" || place.Replaces != "b" || !slices.Equal(away.StoodIn, []string{"b"}) {
				t.Errorf("got %+v, stood in %v, want it to stand in for b", place, away.StoodIn)
			}
			says(t, away, "b", "left for d: not registered")
			back := mustMake(t, again(in, away))
			selects(t, back, "a", "b", "c")
			keeps(t, home, back, "a", "b", "c")

			// The stand-in is removed as well, and nothing else fits.
			none := mustMake(t, unregister(again(lost, away), "d"))
			selects(t, none, "a", "c")
			keeps(t, home, none, "a", "c")
			keeps(t, home, mustMake(t, again(in, none)), "a", "b", "c")
		})
	}
	t.Run("of one that was never registered there is none", func(t *testing.T) {
		t.Parallel()
		in := in
		in.Deployment.TargetEnvs, in.Deployment.Failover = []string{"a", "late"}, &model.Failover{Enabled: true}
		plan := mustMake(t, in)
		selects(t, plan, "a")
		reports(t, plan, "late")
		if len(plan.Placed) != 1 || len(plan.StoodIn) > 0 {
			t.Errorf("got %+v, want one place", plan.Placed)
		}
	})
	t.Run("all are removed", func(t *testing.T) {
		t.Parallel()
		plan, err := fails(t, unregister(again(in, home), "a", "b", "c"), ReasonUnknownEnvironment)
		contains(t, err.Message, "the name a, b, c")
		reports(t, plan, "a", "b", "c")
		says(t, plan, "a", "not registered: its place is kept open")
		_, _ = fails(t, unregister(again(in, home), "a", "b", "c", "d"), ReasonUnknownEnvironment)
	})
	t.Run("a stand-in is removed, and its target takes nothing", func(t *testing.T) {
		t.Parallel()
		in := in
		in.Clusters = change(in.Clusters, "b", draining)
		away := mustMake(t, again(in, home))
		selects(t, away, "a", "d", "c")
		in.Clusters = change(in.Clusters, "b", cordoned)
		plan := mustMake(t, unregister(again(in, away), "d"))
		selects(t, plan, "a", "c")
		keeps(t, home, plan, "a", "c")
		contains(t, plan.Shortfall, "targets that cannot be used: 1 drained (b)")
		in.Clusters = change(in.Clusters, "b", func(c *Cluster) { c.Cordoned, c.Draining = false, false })
		keeps(t, home, mustMake(t, unregister(again(in, plan), "d")), "a", "b", "c")
	})
}

// TestPlacesOfARemovedEnvironmentAreKept: clusters of an environment are removed,
// some and all.
func TestPlacesOfARemovedEnvironmentAreKept(t *testing.T) {
	t.Parallel()
	clusters := []Cluster{
		cluster("a"), cluster("d"), cluster("p1", within("prod")), cluster("p2", within("prod")), cluster("p3", within("prod"), cordoned),
	}
	for name, c := range map[string]struct {
		number   *uint32
		failover *model.Failover
	}{
		"of a number asked for":     {ptr(uint32(2)), nil},
		"of a number worked out":    {nil, nil},
		"with failover":             {nil, &model.Failover{Enabled: true, Backups: []string{"d"}}},
		"with failover, no backups": {ptr(uint32(2)), &model.Failover{Enabled: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := cart("a", "prod")
			d.NFRRequirements.Availability = ptr(0.9999)
			d.Failover, d.Placement = c.failover, &model.Placement{Clusters: c.number}
			in := input(d, clusters...)
			in.Explain = true
			home := mustMake(t, in)
			selectsSet(t, home, "a", "p1", "p2")
			backups := c.failover != nil && len(c.failover.Backups) > 0

			one := mustMake(t, unregister(again(in, home), "p1"))
			keeps(t, home, one, "a", "p2")
			reports(t, one)
			if !backups {
				contains(t, one.Shortfall, "environment prod gives 1 of 2 clusters; the others: 1 not registered (p1), 1 cordoned (p3)")
			}
			if len(one.Placed) != 3 {
				t.Errorf("got places %+v, want all three", one.Placed)
			}
			keeps(t, home, mustMake(t, again(in, one)), "a", "p1", "p2")

			lost := unregister(again(in, one), "p1", "p2", "p3")
			none := mustMake(t, lost)
			keeps(t, home, none, "a")
			reports(t, none, "prod")
			if stands := placeIn(none, "d").For == "prod"; stands != backups || none.Shortfall != "" || len(none.StoodIn) > 0 {
				t.Errorf("got places %+v, shortfall %q, want a stand-in: %v", none.Placed, none.Shortfall, backups)
			}
			if diff := cmp.Diff(none.Placed, mustMake(t, again(lost, none)).Placed); diff != "" {
				t.Errorf("planned again (-first +again):\n%s", diff)
			}
			back := mustMake(t, again(in, none))
			selectsSet(t, back, "a", "p1", "p2")
			keeps(t, home, back, "a")
			if !backups {
				keeps(t, home, back, "p1", "p2")
			}

			// Other clusters of that environment take the places over.
			other := again(in, none)
			other.Clusters = append(named("a", "d"), cluster("q1", within("prod")), cluster("q2", within("prod")))
			moved := mustMake(t, other)
			selectsSet(t, moved, "a", "q1", "q2")
			keeps(t, home, moved, "a")
		})
	}
	t.Run("all stand in when it is removed", func(t *testing.T) {
		t.Parallel()
		d := cart("a", "prod")
		d.Placement = &model.Placement{Clusters: ptr(uint32(2))}
		d.Failover = &model.Failover{Enabled: true, Backups: []string{"d", "e"}}
		in := input(d, append(slices.Clone(clusters), cluster("e"))...)
		slices.SortFunc(in.Clusters, byName)
		in = again(in, mustMake(t, in))
		away := mustMake(t, avoid(in, "p1", "p2"))
		selectsSet(t, away, "a", "d", "e")
		lost := unregister(again(in, away), "p1", "p2", "p3")
		gone := mustMake(t, lost)
		keeps(t, away, gone, "a", "d", "e")
		reports(t, gone, "prod")
		if !slices.Equal(gone.StoodIn, []string{"prod"}) {
			t.Errorf("stood in: got %v, want prod", gone.StoodIn)
		}
		// So it is when the wish changes meanwhile.
		lost.Deployment.Placement = nil
		selectsSet(t, mustMake(t, again(lost, gone)), "a", "d", "e")
	})
	t.Run("a place of what is chosen freely", func(t *testing.T) {
		t.Parallel()
		d := cart()
		d.Placement = &model.Placement{Clusters: ptr(uint32(3))}
		in := input(d, named("a", "b", "c")...)
		home := mustMake(t, in)
		open := mustMake(t, unregister(again(in, home), "b"))
		keeps(t, home, open, "a", "c")
		contains(t, open.Shortfall, "2 of 3 clusters; the others: 1 not registered (b)")
		keeps(t, home, mustMake(t, again(in, open)), "a", "b", "c")
		in.Clusters = append(in.Clusters, cluster("d"))
		moved := mustMake(t, unregister(again(in, open), "b"))
		keeps(t, home, moved, "a", "c")
		if placeIn(moved, "d").Replaces != "b" {
			t.Errorf("got %+v, want d in place of b", moved.Placed)
		}
	})
}

// TestNameOfARemovedClusterMayBeAnEnvironment: then it means that from now on.
func TestNameOfARemovedClusterMayBeAnEnvironment(t *testing.T) {
	t.Parallel()
	in := input(cart("a", "b"), cluster("a"), cluster("b"), cluster("c", within("b")))
	home := mustMake(t, in)
	plan := mustMake(t, unregister(again(in, home), "b"))
	selects(t, plan, "a", "c")
	keeps(t, home, plan, "a")
	reports(t, plan)
}

// TestOnlyWhatIsOfferedStandsIn: that nothing of available_envs exists does not
// mean that everything is offered.
func TestOnlyWhatIsOfferedStandsIn(t *testing.T) {
	t.Parallel()
	d := cart("a")
	d.Failover, d.AvailableEnvs = &model.Failover{Enabled: true}, []string{"b"}
	in := input(d, named("a", "b", "c")...)
	home := mustMake(t, in)
	plan := mustMake(t, unregister(avoid(again(in, home), "a"), "b"))
	selects(t, plan, "a")
	if !slices.Equal(plan.Stranded, []string{"a"}) {
		t.Errorf("stranded: got %v, want a", plan.Stranded)
	}
}
