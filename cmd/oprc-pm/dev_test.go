package main

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/internal/config"
)

// tell says something to a simulated cluster.
func (s *simulators) tell(t *testing.T, cluster, faults string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, s.controls[cluster]+"/sim/faults", strings.NewReader(faults))
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("tell %s %s: got %s", cluster, faults, response.Status)
	}
}

// TestStoppedClusterShows: in a development node, a simulated cluster that is
// stopped shows as unhealthy within ten seconds, and as healthy again once it is
// started.
func TestStoppedClusterShows(t *testing.T) {
	t.Parallel()
	s, sims := startNodeWith(t, func(*config.Config) {})
	url := "http://" + s.advertised
	shows := func(status string) func() bool {
		return func() bool {
			for line := range strings.Lines(cli(t, url, "", "get", "clusters").out) {
				if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "oaas-2" {
					return fields[1] == status
				}
			}
			return false
		}
	}
	within(t, 10*time.Second, "oaas-2 is healthy", shows("Healthy"))
	sims.tell(t, "oaas-2", `{"refuse":true}`)
	within(t, 10*time.Second, "oaas-2 is unhealthy", shows("Unhealthy"))
	sims.tell(t, "oaas-2", `{}`)
	within(t, 20*time.Second, "oaas-2 is healthy again", shows("Healthy"))
	out := cli(t, url, "", "get", "events").out
	for _, reason := range []string{"ClusterUnhealthy", "ClusterRecovered"} {
		if !strings.Contains(out, reason) {
			t.Errorf("events do not tell of %s:\n%s", reason, out)
		}
	}
}

// TestDevTellsHowToStopACluster: what the banner says can be typed.
func TestDevTellsHowToStopACluster(t *testing.T) {
	t.Parallel()
	var out buffer
	p := &program{out: &out}
	sims := &simulators{controls: map[string]string{"oaas-1": "http://127.0.0.1:1", "oaas-2": "http://127.0.0.1:2"}}
	p.devTry("http://127.0.0.1:8080", sims)
	for _, want := range []string{
		"oprc-pm get clusters --watch\n",
		`curl -X PUT http://127.0.0.1:2/sim/faults -d '{"refuse":true}'`,
		`curl -X PUT http://127.0.0.1:2/sim/faults -d '{}'`,
		"oprc-pm get events\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("got\n%s\nwant it to tell %q", out.String(), want)
		}
	}
	p.devTry("http://127.0.0.1:9090", sims)
	if want := "oprc-pm get clusters --watch --server http://127.0.0.1:9090\n"; !strings.Contains(out.String(), want) {
		t.Errorf("got\n%s\nwant it to name a server that is not the default", out.String())
	}
}

// within waits for a condition for so long.
func within(t *testing.T, patience time.Duration, what string, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited in vain for %v for: %s", patience, what)
		}
	}
}
