package testproc

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"
)

const (
	crashWriters  = 16
	crashDuration = 60 * time.Second
	crashEvery    = 5 * time.Second
)

// TestCrashes is invariants I1, I3 and I4 on processes: whatever is killed, an
// acknowledged write is there afterwards, exactly once, on every node. The two logs
// go through it at once; nothing else of this package does.
func TestCrashes(t *testing.T) {
	for _, logStore := range []string{"boltdb", "wal"} {
		t.Run(logStore, func(t *testing.T) {
			t.Parallel()
			config := "raft:\n  log_store: " + logStore + "\n"
			crashes(t, config)
		})
	}
}

func crashes(t *testing.T, config string) {
	path := t.TempDir() + "/config.yaml"
	mustWrite(t, path, config)
	c := NewCluster(t, 3, "--config", path)
	ctx, cancel := context.WithTimeout(t.Context(), crashDuration)
	defer cancel()

	writers := make([]*writer, crashWriters)
	var running sync.WaitGroup
	for i := range writers {
		writers[i] = newWriter(c, i)
		running.Go(func() { writers[i].run(ctx) })
	}
	kills := killRandomNodes(ctx, t, c)
	running.Wait()

	for i := range c.Nodes {
		c.WaitReady(t, i, 30*time.Second)
	}
	c.CheckConverged(t, 30*time.Second)
	for _, n := range c.Nodes {
		packages := listPackages(t, c, n)
		for _, w := range writers {
			w.check(t, packages)
		}
	}
	report(t, writers, kills)
}

// killRandomNodes kills a random node every crashEvery and starts it again, until
// ctx ends; all nodes run when it returns.
func killRandomNodes(ctx context.Context, t *testing.T, c *Cluster) (kills int) {
	random := rand.New(rand.NewPCG(7, 7))
	tick := time.NewTicker(crashEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return kills
		case <-tick.C:
			victim := random.IntN(len(c.Nodes))
			c.Nodes[victim].Kill()
			kills++
			c.Start(t, victim)
		}
	}
}

func listPackages(t *testing.T, c *Cluster, n *Node) map[string]storedPackage {
	t.Helper()
	// Stale: what this very node holds, not what its leader knows.
	status, body, err := c.Get(n, "/api/v1/packages?consistency=stale")
	if err != nil || status != http.StatusOK {
		t.Fatalf("list packages at %s: status %d, %v", n.Name, status, err)
	}
	var list []storedPackage
	if err := json.Unmarshal(body, &list); err != nil {
		t.Fatal(err)
	}
	packages := make(map[string]storedPackage, len(list))
	for _, p := range list {
		if _, twice := packages[p.Name]; twice {
			t.Errorf("%s lists package %s twice", n.Name, p.Name)
		}
		packages[p.Name] = p
	}
	return packages
}

// report says what was exercised, and fails a run that exercised too little to
// mean anything.
func report(t *testing.T, writers []*writer, kills int) {
	t.Helper()
	var acknowledged, sent, retried, repeats int
	for _, w := range writers {
		acknowledged += len(w.created) + w.rewrites
		sent += w.sent
		retried += w.retried
		repeats += w.repeats
	}
	t.Logf("%d kills, %d acknowledged writes, %d requests, %d of them sent again, %d repeated on purpose", kills, acknowledged, sent, retried, repeats)
	if kills < 10 || acknowledged < 2000 || repeats < 100 || retried == 0 {
		t.Errorf("the run exercised too little")
	}
}
