package plan

import (
	"slices"
	"strings"

	"github.com/oprc/oprc-pm/model"
)

// term is an affinity term with the clusters that it points at.
type term struct {
	// about is for people: what is there.
	about string
	// away: it is about being elsewhere.
	away     bool
	required bool
	// weight of a term that is not required, next to that of the load.
	weight   float64
	clusters []string // sorted
}

type terms []term

// holds tells whether a cluster is as the term wants it.
func (t *term) holds(cluster string) bool {
	_, there := slices.BinarySearch(t.clusters, cluster)
	return there != t.away
}

const (
	usualTermWeight = 50
	// weightPerLoad makes a term of weight 75 count as much as the load.
	weightPerLoad = 25.0
)

// resolveTerms asks where the deployments are that the terms point at. A term
// about the deployment itself says nothing.
func (w *work) resolveTerms() terms {
	if w.d.Placement == nil {
		return nil
	}
	var all terms
	add := func(list []model.AffinityTerm, away bool) {
		for _, asked := range list {
			if asked.Deployment == w.d.Key {
				continue
			}
			t := term{away: away, required: asked.Required, weight: usualTermWeight / weightPerLoad}
			if asked.Weight != nil {
				t.weight = float64(*asked.Weight) / weightPerLoad
			}
			t.about, t.clusters = w.whereabouts(asked)
			all = append(all, t)
		}
	}
	add(w.d.Placement.Affinity, false)
	add(w.d.Placement.AntiAffinity, true)
	return all
}

func (w *work) whereabouts(asked model.AffinityTerm) (about string, clusters []string) {
	if asked.Deployment != "" {
		about = "deployment " + asked.Deployment
		if w.in.Neighbours != nil {
			clusters = w.in.Neighbours.DeploymentClusters(asked.Deployment)
		}
		return about, clusters
	}
	class := asked.Class
	if slices.ContainsFunc(w.in.Package.Classes, func(c model.Class) bool { return c.Key == class }) {
		class = w.in.Package.Name + "." + class
	}
	if w.in.Neighbours != nil {
		clusters = w.in.Neighbours.ClassClusters(class, w.d.Key)
	}
	return "class " + class, clusters
}

// rejectOthers marks the clusters that required terms exclude.
func (t terms) rejectOthers(w *work) {
	for k := range t {
		if !t[k].required {
			continue
		}
		for i := range w.clusters {
			if s := &w.states[i]; s.others == fits && !t[k].holds(w.clusters[i].Name) {
				s.others = rejectedAffinity
				if t[k].away {
					s.others = rejectedAntiAffinity
				}
			}
		}
	}
}

// requirements identifies the required terms; empty when there are none.
func (t terms) requirements() string {
	var all []string
	for _, term := range t {
		if term.required && term.away {
			all = append(all, "not "+term.about)
		} else if term.required {
			all = append(all, term.about)
		}
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), "\n")
}
