package testproc

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/oprc/oprc-pm/model"
)

// orphanWorld is one node over a cluster of each protocol.
func orphanWorld(t *testing.T, policy string) *strategySuite {
	t.Helper()
	s := &strategySuite{top: t, byName: map[string]*Sim{}, wanted: map[string]bool{}}
	for _, protocol := range []model.ClusterProtocol{model.ProtocolHTTP, model.ProtocolGRPC} {
		sim := NewSim(t, string(protocol)+"-1", protocol, "--time-to-running", "50ms")
		s.sims, s.byName[sim.Name] = append(s.sims, sim), sim
	}
	s.Cluster = NewOrchestration(t, 1, s.sims, "health_check_interval: 500ms", "drift: {interval: 1s, orphan_grace: 0s, orphan_policy: "+policy+"}")
	mustPut(t, s.Cluster, s.Nodes[0], "shop")
	return s
}

// TestOrphansByProcess: what becomes of units that nobody recorded.
func TestOrphansByProcess(t *testing.T) {
	t.Parallel()
	t.Run("a control plane that lost its state adopts what it wants", adoption)
	t.Run("what is surely ours and not wanted is removed", removal)
}

func adoption(t *testing.T) {
	t.Parallel()
	s := orphanWorld(t, "adopt")
	everywhere := fields{"target_envs": []string{"http-1", "grpc-1"}}
	s.create(t, "kept", everywhere)
	s.create(t, "gone", fields{"target_envs": []string{"http-1"}})
	s.settled(t)
	was, err := s.fleet()
	if err != nil {
		t.Fatal(err)
	}
	marks, err := s.marks()
	if err != nil {
		t.Fatal(err)
	}
	s.Nodes[0].Kill()
	if err := os.RemoveAll(s.Nodes[0].DataDir); err != nil {
		t.Fatal(err)
	}
	s.Start(t, 0)
	s.WaitReady(t, 0, strategyLimit)
	delete(s.wanted, "gone")
	mustPut(t, s.Cluster, s.Nodes[0], "shop")
	s.create(t, "kept", everywhere)
	s.told(t, model.EventAboutCluster, "http-1", "OrphanFound")
	s.becomes(t, "kept", "is recorded as it runs", func(d model.Deployment, units []model.UnitStatus) bool {
		return d.Condition == model.DeploymentRunning && slices.Equal(unitIDs(units), unitIDs(was.units["kept"]))
	})
	now, err := s.fleet()
	if err != nil {
		t.Fatal(err)
	}
	for id := range was.held {
		if _, held := now.held[id]; !held {
			t.Errorf("%s is gone, want all as it was", id)
		}
	}
	did, err := s.effects(marks)
	if err != nil || len(did) > 0 {
		t.Errorf("got %v, %v, want nothing created or deleted", did, err)
	}
}

func removal(t *testing.T) {
	t.Parallel()
	s := orphanWorld(t, "remove")
	s.create(t, "kept", fields{"target_envs": []string{"http-1", "grpc-1"}})
	s.settled(t)
	for _, sim := range s.sims {
		for _, id := range []string{"cart-aaaaaaaaaaaaaaa2", "foreign"} {
			if err := sim.Inject(model.DeploymentUnit{ID: id, DeploymentKey: "x", PackageName: "shop", ClassKey: "A"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, sim := range s.sims {
		s.told(t, model.EventAboutCluster, sim.Name, "OrphanRemoved")
	}
	f, err := s.fleet()
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for id := range f.held {
		if strings.HasSuffix(id, "/foreign") || strings.HasSuffix(id, "/cart-aaaaaaaaaaaaaaa2") {
			left = append(left, id)
		}
	}
	slices.Sort(left)
	if want := []string{"grpc-1/foreign", "http-1/foreign"}; !slices.Equal(left, want) {
		t.Errorf("of what nobody recorded, got %v left, want what is not of our form: %v", left, want)
	}
	for _, sim := range s.sims {
		if err := sim.Lose("foreign"); err != nil {
			t.Error(err)
		}
	}
	s.settled(t)
}
