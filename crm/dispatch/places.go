package dispatch

import (
	"slices"
	"strings"
	"time"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// movement is a deployment that goes from one cluster to another.
type movement struct {
	from, to string
	// back: to is the target that from stood in for.
	back bool
}

// settlePlaces joins the places of a plan with the units there are: the plan says
// which place another one replaces; whose unit stays for it, and for how long,
// depends on what became of that unit. It is recorded, so that it holds for
// whoever leads next. It is pure.
func settlePlaces(before, planned []model.PlacedCluster, units []model.UnitStatus) (places []model.PlacedCluster, moves []movement) {
	places = slices.Clone(planned)
	for i := range places {
		p := &places[i]
		if isPlaced(before, p.Cluster) || p.Replaces == "" {
			if !holds(planned, units, p.Replaces) {
				p.Replaces = "" // the unit is gone, or wanted again
			}
			continue
		}
		at := slices.IndexFunc(before, func(old model.PlacedCluster) bool { return old.Cluster == p.Replaces })
		if at < 0 {
			continue
		}
		from := before[at]
		moves = append(moves, movement{from: from.Cluster, to: p.Cluster, back: from.For == p.Cluster})
		p.Replaces = replaced(from, planned, units)
	}
	return places, moves
}

// replaced is the cluster whose unit stays while the successor of a place comes
// up: the place itself if it got as far as running, or replaced nothing, else the
// one that it was to replace.
func replaced(from model.PlacedCluster, places []model.PlacedCluster, units []model.UnitStatus) string {
	serves := slices.ContainsFunc(units, func(u model.UnitStatus) bool {
		return u.Cluster == from.Cluster && u.Phase == model.UnitRunning
	})
	switch {
	case !serves && holds(places, units, from.Replaces):
		return from.Replaces
	case holds(places, units, from.Cluster):
		return from.Cluster
	}
	return ""
}

// holds tells whether a cluster that is not placed any more has a unit that could
// serve.
func holds(places []model.PlacedCluster, units []model.UnitStatus, cluster string) bool {
	return cluster != "" && !isPlaced(places, cluster) &&
		slices.ContainsFunc(units, func(u model.UnitStatus) bool { return u.Cluster == cluster && couldServe(u) })
}

func isPlaced(places []model.PlacedCluster, cluster string) bool {
	return slices.ContainsFunc(places, func(p model.PlacedCluster) bool { return p.Cluster == cluster })
}

func moved(moves []movement, to string) bool {
	return slices.ContainsFunc(moves, func(m movement) bool { return m.to == to })
}

// placeState is how far a place is from what is wanted in it.
type placeState int

const (
	// placeEmpty: there is nothing yet.
	placeEmpty placeState = iota
	// placeStale: there is an older unit only.
	placeStale
	// placeMoving: the wanted unit is on its way, or was.
	placeMoving
	// placeFresh: the wanted unit runs.
	placeFresh
)

// place is a selected cluster as a rollout sees it.
type place struct {
	cluster string
	state   placeState
	// serves: a unit runs there, old or new.
	serves bool
	// refused: the cluster refused the wanted unit for good.
	refused bool
	unit    model.UnitStatus
	// ran is how long the wanted unit has been seen to run, heard what its cluster
	// last said of it while it did not.
	ran   time.Duration
	heard string
	// reachable: the cluster may be called.
	reachable bool
}

// placesNow finds the state of each place of a plan.
func placesNow(w wish, units []model.UnitStatus, open func(string) bool) []place {
	places := make([]place, len(w.plan.Units))
	for i, unit := range w.plan.Units {
		p := place{cluster: unit.TargetCluster, reachable: open(unit.TargetCluster)}
		for _, other := range unitsIn(units, p.cluster) {
			p.serves = p.serves || other.Phase == model.UnitRunning
			if couldServe(other) {
				p.state = placeStale
			}
		}
		record, exists := findUnit(units, storage.UnitRef{Cluster: p.cluster, Unit: unit.ID})
		if exists {
			p.state, p.unit = placeMoving, record
			p.refused = isRefused(record)
			if record.Phase == model.UnitRunning {
				p.state = placeFresh
			}
		}
		places[i] = p
	}
	return places
}

// why says what keeps the wanted unit from running, as far as that is known, and
// whether those are the cluster's words.
func (p place) why() (text string, quoted bool) {
	heard := p.heard
	if heard == "" && (p.unit.Phase == model.UnitDeploying || p.unit.Phase == model.UnitDown) {
		heard = p.unit.Message
	}
	switch {
	case p.unit.LastError != "":
		return p.unit.LastError, false
	case heard != "":
		return heard, true
	}
	return p.unit.Message, false
}

// reasons names what keeps units from running, each reason once and not all.
func reasons(places []place) string {
	const enough = 3
	var known, texts []string
	for _, p := range places {
		why, quoted := p.why()
		if why == "" || slices.Contains(known, why) || len(texts) == enough {
			continue
		}
		known = append(known, why)
		switch {
		case quoted:
			why = p.cluster + " says " + why
		case len(places) > 1:
			why = p.cluster + ": " + why
		}
		texts = append(texts, why)
	}
	return strings.Join(texts, "; ")
}

// unitsIn returns the records of a cluster out of sorted ones.
func unitsIn(units []model.UnitStatus, cluster string) []model.UnitStatus {
	start, _ := slices.BinarySearchFunc(units, model.UnitStatus{Cluster: cluster}, compareUnits)
	end := start
	for end < len(units) && units[end].Cluster == cluster {
		end++
	}
	return units[start:end]
}

// couldServe tells whether a unit was accepted and is not on its way out.
func couldServe(unit model.UnitStatus) bool {
	return unit.CRMID != "" && unit.Phase != model.UnitPending && unit.Phase != model.UnitDeleting
}

// isRefused tells whether a cluster refused a unit for good.
func isRefused(unit model.UnitStatus) bool {
	return unit.Phase == model.UnitDown && unit.CRMID == ""
}
