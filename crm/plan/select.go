package plan

import (
	"cmp"
	"slices"

	"github.com/oprc/oprc-pm/model"
)

// why a place is in the selection.
type why uint8

const (
	whyNamed why = iota
	whyKept
	whyPicked
	whyStandIn
	whyFailback
	whyStranded
	whyLastResort
	// whyOpen: its cluster is not registered, the place is kept for it.
	whyOpen
)

// place is a selected cluster.
type place struct {
	cluster int
	why     why
	// was is the record of the same place, from that of the one it takes over;
	// -1: none.
	was, from int
	// standsFor is the target that it stands in for.
	standsFor string
	wish      string
	needed    int
	unfit     bool
	// left is why the place should be left, when it is stranded.
	left    rejection
	nodeIDs []uint64
	// detail explains how it was picked.
	detail string
}

// take selects a cluster.
func (w *work) take(p place) {
	s := &w.states[p.cluster]
	s.taken, s.reserved = true, false
	s.self = p.standsFor == ""
	w.countSpread(p.cluster, 1)
	w.places = append(w.places, p)
}

// strand keeps a place that should be left.
func (w *work) strand(p place, left rejection) {
	p.why, p.left = whyStranded, left
	p.unfit = left < rejectedAvoided
	w.take(p)
	w.stranded = append(w.stranded, w.clusters[p.cluster].Name)
}

// choose makes the selection. The named targets come first, since groups count on
// them. In groups, what may stay is settled first, then what is new, then who
// stands in, and what is to be left but finds no successor last. New places are
// tried for again as long as there are any: one may let the spread allow another.
func (w *work) choose() {
	pending := w.settleNamed()
	if len(pending) > 0 {
		w.reserveGroups(1)
		pending = slices.DeleteFunc(pending, w.standIn)
		w.reserveGroups(-1)
	}
	for _, p := range pending {
		w.giveUp(p)
	}
	for g := range w.groups {
		w.settleGroup(&w.groups[g])
	}
	for before := -1; before != len(w.places); {
		before = len(w.places)
		for g := range w.groups {
			w.fill(&w.groups[g])
		}
		for g := range w.groups {
			w.standInGroup(&w.groups[g])
		}
	}
	for g := range w.groups {
		w.keepGroup(&w.groups[g])
	}
	w.order()
	w.succeed()
	for g := range w.groups {
		w.remember(&w.groups[g])
	}
}

// reserveGroups keeps stand-ins for named targets (count 1) away from the clusters
// in which groups have places, and makes those count for the spread; -1 undoes it.
func (w *work) reserveGroups(count int) {
	for at := range w.d.PlacedOn {
		i := w.find(w.d.PlacedOn[at].Cluster)
		if w.states[i].placed != at || w.states[i].named || w.states[i].taken {
			continue
		}
		if slices.ContainsFunc(w.groups, func(g group) bool { return g.has(i) || w.isStanding(&g, at) }) {
			w.states[i].reserved = count > 0
			w.countSpread(i, count)
		}
	}
}

// remember notes on a group's places how many there are to be, once that is
// enough for what was asked.
func (w *work) remember(g *group) {
	if w.want.fixed > 0 {
		return
	}
	if !g.decided {
		var selected []float64
		for _, p := range w.places {
			if w.counts(g, p) {
				selected = append(selected, w.states[p.cluster].availability)
			}
		}
		_, enough := w.want.number(selected)
		g.decided = enough && len(selected) >= g.number
	}
	for n := range w.places {
		if p := &w.places[n]; g.decided && p.wish == g.wish {
			p.needed = g.number
		}
	}
}

// order puts the places where they were, each successor where its predecessor
// was, and what is new after them.
func (w *work) order() {
	position := func(p place) int {
		switch {
		case p.was >= 0:
			return p.was
		case p.from >= 0:
			return p.from
		}
		return len(w.d.PlacedOn)
	}
	slices.SortStableFunc(w.places, func(a, b place) int { return cmp.Compare(position(a), position(b)) })
}

// succeed lets new places take over from places that vanish without a successor:
// whatever makes a deployment move, the others' node ids stay.
func (w *work) succeed() {
	gone := make([]bool, len(w.d.PlacedOn))
	for i := range gone {
		gone[i] = true
	}
	for _, p := range w.places {
		for _, at := range []int{p.was, p.from} {
			if at >= 0 {
				gone[at] = false
			}
		}
	}
	next := 0
	moved := false
	for n := range w.places {
		p := &w.places[n]
		if p.was >= 0 || p.from >= 0 {
			continue
		}
		for next < len(gone) && !gone[next] {
			next++
		}
		if next == len(gone) {
			break
		}
		p.from, moved = next, true
		next++
	}
	if moved {
		w.order()
	}
}

// pick returns the best of some clusters for a new place, or -1. floor is the
// least availability, healthy excludes the degraded.
func (w *work) pick(fit []int, s scope, floor float64, healthy bool) int {
	w.measure(s)
	best, bestRank, bestHealth := -1, 0.0, 0
	for _, i := range fit {
		state := &w.states[i]
		if state.taken || state.reserved {
			continue
		}
		rank, health := w.rank(i, s), healthRank(&w.clusters[i])
		state.last = fits
		if w.in.Explain {
			state.score = score(rank, w.clusters[i].Status)
		}
		switch {
		case !w.spreads(i, s):
			state.last = rejectedSpread
			continue
		case state.availability < floor:
			state.last = rejectedAvailability
			continue
		case healthy && health > 0:
			continue
		}
		if best < 0 || health < bestHealth || health == bestHealth && (rank > bestRank || rank == bestRank && w.before(i, best)) {
			best, bestRank, bestHealth = i, rank, health
		}
	}
	return best
}

// compared says how a cluster was picked, if that is asked for.
func (w *work) compared(i int, s scope) string {
	if !w.in.Explain {
		return ""
	}
	return w.comparison(i, &s)
}

// record returns the places as they are to be recorded.
func (w *work) record() []model.PlacedCluster {
	placed := make([]model.PlacedCluster, len(w.places))
	for n, p := range w.places {
		placed[n] = model.PlacedCluster{
			Cluster: w.clusters[p.cluster].Name, NodeIDs: p.nodeIDs, For: p.standsFor,
			Unfit: p.unfit, Wish: p.wish, Needed: uint32(p.needed),
		}
		switch {
		case p.was >= 0:
			placed[n].Replaces = w.d.PlacedOn[p.was].Replaces
		case p.from >= 0:
			placed[n].Replaces = w.d.PlacedOn[p.from].Cluster
		}
		if i := w.find(placed[n].Replaces); i >= 0 && w.states[i].taken {
			placed[n].Replaces = ""
		}
	}
	return placed
}
