package plan

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
)

// assignNodeIDs gives every place its ids in the data grid: those that the user
// gave for it, else those it had, else those of the place it takes over, else new
// ones. No id is 0 or given twice.
func (w *work) assignNodeIDs() {
	taken := map[uint64]bool{0: true}
	claim := func(p *place, ids []uint64) {
		for _, id := range ids {
			if !taken[id] {
				taken[id] = true
				p.nodeIDs = append(p.nodeIDs, id)
			}
		}
	}
	// In the order of names, so that a collision is resolved in the same way
	// however the places are ordered.
	byName := make([]*place, len(w.places))
	for n := range w.places {
		byName[n] = &w.places[n]
	}
	slices.SortFunc(byName, func(a, b *place) int { return cmp.Compare(a.cluster, b.cluster) })

	given := w.givenNodeIDs()
	for _, p := range byName {
		claim(p, given[p.cluster])
	}
	for _, p := range byName {
		if len(p.nodeIDs) == 0 && p.was >= 0 {
			claim(p, w.d.PlacedOn[p.was].NodeIDs)
		}
	}
	for _, p := range byName {
		if len(p.nodeIDs) == 0 && p.from >= 0 {
			claim(p, w.d.PlacedOn[p.from].NodeIDs)
		}
	}
	for _, p := range byName {
		for try := 0; len(p.nodeIDs) == 0; try++ {
			claim(p, []uint64{nodeID(w.d.Key, w.clusters[p.cluster].Name, try)})
		}
	}
}

// givenNodeIDs returns the ids that the user gave, by cluster: under its own name,
// else under that of the target it stands in for, else under that of a targeted
// environment, whose first place has them.
func (w *work) givenNodeIDs() map[int][]uint64 {
	if w.d.ODGM == nil || len(w.d.ODGM.EnvNodeIDs) == 0 {
		return nil
	}
	all, given := w.d.ODGM.EnvNodeIDs, map[int][]uint64{}
	for _, p := range w.places {
		for _, name := range []string{w.clusters[p.cluster].Name, p.standsFor} {
			if ids := all[name]; len(ids) > 0 && len(given[p.cluster]) == 0 && !w.environment(name) {
				given[p.cluster] = ids
			}
		}
	}
	for g := range w.groups {
		ids := all[w.groups[g].environment]
		if len(ids) == 0 {
			continue
		}
		for _, p := range w.places {
			if len(given[p.cluster]) == 0 && w.of(&w.groups[g], &p) {
				given[p.cluster] = ids
				break
			}
		}
	}
	return given
}

// of tells whether a place is one of a group's, as a member or for members.
func (w *work) of(g *group, p *place) bool {
	if p.standsFor == "" && w.isVacant(p) {
		return p.wish == g.wish
	}
	return p.standsFor == g.environment || g.has(p.cluster)
}

// environment tells whether a name is that of a targeted environment.
func (w *work) environment(name string) bool {
	return slices.ContainsFunc(w.groups, func(g group) bool { return g.environment == name })
}

// nodeID is 32 bits wide: existing data grids were given no wider ones.
func nodeID(deployment, cluster string, try int) uint64 {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d", deployment, cluster, try))
	return uint64(binary.BigEndian.Uint32(sum[:]))
}
