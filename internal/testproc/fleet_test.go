package testproc

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/oprc/oprc-pm/model"
)

// fleet is what the clusters hold and what is recorded, read one after the other
// in a few requests, however many deployments there are.
type fleet struct {
	deployments map[string]model.Deployment
	// units are those that are recorded, by deployment.
	units map[string][]model.UnitStatus
	// held are the units that clusters hold, as cluster/unit, with their deployment.
	held map[string]string
}

// readFleet asks every cluster, and node about the same clusters.
func readFleet(c *Cluster, node *Node, sims []*Sim) (fleet, error) {
	f := fleet{deployments: map[string]model.Deployment{}, units: map[string][]model.UnitStatus{}, held: map[string]string{}}
	for _, s := range sims {
		units, err := s.Units()
		if err != nil {
			return f, err
		}
		for _, u := range units {
			f.held[s.Name+"/"+u.Unit.ID] = u.Unit.DeploymentKey
		}
		var recorded []model.UnitStatus
		if err := c.GetJSON(node, "/api/v1/clusters/"+s.Name+"/units", &recorded); err != nil {
			return f, err
		}
		for _, u := range recorded {
			f.units[u.DeploymentKey] = append(f.units[u.DeploymentKey], u)
		}
	}
	var stored []model.Deployment
	err := c.GetJSON(node, "/api/v1/deployments", &stored)
	for _, d := range stored {
		f.deployments[d.Key] = d
	}
	return f, err
}

// checkFleet compares what the clusters hold with what is recorded and with what
// is planned for exactly the deployments that are wanted.
func checkFleet(c *Cluster, node *Node, sims []*Sim, wanted map[string]bool) error {
	f, err := readFleet(c, node, sims)
	if err != nil {
		return err
	}
	if err := f.check(wanted); err != nil {
		return err
	}
	// Plans cost a request each: only when all the rest is as it should be.
	for _, key := range slices.Sorted(maps.Keys(f.deployments)) {
		var plan struct {
			Units []model.DeploymentUnit `json:"units"`
		}
		if err := c.GetJSON(node, "/api/v1/deployments/"+key+"/plan", &plan); err != nil {
			return err
		}
		var planned []string
		for _, u := range plan.Units {
			planned = append(planned, u.TargetCluster+"/"+u.ID)
		}
		slices.Sort(planned)
		if running := unitIDs(f.units[key]); !slices.Equal(planned, running) {
			return fmt.Errorf("deployment %s has units %v, planned are %v", key, running, planned)
		}
	}
	return nil
}

// check compares what is held with what is recorded for the deployments that are
// wanted, all of which must run, in no cluster twice.
func (f fleet) check(wanted map[string]bool) error {
	for key := range f.deployments {
		if !wanted[key] {
			return fmt.Errorf("deployment %s was deleted and is still there", key)
		}
	}
	recorded := map[string]bool{}
	for key := range wanted {
		d, stored := f.deployments[key]
		switch {
		case !stored:
			return fmt.Errorf("deployment %s is not stored", key)
		case d.Condition != model.DeploymentRunning || d.ObservedGeneration != d.Generation:
			return fmt.Errorf("deployment %s is %s at generation %d of %d", key, d.Condition, d.ObservedGeneration, d.Generation)
		case len(f.units[key]) == 0:
			return fmt.Errorf("deployment %s has no units", key)
		}
		in := map[string]string{}
		for _, u := range f.units[key] {
			recorded[u.Cluster+"/"+u.ID] = true
			switch other := in[u.Cluster]; {
			case u.Phase != model.UnitRunning:
				return fmt.Errorf("unit %s of deployment %s in %s is %s: %s", u.ID, key, u.Cluster, u.Phase, u.LastError)
			case other != "":
				return fmt.Errorf("deployment %s has units %s and %s in %s", key, other, u.ID, u.Cluster)
			case f.held[u.Cluster+"/"+u.ID] != key:
				return fmt.Errorf("%s does not hold unit %s of deployment %s", u.Cluster, u.ID, key)
			}
			in[u.Cluster] = u.ID
		}
	}
	for key, units := range f.units {
		if !wanted[key] {
			return fmt.Errorf("%d units of deployment %q are recorded, which nobody wants", len(units), key)
		}
	}
	for id, deployment := range f.held {
		if !recorded[id] {
			return fmt.Errorf("a cluster holds unit %s of deployment %q, which nobody wants there", id, deployment)
		}
	}
	return nil
}

// unitIDs are the units as cluster/unit, sorted.
func unitIDs(units []model.UnitStatus) (ids []string) {
	for _, u := range units {
		ids = append(ids, u.Cluster+"/"+u.ID)
	}
	slices.Sort(ids)
	return ids
}

// TestFleetCheck: what is wrong with a fleet is found.
func TestFleetCheck(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(f *fleet, wanted map[string]bool)
		ok     bool
	}{
		"as it should be":     {func(*fleet, map[string]bool) {}, true},
		"not deleted":         {func(_ *fleet, wanted map[string]bool) { delete(wanted, "a") }, false},
		"not stored":          {func(_ *fleet, wanted map[string]bool) { wanted["b"] = true }, false},
		"a unit is missing":   {func(f *fleet, _ map[string]bool) { delete(f.held, "east/u1") }, false},
		"a unit of another":   {func(f *fleet, _ map[string]bool) { f.held["east/u1"] = "b" }, false},
		"an orphan":           {func(f *fleet, _ map[string]bool) { f.held["west/u9"] = "a" }, false},
		"a record of nobody":  {func(f *fleet, _ map[string]bool) { f.units["gone"] = f.units["a"] }, false},
		"no units":            {func(f *fleet, _ map[string]bool) { f.units, f.held = nil, nil }, false},
		"a unit is not up":    {func(f *fleet, _ map[string]bool) { f.units["a"][0].Phase = model.UnitPending }, false},
		"twice in a cluster":  {func(f *fleet, _ map[string]bool) { f.units["a"][1].Cluster = "east"; f.held["east/u2"] = "a" }, false},
		"an older generation": {func(f *fleet, _ map[string]bool) { d := f.deployments["a"]; d.Generation++; f.deployments["a"] = d }, false},
	} {
		d := model.Deployment{Key: "a"}
		d.Condition, d.Generation, d.ObservedGeneration = model.DeploymentRunning, 2, 2
		f := fleet{
			deployments: map[string]model.Deployment{"a": d},
			units: map[string][]model.UnitStatus{"a": {
				{ID: "u1", Cluster: "east", DeploymentKey: "a", Phase: model.UnitRunning},
				{ID: "u2", Cluster: "west", DeploymentKey: "a", Phase: model.UnitRunning},
			}},
			held: map[string]string{"east/u1": "a", "west/u2": "a"},
		}
		wanted := map[string]bool{"a": true}
		tt.change(&f, wanted)
		if err := f.check(wanted); (err == nil) != tt.ok {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
