package plan

import "slices"

// target is a cluster that the deployment names.
type target struct {
	name    string
	cluster int
}

// group is a set of clusters of which a number is chosen: those of a targeted
// environment, or all candidates when nothing is targeted.
type group struct {
	// environment is empty when nothing is targeted.
	environment string
	// members exist; there are none when the environment is only known from the
	// places that it had.
	members []int // sorted
	wish    string
	scope   scope
	// number of places that are wanted; decided is to be remembered.
	number  int
	decided bool
	// up is how available the selected members are together.
	up reliability
	// fit are the members that could get a new place, apart from what depends on
	// the rest of the selection; the most available first.
	fit []int
	// leaving are the places that are to be left, standing those of clusters that
	// stand in for members: indices into PlacedOn, those first that matter most.
	leaving, standing []int
}

func (g *group) has(i int) bool {
	_, found := slices.BinarySearch(g.members, i)
	return found
}

// readTargets works out between what clusters there is a choice. unknown are the
// targets that name nothing now. Being available is an offer, not a wish: what is
// not known of available_envs is passed over.
func (w *work) readTargets() (unknown []string) {
	available := w.available()
	if len(w.d.TargetEnvs) == 0 {
		if len(available) > 0 {
			w.addGroup("", available)
		}
		return nil
	}
	seen := make(map[string]bool, len(w.d.TargetEnvs))
	for _, name := range w.d.TargetEnvs {
		if seen[name] {
			continue
		}
		seen[name] = true
		if i := w.registered(name); i >= 0 {
			w.addNamed(name, i)
		} else if members := w.membersOf(name); len(members) > 0 {
			w.addGroup(name, members)
		} else {
			unknown = append(unknown, name)
			w.addLost(name)
		}
	}
	w.standIns = available
	w.standInScope = w.newScope(w.standIns)
	return unknown
}

// addLost takes a target that names nothing for what its places tell that it was,
// so that they are kept.
func (w *work) addLost(name string) {
	if cluster, environment := w.lostTarget(name); cluster {
		w.addNamed(name, w.find(name))
	} else if environment {
		w.addGroup(name, nil)
	}
}

func (w *work) addNamed(name string, cluster int) {
	w.states[cluster].named = true
	w.named = append(w.named, target{name: name, cluster: cluster})
}

func (w *work) addGroup(environment string, members []int) {
	w.groups = append(w.groups, group{
		environment: environment, members: members, scope: w.newScope(members),
		wish: w.groupWish(environment), up: newReliability(w.want.quorum), fit: w.memory.newInts(len(members)),
	})
}

func (w *work) groupWish(environment string) string {
	return w.want.digest(environment, w.terms.requirements())
}

// available returns the clusters that available_envs offers, all if it is empty,
// sorted.
func (w *work) available() []int {
	if len(w.d.AvailableEnvs) == 0 {
		return w.all()
	}
	offered := make([]bool, len(w.clusters))
	for _, name := range w.d.AvailableEnvs {
		if i := w.registered(name); i >= 0 {
			offered[i] = true
			continue
		}
		for i := range w.clusters {
			offered[i] = offered[i] || slices.Contains(w.clusters[i].Environments, name)
		}
	}
	members := w.memory.newInts(len(w.clusters))
	for i, yes := range offered {
		if yes {
			members = append(members, i)
		}
	}
	return members
}

// membersOf returns the clusters of an environment, sorted.
func (w *work) membersOf(environment string) []int {
	members := w.memory.newInts(len(w.clusters))
	for i := range w.clusters {
		if slices.Contains(w.clusters[i].Environments, environment) {
			members = append(members, i)
		}
	}
	return members
}

// all returns the clusters that exist.
func (w *work) all() []int {
	list := w.memory.newInts(len(w.clusters))
	for i := range w.clusters {
		if !w.states[i].absent {
			list = append(list, i)
		}
	}
	return list
}
