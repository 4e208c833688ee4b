package plan

import (
	"slices"
	"strings"

	"github.com/oprc/oprc-pm/model"
)

// rejection is why a cluster cannot be used.
type rejection uint8

const (
	fits rejection = iota
	// The following are what the deployment requires.
	rejectedSelector
	rejectedRequirement
	rejectedAffinity
	rejectedAntiAffinity
	// The following are the cluster's state.
	rejectedAvoided
	rejectedAbsent
	rejectedDraining
	rejectedCordoned
	rejectedFull
	rejectedWeight
	rejectedUnhealthy
	rejectedUnknown
	// The following depend on the rest of the selection.
	rejectedSpread
	rejectedAvailability
	rejections
)

// state is what planning works out about one cluster.
type state struct {
	availability float64
	// label is the rejection by the cluster's labels, others that by where other
	// deployments run.
	label, others rejection
	avoided       bool
	// absent: it is not registered. It is there for the places that were in it.
	absent bool
	// placed is the index into PlacedOn, or -1.
	placed int
	// taken: it is selected. reserved: it stands in somewhere and may go on to.
	taken, reserved bool
	// self: it is selected for itself, not to stand in for another.
	self bool
	// named by the deployment.
	named bool
	// suitability orders clusters that fit as far as that does not depend on the
	// rest of the selection, 0 to 1.
	suitability float64
	// score and last are for explanations: how it compared, and what kept it
	// from being picked, when clusters were picked last.
	score float64
	last  rejection
	// place and successor are, for explanations, the number of the place that is
	// here and of the one that takes over from here, from 1; 0: none.
	place, successor int
}

// work is one run of Make.
type work struct {
	in     *Input
	d      *model.Deployment
	policy Policy
	want   demand
	// clusters that exist and those that the deployment's places are about,
	// sorted by name; states are theirs, in the same order.
	clusters []Cluster
	states   []state
	terms    terms
	spread   []spread
	named    []target
	groups   []group
	// standIns are the clusters that may stand in for a named one; failover and
	// failback are the deployment's settings, backups those that exist.
	standIns           []int
	standInScope       scope
	fit                []int // of standIns, once asked for
	backups            []int
	failover, failback bool
	namedWish          string

	places   []place
	stranded []string
	// dropped are named targets that cannot be used.
	dropped []int
	// memory is what the lists above are in, as far as they are long.
	memory *scratch
	words  words
}

// release gives back the memory of a work that is done.
func (w *work) release() {
	w.memory.text = w.words.text
	w.memory.release()
}

// namedTargets takes the part of a group's name in digests. No environment is
// named so.
const namedTargets = "named targets"

func newWork(in *Input, class model.Class) *work {
	w := &work{in: in, d: &in.Deployment, policy: in.Policy.withDefaults(), failback: true}
	w.memory = scratches.Get().(*scratch)
	w.words.text = w.memory.text
	w.clusters = in.Clusters
	if !slices.IsSortedFunc(w.clusters, byName) {
		w.clusters = slices.Clone(w.clusters)
		slices.SortStableFunc(w.clusters, byName)
	}
	absent := w.missed()
	if failover := w.d.Failover; failover != nil {
		w.failover = failover.Enabled
		w.failback = failover.Failback == nil || *failover.Failback
		for _, name := range failover.Backups {
			if i := w.find(name); i >= 0 && !slices.Contains(w.backups, i) {
				w.backups = append(w.backups, i)
			}
		}
	}
	w.want = newDemand(w.d, class, w.policy)
	w.terms = w.resolveTerms()
	if requirements := w.terms.requirements(); requirements != "" {
		w.namedWish = w.want.digest(namedTargets, requirements)
	}
	w.judge(absent)
	return w
}

func byName(a, b Cluster) int { return strings.Compare(a.Name, b.Name) }

// find returns the index of a cluster, or -1.
func (w *work) find(name string) int {
	i, found := slices.BinarySearchFunc(w.clusters, name, func(c Cluster, name string) int { return strings.Compare(c.Name, name) })
	if !found {
		return -1
	}
	return i
}

// judge works out the state of every cluster. absent are those of them that are
// not registered.
func (w *work) judge(absent []string) {
	w.states = w.memory.newStates(len(w.clusters))
	w.terms.rejectOthers(w)
	for i := range w.clusters {
		c, s := &w.clusters[i], &w.states[i]
		s.placed = -1
		if s.absent = slices.Contains(absent, c.Name); s.absent {
			continue // neither its labels nor its availability are known
		}
		s.availability = availabilityOf(c, w.policy.ClusterAvailability)
		s.label = rejectLabels(w.d.Placement, c.Labels)
		s.suitability = w.suitability(i)
	}
	for _, avoided := range w.d.AvoidedClusters {
		if i := w.find(avoided.Cluster); i >= 0 {
			w.states[i].avoided = true
		}
	}
	for at, place := range w.d.PlacedOn {
		if i := w.find(place.Cluster); i >= 0 && w.states[i].placed < 0 {
			w.states[i].placed = at
		}
	}
	w.spread = w.newSpread()
}

// rejectLabels tells whether a cluster's labels are what a placement asks for.
func rejectLabels(p *model.Placement, labels map[string]string) rejection {
	if p == nil {
		return fits
	}
	for key, value := range p.Selector {
		if own, labelled := labels[key]; !labelled || own != value {
			return rejectedSelector
		}
	}
	for _, requirement := range p.Requirements {
		if !satisfies(labels, requirement) {
			return rejectedRequirement
		}
	}
	return fits
}

// satisfies tells whether labels satisfy a requirement. One with an operator that
// is not known is not satisfied.
func satisfies(labels map[string]string, r model.LabelRequirement) bool {
	value, exists := labels[r.Key]
	switch r.Operator {
	case model.LabelIn:
		return exists && slices.Contains(r.Values, value)
	case model.LabelNotIn:
		return !exists || !slices.Contains(r.Values, value)
	case model.LabelExists:
		return exists
	case model.LabelDoesNotExist:
		return !exists
	}
	return false
}

// weight is the cluster's, as the deployment sees it.
func (w *work) weight(i int) uint32 {
	if w.d.Placement != nil {
		if weight, given := w.d.Placement.Weights[w.clusters[i].Name]; given {
			return weight
		}
	}
	return w.clusters[i].Weight
}

// rejectNew tells why a cluster cannot get a new place, apart from what depends
// on the rest of the selection. asked: it was asked for by name, so neither its
// weight nor its health counts.
func (w *work) rejectNew(i int, asked bool) rejection {
	c, s := &w.clusters[i], &w.states[i]
	switch {
	case s.absent:
		return rejectedAbsent
	case s.label != fits:
		return s.label
	case s.others != fits:
		return s.others
	case s.avoided:
		return rejectedAvoided
	case c.Draining:
		return rejectedDraining
	case c.Cordoned:
		return rejectedCordoned
	case full(c):
		return rejectedFull
	case asked:
		return fits
	case w.weight(i) == 0:
		return rejectedWeight
	}
	return rejectHealth(c)
}

func full(c *Cluster) bool { return c.Capacity > 0 && c.Units >= c.Capacity }

// open tells whether a cluster takes anything new.
func (w *work) open(i int) bool {
	c := &w.clusters[i]
	return !c.Draining && !c.Cordoned && !full(c)
}

func rejectHealth(c *Cluster) rejection {
	switch c.Status {
	case model.ClusterHealthy, model.ClusterDegraded:
		return fits
	case model.ClusterUnhealthy:
		return rejectedUnhealthy
	}
	return rejectedUnknown
}

// rejectPlaced tells why a place should be left. Health, capacity, weight and
// being cordoned do not count; and where other deployments run does so only
// when the wish has changed since the place was taken, or it never fitted: a
// deployment does not follow others about.
func (w *work) rejectPlaced(i int, place *model.PlacedCluster, wish string) rejection {
	s := &w.states[i]
	switch {
	case s.absent:
		return rejectedAbsent
	case s.label != fits:
		return s.label
	case s.others != fits && (place.Unfit || place.Wish != wish):
		return s.others
	case s.avoided:
		return rejectedAvoided
	case w.clusters[i].Draining:
		return rejectedDraining
	}
	return fits
}
