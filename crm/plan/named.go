package plan

import "github.com/oprc/oprc-pm/model"

// unsettled is a named target that wants another cluster to stand in for it.
type unsettled struct {
	target target
	// holder is the index into PlacedOn of the place that is to be left, or whose
	// cluster is gone; -1: the target has none yet.
	holder int
	// left is why the holder is left, or why the target is not taken.
	left rejection
}

// settleNamed decides about the named targets as far as that does not depend on
// what else is selected, and returns those that want a stand-in.
//
// A named target is taken whatever its health. What the deployment requires of a
// cluster holds for it, too: one that does not meet it is no target.
func (w *work) settleNamed() []unsettled {
	var pending []unsettled
	for _, t := range w.named {
		if unsettled, settled := w.settle(t); !settled {
			pending = append(pending, unsettled)
		}
	}
	return pending
}

func (w *work) settle(t target) (unsettled, bool) {
	if s := &w.states[t.cluster]; s.placed >= 0 {
		return w.settlePlaced(t, s.placed)
	}
	at := w.standInOf(t.name)
	if at >= 0 && !w.isGone(at) {
		return w.settleStandIn(t, at)
	}
	reason := w.rejectNew(t.cluster, true)
	switch {
	case reason == fits && !(w.failover && w.clusters[t.cluster].Status == model.ClusterUnhealthy):
		w.take(w.namedPlace(t, whyNamed, -1, at))
		return unsettled{}, true
	case reason == fits:
		return unsettled{target: t, holder: at, left: rejectedUnhealthy}, false
	case reason < rejectedAvoided:
		w.dropped = append(w.dropped, t.cluster)
		return unsettled{}, true
	}
	return unsettled{target: t, holder: at, left: reason}, false
}

// settlePlaced decides about a target in which the deployment is placed.
func (w *work) settlePlaced(t target, at int) (unsettled, bool) {
	switch reason := w.rejectPlaced(t.cluster, &w.d.PlacedOn[at], w.namedWish); {
	case reason == fits:
		w.take(w.namedPlace(t, whyKept, at, -1))
		return unsettled{}, true
	case reason < rejectedAvoided:
		w.dropped = append(w.dropped, t.cluster)
		return unsettled{}, true
	default:
		return unsettled{target: t, holder: at, left: reason}, false
	}
}

// settleStandIn decides about a target that another cluster stands in for.
func (w *work) settleStandIn(t target, at int) (unsettled, bool) {
	if w.states[t.cluster].label != fits {
		w.dropped = append(w.dropped, t.cluster)
		return unsettled{}, true
	}
	place := &w.d.PlacedOn[at]
	i := w.find(place.Cluster)
	usable := w.rejectNew(t.cluster, true) == fits
	healthy := w.clusters[t.cluster].Status == model.ClusterHealthy
	reason := w.rejectPlaced(i, place, w.namedWish)
	switch {
	case usable && healthy && w.failback:
		w.take(w.namedPlace(t, whyFailback, -1, at))
	case reason == fits:
		kept := w.namedPlace(t, whyKept, at, -1)
		kept.cluster, kept.standsFor = i, t.name
		w.take(kept)
	case usable && (healthy || !w.failover):
		w.take(w.namedPlace(t, whyFailback, -1, at))
	default:
		return unsettled{target: t, holder: at, left: reason}, false
	}
	return unsettled{}, true
}

// standInOf returns the index into PlacedOn of the place that stands in for a
// target, or -1. A cluster that is a target itself stands in for nothing. One that
// is gone is returned only if there is no other.
func (w *work) standInOf(name string) int {
	gone := -1
	for at := range w.d.PlacedOn {
		if w.d.PlacedOn[at].For != name {
			continue
		}
		s := &w.states[w.find(w.d.PlacedOn[at].Cluster)]
		switch {
		case s.placed != at || s.named || s.taken:
		case !s.absent:
			return at
		case gone < 0:
			gone = at
		}
	}
	return gone
}

func (w *work) namedPlace(t target, because why, was, from int) place {
	return place{cluster: t.cluster, why: because, was: was, from: from, wish: w.namedWish}
}

// standIn finds a cluster for an unsettled target, and tells whether it did.
// Targets that have no place to be left and cannot be taken right now (neither
// avoided nor drained) are replaced only when the deployment wants failover.
func (w *work) standIn(u unsettled) bool {
	leaves := u.holder >= 0 && !w.isGone(u.holder) || u.left == rejectedAvoided || u.left == rejectedDraining
	if !leaves && !w.failover {
		return false
	}
	p := place{why: whyStandIn, was: -1, from: u.holder, standsFor: u.target.name, wish: w.namedWish}
	if w.d.Failover != nil && len(w.d.Failover.Backups) > 0 {
		p.cluster = w.pickBackup()
	} else if p.cluster = w.pick(w.fitStandIns(), w.standInScope, 0, false); p.cluster >= 0 {
		p.detail = w.compared(p.cluster, w.standInScope)
	}
	if p.cluster < 0 {
		return false
	}
	w.take(p)
	return true
}

// fitStandIns returns the clusters that may stand in for a target when no backups
// are named.
func (w *work) fitStandIns() []int {
	if w.fit == nil {
		w.fit = w.memory.newInts(len(w.standIns))
		for _, i := range w.standIns {
			if !w.states[i].named && w.rejectNew(i, false) == fits {
				w.fit = append(w.fit, i)
			}
		}
	}
	return w.fit
}

// pickBackup returns the first backup that can be used, the healthy before the
// degraded, or -1. A backup was asked for by name, so its weight does not count.
func (w *work) pickBackup() int {
	best, bestHealth := -1, 0
	scope := w.measure(w.standInScope)
	for _, i := range w.backups {
		c, s := &w.clusters[i], &w.states[i]
		if s.taken || s.reserved || s.named || w.rejectNew(i, true) != fits || rejectHealth(c) != fits {
			continue
		}
		if !w.spreads(i, scope) {
			s.last = rejectedSpread
			continue
		}
		if health := healthRank(c); best < 0 || health < bestHealth {
			best, bestHealth = i, health
		}
	}
	return best
}

// giveUp settles a target for which no stand-in was found: no fit means keep.
func (w *work) giveUp(u unsettled) {
	t := u.target
	switch {
	case u.holder >= 0 && !w.isGone(u.holder):
		p := w.namedPlace(t, whyStranded, u.holder, -1)
		if p.cluster = w.find(w.d.PlacedOn[u.holder].Cluster); p.cluster != t.cluster {
			p.standsFor = t.name
		}
		w.strand(p, u.left)
		return
	case u.left == rejectedUnhealthy:
		w.take(w.namedPlace(t, whyNamed, -1, u.holder))
		return
	case u.left == rejectedAvoided && w.open(t.cluster):
		// There is no place to keep and none to go to. What was asked for by name
		// is then better than nothing: it runs when the cluster is back.
		w.strand(w.namedPlace(t, whyLastResort, -1, u.holder), u.left)
		return
	case !w.states[t.cluster].absent:
		w.dropped = append(w.dropped, t.cluster)
	}
	if u.holder >= 0 {
		w.keepOpen(u.holder, t.name, w.namedWish)
	}
}
