package dispatch

import (
	"fmt"
	"time"

	"github.com/oprc/oprc-pm/crm/inventory"
	"github.com/oprc/oprc-pm/model"
)

// reachable tells whether what is recorded of the units can be confirmed.
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
	silent := o.silence(cluster)
	switch {
	case !o.known(cluster):
		return cluster + " (not registered)", false
	case silent == nil:
		return "", true
	case silent.since == nil:
		return cluster, false
	}
	return fmt.Sprintf("%s since %s", cluster, silent.since.UTC().Format(time.RFC3339)), false
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

// silence is a stretch of time in which a cluster cannot be asked. It goes on until
// the cluster has answered for a while: each beginning and end is a write for all
// deployments there, and a cluster may come and go all day.
type silence struct {
	// since is recorded of the cluster; nil when it was never heard of.
	since *time.Time
	// answering is since when it answers again, by the clock of this process;
	// zero: it does not.
	answering time.Time
}

// silence tells whether a cluster cannot be asked; nil when it can.
func (r *run) silence(cluster string) *silence {
	r.mu.Lock()
	known := r.silences[cluster]
	r.mu.Unlock()
	if known != nil {
		return known
	}
	if view, exists := r.deps.Inventory.Cluster(cluster); exists && !canBeAsked(view.Health) {
		return &silence{since: view.Health.Since}
	}
	return nil
}

// listen follows whether a cluster can be asked, and tells whether that is news for
// its deployments. The caller holds mu.
func (r *run) listen(c inventory.Change) (news bool) {
	if c.Before == nil || c.After == nil {
		delete(r.silences, c.Cluster)
		return false // its coming and going are news themselves
	}
	known := r.silences[c.Cluster]
	before, now := c.Before.Health, c.After.Health
	switch was, is := canBeAsked(before), canBeAsked(now); {
	case !is && known == nil:
		r.silences[c.Cluster] = &silence{since: now.Since}
		return was || !sameTime(before.Since, now.Since)
	case !is:
		r.silences[c.Cluster] = &silence{since: known.since}
	case was:
		// nothing new
	case isUnprobed(before.Reason):
		delete(r.silences, c.Cluster)
		return true
	case known == nil:
		r.silences[c.Cluster] = &silence{since: before.Since, answering: time.Now()}
	default:
		r.silences[c.Cluster] = &silence{since: known.since, answering: time.Now()}
	}
	return false
}

// endSilences ends those of clusters that have answered for a while, and returns
// these and the time until it may be over for another one.
func (r *run) endSilences() (clusters []string, next time.Duration) {
	next = time.Hour
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for cluster, s := range r.silences {
		if s.answering.IsZero() {
			continue
		}
		left := s.answering.Add(r.cfg.CalmPeriod).Sub(now)
		if left > 0 {
			next = min(next, left)
			continue
		}
		delete(r.silences, cluster)
		clusters = append(clusters, cluster)
	}
	return clusters, next
}
