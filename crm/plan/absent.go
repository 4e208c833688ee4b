package plan

import "slices"

// A place whose cluster is not registered is not given up: the others' units name
// its node ids and count it, so giving it up would change all of them, and having
// it again once more. As long as it is wanted it is kept open, without a unit,
// until its cluster is back or another one takes it over.

// missed adds the clusters to w.clusters that are not registered, but that places
// are about: those that they are in, and targets that they stand in for. It returns
// their names.
func (w *work) missed() []string {
	var absent []string
	add := func(name string) {
		if w.find(name) < 0 && !slices.Contains(absent, name) {
			absent = append(absent, name)
		}
	}
	for at := range w.d.PlacedOn {
		add(w.d.PlacedOn[at].Cluster)
		if target := w.d.PlacedOn[at].For; target != "" && slices.Contains(w.d.TargetEnvs, target) {
			add(target)
		}
	}
	if len(absent) == 0 {
		return nil
	}
	w.clusters = slices.Grow(slices.Clone(w.clusters), len(absent))
	for _, name := range absent {
		w.clusters = append(w.clusters, Cluster{Name: name, CPU: -1, Memory: -1})
	}
	slices.SortStableFunc(w.clusters, byName)
	return absent
}

// registered returns the index of a cluster that exists, or -1.
func (w *work) registered(name string) int {
	if i := w.find(name); i >= 0 && !w.states[i].absent {
		return i
	}
	return -1
}

// isVacant tells whether a place is only kept open: its cluster is not registered,
// so there is no unit in it.
func (w *work) isVacant(p *place) bool { return w.states[p.cluster].absent }

// isGone tells whether the cluster of a recorded place is not registered.
func (w *work) isGone(at int) bool { return w.states[w.find(w.d.PlacedOn[at].Cluster)].absent }

// lostTarget tells what a target that names nothing was, as far as places tell: a
// cluster, or an environment of which some had a place.
func (w *work) lostTarget(name string) (cluster, environment bool) {
	wish, standing := "", 0
	for at := range w.d.PlacedOn {
		record := &w.d.PlacedOn[at]
		if record.Cluster == name {
			return true, false
		}
		if wish == "" {
			wish = w.groupWish(name)
		}
		if record.Wish == wish {
			environment = true
		}
		if record.For == name {
			standing++
		}
	}
	// Only one cluster stands in for a cluster.
	environment = environment || standing > 1
	return standing > 0 && !environment, environment
}

// keepOpen keeps the place of a cluster that is not registered.
func (w *work) keepOpen(at int, standsFor, wish string) {
	p := place{cluster: w.find(w.d.PlacedOn[at].Cluster), why: whyOpen, was: at, from: -1, wish: wish}
	if name := w.clusters[p.cluster].Name; name != standsFor {
		p.standsFor = standsFor
	}
	w.take(p)
}
