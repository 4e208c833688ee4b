package plan

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/oprc/oprc-pm/model"
)

// labelText says which label keeps a cluster out. The first one in the order of
// keys, so that it is always the same.
func (w *work) labelText(c *Cluster) string {
	var keys []string
	for key, value := range w.d.Placement.Selector {
		if own, labelled := c.Labels[key]; !labelled || own != value {
			keys = append(keys, key)
		}
	}
	if len(keys) > 0 {
		key := slices.Min(keys)
		return fmt.Sprintf("the selector asks for %s=%s, it has %s", key, w.d.Placement.Selector[key], labelValue(c, key))
	}
	for _, r := range w.d.Placement.Requirements {
		if satisfies(c.Labels, r) {
			continue
		}
		wanted := fmt.Sprintf("%s %s", r.Key, r.Operator)
		if r.Operator == model.LabelIn || r.Operator == model.LabelNotIn {
			wanted += " (" + model.NameList(r.Values) + ")"
		}
		return fmt.Sprintf("%s is required, it has %s", wanted, labelValue(c, r.Key))
	}
	return "its labels"
}

func labelValue(c *Cluster, key string) string {
	if value, labelled := c.Labels[key]; labelled {
		return key + "=" + value
	}
	return "no " + key
}

// termText says which required term keeps a cluster out.
func (w *work) termText(c *Cluster) string {
	for k := range w.terms {
		t := &w.terms[k]
		switch {
		case !t.required || t.holds(c.Name):
		case t.away:
			return t.about + " runs there, which is to be kept away from"
		default:
			return t.about + " does not run there, which is required"
		}
	}
	return "its neighbours"
}

// spreadText says which required spread keeps a cluster out.
func (w *work) spreadText(i int) string {
	for k := range w.spread {
		s := &w.spread[k]
		switch {
		case !s.required:
		case s.domain[i] < 0:
			return fmt.Sprintf("it has no %s, over which the spread is required", s.label)
		default:
			return fmt.Sprintf("%s %s has %d already, and the required spread allows %d more than elsewhere",
				s.label, s.values[s.domain[i]], s.counts[s.domain[i]], s.maxSkew)
		}
	}
	return "the required spread"
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
			dst = append(append(dst, ", "...), w.domainText(k, i)...)
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
		dst = append(append(dst, ", only second choice: "...), healthText(c)...)
	}
	return dst
}

func (w *work) domainText(k, i int) string {
	s := &w.spread[k]
	if s.domain[i] < 0 {
		return "no " + s.label
	}
	if count := s.counts[s.domain[i]]; count > 0 {
		return fmt.Sprintf("%s %s has %d already", s.label, s.values[s.domain[i]], count)
	}
	return fmt.Sprintf("%s %s has none yet", s.label, s.values[s.domain[i]])
}
