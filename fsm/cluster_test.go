package fsm

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

func cordoned(c *model.Cluster) { c.Cordoned = true }

func clusterMode(c storage.PutCluster, mode storage.PutMode, ifMatch uint64) storage.PutCluster {
	c.Mode, c.IfMatch = mode, ifMatch
	return c
}

func TestPutCluster(t *testing.T) {
	t.Parallel()
	api, config := clusterCommand(t, "north", model.ManagedByAPI), clusterCommand(t, "north", model.ManagedByConfig)
	given := func(c storage.Command) []storage.Command { return []storage.Command{c} } // At index 6.
	runMachineTests(t, []machineTest{
		{name: "ok_create", command: api, want: storage.Created, generation: 1},
		{name: "ok_create_configured", command: config, want: storage.Created, generation: 1},
		{name: "ok_unchanged", given: given(api), command: api, want: storage.Unchanged, generation: 1},
		{name: "ok_cordon", given: given(api), command: clusterCommand(t, "north", model.ManagedByAPI, cordoned), want: storage.Updated, generation: 2},
		{name: "ok_cordon_configured", given: given(config), command: clusterCommand(t, "north", model.ManagedByConfig, cordoned), want: storage.Updated, generation: 2},
		{name: "ok_configuration_takes_over", given: given(api), command: config, want: storage.Updated, generation: 2},
		{name: "ok_if_match", given: given(api), command: clusterMode(clusterCommand(t, "north", model.ManagedByAPI, cordoned), storage.Update, 6), want: storage.Updated},
		{name: "err_name_taken", given: given(api), command: clusterMode(api, storage.Create, 0), code: model.CodeConflict, message: "already exists"},
		{name: "err_nothing_to_update", command: clusterMode(api, storage.Update, 0), code: model.CodeNotFound, message: `"north"`},
		{name: "err_if_match", given: given(api), command: clusterMode(api, storage.Upsert, 5), code: model.CodeFailedPrecondition, message: "resource version 6"},
		{name: "err_configured", given: given(config), command: api, code: model.CodeConflict, message: "configuration"},
		{name: "err_configured_by_nobody", given: given(config), command: clusterCommand(t, "north", ""), code: model.CodeConflict, message: "configuration"},
		{name: "err_empty_document", command: storage.PutCluster{Name: "north"}, code: model.CodeInvalid, message: "empty"},
	})
}

func TestDeleteCluster(t *testing.T) {
	t.Parallel()
	east, north := clusterCommand(t, "east", model.ManagedByAPI), clusterCommand(t, "north", model.ManagedByConfig)
	given := []storage.Command{east, north} // East has the unit of the deployment busy.
	runMachineTests(t, []machineTest{
		{name: "ok_without_units", given: given, command: storage.DeleteCluster{Name: "north"}, want: storage.Deleted},
		{name: "ok_if_match", given: given, command: storage.DeleteCluster{Name: "north", IfMatch: 7}, want: storage.Deleted},
		{name: "ok_force_without_units", given: given, command: storage.DeleteCluster{Name: "north", Force: true}, want: storage.Deleted},
		{name: "ok_force", given: given, command: storage.DeleteCluster{Name: "east", Force: true}, want: storage.Deleted},
		{name: "ok_units_gone", given: append(given, storage.RecordUnitStatus{
			Deployment: "busy", Generation: 1, Remove: []storage.UnitRef{{Cluster: "east", Unit: "u1"}},
		}), command: storage.DeleteCluster{Name: "east"}, want: storage.Deleted},
		{name: "err_missing", command: storage.DeleteCluster{Name: "nowhere", Force: true}, code: model.CodeNotFound},
		{name: "err_missing_if_match", command: storage.DeleteCluster{Name: "nowhere", Force: true, IfMatch: 1}, code: model.CodeNotFound},
		{name: "err_if_match", given: given, command: storage.DeleteCluster{Name: "east", IfMatch: 7, Force: true}, code: model.CodeFailedPrecondition},
		{name: "err_units", given: given, command: storage.DeleteCluster{Name: "east"}, code: model.CodeConflict, message: "has 1 unit of 1 deployment:"},
		{name: "err_more_units", given: append(given, recordPut("idle", 1, running("idle", "east", "u2"), running("idle", "east", "u3"))),
			command: storage.DeleteCluster{Name: "east"}, code: model.CodeConflict, message: "has 3 units of 2 deployments:"},
	})
}

// TestDeleteClusterByForce: what was recorded of the cluster goes with it, and
// nothing else.
func TestDeleteClusterByForce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(namedPackage(t, "app"), clusterCommand(t, "east", model.ManagedByAPI), clusterCommand(t, "west", model.ManagedByAPI))
	for _, name := range []string{"a", "b"} {
		w.must(deployCommand(t, name, "app", "east", "west"),
			recordPut(name, 1, running(name, "east", "u1"), running(name, "east", "u2"), running(name, "west", "u3")))
	}
	w.must(healthCommand("east", model.ClusterUnhealthy), healthCommand("west", model.ClusterHealthy))
	results, changes := w.run(storage.Proposal{
		Request: storage.Request{Command: storage.DeleteCluster{Name: "east", Force: true}}, At: noon,
	})
	if results[0].Outcome != storage.Deleted {
		t.Fatalf("delete: got %+v, want it deleted", results[0])
	}
	var got []string
	for _, c := range changes {
		got = append(got, fmt.Sprintf("%s %s %s", c.Type, c.Kind, c.Key))
	}
	slices.Sort(got)
	want := []string{
		"delete cluster east", "delete cluster_health east",
		"delete unit a/east/u1", "delete unit a/east/u2", "delete unit b/east/u1", "delete unit b/east/u2",
		"put event 00000000000000000001", "put event 00000000000000000002", "put event 00000000000000000003",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	w.view(func(r storage.Reader) error {
		events, err := storage.DecodeEvents(r, storage.EventQuery{})
		if err != nil || len(events) != 3 {
			t.Fatalf("events: got %+v, %v, want 3", events, err)
		}
		if first := events[0]; first.Name != "east" || !strings.Contains(first.Message, "4 units of 2 deployments") || !first.At.Equal(noon) {
			t.Errorf("event about the cluster: got %+v, want one that counts the units", first)
		}
		if events[1].Name != "a" || events[2].Name != "b" || events[1].Type != model.EventWarning || events[1].Cluster != "east" {
			t.Errorf("events about the deployments: got %+v, want one for each", events[1:])
		}
		left, err := storage.DecodeUnits(r, "a")
		if err != nil || len(left) != 1 || left[0].Cluster != "west" {
			t.Errorf("units left of a: got %+v, %v, want the one in west", left, err)
		}
		if _, found, err := storage.DecodeClusterHealth(r, "west"); err != nil || !found {
			t.Errorf("health of west: found %t, %v, want it", found, err)
		}
		return compareIndexes(t, r)
	})
}

// TestDeleteCrowdedClusterByForce: the events of a great deletion do not push out
// everything else.
func TestDeleteCrowdedClusterByForce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.machine.maxEvents = storage.MaxEvents
	const deployments = maxDroppedEvents + 20
	w.must(namedPackage(t, "app"), clusterCommand(t, "east", model.ManagedByAPI))
	for i := range deployments {
		name := fmt.Sprintf("d%03d", i)
		w.must(deployCommand(t, name, "app"), recordPut(name, 1, running(name, "east", "u")))
	}
	w.must(storage.DeleteCluster{Name: "east", Force: true})
	w.view(func(r storage.Reader) error {
		events, err := storage.DecodeEvents(r, storage.EventQuery{})
		if got, want := len(events), 1+maxDroppedEvents; err != nil || got != want {
			t.Errorf("events: got %d, %v, want %d", got, err, want)
		}
		if units, err := storage.CountUnitsOnCluster(r, "east"); err != nil || units != 0 {
			t.Errorf("units: got %d, %v, want none", units, err)
		}
		return compareIndexes(t, r)
	})
}

func TestRecordClusterHealth(t *testing.T) {
	t.Parallel()
	given := []storage.Command{clusterCommand(t, "east", model.ManagedByAPI)}
	healthy, gone := healthCommand("east", model.ClusterHealthy), healthCommand("gone", model.ClusterHealthy)
	withEvent := func(c storage.RecordClusterHealth) storage.RecordClusterHealth {
		c.Events = []model.Event{about("d")}
		return c
	}
	runMachineTests(t, []machineTest{
		{name: "ok_first", given: given, command: healthy, want: storage.Updated},
		{name: "ok_changed", given: append(given, healthy), command: healthCommand("east", model.ClusterDegraded), want: storage.Updated},
		{name: "ok_same", given: append(given, healthy), command: healthy, want: storage.Unchanged},
		{name: "ok_same_with_an_event", given: append(given, healthy), command: withEvent(healthy), want: storage.Updated},
		{name: "ok_cluster_gone", given: given, command: gone, want: storage.Unchanged},
		{name: "ok_cluster_gone_with_an_event", given: given, command: withEvent(gone), want: storage.Updated},
		{name: "ok_nothing", command: storage.RecordClusterHealth{}, want: storage.Unchanged},
	})
}

// TestHealthGoesWithItsCluster: a cluster that is made anew begins without a
// past.
func TestHealthGoesWithItsCluster(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	east := clusterCommand(t, "east", model.ManagedByAPI)
	w.must(east, healthCommand("east", model.ClusterUnhealthy))
	w.view(func(r storage.Reader) error {
		health, found, err := storage.DecodeClusterHealth(r, "east")
		if !found || health.Status != model.ClusterUnhealthy || !health.LastSeen.Equal(noon) {
			t.Errorf("health: got %+v, %t, %v, want what was recorded", health, found, err)
		}
		return err
	})
	w.must(storage.DeleteCluster{Name: "east"}, healthCommand("east", model.ClusterHealthy), east)
	w.view(func(r storage.Reader) error {
		if _, found, err := storage.DecodeClusterHealth(r, "east"); found || err != nil {
			t.Errorf("health of a new cluster: found %t, %v, want none", found, err)
		}
		return nil
	})
}
