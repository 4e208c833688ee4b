package storagetest

import (
	"strings"
	"time"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

var clusterTests = []storeTest{
	{"cluster/ok_create_update_delete", testClusterLife},
	{"cluster/err_put", testClusterRules},
	{"cluster/ok_configuration_prevails", testClusterManager},
	{"cluster/ok_units_are_indexed", testClusterUnits},
	{"cluster/err_delete_with_units", testDeleteUsedCluster},
	{"cluster/ok_delete_by_force", testDeleteClusterByForce},
	{"cluster/ok_health", testClusterHealth},
}

// cluster describes a cluster in the few words that the rules look at.
type cluster struct {
	name     string
	cordoned bool
	manager  model.ClusterManager
	mode     storage.PutMode
	ifMatch  uint64
}

func (e *env) putCluster(c cluster) storage.PutCluster {
	e.Helper()
	document := model.Cluster{Name: c.name, BaseURL: "http://" + c.name, Cordoned: c.cordoned, ManagedBy: c.manager}
	document.SetDefaults()
	line, err := model.EncodeCluster(document)
	if err != nil {
		e.Fatalf("encode cluster: %v", err)
	}
	return storage.PutCluster{Name: c.name, Mode: c.mode, IfMatch: c.ifMatch, Document: line, ManagedBy: c.manager}
}

func testClusterLife(e *env) {
	c := cluster{name: e.name("east"), manager: model.ManagedByAPI}
	key := storage.ClusterKey(c.name)
	e.wantAbsent(key)
	first := e.putCluster(c)
	created := e.outcome(storage.Created, first)
	e.wantStored(key, first.Document, created)
	same(e, "version after the same again", created.ResourceVersion, e.outcome(storage.Unchanged, first).ResourceVersion)

	c.cordoned = true
	second := e.putCluster(c)
	updated := e.outcome(storage.Updated, second)
	same(e, "generation", 2, updated.Generation)
	e.wantStored(key, second.Document, updated)

	deleted := e.outcome(storage.Deleted, storage.DeleteCluster{Name: c.name})
	if deleted.ResourceVersion != 0 || deleted.Generation != 0 {
		e.Errorf("deleted: got %+v, want no version", deleted)
	}
	e.wantAbsent(key)
	same(e, "generation when made again", 1, e.outcome(storage.Created, second).Generation)
}

func testClusterRules(e *env) {
	c := cluster{name: e.name("east"), manager: model.ManagedByAPI, mode: storage.Update}
	e.reject(model.CodeNotFound, e.putCluster(c))
	e.reject(model.CodeNotFound, storage.DeleteCluster{Name: c.name})
	c.mode, c.ifMatch = storage.Upsert, 1
	e.reject(model.CodeFailedPrecondition, e.putCluster(c))
	c.mode, c.ifMatch = storage.Create, 0
	created := e.accept(e.putCluster(c))
	c.cordoned = true
	e.reject(model.CodeConflict, e.putCluster(c))
	c.mode, c.ifMatch = storage.Update, created.ResourceVersion+1
	e.reject(model.CodeFailedPrecondition, e.putCluster(c))
	e.reject(model.CodeFailedPrecondition, storage.DeleteCluster{Name: c.name, IfMatch: c.ifMatch})
	c.ifMatch = created.ResourceVersion
	updated := e.outcome(storage.Updated, e.putCluster(c))
	e.outcome(storage.Deleted, storage.DeleteCluster{Name: c.name, IfMatch: updated.ResourceVersion})
}

func testClusterManager(e *env) {
	c := cluster{name: e.name("east"), manager: model.ManagedByAPI}
	e.accept(e.putCluster(c))
	c.manager = model.ManagedByConfig
	e.outcome(storage.Updated, e.putCluster(c))
	c.manager = model.ManagedByAPI
	e.reject(model.CodeConflict, e.putCluster(c))
	c.manager, c.cordoned = model.ManagedByConfig, true
	e.outcome(storage.Updated, e.putCluster(c))
	e.outcome(storage.Deleted, storage.DeleteCluster{Name: c.name})
}

// unitsOn names the units of a cluster, through the index.
func (e *env) unitsOn(cluster string) []string {
	e.Helper()
	names := []string{}
	counted := 0
	e.view(func(r storage.Reader) (err error) {
		if counted, err = storage.CountUnitsOnCluster(r, cluster); err != nil {
			return err
		}
		return storage.UnitsOnCluster(r, cluster, func(deployment, unit string) (bool, error) {
			names = append(names, deployment+"/"+unit)
			return true, nil
		})
	})
	same(e, "number of units on "+cluster, len(names), counted)
	return names
}

func testClusterUnits(e *env) {
	_, d, _ := e.deployed()
	east, west := e.name("east"), e.name("west")
	e.register(east, west)
	record := func(put []model.UnitStatus, remove ...storage.UnitRef) {
		e.Helper()
		e.accept(storage.RecordUnitStatus{Deployment: d.key, Generation: 1, Put: put, Remove: remove})
	}
	record([]model.UnitStatus{
		unit(d.key, east, "u2", model.UnitPending), unit(d.key, east, "u1", model.UnitPending), unit(d.key, west, "u3", model.UnitPending),
	})
	same(e, "units in east", []string{d.key + "/u1", d.key + "/u2"}, e.unitsOn(east))
	same(e, "units in west", []string{d.key + "/u3"}, e.unitsOn(west))
	record([]model.UnitStatus{unit(d.key, east, "u1", model.UnitRunning)}, storage.UnitRef{Cluster: east, Unit: "u2"}, storage.UnitRef{Cluster: west, Unit: "u1"})
	same(e, "units in east", []string{d.key + "/u1"}, e.unitsOn(east))
	same(e, "units in west", []string{d.key + "/u3"}, e.unitsOn(west))

	e.accept(storage.DeleteDeployment{Key: d.key})
	e.accept(storage.RecordUnitStatus{
		Deployment: d.key, Generation: 2, Remove: []storage.UnitRef{{Cluster: east, Unit: "u1"}, {Cluster: west, Unit: "u3"}}, Forget: true,
	})
	same(e, "units in east", []string{}, e.unitsOn(east))
	same(e, "units in west", []string{}, e.unitsOn(west))
}

func testDeleteUsedCluster(e *env) {
	_, d, _ := e.deployed()
	c := cluster{name: d.envs[0]}
	e.accept(e.putCluster(c))
	e.withUnit(d, 1)
	ref := e.withUnit(d, 1)
	result := e.reject(model.CodeConflict, storage.DeleteCluster{Name: c.name})
	if !strings.Contains(result.Message, "2 units") {
		e.Errorf("message: got %q, want it to count the units", result.Message)
	}
	e.accept(storage.RecordUnitStatus{Deployment: d.key, Generation: 1, Remove: []storage.UnitRef{ref}})
	e.reject(model.CodeConflict, storage.DeleteCluster{Name: c.name})
	e.accept(storage.DeleteDeployment{Key: d.key})
	e.reject(model.CodeConflict, storage.DeleteCluster{Name: c.name})
	for _, u := range e.units(d.key) {
		e.accept(storage.RecordUnitStatus{Deployment: d.key, Generation: 2, Remove: []storage.UnitRef{{Cluster: u.Cluster, Unit: u.ID}}})
	}
	e.outcome(storage.Deleted, storage.DeleteCluster{Name: c.name})
}

func testDeleteClusterByForce(e *env) {
	_, d, _ := e.deployed()
	c := cluster{name: d.envs[0]}
	made := e.accept(e.putCluster(c))
	e.accept(e.health(c.name, model.ClusterUnhealthy))
	lost := e.withUnit(d, 1)
	elsewhere := unit(d.key, e.name("west"), "u", model.UnitRunning)
	e.register(elsewhere.Cluster)
	e.accept(storage.RecordUnitStatus{Deployment: d.key, Generation: 1, Put: []model.UnitStatus{elsewhere}})
	w := e.watch(storage.WatchOptions{Since: made.Index, Kinds: []storage.Kind{storage.KindUnit, storage.KindCluster, storage.KindClusterHealth}})

	deleted := e.outcome(storage.Deleted, storage.DeleteCluster{Name: c.name, Force: true})
	same(e, "units of the deployment", []model.UnitStatus{elsewhere}, e.units(d.key))
	same(e, "units in the cluster", []string{}, e.unitsOn(c.name))
	e.wantAbsent(storage.ClusterHealthKey(c.name))
	var ends []seen
	for _, change := range short(e.until(w, deleted.Index), c.name, d.key) {
		if change.Type == storage.EventDelete {
			ends = append(ends, change)
		}
	}
	same(e, "what ended", []seen{
		{deleted.Index, storage.EventDelete, storage.KindUnit, d.key + "/" + lost.Cluster + "/" + lost.Unit},
		{deleted.Index, storage.EventDelete, storage.KindClusterHealth, c.name},
		{deleted.Index, storage.EventDelete, storage.KindCluster, c.name},
	}, ends)
	for kind, name := range map[string]string{model.EventAboutCluster: c.name, model.EventAboutDeployment: d.key} {
		if events := e.events(storage.EventQuery{Kind: kind, Name: name}); len(events) != 1 || events[0].Type != model.EventWarning {
			e.Errorf("events about %s %s: got %+v, want one warning", kind, name, events)
		}
	}
}

func (e *env) health(cluster, status string) storage.RecordClusterHealth {
	return storage.RecordClusterHealth{Clusters: []storage.NamedHealth{{
		Name: cluster, Health: model.ClusterHealth{ClusterName: cluster, Status: status, LastSeen: time.Unix(7, 0).UTC()},
	}}}
}

func testClusterHealth(e *env) {
	c := cluster{name: e.name("east")}
	now := func() (health model.ClusterHealth, found bool) {
		e.view(func(r storage.Reader) (err error) {
			health, found, err = storage.DecodeClusterHealth(r, c.name)
			return err
		})
		return health, found
	}
	e.outcome(storage.Unchanged, e.health(c.name, model.ClusterHealthy))
	if _, found := now(); found {
		e.Error("the health of a cluster that does not exist was recorded")
	}
	made := e.accept(e.putCluster(c))
	for _, status := range []string{model.ClusterHealthy, model.ClusterDegraded} {
		record := e.health(c.name, status)
		recorded := e.outcome(storage.Updated, record)
		e.outcome(storage.Unchanged, record)
		health, found := now()
		same(e, "found", true, found)
		same(e, "health", record.Clusters[0].Health, health)
		events := short(e.until(e.watch(storage.WatchOptions{Since: recorded.Index - 1, Kinds: []storage.Kind{storage.KindClusterHealth}}), recorded.Index), c.name)
		same(e, "changes", []seen{{recorded.Index, storage.EventPut, storage.KindClusterHealth, c.name}}, events)
	}
	same(e, "version of the cluster", made.ResourceVersion, e.stamp(storage.ClusterKey(c.name)).ResourceVersion)
	e.accept(storage.DeleteCluster{Name: c.name})
	if _, found := now(); found {
		e.Errorf("the health of %s is left without the cluster", c.name)
	}
}
