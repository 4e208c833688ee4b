package testproc

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestRollingRestartUnderLoad: every node is stopped and started again, one after
// the other and the leader among them, while clients write and read through all
// of them. No request fails twice, none is held up, nothing is lost, and all
// replicas are equal.
func TestRollingRestartUnderLoad(t *testing.T) {
	t.Parallel()
	args, soak := scaleArgs(t)
	c := NewCluster(t, 3, args...)
	l := newLoad(c)
	l.during(t, func() {
		for range 2 {
			for _, n := range c.Nodes {
				n.Stop(t, 15*time.Second)
				c.Start(t, n.Index)
				c.WaitReady(t, n.Index, 15*time.Second)
			}
		}
		// The leader, too, each time that it is another one.
		for range c.Nodes {
			n := c.Leader(t, 10*time.Second)
			n.Stop(t, 15*time.Second)
			c.Start(t, n.Index)
			c.WaitReady(t, n.Index, 15*time.Second)
		}
		<-time.After(soak)
	})
	if l.retried == 0 || len(l.written) < 500 {
		t.Errorf("%d writes and %d requests sent again: the run exercised too little", len(l.written), l.retried)
	}
	if most := 5 * time.Second; l.slowest > most {
		t.Errorf("one attempt took %s (%s), want at most %s", l.slowest, l.slowestSent, most)
	}
	c.CheckConverged(t, 20*time.Second)
	l.checkWritten(t)
}

// TestStartingNodeRefusesAtOnce: a node that has just started and found no leader
// yet says so at once, so that a client goes to another one; it does not keep the
// request until its deadline. Stale reads are answered.
func TestStartingNodeRefusesAtOnce(t *testing.T) {
	t.Parallel()
	c := NewCluster(t, 3)
	mustPut(t, c, c.Nodes[0], "p")
	c.CheckConverged(t, 10*time.Second)
	for _, n := range c.Nodes {
		n.Stop(t, 15*time.Second)
	}
	n := c.Nodes[0]
	c.Start(t, 0) // without a majority
	waitFor(t, 10*time.Second, "the API", func() error {
		_, _, err := c.Get(n, "/livez")
		return err
	})
	ask := func(method, path, body string) (*http.Response, string, time.Duration) {
		t.Helper()
		begin := time.Now()
		response, answer, err := c.Do(t.Context(), n, method, path, http.Header{"Content-Type": {"application/json"}}, body)
		if err != nil {
			t.Fatal(err)
		}
		return response, string(answer), time.Since(begin)
	}
	for _, request := range []struct{ method, path, body string }{
		{http.MethodGet, "/api/v1/packages/p", ""},
		{http.MethodGet, "/api/v1/packages/p?consistency=lease", ""},
		{http.MethodPost, "/api/v1/packages", packageBody("q", "1")},
	} {
		response, answer, took := ask(request.method, request.path, request.body)
		if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" || !strings.Contains(answer, "starting") {
			t.Errorf("%s %s: status %d, %v: %s", request.method, request.path, response.StatusCode, response.Header, answer)
		}
		if took > time.Second {
			t.Errorf("%s %s was refused after %s, want at once", request.method, request.path, took)
		}
	}
	if response, answer, _ := ask(http.MethodGet, "/api/v1/packages/p?consistency=stale", ""); response.StatusCode != http.StatusOK {
		t.Errorf("stale read: status %d: %s", response.StatusCode, answer)
	}
	for i := 1; i < 3; i++ {
		c.Start(t, i)
	}
	for i := range c.Nodes {
		c.WaitReady(t, i, 15*time.Second)
	}
	if response, answer, _ := ask(http.MethodGet, "/api/v1/packages/p", ""); response.StatusCode != http.StatusOK {
		t.Errorf("read once it is ready: status %d: %s", response.StatusCode, answer)
	}
	c.CheckConverged(t, 10*time.Second)
}
