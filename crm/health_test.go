package crm

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/crm/sim"
	"github.com/oprc/oprc-pm/model"
)

func TestHealthPoller(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sims["b"].SetFaults(sim.Faults{Hang: true})
	poller, err := NewHealthPoller(HealthConfig{Interval: 5 * time.Millisecond, Timeout: 50 * time.Millisecond}, w.clients(), nil)
	if err != nil {
		t.Fatal(err)
	}
	health := func(name string) model.ClusterHealth {
		h, configured := poller.ClusterHealth(t.Context(), name)
		if !configured {
			t.Fatalf("cluster %s: got not configured", name)
		}
		return h
	}
	if got := health("a").Status; got != model.ClusterUnknown {
		t.Errorf("before the first probe: got %s, want Unknown", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { poller.Run(ctx) })
	defer func() { cancel(); wg.Wait() }()

	until(t, "a is healthy although b hangs", func() bool { return health("a").Status == model.ClusterHealthy })
	if got := health("b"); got.Status != model.ClusterUnknown || !got.LastSeen.IsZero() {
		t.Errorf("b: got %+v, want Unknown, never seen", got)
	}
	clusters := poller.Clusters(t.Context())
	if len(clusters) != 2 || clusters[0].Name != "a" || clusters[1].Name != "b" {
		t.Errorf("clusters: got %+v, want a and b, sorted", clusters)
	}
	if a := clusters[0].Health; *a.NodeCount != 3 || *a.CRMVersion != "sim" || a.ClusterName != "a" {
		t.Errorf("a: got %+v, want 3 nodes of version sim", a)
	}

	w.sims["b"].SetFaults(sim.Faults{})
	until(t, "b is healthy", func() bool { return health("b").Status == model.ClusterHealthy })
	w.sims["a"].SetFaults(sim.Faults{Status: 500})
	until(t, "a is unhealthy", func() bool { return health("a").Status == model.ClusterUnhealthy })
	if got := health("a"); got.LastSeen.IsZero() || got.NodeCount != nil || got.CRMVersion == nil {
		t.Errorf("a: got %+v, want when it was last seen and its version, but no figures", got)
	}
	if _, configured := poller.ClusterHealth(t.Context(), "mars"); configured {
		t.Error("mars: got configured")
	}
}

func TestHealthNormalises(t *testing.T) {
	t.Parallel()
	got := normalHealth(model.ClusterHealth{Status: "Splendid"}, "edge")
	if got.Status != model.ClusterUnknown || got.ClusterName != "edge" || got.LastSeen.IsZero() {
		t.Errorf("got %+v, want Unknown, named edge, seen now", got)
	}
	if got := normalHealth(model.ClusterHealth{Status: model.ClusterDegraded, ClusterName: "own"}, "edge"); got.Status != model.ClusterDegraded || got.ClusterName != "own" {
		t.Errorf("got %+v, want Degraded, named own", got)
	}
}
