package plan

import (
	"strconv"

	"github.com/oprc/oprc-pm/model"
)

// appendLabels says which label keeps a cluster out. The first one in the order of
// keys, so that it is always the same.
func (w *work) appendLabels(dst []byte, c *Cluster) []byte {
	key, found := "", false
	for asked, value := range w.d.Placement.Selector {
		if own, labelled := c.Labels[asked]; (!labelled || own != value) && (!found || asked < key) {
			key, found = asked, true
		}
	}
	if found {
		dst = append(append(append(dst, "the selector asks for "...), key...), '=')
		return appendLabel(append(append(dst, w.d.Placement.Selector[key]...), ", it has "...), c, key)
	}
	for _, r := range w.d.Placement.Requirements {
		if satisfies(c.Labels, r) {
			continue
		}
		dst = append(append(append(dst, r.Key...), ' '), r.Operator...)
		if r.Operator == model.LabelIn || r.Operator == model.LabelNotIn {
			dst = append(append(append(dst, " ("...), model.NameList(r.Values)...), ')')
		}
		return appendLabel(append(dst, " is required, it has "...), c, r.Key)
	}
	return append(dst, "its labels"...)
}

func appendLabel(dst []byte, c *Cluster, key string) []byte {
	if value, labelled := c.Labels[key]; labelled {
		return append(append(append(dst, key...), '='), value...)
	}
	return append(append(dst, "no "...), key...)
}

// appendTerm says which required term keeps a cluster out.
func (w *work) appendTerm(dst []byte, c *Cluster) []byte {
	for k := range w.terms {
		t := &w.terms[k]
		switch {
		case !t.required || t.holds(c.Name):
		case t.away:
			return append(append(dst, t.about...), " runs there, which is to be kept away from"...)
		default:
			return append(append(dst, t.about...), " does not run there, which is required"...)
		}
	}
	return append(dst, "its neighbours"...)
}

// appendSpread says which required spread keeps a cluster out.
func (w *work) appendSpread(dst []byte, i int) []byte {
	for k := range w.spread {
		s := &w.spread[k]
		switch {
		case !s.required:
		case s.domain[i] < 0:
			return append(append(append(dst, "it has no "...), s.label...), ", over which the spread is required"...)
		default:
			dst = append(append(append(dst, s.label...), ' '), s.values[s.domain[i]]...)
			dst = strconv.AppendInt(append(dst, " has "...), int64(s.counts[s.domain[i]]), 10)
			dst = strconv.AppendInt(append(dst, " already, and the required spread allows "...), int64(s.maxSkew), 10)
			return append(dst, " more than elsewhere"...)
		}
	}
	return append(dst, "the required spread"...)
}

// comparison says what a cluster's score is made of. s is the scope that it was
// compared in; nil leaves the spread out.
func (w *work) comparison(i int, s *scope) string {
	return string(w.appendComparison(nil, i, s))
}

// appendComparison appends a comparison to dst. It is told of every cluster that
// was not chosen, so it does without what fmt costs.
func (w *work) appendComparison(dst []byte, i int, s *scope) []byte {
	c := &w.clusters[i]
	dst = strconv.AppendInt(append(dst, "load "...), int64(c.Units), 10)
	if c.Capacity > 0 {
		dst = strconv.AppendInt(append(dst, '/'), int64(c.Capacity), 10)
	} else {
		dst = strconv.AppendUint(append(dst, " units on "...), uint64(nodesOf(c)), 10)
		dst = append(dst, " nodes"...)
	}
	if most := max(c.CPU, c.Memory); most >= 0 {
		dst = strconv.AppendInt(append(dst, ", "...), int64(most), 10)
		dst = append(dst, "% of its CPU or memory in use"...)
	}
	if weight := w.weight(i); weight != usualWeight {
		dst = strconv.AppendUint(append(dst, ", weight "...), uint64(weight), 10)
	}
	if s != nil {
		for k := range w.spread {
			dst = w.appendDomain(append(dst, ", "...), k, i)
		}
	}
	for k := range w.terms {
		t := &w.terms[k]
		if t.required || t.holds(c.Name) == t.away {
			continue
		}
		dst = append(append(dst, ", beside "...), t.about...)
		if t.away {
			dst = append(dst, ", rather not"...)
		}
	}
	if c.Status == model.ClusterDegraded {
		dst = appendHealth(append(dst, ", only second choice: "...), c)
	}
	return dst
}

func (w *work) appendDomain(dst []byte, k, i int) []byte {
	s := &w.spread[k]
	if s.domain[i] < 0 {
		return append(append(dst, "no "...), s.label...)
	}
	dst = append(append(append(dst, s.label...), ' '), s.values[s.domain[i]]...)
	if count := s.counts[s.domain[i]]; count > 0 {
		return append(strconv.AppendInt(append(dst, " has "...), int64(count), 10), " already"...)
	}
	return append(dst, " has none yet"...)
}
