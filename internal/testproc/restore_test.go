package testproc

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestLeaderKilledWhileRestoring kills the leader at some moment of a restore: before,
// in the middle of the staging, and after the commit. All nodes then hold the state
// before or the restored one, whole, and what was answered is what happened.
func TestLeaderKilledWhileRestoring(t *testing.T) {
	t.Parallel()
	c := NewCluster(t, 3)
	c.Leader(t, 10*time.Second)
	put := func(name, text string) {
		t.Helper()
		waitFor(t, 10*time.Second, "write "+name, func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			body := fmt.Sprintf(`{"name":%q,"metadata":{"description":%q}}`, name, text)
			response, answer, err := c.Do(ctx, c.Nodes[0], http.MethodPut, "/api/v1/packages/"+name, nil, body)
			if err == nil && response.StatusCode/100 != 2 {
				err = fmt.Errorf("status %d: %s", response.StatusCode, answer)
			}
			return err
		})
	}
	const saved = 40
	for i := range saved {
		put(fmt.Sprintf("saved-%d", i), noise(i))
	}
	status, file, err := c.Get(c.Nodes[0], "/api/v1/cluster/snapshot")
	if err != nil || status != http.StatusOK || len(file) < 1<<20 {
		t.Fatalf("save: status %d, %d bytes, %v", status, len(file), err)
	}
	for round, delay := range []time.Duration{0, 60 * time.Millisecond, 250 * time.Millisecond, time.Second} {
		after := fmt.Sprintf("after-%d", round)
		put(after, "on")
		leader := c.Leader(t, 10*time.Second)
		follower := otherThan(c, leader)
		answered := make(chan int, 1)
		go func() { // ends with the request
			ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
			defer cancel()
			response, _, err := c.Do(ctx, follower, http.MethodPost, "/api/v1/cluster/snapshot?force=true", nil, string(file))
			if err != nil {
				answered <- 0
				return
			}
			answered <- response.StatusCode
		}()
		<-time.After(delay)
		leader.Kill()
		code := <-answered
		c.Start(t, leader.Index)
		c.WaitReady(t, leader.Index, 20*time.Second)
		c.CheckConverged(t, 20*time.Second)
		here := map[int]int{}
		for _, n := range c.Nodes {
			status, _, err := c.Get(n, "/api/v1/packages/"+after)
			if err != nil {
				t.Fatal(err)
			}
			here[status]++
			if status, _, err := c.Get(n, fmt.Sprintf("/api/v1/packages/saved-%d", saved-1)); err != nil || status != http.StatusOK {
				t.Errorf("round %d: %s has lost what both states hold: status %d, %v", round, n.Name, status, err)
			}
		}
		switch {
		case len(here) != 1:
			t.Errorf("round %d: the nodes differ: %v", round, here)
		case code == http.StatusOK && here[http.StatusNotFound] != 3:
			t.Errorf("round %d: restored, says the answer, and %s is still there", round, after)
		case code != http.StatusOK && code != http.StatusGatewayTimeout && code != 0 && here[http.StatusOK] != 3:
			t.Errorf("round %d: not restored, says the answer %d, and %s is gone", round, code, after)
		}
		t.Logf("killed after %v: answer %d, restored %t", delay, code, here[http.StatusNotFound] == 3)
	}
}

// noise is text that does not compress well.
func noise(seed int) string {
	var b strings.Builder
	state := uint64(seed + 1)
	for range 4000 {
		state = state*6364136223846793005 + 1442695040888963407
		fmt.Fprintf(&b, "%016x", state)
	}
	return b.String()
}
