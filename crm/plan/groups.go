package plan

import (
	"cmp"
	"slices"
)

// settleGroup decides which places of a group stay, and how many it wants. A
// cluster that is selected already, for another target, counts.
func (w *work) settleGroup(g *group) {
	standing := w.sortPlaces(g)
	for _, i := range g.members {
		if s := &w.states[i]; s.taken && s.self {
			g.up.add(s.availability)
		} else if !s.taken && w.rejectNew(i, false) == fits {
			g.fit = append(g.fit, i)
		}
	}
	slices.SortStableFunc(g.fit, func(a, b int) int {
		return cmp.Compare(w.states[b].availability, w.states[a].availability)
	})
	w.number(g, standing)

	if room := max(0, g.number-g.up.count); len(standing) > room {
		// The healthiest stay; of equal ones the earliest.
		slices.SortStableFunc(standing, func(a, b int) int {
			return cmp.Compare(healthRank(w.placedIn(a)), healthRank(w.placedIn(b)))
		})
		standing = standing[:room]
		slices.Sort(standing)
	}
	for _, at := range standing {
		i := w.find(w.d.PlacedOn[at].Cluster)
		p := place{cluster: i, why: whyKept, was: at, from: -1, wish: g.wish}
		if w.isStanding(g, at) {
			p.standsFor = g.environment
		}
		g.up.add(w.states[i].availability)
		w.take(p)
	}
	for _, at := range g.standing {
		w.states[w.find(w.d.PlacedOn[at].Cluster)].reserved = true
	}
}

func (w *work) placedIn(at int) *Cluster { return &w.clusters[w.find(w.d.PlacedOn[at].Cluster)] }

// isStanding tells whether a place is one that stands in for members of a group.
func (w *work) isStanding(g *group, at int) bool {
	return g.environment != "" && w.d.PlacedOn[at].For == g.environment && !g.has(w.find(w.d.PlacedOn[at].Cluster))
}

// sortPlaces tells the places of a group that may stay from those that are to be
// left and those that only stand in.
func (w *work) sortPlaces(g *group) (staying []int) {
	for at := range w.d.PlacedOn {
		record := &w.d.PlacedOn[at]
		i := w.find(record.Cluster)
		if w.states[i].placed != at || w.states[i].taken || w.states[i].named {
			continue
		}
		standing := w.isStanding(g, at)
		switch reason := w.rejectPlaced(i, record, g.wish); {
		case reason == rejectedAbsent:
			// What its cluster was a member of is not known any more.
			if standing || record.For == "" && (g.environment == "" || record.Wish == g.wish) {
				g.leaving = append(g.leaving, at)
			}
		case !standing && (!g.has(i) || w.belongsElsewhere(g, record.For)):
		case reason != fits:
			g.leaving = append(g.leaving, at)
		case standing && w.failback:
			g.standing = append(g.standing, at)
		default:
			staying = append(staying, at)
		}
	}
	// The lost are to be replaced first.
	urgency := func(at int) int {
		switch i := w.find(w.d.PlacedOn[at].Cluster); {
		case w.states[i].absent:
			return 0
		case w.states[i].avoided:
			return 1
		case w.clusters[i].Draining:
			return 2
		}
		return 3
	}
	slices.SortStableFunc(g.leaving, func(a, b int) int { return cmp.Compare(urgency(a), urgency(b)) })
	return staying
}

// belongsElsewhere tells whether a place stands in for another target that still
// exists.
func (w *work) belongsElsewhere(g *group, standsFor string) bool {
	return standsFor != "" && standsFor != g.environment &&
		(slices.ContainsFunc(w.named, func(t target) bool { return t.name == standsFor }) ||
			slices.ContainsFunc(w.groups, func(other group) bool { return other.environment == standsFor }))
}

// number decides how many places a group wants. Once decided, a number stays
// until the wish changes: that clusters come and go must not make a deployment
// grow and shrink. While there are too few clusters for what is asked, it may
// still grow.
func (w *work) number(g *group, staying []int) {
	if w.want.fixed > 0 {
		g.number = w.want.fixed
		return
	}
	same := false
	for at := range w.d.PlacedOn {
		record := &w.d.PlacedOn[at]
		if record.Wish == g.wish && record.Needed > 0 {
			g.number, g.decided = w.want.limit(int(record.Needed)), true
			return
		}
		// What another group has recorded tells that the wish is the same for this
		// one, too.
		same = same || slices.ContainsFunc(w.groups, func(other group) bool { return other.wish == record.Wish })
	}
	availabilities := w.memory.availabilities[:0]
	for _, i := range g.members {
		if s := &w.states[i]; s.taken && s.self {
			availabilities = append(availabilities, s.availability)
		}
	}
	held := len(availabilities) + len(staying) + len(g.leaving) + len(g.standing)
	for _, at := range staying {
		if !w.isStanding(g, at) {
			availabilities = append(availabilities, w.states[w.find(w.d.PlacedOn[at].Cluster)].availability)
		}
	}
	availabilities = w.appendBest(availabilities, g, staying)
	g.number, g.decided = w.want.number(availabilities)
	if (same || len(g.members) == 0) && held > g.number {
		g.number = w.want.limit(held)
	}
}

// appendBest appends the availabilities of the members that could get a new place,
// are not selected and hold none of some places, the greatest first.
func (w *work) appendBest(list []float64, g *group, except []int) []float64 {
	for _, i := range g.fit {
		s := &w.states[i]
		if !s.taken && !s.reserved && (s.placed < 0 || !slices.Contains(except, s.placed)) {
			list = append(list, s.availability)
		}
	}
	w.memory.availabilities = list
	return list
}

// count returns how many places a group has.
func (w *work) count(g *group) int {
	count := 0
	for _, p := range w.places {
		if w.counts(g, p) {
			count++
		}
	}
	return count
}

// present returns how many places a group has that are not just kept open.
func (w *work) present(g *group) int {
	count := 0
	for n := range w.places {
		if p := &w.places[n]; !w.isVacant(p) && w.counts(g, *p) {
			count++
		}
	}
	return count
}

// counts tells whether a place counts for a group. A named target that is to be
// left is nothing for others to count on.
func (w *work) counts(g *group, p place) bool {
	switch {
	case p.standsFor != "":
		return p.standsFor == g.environment
	case w.isVacant(&p):
		return p.wish == g.wish
	}
	toLeave := w.states[p.cluster].named && (p.why == whyStranded || p.why == whyLastResort)
	return !toLeave && g.has(p.cluster)
}

// fill picks new places for a group: as many as are open, and one for each
// stand-in if the members have recovered.
func (w *work) fill(g *group) {
	for {
		open := g.number - w.count(g)
		if open <= 0 {
			return
		}
		onlyHealthy := open <= len(g.standing)
		floor := 0.0
		if w.want.quorum || !g.up.reaches(w.want.availability) {
			floor = g.up.floor(w.appendBest(w.memory.availabilities[:0], g, nil), open, w.want.availability)
		}
		i := w.pick(g.fit, g.scope, floor, onlyHealthy)
		if i < 0 && floor > 0 {
			i = w.pick(g.fit, g.scope, 0, onlyHealthy)
		}
		if i < 0 {
			return
		}
		p := place{cluster: i, why: whyPicked, was: -1, from: w.predecessor(g), wish: g.wish, detail: w.compared(i, g.scope)}
		if onlyHealthy {
			p.why = whyFailback
		}
		g.up.add(w.states[i].availability)
		w.take(p)
	}
}

// predecessor returns the place that the next one of a group takes over, -1 for
// none.
func (w *work) predecessor(g *group) int {
	from := -1
	switch {
	case len(g.leaving) > 0:
		from, g.leaving = g.leaving[0], g.leaving[1:]
	case len(g.standing) > 0 && g.number-w.count(g) <= len(g.standing):
		from = g.standing[0]
		w.states[w.find(w.d.PlacedOn[from].Cluster)].reserved = false
		g.standing = g.standing[1:]
	}
	return from
}

// standInGroup settles what is open in an environment after all its members have
// been tried: who stands in goes on to, and backups come.
func (w *work) standInGroup(g *group) {
	for w.count(g) < g.number {
		switch {
		case len(g.standing) > 0:
			w.takeStanding(g, g.standing[0])
			g.standing = g.standing[1:]
		case g.environment != "" && (w.failover || w.firstToLeave(g) >= 0) && w.takeBackup(g):
		default:
			return
		}
	}
}

// firstToLeave returns which of a group's places to be left is the first whose
// cluster exists, -1 for none.
func (w *work) firstToLeave(g *group) int {
	return slices.IndexFunc(g.leaving, func(at int) bool { return !w.isGone(at) })
}

// keepGroup keeps places of a group that should be left but find no successor.
func (w *work) keepGroup(g *group) {
	for w.count(g) < g.number && len(g.leaving) > 0 {
		w.strandLast(g)
	}
}

func (w *work) takeStanding(g *group, at int) {
	i := w.find(w.d.PlacedOn[at].Cluster)
	w.take(place{cluster: i, why: whyKept, was: at, from: -1, standsFor: g.environment, wish: g.wish})
}

func (w *work) takeBackup(g *group) bool {
	i := w.pickBackup()
	if i < 0 {
		return false
	}
	p := place{cluster: i, why: whyStandIn, was: -1, from: -1, wish: g.wish}
	if !g.has(i) {
		p.standsFor = g.environment
	}
	if len(g.leaving) > 0 {
		first := 0
		if !w.failover {
			first = w.firstToLeave(g) // only what is to be left moves then
		}
		p.from = g.leaving[first]
		g.leaving = slices.Delete(g.leaving, first, first+1)
	}
	w.take(p)
	return true
}

// strandLast keeps the place that it matters least to leave.
func (w *work) strandLast(g *group) {
	at := g.leaving[len(g.leaving)-1]
	g.leaving = g.leaving[:len(g.leaving)-1]
	record := &w.d.PlacedOn[at]
	i := w.find(record.Cluster)
	p := place{cluster: i, was: at, from: -1, wish: g.wish}
	if w.isStanding(g, at) {
		p.standsFor = g.environment
	}
	if w.isGone(at) {
		w.keepOpen(at, p.standsFor, g.wish)
		return
	}
	w.strand(p, w.rejectPlaced(i, record, g.wish))
}
