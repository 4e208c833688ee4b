package plan

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/oprc/oprc-pm/model"
)

func ptr[T any](v T) *T { return &v }

func shop(image string) model.Package {
	p := model.Package{
		Name: "shop",
		Classes: []model.Class{{
			Key: "Cart",
			FunctionBindings: []model.FunctionBinding{
				{Name: "add", FunctionKey: "Cart.add", AccessModifier: model.AccessPublic},
			},
		}},
		Functions: []model.Function{{
			Key: "Cart.add", FunctionType: model.FunctionCustom,
			ProvisionConfig: &model.ProvisionConfig{ContainerImage: &image},
		}},
	}
	p.SetDefaults()
	return p
}

// strong is shop with a class that is strongly consistent.
func strong() model.Package {
	p := shop("img")
	p.Classes[0].StateSpec = &model.StateSpecification{ConsistencyModel: model.ConsistencyStrong}
	return p
}

// cart is a deployment of shop's class.
func cart(targets ...string) model.Deployment {
	return model.Deployment{Key: "cart", PackageName: "shop", ClassKey: "Cart", TargetEnvs: targets}
}

// cluster is a healthy one; with changes.
func cluster(name string, changes ...func(*Cluster)) Cluster {
	c := Cluster{Name: name, Weight: 100, Status: model.ClusterHealthy, CPU: -1, Memory: -1}
	for _, change := range changes {
		change(&c)
	}
	return c
}

func labels(pairs ...string) func(*Cluster) {
	return func(c *Cluster) {
		c.Labels = map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			c.Labels[pairs[i]] = pairs[i+1]
		}
	}
}

func within(environments ...string) func(*Cluster) {
	return func(c *Cluster) { c.Environments = environments }
}

func status(s string) func(*Cluster) { return func(c *Cluster) { c.Status = s } }

func load(units, capacity int) func(*Cluster) {
	return func(c *Cluster) { c.Units, c.Capacity = units, capacity }
}

func up(availability float64) func(*Cluster) {
	return func(c *Cluster) { c.Availability = &availability }
}

func weight(w uint32) func(*Cluster) { return func(c *Cluster) { c.Weight = w } }

func cordoned(c *Cluster) { c.Cordoned = true }

func draining(c *Cluster) { c.Draining = true }

func named(names ...string) []Cluster {
	clusters := make([]Cluster, len(names))
	for i, name := range names {
		clusters[i] = cluster(name)
	}
	return clusters
}

// change applies changes to the clusters of some names and returns a copy.
func change(clusters []Cluster, name string, changes ...func(*Cluster)) []Cluster {
	clusters = slices.Clone(clusters)
	for i := range clusters {
		if clusters[i].Name == name {
			for _, change := range changes {
				change(&clusters[i])
			}
		}
	}
	return clusters
}

// neighbours tell where classes and deployments run, for tests.
type neighbours map[string][]string

func (n neighbours) ClassClusters(class, _ string) []string { return n["class "+class] }
func (n neighbours) DeploymentClusters(deployment string) []string {
	return n["deployment "+deployment]
}

func input(d model.Deployment, clusters ...Cluster) Input {
	return Input{Deployment: d, Package: shop("img"), Clusters: clusters}
}

func mustMake(t testing.TB, in Input) Plan {
	t.Helper()
	plan, err := Make(in)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// again plans once more, with what a plan decided on record.
func again(in Input, p Plan) Input {
	in.Deployment.PlacedOn = p.Placed
	return in
}

// placeIn returns a plan's place in a cluster, an empty one for none.
func placeIn(p Plan, cluster string) model.PlacedCluster {
	for _, place := range p.Placed {
		if place.Cluster == cluster {
			return place
		}
	}
	return model.PlacedCluster{}
}

// unregister takes clusters away.
func unregister(in Input, names ...string) Input {
	in.Clusters = slices.DeleteFunc(slices.Clone(in.Clusters), func(c Cluster) bool { return slices.Contains(names, c.Name) })
	return in
}

// unitIDs returns a plan's units by cluster.
func unitIDs(p Plan) map[string]string {
	ids := make(map[string]string, len(p.Units))
	for _, unit := range p.Units {
		ids[unit.TargetCluster] = unit.ID
	}
	return ids
}

func avoid(in Input, clusters ...string) Input {
	in.Deployment.AvoidedClusters = nil
	for _, name := range clusters {
		in.Deployment.AvoidedClusters = append(in.Deployment.AvoidedClusters,
			model.AvoidedCluster{Cluster: name, Reason: model.AvoidFailover, Message: "no answer"})
	}
	return in
}

func selects(t testing.TB, p Plan, want ...string) {
	t.Helper()
	if got := p.SelectedClusters(); !slices.Equal(got, want) {
		t.Errorf("selected: got %v, want %v", got, want)
	}
}

// selectsSet is selects in any order.
func selectsSet(t testing.TB, p Plan, want ...string) {
	t.Helper()
	if got := slices.Sorted(slices.Values(p.SelectedClusters())); !slices.Equal(got, want) {
		t.Errorf("selected: got %v, want %v", got, want)
	}
}

func fails(t testing.TB, in Input, reason string) (Plan, *Error) {
	t.Helper()
	plan, err := Make(in)
	var planErr *Error
	if !errors.As(err, &planErr) || planErr.Reason != reason {
		t.Fatalf("error: got %v, want reason %s", err, reason)
	}
	if len(plan.Units) > 0 {
		t.Errorf("got units %v along with an error", plan.SelectedClusters())
	}
	return plan, planErr
}

func contains(t testing.TB, text, part string) {
	t.Helper()
	if !strings.Contains(text, part) {
		t.Errorf("got %q, want it to contain %q", text, part)
	}
}

func verdictOn(t testing.TB, p Plan, cluster string) Verdict {
	t.Helper()
	for _, v := range p.Verdicts {
		if v.Cluster == cluster {
			return v
		}
	}
	t.Fatalf("no verdict on %s", cluster)
	return Verdict{}
}

// says checks the reasons of a verdict.
func says(t testing.TB, p Plan, cluster, part string) {
	t.Helper()
	contains(t, cluster+": "+strings.Join(verdictOn(t, p, cluster).Reasons, "; "), part)
}
