package dispatch

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// step is what diff works towards: a wish, as far as the rollout has come.
type step struct {
	wish
	// hold: everything stays as it is.
	hold bool
	// withdraw: the plan was given up. Its units go, others stay.
	withdraw bool
	// start are the clusters in which the wanted unit may be made.
	start map[string]bool
	// places of the plan, with what they replace.
	places []model.PlacedCluster
	// known tells whether a cluster exists, open whether it may be called.
	known, open func(cluster string) bool
	// revision that new units belong to.
	revision uint64
}

// diff moves unit records towards a wish: it returns the records as they should
// be recorded before anything is done. Both are sorted. It is pure. What is then to be
// done follows from each record's phase, see nextCall.
//
// A changed unit is a new one. An old one stays until the new one in the same
// cluster runs, or the one in the cluster that takes its place; the other old ones
// go at once.
func diff(s step, have []model.UnitStatus, now time.Time) []model.UnitStatus {
	next := make([]model.UnitStatus, 0, len(have)+len(s.plan.Units))
	wanted, selected := s.wanted()
	if !s.deleting && !s.unplanned && !s.hold && !s.withdraw {
		for _, unit := range s.plan.Units {
			ref := storage.UnitRef{Cluster: unit.TargetCluster, Unit: unit.ID}
			if _, exists := findUnit(have, ref); !exists && s.start[unit.TargetCluster] {
				next = append(next, newRecord(unit, s.revision, now))
			}
		}
	}
	kept := s.keptUnits(have, wanted, selected)
	for _, record := range have {
		next = append(next, s.move(record, wanted, selected, kept, now))
	}
	for i := range next {
		next[i] = s.note(next[i])
	}
	slices.SortFunc(next, compareUnits)
	return next
}

// wanted returns the units and the clusters of the plan.
func (s step) wanted() (units map[storage.UnitRef]bool, clusters map[string]bool) {
	units, clusters = map[storage.UnitRef]bool{}, map[string]bool{}
	for _, unit := range s.plan.Units {
		units[storage.UnitRef{Cluster: unit.TargetCluster, Unit: unit.ID}] = true
		clusters[unit.TargetCluster] = true
	}
	return units, clusters
}

// move decides about one record.
func (s step) move(record model.UnitStatus, wanted map[storage.UnitRef]bool, selected map[string]bool, kept map[string]string, now time.Time) model.UnitStatus {
	isWanted := wanted[refOf(record)]
	switch {
	case s.deleting:
		return enter(record, model.UnitDeleting, "deployment is deleted", now)
	case s.unplanned, s.hold:
		return record
	case s.withdraw:
		if isWanted || !couldServe(record) {
			return enter(record, model.UnitDeleting, fmt.Sprintf("revision %d was given up", s.revision), now)
		}
		return record
	case isWanted:
		if record.Phase == model.UnitDeleting {
			return enter(record, model.UnitPending, "wanted again", now)
		}
		return record
	case slices.Contains(s.plan.UnknownEnvs, record.Cluster), kept[record.Cluster] == record.ID:
		return record
	case selected[record.Cluster]:
		return enter(record, model.UnitDeleting, "replaced", now)
	}
	for _, place := range s.places {
		if place.Replaces == record.Cluster {
			return enter(record, model.UnitDeleting, "moved to cluster "+place.Cluster, now)
		}
	}
	return enter(record, model.UnitDeleting, "cluster is no longer a target", now)
}

// keptUnits returns the old unit that stays in each cluster for the time being:
// one that runs, else the oldest that was accepted. It is never more than one, or
// a row of updates that do not come up would fill the cluster.
func (s step) keptUnits(have []model.UnitStatus, wanted map[storage.UnitRef]bool, selected map[string]bool) map[string]string {
	runs := map[string]bool{}
	for _, record := range have {
		if wanted[refOf(record)] && record.Phase == model.UnitRunning {
			runs[record.Cluster] = true
		}
	}
	needed := map[string]bool{}
	for cluster := range selected {
		needed[cluster] = !runs[cluster]
	}
	for _, place := range s.places {
		if place.Replaces != "" && !selected[place.Replaces] && !runs[place.Cluster] {
			needed[place.Replaces] = true
		}
	}
	best := map[string]model.UnitStatus{}
	kept := map[string]string{}
	for _, record := range have {
		if wanted[refOf(record)] || !needed[record.Cluster] || !couldServe(record) {
			continue
		}
		if other, exists := best[record.Cluster]; !exists || betterOld(record, other) {
			best[record.Cluster], kept[record.Cluster] = record, record.ID
		}
	}
	return kept
}

// betterOld tells whether old unit a is more likely to serve than old unit b.
func betterOld(a, b model.UnitStatus) bool {
	if aRuns, bRuns := a.Phase == model.UnitRunning, b.Phase == model.UnitRunning; aRuns != bRuns {
		return aRuns
	}
	return a.Generation < b.Generation
}

const (
	notRegistered = "cluster is not registered"
	waitingText   = "waiting for the cluster"
)

// note says of a unit that asks for a call whether it has to wait for its cluster.
func (s step) note(record model.UnitStatus) model.UnitStatus {
	if !s.known(record.Cluster) {
		record.LastError = notRegistered
		return record
	}
	if record.LastError == notRegistered {
		record.LastError = ""
	}
	waits := record.Phase == model.UnitPending || record.Phase == model.UnitDeleting
	switch {
	case waits && !s.open(record.Cluster):
		record.Message = waitingText
	case record.Message == waitingText:
		record.Message = ""
	}
	return record
}

// enter moves a record to a phase, unless it is there.
func enter(record model.UnitStatus, phase model.UnitPhase, message string, now time.Time) model.UnitStatus {
	if record.Phase == phase {
		return record
	}
	record.Phase, record.Message, record.LastError = phase, message, ""
	record.Attempts, record.NextRetryAt = 0, nil
	record.LastTransitionTime = now
	return record
}

func newRecord(unit model.DeploymentUnit, revision uint64, now time.Time) model.UnitStatus {
	return model.UnitStatus{
		ID: unit.ID, DeploymentKey: unit.DeploymentKey, Cluster: unit.TargetCluster,
		Generation: unit.Generation, Revision: revision, Phase: model.UnitPending, LastTransitionTime: now,
	}
}

// nextCall names the call that a record asks for, "" for none. wanted tells
// whether the unit's content is known, without which it cannot be deployed; polled
// that units that run have to be asked after.
func nextCall(record model.UnitStatus, wanted, polled bool) string {
	switch record.Phase {
	case model.UnitDeleting:
		return callDelete
	case model.UnitDeploying:
		return callStatus
	case model.UnitRunning:
		if polled {
			return callStatus
		}
		return ""
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
