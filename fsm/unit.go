package fsm

import (
	"bytes"
	"slices"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

func (a *applier) recordUnitStatus(c encodedRecordUnitStatus) (storage.Result, error) {
	name := c.Deployment
	old, err := a.load(storage.DeploymentKey(name))
	if err != nil {
		return storage.Result{}, err
	}
	if !old.exists() {
		return a.reject(model.CodeConflict, "deployment %q is gone", name)
	}
	if old.stamp.Generation != c.Generation {
		return a.reject(model.CodeConflict, "deployment %q is at generation %d, not %d", name, old.stamp.Generation, c.Generation)
	}
	if c.Forget {
		if rejected, err := a.checkForget(c, old); rejected != nil || err != nil {
			return deref(rejected), err
		}
	}
	if rejected, err := a.checkClusters(c); rejected != nil || err != nil {
		return deref(rejected), err
	}
	changed, err := a.writeUnits(c)
	if err != nil {
		return storage.Result{}, err
	}
	if err := a.keepEvents(c.events); err != nil {
		return storage.Result{}, err
	}
	if c.Forget {
		return storage.Result{Index: a.index, Outcome: storage.Deleted}, a.forget(name, old)
	}
	revised, err := a.writeRevisions(c)
	if err != nil {
		return storage.Result{}, err
	}
	return a.writeObserved(name, old, c.observed, changed || revised || len(c.events) > 0)
}

// checkForget holds the rule that only a deleted deployment without units, after
// this command, is forgotten.
func (a *applier) checkForget(c encodedRecordUnitStatus, old stored) (*storage.Result, error) {
	if _, deleting := cutDeletionMark(old.observed); !deleting {
		return a.rejection(model.CodeConflict, "deployment %q is not deleted", c.Deployment), nil
	}
	if len(c.put) > 0 {
		return a.rejection(model.CodeConflict, "deployment %q would be forgotten with units", c.Deployment), nil
	}
	var left []byte
	err := storage.ScanPrefix(a.tx, storage.UnitsOf(c.Deployment), func(key, _ []byte) (bool, error) {
		removed := slices.ContainsFunc(c.Remove, func(ref storage.UnitRef) bool {
			return bytes.Equal(key, storage.UnitKey(c.Deployment, ref.Cluster, ref.Unit))
		})
		if !removed {
			left = bytes.Clone(key)
		}
		return removed, nil
	})
	if err != nil || left == nil {
		return nil, err
	}
	return a.rejection(model.CodeConflict, "deployment %q still has %s", c.Deployment, left), nil
}

// checkClusters holds the rule that a unit is recorded anew only in a cluster that
// is registered. An intent may arrive just after its cluster was deleted: nobody
// could carry it out, nor remove it again. What is recorded may be updated and
// removed in any case.
func (a *applier) checkClusters(c encodedRecordUnitStatus) (*storage.Result, error) {
	for _, unit := range c.put {
		recorded, err := a.tx.Get(storage.UnitKey(c.Deployment, unit.Cluster, unit.Unit))
		if err != nil {
			return nil, err
		}
		if recorded != nil {
			continue
		}
		cluster, err := a.tx.Get(storage.ClusterKey(unit.Cluster))
		if err != nil {
			return nil, err
		}
		if cluster == nil {
			return a.rejection(model.CodeConflict, "cluster %q is not registered: unit %q of deployment %q must be planned again",
				unit.Cluster, unit.Unit, c.Deployment), nil
		}
	}
	return nil, nil
}

// writeUnits writes and removes unit records and reports whether any changed.
func (a *applier) writeUnits(c encodedRecordUnitStatus) (changed bool, err error) {
	for _, unit := range c.put {
		key := storage.UnitKey(c.Deployment, unit.Cluster, unit.Unit)
		present, err := a.tx.Get(key)
		if err != nil {
			return false, err
		}
		if bytes.Equal(present, unit.document) {
			continue
		}
		changed = true
		// The event must not keep the whole log entry in memory.
		document := bytes.Clone(unit.document)
		if err := a.putUnit(c.Deployment, unit.UnitRef, key, document); err != nil {
			return false, err
		}
	}
	for _, ref := range c.Remove {
		key := storage.UnitKey(c.Deployment, ref.Cluster, ref.Unit)
		present, err := a.tx.Get(key)
		if err != nil {
			return false, err
		}
		if present == nil {
			continue
		}
		changed = true
		if err := a.removeUnit(c.Deployment, ref); err != nil {
			return false, err
		}
	}
	return changed, nil
}

// putUnit writes a unit's record and its index key.
func (a *applier) putUnit(deployment string, ref storage.UnitRef, key, document []byte) error {
	if err := a.tx.Put(storage.ByCluster.Key(ref.Cluster, unitTerm(deployment, ref)), storage.IndexValue); err != nil {
		return err
	}
	return a.put(storage.KindUnit, unitName(deployment, ref), key, document)
}

// removeUnit removes a unit's record and its index key.
func (a *applier) removeUnit(deployment string, ref storage.UnitRef) error {
	if err := a.tx.Delete(storage.ByCluster.Key(ref.Cluster, unitTerm(deployment, ref))); err != nil {
		return err
	}
	return a.remove(storage.KindUnit, unitName(deployment, ref), storage.UnitKey(deployment, ref.Cluster, ref.Unit))
}

// unitTerm is how a unit is named under its cluster: deployment/unit.
func unitTerm(deployment string, ref storage.UnitRef) string { return deployment + "/" + ref.Unit }

// unitName is the key of a unit in events: deployment/cluster/unit.
func unitName(deployment string, ref storage.UnitRef) string {
	return deployment + "/" + ref.Cluster + "/" + ref.Unit
}

// writeObserved replaces the observed members of a deployment. The desired state
// and its generation stay as they are.
func (a *applier) writeObserved(name string, old stored, observed []byte, changed bool) (storage.Result, error) {
	before, deleting := cutDeletionMark(old.observed)
	if observed == nil || bytes.Equal(before, observed) {
		result := a.unchanged(old)
		if changed {
			result.Outcome = storage.Updated
		}
		return result, nil
	}
	if deleting {
		mark := old.observed[:len(old.observed)-len(before)]
		observed = joinMembers(bytes.TrimSuffix(mark, []byte(",")), observed)
	}
	stamp := old.stamp
	stamp.ResourceVersion = a.index
	result := a.putResult(old, stamp)
	return result, a.put(storage.KindDeployment, name, storage.DeploymentKey(name), storage.BuildDocument(stamp, observed, old.user))
}
