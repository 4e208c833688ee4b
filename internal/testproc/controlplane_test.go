package testproc

import (
	"bytes"
	"encoding/json"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/storage"
)

// oprcPM runs a client command and returns its exit code and what it printed.
func oprcPM(t *testing.T, args ...string) (code int, out string) {
	t.Helper()
	var text bytes.Buffer
	cmd := exec.CommandContext(t.Context(), Binary(t), args...)
	cmd.Stdout, cmd.Stderr = &text, &text
	cmd.Env = []string{}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("run %v: %v", args, err)
	}
	return cmd.ProcessState.ExitCode(), text.String()
}

// TestControlPlaneCommands walks through what an operator does with the nodes.
func TestControlPlaneCommands(t *testing.T) {
	t.Parallel()
	args, _ := scaleArgs(t)
	c := NewCluster(t, 3, args...)
	mustPut(t, c, c.Nodes[0], "p")
	c.waitServers(t, 3)
	at := func(n *Node) string { return "--server=" + n.URL("") }
	want := func(wantCode int, wantText string, args ...string) {
		t.Helper()
		code, out := oprcPM(t, append([]string{"cluster"}, args...)...)
		if code != wantCode || !strings.Contains(out, wantText) {
			t.Errorf("cluster %v: exit code %d, want %d with %q:\n%s", args, code, wantCode, wantText, out)
		}
	}
	want(0, "3 voters, failure tolerance 1", "health", at(c.Nodes[1]))
	want(0, "CONTACT", "members", at(c.Nodes[1]))
	target := otherThan(c, c.Leader(t, 10*time.Second))
	want(0, "leadership transferred to "+target.Name, "transfer-leader", target.Name, at(c.Nodes[0]))
	if leader := c.Leader(t, 10*time.Second); leader != target {
		t.Errorf("%s leads, want %s", leader.Name, target.Name)
	}
	want(3, "nobody", "transfer-leader", "nobody", at(c.Nodes[0]))
	want(3, "nobody", "remove", "nobody", at(c.Nodes[0]))
	want(2, "exactly the node", "leave", at(c.Nodes[0]), at(c.Nodes[1]))
	want(5, "no node was reached", "join", "127.0.0.1:1", at(c.Nodes[0]))
	want(0, "node/node-0 joined", "join", c.Nodes[1].Addrs.Gossip, at(c.Nodes[0]))

	// A dead voter shows, and makes the others' votes needed.
	c.Nodes[2].Kill()
	waitFor(t, 20*time.Second, "the dead node to show", func() error {
		if code, out := oprcPM(t, "cluster", "health", at(c.Nodes[0]), "-o", "json"); code != 1 {
			return errors.New(out)
		}
		return nil
	})
	want(1, "3 voters, failure tolerance 0", "health", at(c.Nodes[0]))
	want(4, "which is no majority", "leave", at(c.Nodes[1]))
	want(0, "node/node-2 removed", "remove", "node-2", at(c.Nodes[0]))
	c.waitServers(t, 2)
	want(0, "2 voters, failure tolerance 0", "health", at(c.Nodes[0]))
	want(0, "node/node-1 removed", "remove", "node-1", at(c.Nodes[0]))
	if code := c.Nodes[1].Wait(t, 20*time.Second); code != 0 {
		t.Errorf("the removed node ended with exit code %d, want 0", code)
	}
	want(4, "last voter", "leave", at(c.Nodes[0]))
	want(4, "last voter", "remove", "node-0", "--force", at(c.Nodes[0]))

	// The one that died is the last that could be recovered; the log of the living
	// one is ahead of it, and so it is refused.
	c.Nodes[0].Stop(t, 15*time.Second)
	dead, alive := c.Nodes[2].DataDir, c.Nodes[0].DataDir
	want(4, "was not compared", "recover", "--data-dir", dead)
	want(4, "holds more", "recover", "--data-dir", dead, "--compare", alive, "--yes")
	code, out := oprcPM(t, "cluster", "recover", "--data-dir", alive, "-o", "json")
	var position storage.Status
	if code != 0 || json.Unmarshal([]byte(out), &position) != nil {
		t.Errorf("recover -o json: exit code %d:\n%s", code, out)
	}
	mustWrite(t, filepath.Join(c.dir, "position.json"), out)
	want(4, "holds more", "recover", "--data-dir", dead, "--compare", filepath.Join(c.dir, "position.json"))
	want(2, "--data-dir", "recover")
	want(1, "no node.json", "recover", "--data-dir", t.TempDir())
	want(0, "nothing was changed", "recover", "--data-dir", alive)
	want(0, "done; the raft directory as it was is in", "recover", "--data-dir", alive, "--yes")
	c.Nodes = c.Nodes[:1]
	c.Start(t, 0)
	c.WaitReady(t, 0, 15*time.Second)
	if packages := listPackages(t, c, c.Nodes[0]); len(packages) != 1 {
		t.Errorf("%d packages after the recovery, want 1", len(packages))
	}
}
