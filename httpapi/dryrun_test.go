package httpapi_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/httpapi"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// planned is what the tests look at in a plan.
type planned struct {
	ID, Would, Reason, Message, Shortfall, Template string
	Units                                           []model.DeploymentUnit
	PlacedOn                                        []model.PlacedCluster `json:"placed_on"`
	UnknownEnvs                                     []string              `json:"unknown_envs"`
	Verdicts                                        []struct {
		Cluster  string
		Selected bool
		Reasons  []string
	}
	Changes []struct{ Action, Cluster, Unit, Replaces string }
}

// startPlanning is a server with a package and three healthy clusters.
func startPlanning(t *testing.T) *api {
	a := start(t, options{})
	a.must(a.putPackage("shop"), 201)
	for _, name := range []string{"edge-1", "edge-2", "edge-3"} {
		a.addCluster(name, "http://"+name)
		a.setHealth(name, model.ClusterHealthy, nil)
	}
	return a
}

// A dry run of a deployment says what is then planned, and changes nothing.
func TestDryRunEqualsWhatApplyThenPlans(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"explicit targets":  deploymentJSON("d", "shop", "edge-2", "edge-1"),
		"no targets":        deploymentJSON("d", "shop"),
		"number":            `{"key":"d","package_name":"shop","class_key":"K","placement":{"clusters":2}}`,
		"selector":          `{"key":"d","package_name":"shop","class_key":"K","placement":{"selector":{"zone":"z-edge-3"}}}`,
		"with a data grid":  `{"key":"d","package_name":"shop","class_key":"K","target_envs":["edge-1","edge-3"],"odgm":{"partition_count":4,"replica_count":2}}`,
		"one unknown":       deploymentJSON("d", "shop", "edge-1", "mars"),
		"all unknown":       deploymentJSON("d", "shop", "mars"),
		"with availability": `{"key":"d","package_name":"shop","class_key":"K","nfr_requirements":{"availability":0.999}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := startPlanning(t)
			before := a.dump()
			var rehearsed planned
			for _, c := range []call{{"POST", deps + "?dry_run=true", body, nil}, {"PUT", deps + "/d?dry_run=true", body, nil}} {
				rehearsed = decode[planned](t, a.must(a.do(c), 200).body)
			}
			if diff := cmp.Diff(before, a.dump()); diff != "" {
				t.Fatalf("the dry run changed the store (-before +after):\n%s", diff)
			}
			if rehearsed.Would != "create" {
				t.Errorf("would %q, want create", rehearsed.Would)
			}
			if len(rehearsed.Changes) != len(rehearsed.Units) {
				t.Errorf("%d changes for %d units", len(rehearsed.Changes), len(rehearsed.Units))
			}
			a.must(a.do(call{"POST", deps, body, nil}), 200)
			then := decode[planned](t, a.must(a.get(deps+"/d/plan"), 200).body)
			rehearsed.Would, then.Would = "", ""
			if diff := cmp.Diff(rehearsed, then); diff != "" {
				t.Errorf("plan (-dry run +after apply):\n%s", diff)
			}
			again := decode[planned](t, a.must(a.do(call{"POST", deps + "?dry_run=true", body, nil}), 200).body)
			if want := map[bool]string{true: "roll", false: "nothing"}[len(then.Units) > 0]; again.Would != want {
				// Nothing is dispatched here, so the units are still to come.
				t.Errorf("a dry run of what is stored would %q, want %q", again.Would, want)
			}
		})
	}
}

// What a dry run says of a cluster that was removed is what is then planned: units
// elsewhere stay, with and without one that stands in.
func TestDryRunAfterAClusterWasRemoved(t *testing.T) {
	t.Parallel()
	body := deploymentJSON("d", "shop", "edge-1", "edge-2")
	for name, avoided := range map[string][]model.AvoidedCluster{
		"nothing stands in": nil,
		"edge-3 stands in":  {{Cluster: "edge-2", Reason: model.AvoidFailover}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := startPlanning(t)
			a.must(a.do(call{"POST", deps, body, nil}), 200)
			// place records what is planned now, as the dispatcher does.
			place := func() planned {
				now := decode[planned](t, a.must(a.get(deps+"/d/plan"), 200).body)
				record := storage.RecordUnitStatus{Deployment: "d", Generation: 1, Observed: &model.DeploymentObserved{
					ObservedGeneration: 1, Condition: model.DeploymentRunning, PlacedOn: now.PlacedOn, AvoidedClusters: avoided,
				}}
				for _, u := range now.Units {
					record.Put = append(record.Put, unit(u.ID, "d", u.TargetCluster, u.ID, 1, model.UnitRunning))
				}
				a.apply(record)
				return now
			}
			place()
			a.apply(storage.RecordUnitStatus{Deployment: "d", Generation: 1, Observed: &model.DeploymentObserved{
				ObservedGeneration: 1, Condition: model.DeploymentRunning, AvoidedClusters: avoided,
				PlacedOn: decode[planned](t, a.get(deps+"/d/plan").body).PlacedOn,
			}})
			before := place()
			a.apply(storage.DeleteCluster{Name: "edge-2", Force: true})

			rehearsed := decode[planned](t, a.must(a.do(call{"POST", deps + "?dry_run=true", body, nil}), 200).body)
			for _, change := range rehearsed.Changes {
				if change.Action != "keep" {
					t.Errorf("dry run: got change %+v, want that everything stays", change)
				}
			}
			if rehearsed.Would != "nothing" || len(rehearsed.UnknownEnvs) != 1 || rehearsed.UnknownEnvs[0] != "edge-2" {
				t.Errorf("dry run: would %q, unknown %v, want nothing, and edge-2 told of", rehearsed.Would, rehearsed.UnknownEnvs)
			}
			units := map[string]string{}
			for _, u := range before.Units {
				units[u.TargetCluster] = u.ID
			}
			delete(units, "edge-2")
			for _, u := range rehearsed.Units {
				if units[u.TargetCluster] != u.ID {
					t.Errorf("dry run: got unit %s in %s, want %v", u.ID, u.TargetCluster, units)
				}
			}
			if len(rehearsed.Units) != len(units) {
				t.Errorf("dry run: got %d units, want %v", len(rehearsed.Units), units)
			}
			then := decode[planned](t, a.must(a.get(deps+"/d/plan"), 200).body)
			if diff := cmp.Diff(rehearsed, then); diff != "" {
				t.Errorf("plan (-dry run +what is then planned):\n%s", diff)
			}
		})
	}
}

// Where there is no plan, the dry run says why: the write would be accepted.
func TestDryRunWithoutAPlan(t *testing.T) {
	t.Parallel()
	a := startPlanning(t)
	got := decode[planned](t, a.must(a.do(call{"POST", deps + "?dry_run=true", deploymentJSON("d", "shop", "mars"), nil}), 200).body)
	if got.Reason != "UnknownEnvironment" || got.Message == "" || len(got.Units) != 0 {
		t.Errorf("plan for an unknown target: %+v", got)
	}
	got = decode[planned](t, a.must(a.do(call{"POST", deps + "?dry_run=true", deploymentJSON("d", "shop", "edge-1"), nil}), 200).body)
	explained := map[string]bool{}
	for _, v := range got.Verdicts {
		explained[v.Cluster] = v.Selected
		if len(v.Reasons) == 0 {
			t.Errorf("no reason is given for %s", v.Cluster)
		}
	}
	if diff := cmp.Diff(map[string]bool{"edge-1": true, "edge-2": false, "edge-3": false}, explained); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
}

// A dry run is refused as the write would be.
func TestDryRunIsRefusedAsTheWrite(t *testing.T) {
	t.Parallel()
	a := startPlanning(t)
	a.putDeployment("d", "shop", "edge-1")
	a.must(a.do(call{"POST", pkgs, `{"name":"top","dependencies":["shop"]}`, nil}), 201)
	before := a.dump()
	for name, c := range map[string]call{
		"package does not exist":           {"POST", deps + "?", `{"key":"x","package_name":"none","class_key":"K"}`, nil},
		"class does not exist":             {"POST", deps + "?", `{"key":"x","package_name":"shop","class_key":"none"}`, nil},
		"another version":                  {"PUT", deps + "/d?", deploymentJSON("d", "shop", "edge-2"), []string{`If-Match: "1"`}},
		"does not exist":                   {"PUT", deps + "/x?", deploymentJSON("x", "shop", "edge-2"), []string{"If-Match: *"}},
		"bad field":                        {"POST", deps + "?", `{"key":"x","package_name":"shop","class_key":"K","failover":{"toleration":"soon"}}`, nil},
		"name is taken":                    {"POST", pkgs + "?", packageJSON("shop"), nil},
		"missing package to update":        {"POST", pkgs + "/none?", packageJSON("none"), nil},
		"dependency does not exist":        {"PUT", pkgs + "/shop?", strings.Replace(packageJSON("shop"), `"version"`, `"dependencies":["none"],"version"`, 1), nil},
		"dependency cycle":                 {"PUT", pkgs + "/shop?", strings.Replace(packageJSON("shop"), `"version"`, `"dependencies":["top"],"version"`, 1), nil},
		"deployed class vanishes":          {"PUT", pkgs + "/shop?", `{"name":"shop"}`, nil},
		"class of an embedded one is none": {"PUT", pkgs + "/new?apply_deployments=true&", `{"name":"new","deployments":[{"key":"e","class_key":"none"}]}`, nil},
	} {
		dry := c
		dry.path += "dry_run=true"
		got := a.do(dry)
		if diff := cmp.Diff(before, a.dump()); diff != "" {
			t.Fatalf("%s: the dry run changed the store:\n%s", name, diff)
		}
		if strings.HasPrefix(name, "class of an embedded") {
			// The write stores the package before it finds out.
			if got.status != 400 {
				t.Errorf("%s: %d %s", name, got.status, got.body)
			}
			continue
		}
		wet := a.do(c)
		if wet.status < 400 || got.status != wet.status {
			t.Errorf("%s: dry run %d, write %d: %s", name, got.status, wet.status, got.body)
		}
		dryBody, wetBody := decode[errorBody](t, got.body), decode[errorBody](t, wet.body)
		dryBody.RequestID, wetBody.RequestID = "", ""
		if diff := cmp.Diff(wetBody, dryBody); diff != "" {
			t.Errorf("%s (-write +dry run):\n%s", name, diff)
		}
	}
}

// The dry run of a package tells which deployments would be rolled.
func TestDryRunOfAPackage(t *testing.T) {
	t.Parallel()
	a := startPlanning(t)
	a.putDeployment("runs", "shop", "edge-1")
	a.putDeployment("idle", "shop", "edge-2")
	for _, key := range []string{"runs", "idle"} {
		plan := decode[planned](t, a.must(a.get(deps+"/"+key+"/plan"), 200).body)
		a.apply(storage.RecordUnitStatus{Deployment: key, Generation: 1, Put: []model.UnitStatus{
			{ID: plan.Units[0].ID, DeploymentKey: key, Cluster: plan.Units[0].TargetCluster, Generation: 1, Phase: model.UnitRunning, CRMID: plan.Units[0].ID},
		}})
	}
	type packagePlan struct {
		ID, Would   string
		Omitted     int
		Deployments []planned
		Plans       []planned
	}
	rehearse := func(body, query string) packagePlan {
		t.Helper()
		before := a.dump()
		got := decode[packagePlan](t, a.must(a.do(call{"PUT", pkgs + "/shop?dry_run=true" + query, body, nil}), 200).body)
		if diff := cmp.Diff(before, a.dump()); diff != "" {
			t.Fatalf("the dry run changed the store:\n%s", diff)
		}
		return got
	}
	would := func(p packagePlan) string {
		words := []string{p.Would}
		for _, d := range p.Deployments {
			words = append(words, fmt.Sprintf("%s:%s:%v", d.ID, d.Would, len(d.Changes) > 0))
		}
		return strings.Join(words, " ")
	}
	changed := strings.Replace(packageJSON("shop"), `"functions":[{"key":"F"}]`, `"functions":[{"key":"F","provision_config":{"container_image":"img:2"}}]`, 1)
	embedded := strings.TrimSuffix(changed, "}") + `,"deployments":[{"key":"runs","class_key":"K","target_envs":["edge-3"]},{"key":"new","class_key":"K","target_envs":["edge-1"]}]}`
	for name, test := range map[string]struct {
		body, query, want string
		plans             int
	}{
		"nothing changes":          {packageJSON("shop"), "", "nothing idle:nothing:false runs:nothing:false", 0},
		"an image changes":         {changed, "", "update idle:roll:true runs:roll:true", 0},
		"with deployments":         {embedded, "&apply_deployments=true", "update idle:roll:true new:create:true runs:update:true", 2},
		"deployments are dropped":  {embedded, "", "update idle:roll:true runs:roll:true", 0},
		"class vanishes by force":  {`{"name":"shop"}`, "&force=true", "update idle:nothing:false runs:nothing:false", 0},
		"description only changes": {strings.Replace(packageJSON("shop"), `"version":"1"`, `"version":"2"`, 1), "", "update idle:nothing:false runs:nothing:false", 0},
	} {
		got := rehearse(test.body, test.query)
		if diff := cmp.Diff(test.want, would(got)); diff != "" || len(got.Plans) != test.plans {
			t.Errorf("%s: %d plans (-want +got):\n%s", name, len(got.Plans), diff)
		}
	}
	// The forced write is accepted as rehearsed, the same without force is not.
	a.must(a.do(call{"PUT", pkgs + "/shop", `{"name":"shop"}`, nil}), 409)
	a.must(a.do(call{"PUT", pkgs + "/shop?force=true", `{"name":"shop"}`, nil}), 200)
}

// A node that cannot plan says so.
func TestDryRunWithoutPlanner(t *testing.T) {
	t.Parallel()
	a := start(t, options{deps: func(d *httpapi.Deps) { d.PlanInput = nil }})
	a.must(a.putPackage("shop"), 201)
	a.must(a.do(call{"POST", deps + "?dry_run=true", deploymentJSON("d", "shop", "edge-1"), nil}), 503)
	a.putDeployment("d", "shop", "edge-1")
	a.must(a.get(deps+"/d/plan"), 503)
}
