package dispatch

import (
	"fmt"
	"time"

	"github.com/oprc/oprc-pm/model"
)

// reachable tells whether what is recorded of the units can be confirmed. It goes
// by the recorded health of their clusters, so it changes with that and not as
// time goes by.
func (o observer) reachable() model.Condition {
	units := o.wanted
	if o.w.deleting || o.w.unplanned || o.givenUp() {
		units = o.records
	}
	var silent []string
	told := map[string]bool{}
	accepted, confirmed := 0, 0
	for _, unit := range units {
		if unit.CRMID == "" {
			continue // nothing was ever heard of it
		}
		accepted++
		text, answers := o.hears(unit.Cluster)
		switch {
		case answers:
			confirmed++
		case !told[unit.Cluster]:
			told[unit.Cluster] = true
			silent = append(silent, text)
		}
	}
	if len(silent) == 0 {
		return verdict(ConditionReachable, model.ConditionTrue, "Reachable", "every cluster with units can be asked")
	}
	return verdict(ConditionReachable, model.ConditionFalse, "ClusterUnreachable",
		"%d of %d units confirmed; cannot be asked: %s", confirmed, accepted, model.NameList(silent))
}

// hears tells whether a cluster can be asked, or since when it cannot.
func (o observer) hears(cluster string) (since string, answers bool) {
	health, known := o.health(cluster)
	switch {
	case !known:
		return cluster + " (not registered)", false
	case canBeAsked(health):
		return "", true
	case health.Since == nil:
		return cluster, false
	}
	return fmt.Sprintf("%s since %s", cluster, health.Since.UTC().Format(time.RFC3339)), false
}

// Reasons for which a cluster is unhealthy by its own word.
const (
	reasonReportedUnhealthy = "ReportedUnhealthy"
	reasonNoReadyNodes      = "NoReadyNodes"
)

// canBeAsked tells whether a cluster answers. The circuit does not count: it opens
// and closes more often than anybody wants to have written down.
func canBeAsked(h model.ClusterHealth) bool {
	switch h.Status {
	case model.ClusterUnknown:
		return false
	case model.ClusterUnhealthy:
		return h.Reason == reasonReportedUnhealthy || h.Reason == reasonNoReadyNodes
	}
	return true
}

// reachChanged tells whether another health of a cluster changes what is said of
// the units there.
func reachChanged(before, after model.ClusterHealth) bool {
	if canBeAsked(before) || canBeAsked(after) {
		return canBeAsked(before) != canBeAsked(after)
	}
	return !sameTime(before.Since, after.Since)
}
