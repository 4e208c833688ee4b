package plan

import (
	"math"
	"slices"
)

const (
	// mostAvailability is the most that is planned for: more would ask for
	// clusters until the numbers run out.
	mostAvailability = 0.999999999
	// tolerance makes up for rounding: 1-0.1*0.1 is to be enough for 0.99.
	tolerance = 1e-12
	// floorClusters bounds for how many further clusters it is worked out how
	// available the next one must be; the quorum's probability is quadratic.
	floorClusters = 64
)

// reliability is the probability that enough clusters of a growing set are up:
// one of them, or a majority when quorum is set. They are taken to fail
// independently. The zero value is an empty set, which is never up.
type reliability struct {
	quorum bool
	count  int
	// down is the probability that all are down, without quorum.
	down float64
	// up[k] is the probability that exactly k are up, with quorum.
	up []float64
}

func newReliability(quorum bool) reliability {
	r := reliability{quorum: quorum, down: 1}
	if quorum {
		r.up = append(make([]float64, 0, 8), 1)
	}
	return r
}

// clone returns a reliability that can grow on its own.
func (r reliability) clone() reliability {
	r.up = slices.Clone(r.up)
	return r
}

func (r *reliability) add(p float64) {
	r.count++
	if !r.quorum {
		r.down *= 1 - p
		return
	}
	r.up = append(r.up, 0)
	for k := r.count; k > 0; k-- {
		r.up[k] = r.up[k]*(1-p) + r.up[k-1]*p
	}
	r.up[0] *= 1 - p
}

func (r reliability) value() float64 {
	switch {
	case r.count == 0:
		return 0
	case !r.quorum:
		return 1 - r.down
	}
	sum := 0.0
	for _, p := range r.up[r.count/2+1:] {
		sum += p
	}
	return min(sum, 1)
}

// reaches tells whether a set is available enough.
func (r reliability) reaches(target float64) bool { return r.value() >= target-tolerance }

// reachesWith tells whether the set would be available enough with p and as many
// of best as are needed to make it grow by more.
func (r reliability) reachesWith(p float64, best []float64, more int, target float64) bool {
	grown := r.clone()
	grown.add(p)
	for _, other := range best[:min(len(best), more-1)] {
		grown.add(other)
	}
	return grown.reaches(target)
}

// floor returns how available the next cluster must be at least, if the set is
// to grow by more and then reach target. candidates are those that it can grow
// by, the best first. It returns 0 when no choice makes it reach target.
func (r reliability) floor(candidates []float64, more int, target float64) float64 {
	if more < 1 || more > floorClusters || len(candidates) == 0 {
		return 0
	}
	best := candidates[1:]
	if !r.reachesWith(candidates[0], best, more, target) {
		return 0
	}
	// The worst that will do: among the best themselves any will, they are all
	// taken.
	low, high := min(more, len(candidates))-1, len(candidates)-1
	for low < high {
		middle := (low + high + 1) / 2
		if r.reachesWith(candidates[middle], candidates, more, target) {
			low = middle
		} else {
			high = middle - 1
		}
	}
	return candidates[low]
}

// majority raises a number of clusters so that a majority of them survives the
// loss of as many as a majority of the smaller number would need.
func majority(clusters int) int {
	survivable := max(clusters/2, 1)
	return max(clusters, 2*survivable+1)
}

// availabilityOf is how likely a cluster is up: what its CRM says, else the share
// of its nodes that are ready, else what the operator assumes.
func availabilityOf(c *Cluster, assumed float64) float64 {
	switch {
	case c.Availability != nil && !math.IsNaN(*c.Availability):
		return max(0, min(*c.Availability, 1))
	case c.Nodes == nil || c.ReadyNodes == nil:
		return assumed
	case *c.Nodes == 0:
		return 0
	}
	return min(1, float64(*c.ReadyNodes)/float64(*c.Nodes))
}
