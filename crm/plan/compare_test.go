package plan

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/model"
)

func TestCompare(t *testing.T) {
	t.Parallel()
	unit := func(cluster, id string) model.DeploymentUnit {
		return model.DeploymentUnit{ID: id, TargetCluster: cluster}
	}
	have := func(cluster, id string, phase model.UnitPhase) model.UnitStatus {
		return model.UnitStatus{ID: id, Cluster: cluster, Phase: phase}
	}
	place := func(cluster, replaces string) model.PlacedCluster {
		return model.PlacedCluster{Cluster: cluster, Replaces: replaces}
	}
	cases := map[string]struct {
		plan Plan
		have []model.UnitStatus
		want []Change
	}{
		"create": {
			Plan{Units: []model.DeploymentUnit{unit("b", "x2"), unit("a", "x1")}}, nil,
			[]Change{
				{Action: ChangeCreate, Cluster: "a", Unit: "x1", Reason: "new in this cluster"},
				{Action: ChangeCreate, Cluster: "b", Unit: "x2", Reason: "new in this cluster"},
			},
		},
		"keep": {
			Plan{Units: []model.DeploymentUnit{unit("a", "x1")}}, []model.UnitStatus{have("a", "x1", model.UnitDown)},
			[]Change{{Action: ChangeKeep, Cluster: "a", Unit: "x1"}},
		},
		"replace": {
			Plan{Units: []model.DeploymentUnit{unit("a", "x2")}},
			[]model.UnitStatus{have("a", "x0", model.UnitDown), have("a", "x1", model.UnitRunning), have("a", "x3", model.UnitDeleting)},
			[]Change{
				{Action: ChangeReplace, Cluster: "a", Unit: "x2", Replaces: "x1", Reason: "changed"},
				{Action: ChangeRemove, Cluster: "a", Unit: "x0", Reason: "replaced by x2"},
				{Action: ChangeRemove, Cluster: "a", Unit: "x1", Reason: "replaced by x2"},
				{Action: ChangeRemove, Cluster: "a", Unit: "x3", Reason: "being removed"},
			},
		},
		"wanted again": {
			Plan{Units: []model.DeploymentUnit{unit("a", "x1")}}, []model.UnitStatus{have("a", "x1", model.UnitDeleting)},
			[]Change{{Action: ChangeCreate, Cluster: "a", Unit: "x1", Reason: "wanted again, while being removed"}},
		},
		"remove": {
			Plan{Units: []model.DeploymentUnit{unit("a", "x1")}, UnknownEnvs: []string{"c"}},
			[]model.UnitStatus{have("a", "x1", model.UnitRunning), have("b", "y", model.UnitRunning), have("c", "z", model.UnitRunning)},
			[]Change{
				{Action: ChangeKeep, Cluster: "a", Unit: "x1"},
				{Action: ChangeRemove, Cluster: "b", Unit: "y", Reason: "the cluster is no longer selected"},
				{Action: ChangeKeep, Cluster: "c", Unit: "z", Reason: "the cluster does not exist any more"},
			},
		},
		"move": {
			Plan{Units: []model.DeploymentUnit{unit("b", "x1")}, Placed: []model.PlacedCluster{place("b", "a")}},
			[]model.UnitStatus{have("a", "old", model.UnitRunning)},
			[]Change{
				{Action: ChangeRemove, Cluster: "a", Unit: "old", Reason: "moves to cluster b"},
				{Action: ChangeCreate, Cluster: "b", Unit: "x1", Replaces: "old", Reason: "moves here from cluster a"},
			},
		},
		"no plan": {
			Plan{}, []model.UnitStatus{have("a", "x1", model.UnitRunning)},
			[]Change{{Action: ChangeKeep, Cluster: "a", Unit: "x1", Reason: "there is no plan, so everything stays"}},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, Compare(c.plan, c.have)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestSamePlaces(t *testing.T) {
	t.Parallel()
	place := model.PlacedCluster{Cluster: "a", NodeIDs: []uint64{1}, For: "t", Replaces: "b", Unfit: true, Wish: "w", Needed: 2}
	if !SamePlaces([]model.PlacedCluster{place}, []model.PlacedCluster{place}) {
		t.Error("equal places: got different")
	}
	for name, change := range map[string]func(*model.PlacedCluster){
		"cluster": func(p *model.PlacedCluster) { p.Cluster = "" }, "nodes": func(p *model.PlacedCluster) { p.NodeIDs = nil },
		"for": func(p *model.PlacedCluster) { p.For = "" }, "replaces": func(p *model.PlacedCluster) { p.Replaces = "" },
		"unfit": func(p *model.PlacedCluster) { p.Unfit = false }, "wish": func(p *model.PlacedCluster) { p.Wish = "" },
		"needed": func(p *model.PlacedCluster) { p.Needed = 0 },
	} {
		other := place
		change(&other)
		if SamePlaces([]model.PlacedCluster{place}, []model.PlacedCluster{other}) {
			t.Errorf("%s differs: got the same", name)
		}
	}
}
