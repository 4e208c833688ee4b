package plan

import (
	"crypto/sha256"
	"fmt"
	"math"
	"strconv"

	"github.com/oprc/oprc-pm/model"
)

// demand is what a deployment asks of the selection, without regard to the
// state of clusters.
type demand struct {
	// availability to reach, by a majority of the clusters when quorum is set.
	availability float64
	quorum       bool
	// fixed is the number of clusters that was asked for; 0: as many as the
	// availability needs.
	fixed int
	most  int
	notes []string
}

// withDefaults fills in what a policy leaves out.
func (p Policy) withDefaults() Policy {
	usual := DefaultPolicy()
	if !within01(p.Availability) || p.Availability == 0 {
		p.Availability = usual.Availability
	}
	if !within01(p.ClusterAvailability) || p.ClusterAvailability == 0 {
		p.ClusterAvailability = usual.ClusterAvailability
	}
	if p.MaxClusters <= 0 {
		p.MaxClusters = usual.MaxClusters
	}
	if p.ReplicaThroughput == 0 {
		p.ReplicaThroughput = usual.ReplicaThroughput
	}
	return p
}

func within01(x float64) bool { return x >= 0 && x <= 1 } // false for NaN

func newDemand(d *model.Deployment, class model.Class, policy Policy) demand {
	want := demand{availability: policy.Availability, most: policy.MaxClusters}
	if asked := d.NFRRequirements.Availability; asked != nil && within01(*asked) {
		want.availability = *asked
	}
	want.availability = min(want.availability, mostAvailability)
	want.quorum = class.StateSpec != nil && class.StateSpec.ConsistencyModel == model.ConsistencyStrong
	if d.Placement != nil && d.Placement.Clusters != nil {
		asked := max(1, int(*d.Placement.Clusters))
		want.fixed = min(asked, want.most)
		if asked > want.most {
			want.note("placement.clusters %d is limited to %d", asked, want.most)
		}
		if want.quorum && want.fixed < 3 {
			want.note("strong consistency needs 3 clusters to survive the loss of one; placement.clusters is %d", want.fixed)
		}
	}
	return want
}

func (w *demand) note(format string, args ...any) {
	w.notes = append(w.notes, fmt.Sprintf(format, args...))
}

// limit caps a number of clusters. A majority of an even number is no better
// than of one less, so with a quorum the limit is odd.
func (w *demand) limit(clusters int) int {
	if clusters <= w.most {
		return clusters
	}
	if w.quorum && w.most > 1 && w.most%2 == 0 {
		return w.most - 1
	}
	return w.most
}

// number is how many clusters are needed: the shortest beginning of the given
// availabilities that reaches what is asked for; met tells whether there is one.
// Without one it is all of them. A quorum is of 3 at least, and of an odd number.
func (w *demand) number(availabilities []float64) (clusters int, met bool) {
	sum := newReliability(w.quorum)
	for i, p := range availabilities[:min(len(availabilities), w.most)] {
		sum.add(p)
		if w.quorum && (i < 2 || i%2 != 0) {
			continue // a majority of an even number is worse than of one less
		}
		if sum.reaches(w.availability) {
			clusters, met = i+1, true
			break
		}
	}
	if !met {
		clusters = max(1, min(len(availabilities), w.most))
	}
	if w.quorum {
		clusters = majority(clusters)
	}
	return w.limit(clusters), met
}

// digest identifies what a place of a group is chosen by, as far as it must be
// remembered: the environment, what the number of clusters is worked out from, and
// the requirements that other deployments can break. Empty: nothing.
func (w *demand) digest(group, terms string) string {
	sizing := ""
	if w.fixed == 0 {
		sizing = fmt.Sprintf("%s %v", strconv.FormatFloat(w.availability, 'g', -1, 64), w.quorum)
	}
	if group == "" && sizing == "" && terms == "" {
		return ""
	}
	return shortHash(sha256.Sum256(fmt.Appendf(nil, "%q %q %q", group, sizing, terms)))[:8]
}

// replicas is how many replicas of a function each of the units needs for the
// throughput asked for; 0: none was asked for.
func replicas(nfr model.NFRRequirements, units int, each uint32) uint32 {
	if nfr.MinThroughputRPS == nil || *nfr.MinThroughputRPS == 0 || units == 0 {
		return 0
	}
	perUnit := math.Ceil(float64(*nfr.MinThroughputRPS) / float64(units) / float64(each))
	return uint32(min(max(perUnit, 1), math.MaxUint32))
}
