package fsm

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

func (a *applier) putCluster(p storage.Proposal, c storage.PutCluster) (storage.Result, error) {
	key := storage.ClusterKey(c.Name)
	old, err := a.load(key)
	if err != nil {
		return storage.Result{}, err
	}
	what := fmt.Sprintf("cluster %q", c.Name)
	if rejected := a.checkPut(old, c.Document, c.Mode, c.IfMatch, what); rejected != nil {
		return *rejected, nil
	}
	if string(old.user) == string(c.Document) {
		return a.unchanged(old), nil
	}
	if old.exists() && c.ManagedBy != model.ManagedByConfig {
		manager, err := clusterManager(old.raw)
		if err != nil {
			return storage.Result{}, fmt.Errorf("read cluster %s: %w", c.Name, err)
		}
		if manager == model.ManagedByConfig {
			return a.reject(model.CodeConflict, "%s is managed by the nodes' configuration: change it there", what)
		}
	}
	stamp := a.nextStamp(old, p.At)
	result := a.putResult(old, stamp)
	if err := a.put(storage.KindCluster, c.Name, key, storage.BuildDocument(stamp, nil, c.Document)); err != nil {
		return storage.Result{}, err
	}
	return result, a.tellService(p, c.Name, serviceOf(old.user), serviceOf(c.Document))
}

// clusterManager reads who manages a stored cluster.
func clusterManager(document []byte) (model.ClusterManager, error) {
	var manager model.ClusterManager
	var failed error
	err := members(document, func(name string, value jsontext.Value) bool {
		if name != "managed_by" {
			return true
		}
		failed = json.Unmarshal(value, &manager)
		return false
	})
	if err == nil {
		err = failed
	}
	return manager, err
}

func (a *applier) deleteCluster(p storage.Proposal, c storage.DeleteCluster) (storage.Result, error) {
	key := storage.ClusterKey(c.Name)
	old, err := a.load(key)
	if err != nil {
		return storage.Result{}, err
	}
	units, err := a.unitsOn(c.Name)
	if err != nil {
		return storage.Result{}, err
	}
	what := fmt.Sprintf("cluster %q", c.Name)
	if rejected := a.checkDelete(old, c.IfMatch, what); rejected != nil {
		return *rejected, nil
	}
	if len(units) > 0 && !c.Force {
		return a.reject(model.CodeConflict, "%s has %s: drain it first, or force the deletion", what, countUnits(units))
	}
	if err := a.dropUnits(p, c.Name, units); err != nil {
		return storage.Result{}, err
	}
	if err := a.removePresent(storage.KindClusterHealth, c.Name, storage.ClusterHealthKey(c.Name)); err != nil {
		return storage.Result{}, err
	}
	return storage.Result{Index: a.index, Outcome: storage.Deleted}, a.removePresent(storage.KindCluster, c.Name, key)
}

// removePresent is remove for what may not be there.
func (a *applier) removePresent(kind storage.Kind, name string, key []byte) error {
	present, err := a.tx.Get(key)
	if err != nil || present == nil {
		return err
	}
	return a.remove(kind, name, key)
}

// placedUnit is a unit as the index of its cluster names it.
type placedUnit struct{ deployment, unit string }

func (a *applier) unitsOn(cluster string) ([]placedUnit, error) {
	var units []placedUnit
	err := storage.UnitsOnCluster(a.tx, cluster, func(deployment, unit string) (bool, error) {
		units = append(units, placedUnit{deployment, unit})
		return true, nil
	})
	return units, err
}

// countUnits tells how many units of how many deployments there are. units are
// sorted by deployment.
func countUnits(units []placedUnit) string {
	deployments := 0
	for i, unit := range units {
		if i == 0 || units[i-1].deployment != unit.deployment {
			deployments++
		}
	}
	return fmt.Sprintf("%d %s of %d %s", len(units), plural(len(units), "unit"), deployments, plural(deployments, "deployment"))
}

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}

// maxDroppedEvents bounds how many deployments get an event of their own when a
// cluster is removed under them: the ring is for other events too.
const maxDroppedEvents = 100

// dropUnits removes the records of units in a cluster that is removed by force,
// and leaves events that say so.
func (a *applier) dropUnits(p storage.Proposal, cluster string, units []placedUnit) error {
	if len(units) == 0 {
		return nil
	}
	events := []model.Event{{
		At: p.At, Type: model.EventWarning, Kind: model.EventAboutCluster, Name: cluster, Reason: "UnitsDropped", Cluster: cluster,
		Message: "the cluster was removed by force, with the records of " + countUnits(units),
	}}
	for i, unit := range units {
		if err := a.removeUnit(unit.deployment, storage.UnitRef{Cluster: cluster, Unit: unit.unit}); err != nil {
			return err
		}
		if (i == 0 || units[i-1].deployment != unit.deployment) && len(events) <= maxDroppedEvents {
			events = append(events, model.Event{
				At: p.At, Type: model.EventWarning, Kind: model.EventAboutDeployment, Name: unit.deployment, Reason: "UnitsDropped",
				Cluster: cluster, Unit: unit.unit, Message: "the cluster was removed by force, whatever it still runs",
			})
		}
	}
	encoded, err := encodeEvents(events)
	if err != nil {
		return err
	}
	return a.keepEvents(encoded)
}

func (a *applier) recordClusterHealth(c encodedRecordClusterHealth) (storage.Result, error) {
	changed := len(c.events) > 0
	for _, cluster := range c.clusters {
		exists, err := a.tx.Get(storage.ClusterKey(cluster.name))
		if err != nil {
			return storage.Result{}, err
		}
		key := storage.ClusterHealthKey(cluster.name)
		present, err := a.tx.Get(key)
		if err != nil {
			return storage.Result{}, err
		}
		if exists == nil || bytes.Equal(present, cluster.document) {
			continue
		}
		changed = true
		if err := a.put(storage.KindClusterHealth, cluster.name, key, bytes.Clone(cluster.document)); err != nil {
			return storage.Result{}, err
		}
	}
	result := storage.Result{Index: a.index, Outcome: storage.Unchanged}
	if changed {
		result.Outcome = storage.Updated
	}
	return result, a.keepEvents(c.events)
}
