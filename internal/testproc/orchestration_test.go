package testproc

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/model"
)

const (
	orchestratedClusters    = 5
	orchestratedDeployments = 200
	orchestrators           = 8
	leaderKillEvery         = 3 * time.Second
	// convergeLimit is how long the clusters may take, after the last write and
	// the last crash, to hold what is wanted.
	convergeLimit = 30 * time.Second
)

// crashSettings make quick what takes minutes in production, so that health,
// failover and drift act between two crashes.
var crashSettings = []string{
	"health_check_interval: 500ms",
	"circuit_breaker: {failure_threshold: 3, timeout: 500ms, retry_timeout: 500ms}",
	"failover: {recovery: 1s, max_evictions_per_minute: 1000}",
	"drift: {interval: 2s}",
}

// number reads a setting of the crash test from the environment.
func number(t *testing.T, name string, otherwise, least uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n < least {
		t.Fatalf("%s is %q, want a number of at least %d", name, text, least)
	}
	return n
}

// TestOrchestrationCrashes is invariants I6 and I7 under fire: deployments are
// created, changed (some in waves, some paused and resumed) and deleted while every
// few seconds the leader is killed, and while one cluster cannot be reached for a
// time, which some deployments leave. Afterwards the clusters hold exactly the
// units that are recorded and planned, and no cluster has heeded an older leader
// after a newer one. OPRC_CRASH_SECONDS is how long it goes on, OPRC_CRASH_SEED
// repeats what the clients do.
func TestOrchestrationCrashes(t *testing.T) {
	duration := time.Duration(number(t, "OPRC_CRASH_SECONDS", 20, 10)) * time.Second
	seed := number(t, "OPRC_CRASH_SEED", rand.Uint64(), 0)
	t.Logf("seed %d", seed)
	sims := make([]*Sim, orchestratedClusters)
	for i := range sims {
		protocol := model.ProtocolHTTP
		if i%2 == 1 {
			protocol = model.ProtocolGRPC
		}
		sims[i] = NewSim(t, fmt.Sprintf("edge-%d", i), protocol,
			"--latency", "5ms", "--time-to-running", "200ms", "--journal-size", "2000000")
	}
	c := NewOrchestration(t, 3, sims, crashSettings...)
	mustPut(t, c, c.Nodes[0], "shop")

	ctx, cancel := context.WithTimeout(t.Context(), duration)
	defer cancel()
	clients := make([]*orchestrator, orchestrators)
	var running sync.WaitGroup
	for i := range clients {
		clients[i] = newOrchestrator(c, i, seed)
		running.Go(func() { clients[i].run(ctx) })
	}
	lost := sims[rand.New(rand.NewPCG(seed, 0)).IntN(len(sims))]
	var outage error
	running.Go(func() { outage = outageOf(ctx, lost, duration/4, duration/2) })
	kills := killLeaders(ctx, t, c)
	running.Wait()
	if outage != nil {
		t.Fatalf("the outage of %s: %v", lost.Name, outage)
	}
	for i := range c.Nodes {
		c.WaitReady(t, i, 30*time.Second)
	}
	wanted := acknowledged(t, clients)
	if want := int(duration/leaderKillEvery) / 2; kills < want {
		t.Errorf("the run exercised too little: %d kills of the leader, want %d", kills, want)
	}
	begun := time.Now()
	waitFor(t, convergeLimit, "the clusters hold exactly what is recorded and planned", func() error {
		return checkFleet(c, c.Nodes[0], sims, wanted)
	})
	t.Logf("%d kills of the leader; %d deployments as they should be after %v", kills, len(wanted), time.Since(begun).Round(time.Millisecond))
	for _, s := range sims {
		least := kills / 2
		if s == lost {
			least = kills / 4
		}
		checkTerms(t, s, least)
	}
	c.CheckConverged(t, 15*time.Second)

	// What was checked can fail.
	if err := sims[0].Inject(model.DeploymentUnit{ID: "foreign", DeploymentKey: "d-0-0"}); err != nil {
		t.Fatal(err)
	}
	if err := checkFleet(c, c.Nodes[0], sims, wanted); err == nil {
		t.Error("a unit too many was not noticed")
	}
}

// acknowledged are the deployments that there must be, and fails a run that
// exercised too little to mean anything.
func acknowledged(t *testing.T, clients []*orchestrator) (wanted map[string]bool) {
	t.Helper()
	wanted = map[string]bool{}
	var created, updated, deleted, pauses int
	for _, o := range clients {
		for _, fault := range o.faults {
			t.Error(fault)
		}
		for key := range o.present {
			wanted[key] = true
		}
		created, updated, deleted, pauses = created+o.created, updated+o.updated, deleted+o.deleted, pauses+o.pauses
	}
	t.Logf("acknowledged: %d created, %d updated, %d deleted, %d paused", created, updated, deleted, pauses)
	if created < orchestratedDeployments || updated < 50 || deleted < 20 || pauses < 10 {
		t.Error("the run exercised too little")
	}
	return wanted
}

// outageOf has a cluster refuse all calls from one moment to another.
func outageOf(ctx context.Context, s *Sim, begin, end time.Duration) error {
	started := time.Now()
	for _, step := range []struct {
		after  time.Duration
		faults string
	}{{begin, `{"refuse":true}`}, {end, "{}"}} {
		timer := time.NewTimer(time.Until(started.Add(step.after)))
		select {
		case <-timer.C:
		case <-ctx.Done(): // Whatever else went wrong, the cluster comes back.
			timer.Stop()
			return s.SetFaults("{}")
		}
		if err := s.SetFaults(step.faults); err != nil {
			return err
		}
	}
	return nil
}

// killLeaders kills the leader every leaderKillEvery and starts the node again,
// until ctx ends; all nodes run when it returns.
func killLeaders(ctx context.Context, t *testing.T, c *Cluster) (kills int) {
	tick := time.NewTicker(leaderKillEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return kills
		case <-tick.C:
			for _, n := range c.Nodes { // In the eyes of the first that knows one.
				if leader, err := c.leaderSeenBy(n); err == nil {
					leader.Kill()
					kills++
					c.Start(t, leader.Index)
					break
				}
			}
		}
	}
}
