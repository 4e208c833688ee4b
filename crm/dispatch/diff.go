package dispatch

import (
	"cmp"
	"slices"
	"time"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// wish is what should be, as far as units are concerned.
type wish struct {
	// deleting: nothing should be.
	deleting bool
	// unplanned: there is no plan, so everything stays as it is. A plan that
	// does not work out must not tear down what runs.
	unplanned bool
	plan      Plan
	// configured are the clusters that can be called.
	configured map[string]bool
}

// diff moves unit records towards a wish: it returns the records as they should
// be recorded before anything is done. Both are sorted. It is pure. What is then to be
// done follows from each record's phase, see nextCall.
//
// A changed unit is a new one. An old one stays until the new one in the same
// cluster runs, see keptUnits; the other old ones go at once.
func diff(w wish, have []model.UnitStatus, now time.Time) []model.UnitStatus {
	next := make([]model.UnitStatus, 0, len(have)+len(w.plan.Units))
	wanted := map[storage.UnitRef]bool{}
	selected := map[string]bool{}
	runs := map[string]bool{}
	unknown := map[string]bool{}
	for _, env := range w.plan.UnknownEnvs {
		unknown[env] = true
	}
	if !w.deleting && !w.unplanned {
		for _, unit := range w.plan.Units {
			ref := storage.UnitRef{Cluster: unit.TargetCluster, Unit: unit.ID}
			wanted[ref], selected[unit.TargetCluster] = true, true
			if record, exists := findUnit(have, ref); !exists {
				next = append(next, newRecord(unit, now))
			} else if record.Phase == model.UnitRunning {
				runs[unit.TargetCluster] = true
			}
		}
	}
	kept := keptUnits(have, wanted, runs)
	for _, record := range have {
		switch {
		case w.deleting:
			record = enter(record, model.UnitDeleting, "deployment is deleted", now)
		case w.unplanned || unknown[record.Cluster]:
		case wanted[refOf(record)]:
			if record.Phase == model.UnitDeleting {
				record = enter(record, model.UnitPending, "wanted again", now)
			}
		case !selected[record.Cluster]:
			record = enter(record, model.UnitDeleting, "cluster is no longer a target", now)
		case kept[record.Cluster] != record.ID:
			record = enter(record, model.UnitDeleting, "replaced", now)
		}
		if !w.configured[record.Cluster] {
			record.LastError = notConfigured
		}
		next = append(next, record)
	}
	slices.SortFunc(next, compareUnits)
	return next
}

// keptUnits returns the old unit that stays in each cluster until a new one runs
// there: one that runs, else the oldest that was accepted. It is never more than
// one, or a row of updates that do not come up would fill the cluster.
func keptUnits(have []model.UnitStatus, wanted map[storage.UnitRef]bool, runs map[string]bool) map[string]string {
	best := map[string]model.UnitStatus{}
	kept := map[string]string{}
	for _, record := range have {
		switch {
		case wanted[refOf(record)], runs[record.Cluster]:
			continue
		case record.CRMID == "", record.Phase == model.UnitPending, record.Phase == model.UnitDeleting:
			continue
		}
		if other, exists := best[record.Cluster]; !exists || serves(record, other) {
			best[record.Cluster], kept[record.Cluster] = record, record.ID
		}
	}
	return kept
}

// serves tells whether old unit a is more likely to serve than old unit b.
func serves(a, b model.UnitStatus) bool {
	if aRuns, bRuns := a.Phase == model.UnitRunning, b.Phase == model.UnitRunning; aRuns != bRuns {
		return aRuns
	}
	return a.Generation < b.Generation
}

const notConfigured = "cluster is not configured"

// enter moves a record to a phase, unless it is there.
func enter(record model.UnitStatus, phase model.UnitPhase, message string, now time.Time) model.UnitStatus {
	if record.Phase == phase {
		return record
	}
	record.Phase, record.Message, record.LastError = phase, message, ""
	record.LastTransitionTime = now
	return record
}

func newRecord(unit model.DeploymentUnit, now time.Time) model.UnitStatus {
	return model.UnitStatus{
		ID: unit.ID, DeploymentKey: unit.DeploymentKey, Cluster: unit.TargetCluster,
		Generation: unit.Generation, Phase: model.UnitPending, LastTransitionTime: now,
	}
}

// nextCall names the call that a record asks for, "" for none. wanted tells
// whether the unit's content is known, without which it cannot be deployed.
func nextCall(record model.UnitStatus, wanted bool) string {
	switch record.Phase {
	case model.UnitDeleting:
		return callDelete
	case model.UnitDeploying, model.UnitRunning:
		return callStatus
	case model.UnitDown:
		if record.CRMID != "" {
			return callStatus
		}
	}
	if wanted {
		return callDeploy
	}
	return ""
}

// changes compares records before and after; both are sorted.
func changes(before, after []model.UnitStatus) (put []model.UnitStatus, remove []storage.UnitRef) {
	for _, record := range after {
		if old, exists := findUnit(before, refOf(record)); !exists || !sameUnit(old, record) {
			put = append(put, record)
		}
	}
	for _, record := range before {
		if _, exists := findUnit(after, refOf(record)); !exists {
			remove = append(remove, refOf(record))
		}
	}
	return put, remove
}

func sameUnit(a, b model.UnitStatus) bool {
	same := a.LastTransitionTime.Equal(b.LastTransitionTime)
	a.LastTransitionTime, b.LastTransitionTime = time.Time{}, time.Time{}
	return same && a == b
}

func refOf(record model.UnitStatus) storage.UnitRef {
	return storage.UnitRef{Cluster: record.Cluster, Unit: record.ID}
}

// compareUnits orders records by cluster, then id.
func compareUnits(a, b model.UnitStatus) int {
	return cmp.Or(cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.ID, b.ID))
}

// findUnit looks a record up in sorted ones.
func findUnit(records []model.UnitStatus, ref storage.UnitRef) (model.UnitStatus, bool) {
	i, found := slices.BinarySearchFunc(records, model.UnitStatus{Cluster: ref.Cluster, ID: ref.Unit}, compareUnits)
	if !found {
		return model.UnitStatus{}, false
	}
	return records[i], true
}
