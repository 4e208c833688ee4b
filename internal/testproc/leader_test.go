package testproc

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"
)

// TestLeaderKilled: a write through a survivor succeeds within three seconds,
// and the killed node catches up by itself.
func TestLeaderKilled(t *testing.T) {
	t.Parallel()
	c := NewCluster(t, 3)
	follower := otherThan(c, c.Leader(t, 10*time.Second))
	mustPut(t, c, follower, "before")
	var first []byte
	for _, n := range c.Nodes {
		status, body, err := c.Get(n, "/api/v1/packages/before")
		if err != nil || status != http.StatusOK {
			t.Fatalf("get at %s: status %d, %v", n.Name, status, err)
		}
		if first == nil {
			first = body
		}
		if !bytes.Equal(first, body) {
			t.Errorf("%s answers another document:\n%s\n%s", n.Name, first, body)
		}
	}
	for range 3 {
		leader := c.Leader(t, 10*time.Second)
		survivor := otherThan(c, leader)
		leader.Kill()
		begin := time.Now()
		mustPut(t, c, survivor, "after")
		if gap := time.Since(begin); gap > 3*time.Second {
			t.Errorf("the write took %s after the leader was killed, want at most 3s", gap)
		} else {
			t.Logf("write after %s", gap.Round(time.Millisecond))
		}
		c.Start(t, leader.Index)
		c.WaitReady(t, leader.Index, 10*time.Second)
		c.CheckConverged(t, 10*time.Second)
	}
}

// TestRollingStop: SIGTERM hands leadership over; no write of a client that
// retries once fails.
func TestRollingStop(t *testing.T) {
	t.Parallel()
	c := NewCluster(t, 3)
	ctx, cancel := context.WithCancel(t.Context())
	var writes atomic.Int64
	done := make(chan error, 1)
	go func() { done <- writeSteadily(ctx, c, &writes) }()
	for range c.Nodes {
		leader := c.Leader(t, 10*time.Second)
		before := writes.Load()
		leader.Stop(t, 15*time.Second)
		waitFor(t, 5*time.Second, "writes go on", func() error {
			if now := writes.Load(); now < before+20 {
				return fmt.Errorf("%d writes since the stop", now-before)
			}
			return nil
		})
		c.Start(t, leader.Index)
		c.WaitReady(t, leader.Index, 15*time.Second)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	c.CheckConverged(t, 10*time.Second)
}

// writeSteadily writes through all nodes in turn until ctx ends. A write is tried
// at every node once before it has failed.
func writeSteadily(ctx context.Context, c *Cluster, writes *atomic.Int64) error {
	for i := 0; ctx.Err() == nil; i++ {
		name := fmt.Sprintf("w-%d", i)
		header := http.Header{"Content-Type": {"application/json"}, "Idempotency-Key": {name}}
		var failures []string
		for try := range c.Nodes {
			n := c.Nodes[(i+try)%len(c.Nodes)]
			response, body, err := c.Do(context.WithoutCancel(ctx), n, http.MethodPost, "/api/v1/packages", header, packageBody(name, "1"))
			if err == nil && response.StatusCode == http.StatusCreated {
				writes.Add(1)
				failures = nil
				break
			}
			if err != nil {
				failures = append(failures, fmt.Sprintf("%s: %v", n.Name, err))
			} else {
				failures = append(failures, fmt.Sprintf("%s: status %d: %s", n.Name, response.StatusCode, body))
			}
		}
		if failures != nil {
			return fmt.Errorf("write %s failed at every node: %v", name, failures)
		}
	}
	return nil
}

func otherThan(c *Cluster, n *Node) *Node {
	return c.Nodes[(n.Index+1)%len(c.Nodes)]
}

func mustWrite(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
