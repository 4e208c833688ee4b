package plan

import (
	"hash/fnv"

	"github.com/oprc/oprc-pm/model"
)

const (
	// The parts of a cluster's suitability: how few units it has for its size,
	// and how little of its CPU and memory is in use.
	loadWeight = 3.0
	useWeight  = 1.0
	// unknownUse is assumed where a CRM does not say.
	unknownUse = 50
	// unitsPerNode is how many units make a node of a cluster without capacity
	// half suitable. usualNodes are assumed where a CRM does not say.
	unitsPerNode = 10.0
	usualNodes   = 3
	usualWeight  = 100.0
)

// suitability is how good a cluster is for one more unit, from 0 to 1, the rest
// of the selection aside: the mean of its parts by their weights.
func (w *work) suitability(i int) float64 {
	sum := loadWeight*freeness(&w.clusters[i], w.weight(i)) + useWeight*(1-use(&w.clusters[i]))
	total := loadWeight + useWeight
	for k := range w.terms {
		t := &w.terms[k]
		if t.required {
			continue
		}
		total += t.weight
		if t.holds(w.clusters[i].Name) {
			sum += t.weight
		}
	}
	return sum / total
}

// freeness falls from 1 as units come to a cluster; it is a half when there are
// as many as its size and weight stand for.
func freeness(c *Cluster, weight uint32) float64 {
	if weight == 0 {
		return 0
	}
	size := float64(c.Capacity)
	if c.Capacity <= 0 {
		size = unitsPerNode * float64(nodesOf(c))
	}
	return 1 / (1 + float64(c.Units+1)*usualWeight/(float64(weight)*size))
}

func nodesOf(c *Cluster) uint32 {
	switch {
	case c.ReadyNodes != nil:
		return max(1, *c.ReadyNodes)
	case c.Nodes != nil:
		return max(1, *c.Nodes)
	}
	return usualNodes
}

// use is the greater of the shares of CPU and memory in use, 0 to 1.
func use(c *Cluster) float64 {
	most := max(c.CPU, c.Memory)
	if most < 0 {
		most = unknownUse
	}
	return float64(min(most, 100)) / 100
}

// rank is what clusters are picked by, the highest first: suitability, less what
// the spread loses. Whole steps of spread outweigh any suitability.
func (w *work) rank(i int, s scope) float64 {
	rank := w.states[i].suitability
	for k := range w.spread {
		if !w.spread[k].required {
			rank -= w.spread[k].weight * float64(w.excess(k, i, s))
		}
	}
	return rank
}

// score maps a rank to the range from 0 to 1 so that the order stays. The
// healthy are all above the degraded.
func score(rank float64, status string) float64 {
	value := 0.5 + rank/2
	if rank < 0 {
		value = 0.5 / (1 - rank)
	}
	if status == model.ClusterDegraded {
		return value / 5
	}
	return 0.2 + 0.8*value
}

// before tells whether cluster i is picked before cluster j, of the same rank.
// Which of two equal clusters comes first differs from deployment to deployment,
// or all of them would go to the same.
func (w *work) before(i, j int) bool {
	a, b := w.lot(i), w.lot(j)
	if a != b {
		return a < b
	}
	return i < j
}

func (w *work) lot(i int) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(w.d.Key))
	_, _ = h.Write([]byte{0})
	_, _ = h.Write([]byte(w.clusters[i].Name))
	// The last bytes of FNV-1a change few bits; mix them.
	sum := h.Sum64()
	sum ^= sum >> 33
	sum *= 0xff51afd7ed558ccd
	return sum ^ sum>>33
}

// healthRank orders clusters by how alive they are: the lower, the better.
func healthRank(c *Cluster) int {
	switch c.Status {
	case model.ClusterHealthy:
		return 0
	case model.ClusterDegraded:
		return 1
	case model.ClusterUnhealthy:
		return 3
	}
	return 2
}
