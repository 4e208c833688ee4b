package dispatch

import (
	"slices"
	"time"

	"github.com/oprc/oprc-pm/crm/plan"
	"github.com/oprc/oprc-pm/model"
)

// sameObserved compares what is written; the deletion mark is the store's.
func sameObserved(a, b model.DeploymentObserved) bool {
	return a.ObservedGeneration == b.ObservedGeneration && a.Condition == b.Condition && a.Revision == b.Revision &&
		slices.EqualFunc(a.Conditions, b.Conditions, sameCondition) && sameSummary(a.Status, b.Status) &&
		sameRollout(a.RolloutStatus, b.RolloutStatus) &&
		plan.SamePlaces(a.PlacedOn, b.PlacedOn) && slices.EqualFunc(a.AvoidedClusters, b.AvoidedClusters, sameAvoided)
}

func sameAvoided(a, b model.AvoidedCluster) bool {
	return a.Cluster == b.Cluster && a.Reason == b.Reason && a.Message == b.Message && a.Since.Equal(b.Since)
}

func sameRollout(a, b *model.RolloutStatus) bool {
	if a == nil || b == nil {
		return a == b
	}
	one, other := *a, *b
	one.Since, other.Since = time.Time{}, time.Time{}
	return one == other && a.Since.Equal(b.Since)
}

func sameCondition(a, b model.Condition) bool {
	same := a.LastTransitionTime.Equal(b.LastTransitionTime)
	a.LastTransitionTime, b.LastTransitionTime = time.Time{}, time.Time{}
	return same && a == b
}

func sameSummary(a, b *model.DeploymentStatusSummary) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.ReplicationFactor == b.ReplicationFactor && a.LastError == b.LastError &&
		slices.Equal(a.SelectedEnvs, b.SelectedEnvs) &&
		sameFigure(a.AchievedQuorumAvailability, b.AchievedQuorumAvailability)
}

func sameFigure(a, b *float64) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

func sameUnit(a, b model.UnitStatus) bool {
	same := a.LastTransitionTime.Equal(b.LastTransitionTime) && sameTime(a.NextRetryAt, b.NextRetryAt)
	a.LastTransitionTime, b.LastTransitionTime = time.Time{}, time.Time{}
	a.NextRetryAt, b.NextRetryAt = nil, nil
	return same && a == b
}

func sameTime(a, b *time.Time) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Equal(*b)
}
