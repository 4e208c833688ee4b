package plan

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/model"
)

// TestRemovedClusterLeavesTheOthersUnits: that a cluster is not registered any
// more, and that it is again, changes and removes no unit in another one.
func TestRemovedClusterLeavesTheOthersUnits(t *testing.T) {
	t.Parallel()
	checked, excused := 0, 0
	forCases(t, func(t *testing.T, r random) {
		in := r.input()
		if in.Deployment.ODGM != nil {
			// An id that is given to two clusters goes to the one that is there.
			in.Deployment.ODGM.EnvNodeIDs["c01"] = []uint64{8}
		}
		first, ok := planned(t, in)
		if !ok {
			return
		}
		in = again(in, first)
		gone := one(r, in.Clusters...)
		lost := unregister(in, gone.Name)
		second, ok := planned(t, lost)
		if !ok {
			// Without a plan everything stays.
			if diff := cmp.Diff([]string{gone.Name}, first.SelectedClusters()); diff != "" {
				t.Errorf("no plan without %s (-only there +selected):\n%s", gone.Name, diff)
			}
			return
		}
		if same, ok := planned(t, again(lost, second)); !ok || !cmp.Equal(same.Placed, second.Placed) {
			t.Errorf("planned again: %v (-first +again):\n%s", ok, cmp.Diff(second.Placed, same.Placed))
		}
		checked++
		if !sameUnits(first, second, gone.Name) {
			if !removalMayChangeUnits(in, first, second, gone) {
				t.Errorf("without %s (-before +after):\n%s", gone.Name, cmp.Diff(unitIDs(first), unitIDs(second)))
			}
			excused++
			return
		}
		// It is there again, and no place more.
		third, ok := planned(t, again(in, second))
		if !ok || len(third.Placed) != len(first.Placed) || removalMayChangeUnits(in, first, second, gone) {
			return
		}
		is := unitIDs(third)
		for cluster, id := range unitIDs(second) {
			switch came := is[cluster]; {
			case came == id:
			case came != "":
				t.Errorf("%s is back: %s has unit %s, want it to stay %s", gone.Name, cluster, came, id)
			case placeIn(third, gone.Name).Replaces != cluster:
				t.Errorf("%s is back: %s is left for nobody", gone.Name, cluster)
			}
		}
	})
	if checked < cases/2 || excused > cases/200 {
		t.Errorf("of %d cases %d were checked and %d are exceptions", cases, checked, excused)
	}
}

// sameUnits tells whether a plan has all units of another, but for one cluster.
func sameUnits(before, after Plan, except string) bool {
	is := unitIDs(after)
	for cluster, id := range unitIDs(before) {
		if cluster != except && is[cluster] != id {
			return false
		}
	}
	return true
}

// removalMayChangeUnits tells whether the removal of a cluster is one of the
// exceptions of DESIGN.md.
func removalMayChangeUnits(in Input, before, after Plan, gone Cluster) bool {
	d := in.Deployment
	// It was a target and counted for an environment that is one, too.
	targets := func(name string) bool { return slices.Contains(d.TargetEnvs, name) }
	if targets(gone.Name) && slices.ContainsFunc(gone.Environments, targets) {
		return true
	}
	// Without it, a required spread may allow what it did not.
	lacking := before.Shortfall != "" || len(before.Stranded) > 0
	if lacking && d.Placement != nil && slices.ContainsFunc(d.Placement.Spread, func(s model.SpreadConstraint) bool { return s.Required }) {
		return true
	}
	// The user gave ids to it, or to what comes for it: these do not move.
	if d.ODGM == nil {
		return false
	}
	return slices.ContainsFunc(in.Clusters, func(c Cluster) bool {
		came := unitIDs(after)[c.Name] != "" && unitIDs(before)[c.Name] == ""
		names := append([]string{c.Name, placeIn(after, c.Name).For}, c.Environments...)
		return (came || c.Name == gone.Name) && slices.ContainsFunc(names, func(name string) bool { return len(d.ODGM.EnvNodeIDs[name]) > 0 })
	})
}
