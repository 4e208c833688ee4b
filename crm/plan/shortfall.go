package plan

import (
	"fmt"
	"strings"
)

// missing is how many places are wanted and could not be had, without those of
// targets that name nothing: these are told of as such.
func (w *work) missing() int {
	missing := len(w.dropped)
	for n := range w.groups {
		if g := &w.groups[n]; len(g.members) > 0 {
			missing += max(0, g.number-w.present(g))
		}
	}
	return missing
}

// shortfall says why fewer clusters were selected than are wanted; empty when as
// many were.
func (w *work) shortfall() string {
	var parts []string
	if len(w.dropped) > 0 {
		parts = append(parts, "targets that cannot be used: "+w.tally(w.dropped))
	}
	for n := range w.groups {
		g := &w.groups[n]
		have := w.present(g)
		if have >= g.number || len(g.members) == 0 {
			continue
		}
		part := fmt.Sprintf("%d of %d clusters", have, g.number)
		if g.environment != "" {
			part = fmt.Sprintf("environment %s gives %s", g.environment, part)
		}
		var others []int
		for _, i := range g.members {
			if !w.states[i].taken {
				others = append(others, i)
			}
		}
		for _, p := range w.places {
			if w.isVacant(&p) && w.counts(g, p) {
				others = append(others, p.cluster)
			}
		}
		if len(others) > 0 {
			part += "; the others: " + w.tally(others)
		} else {
			part += ", there are no more"
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "; ")
}

// tally groups clusters by why they are not used: 2 Unhealthy (a, b), 1 full (c).
func (w *work) tally(clusters []int) string {
	var names [rejections][]string
	for _, i := range clusters {
		reason := w.rejectNew(i, w.states[i].named)
		if reason == fits {
			reason = w.states[i].last
		}
		names[reason] = append(names[reason], w.clusters[i].Name)
	}
	const enough = 5
	var parts []string
	for reason, list := range names {
		if len(list) == 0 {
			continue
		}
		more := ""
		if len(list) > enough {
			more = fmt.Sprintf(" and %d more", len(list)-enough)
		}
		parts = append(parts, fmt.Sprintf("%d %s (%s%s)",
			len(list), rejection(reason).brief(), strings.Join(list[:min(len(list), enough)], ", "), more))
	}
	return strings.Join(parts, ", ")
}

// brief says in a word why clusters are not used.
func (r rejection) brief() string {
	switch r {
	case rejectedSelector, rejectedRequirement:
		return "without the labels required"
	case rejectedAffinity:
		return "without the required neighbours"
	case rejectedAntiAffinity:
		return "with neighbours to keep away from"
	case rejectedAvoided:
		return "avoided"
	case rejectedAbsent:
		return "not registered"
	case rejectedDraining:
		return "drained"
	case rejectedCordoned:
		return "cordoned"
	case rejectedFull:
		return "full"
	case rejectedWeight:
		return "of weight 0"
	case rejectedUnhealthy:
		return "Unhealthy"
	case rejectedUnknown:
		return "of unknown health"
	case rejectedSpread:
		return "against the required spread"
	case rejectedAvailability:
		return "not available enough"
	}
	return "in use otherwise"
}
