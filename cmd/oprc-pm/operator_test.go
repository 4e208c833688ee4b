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
	waitFor(t, "rollout status tells that it cannot be asked", func() error {
		r := cli(t, server, "", "rollout", "status", "D").want(t, exitOK)
		if strings.Contains(r.out, "  Reachable is False (ClusterUnreachable): 0 of 1 units confirmed; cannot be asked: edge-1 since ") {
			return nil
		}
		return fmt.Errorf("%s", r.out)
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

// A return to an earlier revision is a rollout of its own that succeeds; what was
// asked for did not.
func TestRolloutStatusTellsWhatWasTakenBack(t *testing.T) {
	t.Parallel()
	server := startNode(t)
	edge := addSim(t, server, "edge-1")
	brokenImages(edge, "img:bad")
	good := shopWith("target_envs: [edge-1]")
	cli(t, server, good, "apply", "-f", "-", "--wait=20s").want(t, exitOK)
	cli(t, server, strings.Replace(good, "img:1", "img:bad", 1), "apply", "-f", "-").want(t, exitOK)
	waitFor(t, "the rollout goes on", func() error {
		if r := cli(t, server, "", "rollout", "status", "D").want(t, exitOK); !strings.Contains(r.out, "revision 2 runs in 0 of 1 clusters") {
			return fmt.Errorf("%s", r.out)
		}
		return nil
	})
	status := inBackground(t, []string{"OPRC_SERVER=" + server}, "rollout", "status", "D", "--wait=20s")
	waitForText(t, &status.out, "Progressing")
	cli(t, server, "", "rollout", "undo", "D").want(t, exitOK)
	if code := <-status.code; code != exitFailure {
		t.Errorf("exit code %d\n%s%s", code, status.out.String(), status.err.String())
	}
	contains(t, status.err.String(), "error: what deployment/D was to run was taken back: return to revision 1; describe deployment tells why\n")
	r := cli(t, server, "", "rollout", "status", "D", "--wait=20s").want(t, exitOK)
	contains(t, r.out, "deployment/D Complete: revision 3 (return to revision 1) runs in 1 of 1 clusters\n")
	contains(t, cli(t, server, "", "describe", "deployment", "D").want(t, exitOK).out, "Complete: revision 3 (return to revision 1) runs")
	history := cli(t, server, "", "rollout", "history", "D").want(t, exitOK).out
	if !regexp.MustCompile(`REVISION +GENERATION +AGE +GOOD SINCE +CHANGED +CAUSE\n.*\n.*\nD .* deployment +return to revision 1\n`).MatchString(history) {
		t.Errorf("history does not tell what changed:\n%s", history)
	}
	// A person who applies an old document again takes nothing back.
	cli(t, server, strings.Replace(good, "img:1", "img:3", 1), "apply", "-f", "-", "--wait=20s").want(t, exitOK)
	cli(t, server, good, "apply", "-f", "-", "--wait=20s").want(t, exitOK)
	contains(t, cli(t, server, "", "rollout", "status", "D").want(t, exitOK).out, "revision 5 (same as revision 3) runs in 1 of 1 clusters\n")
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

// A rollout that failed tells which unit does not run, why, and what can be done.
func TestRolloutStatusOfAFailure(t *testing.T) {
	t.Parallel()
	server := startNode(t)
	edge := addSim(t, server, "edge-1")
	edge.SetFaults(sim.Faults{Units: []sim.UnitFault{{Image: "img:bad", Condition: "Down", Message: "no such image"}}})
	text := strings.Replace(shopWith("target_envs: [edge-1], rollout: {progress_deadline: 1s, on_failure: pause}"), "img:1", "img:bad", 1)
	r := cli(t, server, text, "apply", "-f", "-", "--wait=20s").want(t, exitFailure)
	contains(t, r.err, "edge-1: no such image")
	waitFor(t, "the rollout has failed", func() error {
		r := cli(t, server, "", "rollout", "status", "D").want(t, exitOK)
		if regexp.MustCompile(`Failed: revision 1 .*; rollout resume tries it again, rollout undo goes back\n  c-\w+ in edge-1 is DOWN: no such image\n`).MatchString(r.out) {
			return nil
		}
		return fmt.Errorf("%s", r.out)
	})

	// A delete that does not end says where it waits.
	edge.SetFaults(sim.Faults{Refuse: true})
	r = cli(t, server, "", "delete", "deployment", "D", "--wait=1s").want(t, exitUnavailable)
	contains(t, r.err, "error: after 1s deployment/D still has units in edge-1")
}

// Who may not drop a class that is deployed is told how it can be done.
func TestApplyTellsHowToDropAClass(t *testing.T) {
	t.Parallel()
	server := startNode(t)
	cli(t, server, shopWith("target_envs: [oaas-1]"), "apply", "-f", "-", "--wait=20s").want(t, exitOK)
	without := "name: shop\nclasses: []\n"
	r := cli(t, server, without, "apply", "-f", "-").want(t, exitConflict)
	contains(t, r.err, `class "C" is missing but deployed (D)`, "--force stores it all the same")
	cli(t, server, without, "apply", "--force", "-f", "-").want(t, exitOK)
	// What it runs is left alone and goes on serving, which is no success of a
	// change that cannot be planned.
	waitFor(t, "the deployment says that it cannot be planned", func() error {
		r := cli(t, server, "", "rollout", "status", "D").want(t, exitOK)
		if strings.Contains(r.out, "Planned is False (ClassNotFound): ") {
			return nil
		}
		return fmt.Errorf("%s", r.out)
	})
	r = cli(t, server, "", "describe", "deployment", "D").want(t, exitOK)
	contains(t, r.out, "Condition:     RUNNING\n", "the units of revision 1 run in oaas-1")
	r = cli(t, server, "", "rollout", "undo", "D", "--wait=20s")
	if r.code == exitOK {
		t.Errorf("a change that cannot be planned ended as a success:\n%s%s", r.out, r.err)
	}
}

// What cannot be placed is said once, also by a dry run, unless the files bring
// what is missing.
func TestDryRunWarnsOfWhatCannotBePlaced(t *testing.T) {
	t.Parallel()
	server := startNode(t)
	nowhere := shopWith("placement: {selector: {zone: none}}")
	r := cli(t, server, nowhere, "apply", "--dry-run=server", "-f", "-").want(t, exitOK)
	contains(t, r.err, "warning: deployment/D cannot be placed (NoFit): ")
	r = cli(t, server, nowhere, "plan", "-f", "-").want(t, exitFailure)
	contains(t, r.out, "cannot be placed (NoFit): ")
	if strings.Contains(r.out, "fewer clusters than needed") {
		t.Errorf("said twice:\n%s", r.out)
	}
	r = cli(t, server, shopWith("target_envs: [mars]"), "apply", "--dry-run=server", "-f", "-").want(t, exitOK)
	contains(t, r.err, "warning: deployment/D cannot be placed (UnknownEnvironment): ")
	text := "clusters:\n  - {name: mars, base_url: \"http://crm.mars\"}\n---\n" + shopWith("target_envs: [mars]")
	equal(t, cli(t, server, text, "apply", "--dry-run=server", "-f", "-").want(t, exitOK).err, "")
}

// What cannot be planned is no success, although what ran before still does; unless
// clusters have to be looked at first, or the package has only just changed.
func TestWaitingEndsWithoutAPlan(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		reason      string
		repackaged  bool
		done, fails bool
	}{
		"no class":                         {reason: "ClassNotFound", done: true, fails: true},
		"clusters have to be looked at":    {reason: "AwaitingProbes", done: true}, // it runs what it asks for
		"may be from before the new class": {reason: "ClassNotFound", repackaged: true, done: true},
	} {
		t.Run(name, func(t *testing.T) {
			d := model.Deployment{Key: "d"}
			d.Condition = model.DeploymentRunning
			d.Conditions = []model.Condition{
				{Type: "Planned", Status: model.ConditionFalse, Reason: test.reason, Message: "why"},
				{Type: "Progressing", Status: model.ConditionFalse, Reason: "NotPlanned"},
			}
			r := &rollout{order: []string{"d"}, applied: map[string]appliedDeployment{"d": {repackaged: test.repackaged}}}
			r.reset()
			r.deployments = map[string]model.Deployment{"d": d}
			done, err := r.outcome()
			if done != test.done || (err != nil) != test.fails {
				t.Fatalf("got %v, %v", done, err)
			}
			if err != nil {
				contains(t, err.Error(), "deployment/d cannot be planned (ClassNotFound: why)")
			}
		})
	}
	// The rollout that is recorded is an earlier one's.
	var d model.Deployment
	d.Generation, d.ObservedGeneration = 2, 2
	d.RolloutStatus = &model.RolloutStatus{Generation: 1, Revision: 1, Phase: model.RolloutComplete}
	if rolloutOver(d) {
		t.Error("the rollout of an earlier generation is taken for that of the newest")
	}
	equal(t, rolloutText(d, ""), "generation 2 cannot be planned; revision 1 stays where it is")
}
