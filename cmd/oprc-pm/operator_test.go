package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/crm/sim"
	"github.com/oprc/oprc-pm/internal/client"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// A deployment whose cluster is lost says so, and what will be done about it:
// what is recorded of its units is what they were.
func TestDescribeTellsOfTrouble(t *testing.T) {
	t.Parallel()
	server := startNode(t)
	edge := addSim(t, server, "edge-1")
	cli(t, server, shopWith("target_envs: [edge-1]"), "apply", "-f", "-", "--wait=20s").want(t, exitOK)
	r := cli(t, server, "", "describe", "deployment", "D").want(t, exitOK)
	contains(t, r.out, "Placed in:     edge-1\n")
	if strings.Contains(r.out, "in trouble") {
		t.Errorf("there is no trouble:\n%s", r.out)
	}
	edge.SetFaults(sim.Faults{Refuse: true})
	trouble := regexp.MustCompile(`Clusters in trouble .*:\n.*\n  edge-1    Unhealthy   \w+ +ProbeFailed: cannot connect   stays: failover is not enabled\n`)
	waitFor(t, "describe tells of the lost cluster", func() error {
		if r := cli(t, server, "", "describe", "deployment", "D").want(t, exitOK); !trouble.MatchString(r.out) {
			return fmt.Errorf("%s", r.out)
		}
		return nil
	})
}

func TestConsequence(t *testing.T) {
	t.Parallel()
	toleration := model.Duration("90s")
	here := []model.PlacedCluster{{Cluster: "a"}}
	unit := []model.UnitStatus{{Cluster: "a"}}
	for name, test := range map[string]struct {
		d      model.Deployment
		status string
		want   string
	}{
		"left":       {model.Deployment{}, model.ClusterUnhealthy, "left already; what is still there is removed once it answers"},
		"degraded":   {placed(here, nil), model.ClusterDegraded, "nothing, unless it gets worse"},
		"no wish":    {placed(here, nil), model.ClusterUnhealthy, "stays: failover is not enabled"},
		"not wanted": {placed(here, &model.Failover{Toleration: &toleration}), model.ClusterUnhealthy, "stays: failover is not enabled"},
		"its own":    {placed(here, &model.Failover{Enabled: true, Toleration: &toleration}), model.ClusterUnhealthy, "is left when it has been so for 90s"},
		"usual":      {placed(here, &model.Failover{Enabled: true}), model.ClusterUnhealthy, "is left when it has been so for crm.failover.toleration"},
	} {
		t.Run(name, func(t *testing.T) { equal(t, consequence(test.d, unit, "a", test.status), test.want) })
	}
}

func placed(at []model.PlacedCluster, failover *model.Failover) model.Deployment {
	var d model.Deployment
	d.PlacedOn, d.Failover = at, failover
	return d
}

// An automatic return is a rollout of its own that succeeds; what was asked for
// did not.
func TestRolloutStatusTellsWhatWasTakenBack(t *testing.T) {
	t.Parallel()
	server := startNode(t)
	edge := addSim(t, server, "edge-1")
	brokenImages(edge, "img:bad")
	text := func(image string) string {
		return strings.Replace(shopWith("target_envs: [edge-1], functions: [{function_key: F, provision_config: {container_image: \"img:1\"}}], rollout: {wave: 1, progress_deadline: 2s, on_failure: rollback}"),
			"{container_image: \"img:1\"}}], rollout", "{container_image: \""+image+"\"}}], rollout", 1)
	}
	cli(t, server, text("img:1"), "apply", "-f", "-", "--wait=20s").want(t, exitOK)
	cli(t, server, text("img:bad"), "apply", "-f", "-").want(t, exitOK)
	r := cli(t, server, "", "rollout", "status", "D", "--wait=20s").want(t, exitFailure)
	contains(t, r.out, "deployment/D Complete: revision 3 (return to revision 1) runs in 1 of 1 clusters\n")
	contains(t, r.err, "error: what deployment/D was to run was taken back: return to revision 1; describe deployment tells why\n")
	r = cli(t, server, "", "rollout", "status", "D").want(t, exitOK)
	contains(t, r.out, "deployment/D Complete: revision 3 (return to revision 1) runs")
	contains(t, cli(t, server, "", "describe", "deployment", "D").want(t, exitOK).out, "Complete: revision 3 (return to revision 1) runs", "RolledBack")
}

// What is paused does not get on by itself, so nobody waits for it.
func TestWaitEndsWhenPaused(t *testing.T) {
	t.Parallel()
	server := startNode(t)
	cli(t, server, shopWith("target_envs: [oaas-1]"), "apply", "-f", "-", "--wait=20s").want(t, exitOK)
	cli(t, server, "", "rollout", "pause", "D").want(t, exitOK)
	waitFor(t, "a complete rollout says that the next will wait", func() error {
		r := cli(t, server, "", "rollout", "status", "D").want(t, exitOK)
		if strings.Contains(r.out, "Complete: revision 1 runs in 1 of 1 clusters; paused: changes wait for rollout resume\n") {
			return nil
		}
		return fmt.Errorf("%s", r.out)
	})
	changed := strings.Replace(shopWith("target_envs: [oaas-1]"), "img:1", "img:2", 1)
	r := cli(t, server, changed, "apply", "-f", "-", "--wait=1m").want(t, exitFailure)
	contains(t, r.err, "error: the rollout of deployment/D is paused: ", "; oprc-pm rollout resume D goes on with it\n")
}

// What does not run says why, in the words of the unit that is down; what has
// nothing to do is not blamed.
func TestWaitingNamesWhatIsToBlame(t *testing.T) {
	t.Parallel()
	r := &rollout{order: []string{"a", "b"}, applied: map[string]appliedDeployment{"a": {repackaged: true}, "b": {repackaged: true}}}
	r.reset()
	running, down := model.Deployment{Key: "a"}, model.Deployment{Key: "b"}
	running.Condition, down.Condition = model.DeploymentRunning, model.DeploymentDown
	down.Conditions = []model.Condition{{Type: "Dispatched", Status: model.ConditionFalse, Message: "not yet begun in y"}}
	r.deployments = map[string]model.Deployment{"a": running, "b": down}
	r.units = map[string]map[string]model.UnitStatus{"b": {
		"x/old": {ID: "old", Cluster: "x", Phase: model.UnitRunning, Message: "Available"},
		"x/new": {ID: "new", Cluster: "x", Phase: model.UnitDown, Message: "no such image"},
	}}
	equal(t, strings.Join(r.waiting(), "; "), "deployment/b is DOWN (x: no such image)")
	r.behind["a"] = true
	contains(t, strings.Join(r.waiting(), "; "), "deployment/a runs what its package said before")
	r.deployments, r.order, r.behind = map[string]model.Deployment{"a": running}, []string{"a"}, map[string]bool{}
	equal(t, strings.Join(r.waiting(), "; "), "the servers did not say whether it does")
}

// Partial lists say in words what is missing.
func TestWarningsOfPartialLists(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	p := &program{err: &out}
	p.warnFailed([]client.FailedCluster{{Name: "a", Class: "timeout"}, {Name: "b", Class: "truncated"}, {Name: "c", Class: "novel"}, {Name: "7 more"}})
	equal(t, out.String(), `warning: cluster a did not answer (no answer in time); what it holds is missing here
warning: cluster b holds more than is listed here
warning: cluster c did not answer (novel); what it holds is missing here
warning: 7 more clusters did not answer; what they hold is missing here
`)
	// A member that is gone is known by its address only.
	equal(t, memberColumns[0].value(storage.Member{ClusterAddr: "10.0.0.2:7000"}, time.Time{}), "10.0.0.2:7000")
}
