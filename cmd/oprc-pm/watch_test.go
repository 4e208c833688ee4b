package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/oprc/oprc-pm/internal/client"
	"github.com/oprc/oprc-pm/storage"
)

func TestWatchTable(t *testing.T) {
	t.Parallel()
	server := startNode(t)
	cli(t, server, "name: before\nversion: 1\nmetadata: {tags: [x]}\n", "apply", "-f", "-").want(t, exitOK)
	watch := inBackground(t, []string{"OPRC_SERVER=" + server}, "get", "packages", "--tag", "x", "--watch")
	waitForText(t, &watch.out, "before")
	cli(t, server, "name: other\nversion: 1\n", "apply", "-f", "-").want(t, exitOK)
	cli(t, server, "name: after-all-of-them\nversion: 1\nmetadata: {tags: [x]}\n", "apply", "-f", "-").want(t, exitOK)
	waitForText(t, &watch.out, "after-all-of-them")
	cli(t, server, "", "delete", "package", "before").want(t, exitOK)
	waitForText(t, &watch.out, "deleted")
	if code := watch.end(t); code != exitInterrupted {
		t.Errorf("exit code %d\n%s", code, watch.err.String())
	}
	equal(t, settled(watch.out.String()), `NAME     VERSION   CLASSES   FUNCTIONS   TAGS   AGE
before   1         0         0           x      0s
after-all-of-them   1         0         0           x      0s
before                                                     deleted
`)
}

// With -o json every change is one line, in order, and a deployment's way to
// RUNNING can be followed.
func TestWatchJSON(t *testing.T) {
	t.Parallel()
	server := startNode(t)
	watch := inBackground(t, []string{"OPRC_SERVER=" + server}, "get", "deployments", "-w", "-o", "json")
	cli(t, server, "", "apply", "-f", example, "--wait").want(t, exitOK)
	waitForText(t, &watch.out, `"condition":"RUNNING"`)
	cli(t, server, "", "delete", "deployment", "Record", "--wait").want(t, exitOK)
	waitForText(t, &watch.out, `"type":"delete"`)
	watch.end(t)
	var index uint64
	for line := range strings.Lines(watch.out.String()) {
		var change client.Change
		if err := json.Unmarshal([]byte(line), &change); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		if change.Index <= index || change.Kind != storage.KindDeployment || change.Key != "Record" {
			t.Errorf("unexpected %s", line)
		}
		index = change.Index
	}
}

func TestWatchUnits(t *testing.T) {
	t.Parallel()
	server := startNode(t)
	cli(t, server, "", "apply", "-f", example, "--wait").want(t, exitOK)
	watch := inBackground(t, []string{"OPRC_SERVER=" + server}, "get", "units", "--env", "oaas-2", "-w")
	// What it lists first tells that it watches from there on.
	waitForText(t, &watch.out, "RUNNING")
	cli(t, server, "", "delete", "deployment", "Record", "--wait").want(t, exitOK)
	waitForText(t, &watch.out, "DELETING")
	watch.end(t)
	if strings.Contains(watch.out.String(), "oaas-1") {
		t.Errorf("the filter does not hold:\n%s", watch.out.String())
	}
}
