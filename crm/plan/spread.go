package plan

// spread is a spread constraint with how far it has come.
type spread struct {
	label    string
	required bool
	maxSkew  int
	// weight of one step of skew, if the spread is not required.
	weight float64
	// domain of each cluster, -1 for one without the label; value and count of
	// selected places by domain.
	domain []int
	values []string
	counts []int
}

// stepWeight makes a constraint matter more than those after it. It is more than
// a skew usually is; past the first maxSteps constraints it is given up.
const (
	stepWeight = 64
	maxSteps   = 4
)

func (w *work) newSpread() []spread {
	if w.d.Placement == nil || len(w.d.Placement.Spread) == 0 {
		return nil
	}
	all := make([]spread, len(w.d.Placement.Spread))
	for k, asked := range w.d.Placement.Spread {
		s := spread{label: asked.Label, required: asked.Required, maxSkew: 1, weight: 1, domain: w.memory.newInts(len(w.clusters))[:len(w.clusters)]}
		if asked.MaxSkew != nil {
			s.maxSkew = max(1, int(*asked.MaxSkew))
		}
		for step := k + 1; step < min(len(all), maxSteps); step++ {
			s.weight *= stepWeight
		}
		domains := map[string]int{}
		for i := range w.clusters {
			value, labelled := w.clusters[i].Labels[asked.Label]
			if !labelled {
				s.domain[i] = -1
				continue
			}
			domain, known := domains[value]
			if !known {
				domain = len(s.values)
				domains[value] = domain
				s.values = append(s.values, value)
			}
			s.domain[i] = domain
		}
		s.counts = make([]int, len(s.values))
		all[k] = s
	}
	return all
}

// scope is what the spread constraints are measured over: for each, the domains
// of the clusters that may be used, as far as labels say; with the fewest and the
// most places that any of them has.
type scope struct {
	domains       [][]int
	lowest, upper []int
}

func (w *work) newScope(members []int) scope {
	s := scope{
		domains: make([][]int, len(w.spread)),
		lowest:  make([]int, len(w.spread)), upper: make([]int, len(w.spread)),
	}
	for k := range w.spread {
		seen := make([]bool, len(w.spread[k].values))
		for _, i := range members {
			domain := w.spread[k].domain[i]
			if domain >= 0 && !seen[domain] && w.states[i].label == fits {
				seen[domain] = true
				s.domains[k] = append(s.domains[k], domain)
			}
		}
	}
	return s
}

// measure brings a scope up to date with the selection, and returns it.
func (w *work) measure(s scope) scope {
	for k := range w.spread {
		for n, domain := range s.domains[k] {
			count := w.spread[k].counts[domain]
			if n == 0 || count < s.lowest[k] {
				s.lowest[k] = count
			}
			if n == 0 || count > s.upper[k] {
				s.upper[k] = count
			}
		}
	}
	return s
}

// excess is by how many places a cluster's domain has more than the one with
// fewest of constraint k. A cluster without the label is as bad as it gets.
func (w *work) excess(k, i int, s scope) int {
	domain := w.spread[k].domain[i]
	if domain < 0 {
		return s.upper[k] - s.lowest[k] + 1
	}
	return w.spread[k].counts[domain] - s.lowest[k]
}

// spreads tells whether the required constraints allow one more place in a
// cluster.
func (w *work) spreads(i int, s scope) bool {
	for k := range w.spread {
		c := &w.spread[k]
		if c.required && (c.domain[i] < 0 || w.excess(k, i, s)+1 > c.maxSkew) {
			return false
		}
	}
	return true
}

// countSpread takes note of so many more places in a cluster.
func (w *work) countSpread(i, more int) {
	for k := range w.spread {
		if domain := w.spread[k].domain[i]; domain >= 0 {
			w.spread[k].counts[domain] += more
		}
	}
}
