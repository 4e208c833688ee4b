package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/crm/sim"
	"github.com/oprc/oprc-pm/internal/client"
	"github.com/oprc/oprc-pm/model"
)

// shopPackage is a package with a class C that two deployments of the tests use.
const shopPackage = "name: shop\nversion: \"1\"\nclasses: [{key: C, function_bindings: [{name: f, function_key: F, access_modifier: PUBLIC}]}]\n" +
	"functions: [{key: F, provision_config: {container_image: \"img:1\"}}]\n"

// shopWith is the package with one deployment.
func shopWith(deployment string) string {
	return shopPackage + "deployments:\n  - {key: D, class_key: C, " + deployment + "}\n"
}

// addSim adds a simulated cluster to a node, and waits until it is healthy.
func addSim(t *testing.T, server, name string, flags ...string) *sim.Server {
	t.Helper()
	s := sim.StartFor(t, sim.Config{Name: name})
	args := append([]string{"create", "cluster", name, "--url", s.URL(), "--wait=20s"}, flags...)
	r := cli(t, server, "", args...).want(t, exitOK)
	equal(t, r.out, "cluster/"+name+" created\n")
	contains(t, r.err, "cluster/"+name+" Healthy\n")
	return s
}

// clusterOf returns where all units of D are.
func clusterOf(t *testing.T, server string) string {
	t.Helper()
	var units []model.UnitStatus
	r := cli(t, server, "", "get", "units", "--deployment", "D", "-o", "json").want(t, exitOK)
	if err := json.Unmarshal([]byte(r.out), &units); err != nil || len(units) == 0 {
		t.Fatalf("units: %v\n%s", err, r.out)
	}
	for _, u := range units {
		if u.Cluster != units[0].Cluster {
			t.Fatalf("units in several clusters:\n%s", r.out)
		}
	}
	return units[0].Cluster
}

// The whole way of a cluster: it is added, shown, used, cordoned, drained and
// removed.
func TestClusterVerbs(t *testing.T) {
	t.Parallel()
	server := startNode(t)
	addSim(t, server, "edge-1", "--label", "zone=eu-1", "--environment", "edge", "--weight", "50", "--capacity", "7")
	cli(t, server, "", "create", "cluster", "edge-1", "--url", "http://other").want(t, exitConflict)
	cli(t, server, "", "create", "cluster", "edge-1", "--url", "http://other", "--ignore-existing").want(t, exitOK)

	r := cli(t, server, "", "get", "clusters").want(t, exitOK)
	contains(t, r.out, "NAME     STATUS    NODES   AVAILABILITY   UNITS   CIRCUIT   SINCE", "edge-1   Healthy   3/3     0.99           0/7     closed")
	r = cli(t, server, "", "get", "cluster/edge-1", "-o", "wide").want(t, exitOK)
	contains(t, r.out, "zone=eu-1", "edge", "50", "api", "http://127.0.0.1:")
	r = cli(t, server, "", "describe", "cluster", "edge-1").want(t, exitOK)
	contains(t, r.out, "Labels:        zone=eu-1\n", "Weight:        50\n", "Capacity:      7 units\n", "Circuit:       closed\n", "Units:\n  none\n", "Events:\n")

	// What get prints can be applied as it is.
	r = cli(t, server, "", "get", "cluster", "edge-1", "-o", "yaml").want(t, exitOK)
	equal(t, cli(t, server, r.out, "apply", "--strict", "-f", "-").want(t, exitOK).out, "cluster/edge-1 unchanged\n")
	cli(t, server, r.out, "diff", "-f", "-").want(t, exitOK)

	cli(t, server, shopWith("target_envs: [edge]"), "apply", "-f", "-", "--wait=20s").want(t, exitOK)
	if got := clusterOf(t, server); got != "edge-1" {
		t.Fatalf("the unit is in %s", got)
	}
	r = cli(t, server, "", "delete", "cluster", "edge-1").want(t, exitConflict)
	contains(t, r.err, "error: delete cluster/edge-1: ")

	equal(t, cli(t, server, "", "cordon", "edge-1").want(t, exitOK).out, "cluster/edge-1 cordoned\n")
	contains(t, cli(t, server, "", "get", "cluster", "edge-1").want(t, exitOK).out, "Healthy,cordoned")
	equal(t, cli(t, server, "", "uncordon", "edge-1").want(t, exitOK).out, "cluster/edge-1 uncordoned\n")

	addSim(t, server, "edge-2", "--environment", "edge")
	r = cli(t, server, "", "drain", "edge-1", "--wait=30s").want(t, exitOK)
	equal(t, r.out, "cluster/edge-1 draining\ncluster/edge-1 drained\n")
	contains(t, r.err, "cluster/edge-1: 1 unit left\n")
	if got := clusterOf(t, server); got != "edge-2" {
		t.Errorf("the unit is in %s", got)
	}
	equal(t, cli(t, server, "", "delete", "cluster", "edge-1").want(t, exitOK).out, "cluster/edge-1 deleted\n")
	cli(t, server, "", "get", "cluster", "edge-1").want(t, exitNotFound)
	equal(t, cli(t, server, "", "delete", "cluster", "edge-2", "--force").want(t, exitOK).out, "cluster/edge-2 deleted\n")
}

// A drain that cannot end says which deployments stay.
func TestDrainRunsOutOfTime(t *testing.T) {
	t.Parallel()
	server := startNode(t)
	addSim(t, server, "edge-1", "--label", "zone=eu-1")
	cli(t, server, shopWith("placement: {clusters: 1, selector: {zone: eu-1}}"), "apply", "-f", "-", "--wait=20s").want(t, exitOK)
	r := cli(t, server, "", "drain", "edge-1", "--wait=1s").want(t, exitUnavailable)
	contains(t, r.err, "error: after 1s cluster/edge-1 still holds 1 unit, of D; ")
	contains(t, cli(t, server, "", "describe", "deployment", "D").want(t, exitOK).out, "should leave edge-1, but no other cluster fits")
}

// Clusters come before what is deployed to them, and go after it.
func TestApplyClusters(t *testing.T) {
	t.Parallel()
	server := startNode(t)
	crm := sim.StartFor(t, sim.Config{Name: "made"})
	text := fmt.Sprintf("clusters:\n  - {name: made, url: %q, labels: {zone: z}}\n---\n%s", crm.URL(), shopWith("target_envs: [made]"))
	r := cli(t, server, text, "apply", "--dry-run=client", "-f", "-").want(t, exitOK)
	equal(t, r.out, "cluster/made valid (dry run)\npackage/shop valid (dry run)\ndeployment/D valid (dry run)\n")
	r = cli(t, server, text, "apply", "--dry-run=server", "-f", "-").want(t, exitOK)
	equal(t, r.out, "cluster/made: would be created (dry run)\npackage/shop: would be created (dry run)\ndeployment/D: would be created (dry run)\n")
	cli(t, server, text, "diff", "-f", "-").want(t, exitFailure)
	r = cli(t, server, text, "apply", "-f", "-", "--wait=20s").want(t, exitOK)
	equal(t, r.out, "cluster/made created\npackage/shop created\ndeployment/D created\n")
	cli(t, server, text, "diff", "-f", "-").want(t, exitOK)
	r = cli(t, server, text, "delete", "-f", "-").want(t, exitOK)
	equal(t, r.out, "deployment/D deleted\npackage/shop deleted\ncluster/made deleted\n")
}

func TestPlan(t *testing.T) {
	t.Parallel()
	server := startNode(t)
	text := shopWith("target_envs: [oaas-2]")
	r := cli(t, server, text, "plan", "-f", "-").want(t, exitFailure)
	contains(t, r.out, "package/shop: would be created\n", "deployment/D: would be created\n", "CLUSTER   ACTION", "oaas-2    create", "SELECTED", "WHY")
	equal(t, r.err, "")

	var planned plans
	r = cli(t, server, text, "plan", "-f", "-", "-o", "json").want(t, exitFailure)
	if err := json.Unmarshal([]byte(r.out), &planned); err != nil {
		t.Fatal(err)
	}
	cli(t, server, text, "apply", "-f", "-", "--wait=20s").want(t, exitOK)
	var units []model.UnitStatus
	r = cli(t, server, "", "get", "units", "-o", "json").want(t, exitOK)
	if err := json.Unmarshal([]byte(r.out), &units); err != nil || len(units) != 1 {
		t.Fatalf("units: %v\n%s", err, r.out)
	}
	if planned.Deployments[0].Units[0].ID != units[0].ID {
		t.Errorf("planned unit %s, applied %s", planned.Deployments[0].Units[0].ID, units[0].ID)
	}

	// What runs already needs nothing.
	r = cli(t, server, text, "plan", "-f", "-").want(t, exitOK)
	contains(t, r.out, "deployment/D: nothing would change\n", "keep")
	r = cli(t, server, "", "plan", "D").want(t, exitOK)
	contains(t, r.out, "deployment/D: nothing would change\n")
	// A package alone tells what it would roll.
	r = cli(t, server, strings.Replace(shopPackage, "img:1", "img:2", 1), "plan", "-f", "-", "-o", "wide").want(t, exitFailure)
	contains(t, r.out, "package/shop: would be updated\n", "deployment/D: stays, its units would change\n", "replace", units[0].ID)
	r = cli(t, server, "key: E\npackage_name: shop\nclass_key: C\ntarget_envs: [mars]\n", "plan", "-f", "-", "-o", "yaml").want(t, exitFailure)
	contains(t, r.out, "reason: UnknownEnvironment\n")
	r = cli(t, server, "key: E\npackage_name: shop\nclass_key: C\ntarget_envs: [mars]\n", "plan", "-f", "-").want(t, exitFailure)
	contains(t, r.out, "cannot be placed (UnknownEnvironment)")
	cli(t, server, "key: E\npackage_name: none\nclass_key: C\n", "plan", "-f", "-").want(t, exitNotFound)
	cli(t, server, "", "plan", "none").want(t, exitNotFound)
}

func TestRolloutVerbs(t *testing.T) {
	t.Parallel()
	server := startNode(t)
	text := func(image string) string {
		return shopWith("target_envs: [oaas-1, oaas-2], functions: [{function_key: F, provision_config: {container_image: \"" + image + "\"}}]")
	}
	for _, image := range []string{"img:7", "img:8"} {
		cli(t, server, text(image), "apply", "-f", "-").want(t, exitOK)
		r := cli(t, server, "", "rollout", "status", "D", "--wait=20s").want(t, exitOK)
		contains(t, r.out, "deployment/D Complete: revision ", " runs in 2 of 2 clusters")
	}
	contains(t, cli(t, server, "", "rollout", "status", "D").want(t, exitOK).out, "deployment/D Complete: revision 2 runs in 2 of 2 clusters")
	r := cli(t, server, "", "rollout", "history", "D").want(t, exitOK)
	contains(t, r.out, "DEPLOYMENT   REVISION   GENERATION", "D            1 ", "D            2 ")
	r = cli(t, server, "", "get", "revisions", "--deployment", "D", "-o", "json").want(t, exitOK)
	var revisions []model.Revision
	if err := json.Unmarshal([]byte(r.out), &revisions); err != nil || len(revisions) != 2 {
		t.Errorf("revisions: %v\n%s", err, r.out)
	}
	r = cli(t, server, "", "rollout", "undo", "D", "--wait=20s").want(t, exitOK)
	equal(t, r.out, "deployment/D rolled back to revision 1\n")
	r = cli(t, server, "", "rollout", "undo", "D", "--to-revision=3").want(t, exitOK)
	equal(t, r.out, "deployment/D unchanged: it is at revision 3\n")
	r = cli(t, server, "", "get", "deployment", "D", "-o", "yaml").want(t, exitOK)
	contains(t, r.out, "img:7")

	equal(t, cli(t, server, "", "rollout", "pause", "D").want(t, exitOK).out, "deployment/D paused\n")
	equal(t, cli(t, server, "", "rollout", "pause", "D").want(t, exitOK).out, "deployment/D unchanged\n")
	equal(t, cli(t, server, "", "rollout", "resume", "D").want(t, exitOK).out, "deployment/D resumed\n")
	cli(t, server, "", "rollout", "undo", "D", "--to-revision=99").want(t, exitNotFound)
	cli(t, server, "", "rollout", "history", "none").want(t, exitNotFound)
}

// Events, records and runtimes are listed, also when a cluster does not answer.
func TestEventsAndRecords(t *testing.T) {
	t.Parallel()
	server := startNode(t)
	edge := addSim(t, server, "edge-1")
	cli(t, server, shopWith("target_envs: [edge-1, oaas-2]"), "apply", "-f", "-", "--wait=20s").want(t, exitOK)
	r := cli(t, server, "", "get", "events", "--kind", "deployment", "--name", "D").want(t, exitOK)
	contains(t, r.out, "AGE", "deployment/D", "Placed", "DeploymentRunning")
	r = cli(t, server, "", "get", "events", "--reason", "Placed", "--since", "1h", "--limit", "1", "-o", "json").want(t, exitOK)
	var events []model.Event
	if err := json.Unmarshal([]byte(r.out), &events); err != nil || len(events) != 1 || events[0].Name != "D" {
		t.Errorf("events: %v\n%s", err, r.out)
	}
	for _, kind := range []string{"records", "runtimes"} {
		r = cli(t, server, "", "get", kind).want(t, exitOK)
		contains(t, r.out, "CLUSTER   ID", "edge-1    c-", "oaas-2    c-")
		equal(t, r.err, "")
		r = cli(t, server, "", "get", kind, "--cluster", "edge-1", "--package", "shop", "-o", "json").want(t, exitOK)
		var records []model.DeploymentRecord
		if err := json.Unmarshal([]byte(r.out), &records); err != nil || len(records) != 1 {
			t.Fatalf("%s: %v\n%s", kind, err, r.out)
		}
		r = cli(t, server, "", "get", strings.TrimSuffix(kind, "s")+"/"+records[0].ID).want(t, exitOK)
		contains(t, r.out, records[0].ID)
	}
	edge.SetFaults(sim.Faults{Refuse: true})
	r = cli(t, server, "", "get", "records").want(t, exitOK)
	contains(t, r.err, "warning: cluster edge-1 did not answer (")
	if strings.Contains(r.out, "edge-1") || !strings.Contains(r.out, "oaas-2") {
		t.Errorf("records without edge-1:\n%s", r.out)
	}
}

// A stopped cluster is seen in the list that is watched.
func TestWatchClusters(t *testing.T) {
	t.Parallel()
	server := startNode(t)
	edge := addSim(t, server, "edge-1")
	watch := inBackground(t, []string{"OPRC_SERVER=" + server}, "get", "clusters", "edge-1", "--watch")
	waitForText(t, &watch.out, "edge-1   Healthy")
	edge.SetFaults(sim.Faults{Refuse: true})
	waitFor(t, "the cluster is not healthy any more", func() error {
		if regexp.MustCompile(`edge-1 +(Degraded|Unhealthy)`).MatchString(watch.out.String()) {
			return nil
		}
		return fmt.Errorf("%s", watch.out.String())
	})
	cli(t, server, "", "delete", "cluster", "edge-1").want(t, exitOK)
	waitForText(t, &watch.out, "deleted")
	watch.end(t)
}

func TestDeleteDeploymentFromOneCluster(t *testing.T) {
	t.Parallel()
	server := startNode(t)
	cli(t, server, shopWith("target_envs: [oaas-1, oaas-2]"), "apply", "-f", "-", "--wait=20s").want(t, exitOK)
	r := cli(t, server, "", "delete", "deployment", "D", "--cluster", "oaas-1", "--wait=20s").want(t, exitOK)
	equal(t, r.out, "deployment/D deleted from cluster oaas-1\n")
	if got := clusterOf(t, server); got != "oaas-2" {
		t.Errorf("the unit that is left is in %s", got)
	}
	cli(t, server, "", "delete", "deployment", "D", "--cluster", "oaas-2").want(t, exitConflict)
	r = cli(t, server, "", "delete", "deployment", "D", "--cluster", "oas-1").want(t, exitNotFound)
	contains(t, r.err, `cluster "oas-1" does not exist`)
}

// Whoever applies a file again does not end a pause, a cordon or a drain.
func TestApplyKeepsSwitches(t *testing.T) {
	t.Parallel()
	server := startNode(t)
	crm := sim.StartFor(t, sim.Config{Name: "made"})
	text := fmt.Sprintf("clusters:\n  - {name: made, url: %q, labels: {zone: z}}\n---\n%s", crm.URL(), shopWith("target_envs: [oaas-1], rollout: {wave: 1}"))
	cli(t, server, text, "apply", "-f", "-", "--wait=20s").want(t, exitOK)
	cli(t, server, "", "rollout", "pause", "D").want(t, exitOK)
	cli(t, server, "", "cordon", "made").want(t, exitOK)
	cli(t, server, "", "drain", "made").want(t, exitOK)
	equal(t, cli(t, server, text, "diff", "-f", "-").want(t, exitOK).out, "")
	r := cli(t, server, text, "apply", "-f", "-", "--dry-run=server").want(t, exitOK)
	contains(t, r.out, "cluster/made: nothing would change", "deployment/D: nothing would change")
	r = cli(t, server, strings.Replace(text, "zone: z", "zone: y", 1), "apply", "-f", "-").want(t, exitOK)
	equal(t, r.out, "cluster/made updated\npackage/shop unchanged\ndeployment/D unchanged\n")
	equal(t, r.err, "cluster/made stays cordoned, which the file does not say; oprc-pm uncordon made ends that\n"+
		"cluster/made stays draining, which the file does not say; oprc-pm uncordon made ends that\n"+
		"deployment/D stays paused, which the file does not say; oprc-pm rollout resume D ends that\n")
	contains(t, cli(t, server, "", "get", "cluster", "made", "-o", "wide").want(t, exitOK).out, "draining", "zone=y")

	cli(t, server, "", "rollout", "resume", "D").want(t, exitOK)
	cli(t, server, "", "uncordon", "made").want(t, exitOK)
	r = cli(t, server, text, "apply", "-f", "-").want(t, exitOK)
	equal(t, r.out+r.err, "cluster/made updated\npackage/shop unchanged\ndeployment/D unchanged\n")
}

// A limit of events keeps the newest, and what is left out is told.
func TestNewestEvents(t *testing.T) {
	t.Parallel()
	server := startNode(t)
	cli(t, server, shopWith("target_envs: [oaas-1]"), "apply", "-f", "-", "--wait=20s").want(t, exitOK)
	r := cli(t, server, "", "get", "events", "--kind", "deployment", "--limit", "1").want(t, exitOK)
	contains(t, r.out, "DeploymentRunning")
	if strings.Contains(r.out, "Placed") {
		t.Errorf("the newest event:\n%s", r.out)
	}
	equal(t, r.err, "there are older ones; --limit 1 was reached\n")
	r = cli(t, server, "", "get", "events", "--kind", "deployment", "--limit", "2").want(t, exitOK)
	contains(t, r.out, "Placed", "DeploymentRunning")
	equal(t, r.err, "")
}

// brokenImages makes a cluster in which nothing of an image comes up.
func brokenImages(s *sim.Server, image string) {
	s.SetFaults(sim.Faults{Units: []sim.UnitFault{{Image: image, Condition: "Pending", Message: "no such image"}}})
}

// A rollout that comes to nothing is no success of apply, whether it stays failed
// or is taken back; resume tries it again.
func TestWaitTellsAFailedRollout(t *testing.T) {
	t.Parallel()
	server := startNode(t)
	edge := addSim(t, server, "edge-1")
	brokenImages(edge, "img:bad")
	text := func(image, onFailure string) string {
		return strings.Replace(shopWith("target_envs: [edge-1], rollout: {wave: 1, progress_deadline: 1s, on_failure: "+onFailure+"}"), "img:1", image, 1)
	}
	cli(t, server, text("img:1", "pause"), "apply", "-f", "-", "--wait=20s").want(t, exitOK)
	r := cli(t, server, text("img:bad", "pause"), "apply", "-f", "-", "--wait=20s").want(t, exitFailure)
	contains(t, r.err, "error: the rollout of deployment/D has failed: ")
	cli(t, server, "", "rollout", "status", "D", "--wait=20s").want(t, exitFailure)
	contains(t, cli(t, server, "", "describe", "deployment", "D").want(t, exitOK).out, "DEPLOYING", "no such image", "Next:          rollout resume tries it again, rollout undo goes back\n")

	edge.SetFaults(sim.Faults{})
	equal(t, cli(t, server, "", "rollout", "resume", "D").want(t, exitOK).out, "deployment/D resumed\n")
	cli(t, server, "", "rollout", "status", "D", "--wait=20s").want(t, exitOK)

	brokenImages(edge, "img:worse")
	r = cli(t, server, text("img:worse", "rollback"), "apply", "-f", "-", "--wait=20s").want(t, exitFailure)
	contains(t, r.err, "error: deployment/D is rolled back: ")
	waitFor(t, "what ran before is back", func() error {
		r := cli(t, server, "", "rollout", "status", "D")
		if strings.Contains(r.out, "deployment/D Complete: ") {
			return nil
		}
		return fmt.Errorf("%s", r.out)
	})
	if got := clusterOf(t, server); got != "edge-1" {
		t.Errorf("the unit is in %s", got)
	}
}

// That something runs does not mean that all is as it was asked for.
func TestWaitWarnsOfWhatIsMissing(t *testing.T) {
	t.Parallel()
	server := startNode(t)
	addSim(t, server, "edge-1")
	waitFor(t, "the clusters are healthy", func() error {
		r := cli(t, server, "", "get", "clusters")
		if strings.Count(r.out, " Healthy ") == 3 {
			return nil
		}
		return fmt.Errorf("%s", r.out)
	})
	r := cli(t, server, shopWith("placement: {clusters: 4}"), "apply", "-f", "-", "--wait=20s").want(t, exitOK)
	contains(t, r.err, "warning: deployment/D runs, but not as asked for (NoFit): 3 of 4 clusters")
}

func TestOrchestrationUsage(t *testing.T) {
	t.Parallel()
	server := startNode(t)
	for line, test := range map[string]struct {
		code int
		err  string
	}{
		"create":                   {exitOK, ""},
		"create cluster":           {exitUsage, "use: oprc-pm create cluster NAME --url URL"},
		"create cluster x":         {exitUsage, "--url URL is missing"},
		"create cluster x --url y": {exitUsage, "base_url"},
		"create cluster x --url http://y --protocol z":   {exitUsage, "protocol"},
		"create cluster x --url http://y --auth basic":   {exitUsage, "auth.username"},
		"create cluster x --url http://y --label zone":   {exitUsage, "zone must be formatted as key=value"},
		"create cluster x --url http://y --ca-file /no":  {exitUsage, "--ca-file: "},
		"create cluster x --url http://y --weight heavy": {exitUsage, "--weight"},
		"create thing":                        {exitUsage, `unknown command "thing"`},
		"cordon":                              {exitUsage, "use: oprc-pm cordon CLUSTER..."},
		"cordon none":                         {exitNotFound, "error: cordon cluster/none: "},
		"drain none --wait=1s":                {exitNotFound, "none"},
		"plan":                                {exitUsage, "say what to plan"},
		"plan x -f y":                         {exitUsage, "give names or -f, not both"},
		"plan x -o xml":                       {exitUsage, `--output "xml"`},
		"rollout":                             {exitOK, ""},
		"rollout status":                      {exitUsage, "use: oprc-pm rollout status DEPLOYMENT"},
		"rollout status a b":                  {exitUsage, `unexpected "a b"`},
		"rollout status none --wait 5s":       {exitUsage, "5s is taken for a name; for a time to wait write --wait=5s"},
		"drain oaas-1 --wait 5m":              {exitUsage, "write --wait=5m"},
		"delete deployment none --wait 1m30s": {exitUsage, "write --wait=1m30s"},
		"rollout status none":                 {exitNotFound, "none"},
		"rollout pause none":                  {exitNotFound, "none"},
		"rollout undo none":                   {exitNotFound, "none"},
		"rollout undo none --to-revision=x":   {exitUsage, "must be a whole number"},
		"rollout undo none --to-revision=99999999999999999999": {exitUsage, "too large"},
		"get revisions --kind x":                               {exitUsage, "--kind does not apply to revisions"},
		"get events --type Loud":                               {exitUsage, "type"},
		"get records --cluster none":                           {exitUsage, "none"},
		"get records -w":                                       {exitUsage, "records cannot be watched"},
		"get record none":                                      {exitNotFound, "none"},
		"delete package x --cluster y":                         {exitUsage, "--cluster applies to deployments only"},
		"delete deployment x --force":                          {exitUsage, "--force applies to clusters only"},
		"delete deployment none --cluster y":                   {exitNotFound, "none"},
		"describe cluster none":                                {exitNotFound, "none"},
		"delete cluster none --ignore-not-found":               {exitOK, ""},
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			r := cli(t, server, "", strings.Fields(line)...).want(t, test.code)
			contains(t, r.err, test.err)
		})
	}
}

// Selected clusters come first, and of the others only the best are shown.
func TestVerdictTable(t *testing.T) {
	t.Parallel()
	var d client.Plan
	text := `{"verdicts":[{"cluster":"a","score":0.1,"reasons":["far"]},{"cluster":"b","score":0.9,"reasons":["near","big"]},
	  {"cluster":"c","selected":true,"reasons":["named"]},{"cluster":"d","score":0.5,"reasons":[]}`
	for i := range 30 {
		text += fmt.Sprintf(`,{"cluster":"x%02d","reasons":["not eligible"]}`, i)
	}
	if err := json.Unmarshal([]byte(text+"]}"), &d); err != nil {
		t.Fatal(err)
	}
	got := verdictTable(d.Verdicts, false)
	want := [][]string{{"c", "yes", "-", "named"}, {"b", "no", "0.90", "near; big"}, {"d", "no", "0.50", "-"}, {"a", "no", "0.10", "far"}}
	if diff := cmp.Diff(want, got.rows[:4]); diff != "" {
		t.Errorf("first rows (-want +got):\n%s", diff)
	}
	if len(got.rows) != 1+maxVerdicts {
		t.Errorf("%d rows", len(got.rows))
	}
	if all := verdictTable(d.Verdicts, true); len(all.rows) != 34 {
		t.Errorf("%d rows of all", len(all.rows))
	}
}
