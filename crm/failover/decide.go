package failover

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/oprc/oprc-pm/model"
)

// Decide works out what is to be done at now. It is pure: the same state and
// time give the same decisions, and in is not changed.
//
// Nothing is queued: what waits is found anew each time from the facts, so an
// eviction whose cluster returned is not there any more.
func (c Config) Decide(in State, now time.Time) Decisions {
	r := &round{cfg: c, in: in, now: now}
	r.out.Waiting, r.out.Drains = map[string]int{}, map[string]Drain{}
	for name, cluster := range in.Clusters {
		if cluster.Draining {
			r.out.Drains[name] = Drain{}
		}
	}
	r.out.Memory.Asked = maps.Clone(in.Memory.Asked)
	if r.out.Memory.Asked == nil {
		r.out.Memory.Asked = map[Place]Ask{}
	}
	r.judgeBrake()
	for _, d := range in.Deployments {
		r.judge(d)
	}
	r.withdraw()
	r.spend()
	return r.out
}

// round is one decision in the making.
type round struct {
	cfg Config
	in  State
	now time.Time
	out Decisions
	// leaving and returning are the moves that are due.
	leaving, returning []move
	// wanted are the places of leaving.
	wanted map[Place]bool
	// hold: the brake is on, or would be if the clusters that are suspect now
	// were lost.
	hold bool
}

// move is a due eviction or readmission.
type move struct {
	place   Place
	reason  string
	message string
	due     time.Time
}

// minBrakeClusters is how many clusters there must be to speak of a majority.
// With fewer, a deployment of a lost one finds at most one other place, and the
// planner's rule that it stays when nothing fits is enough.
const minBrakeClusters = 3

// judgeBrake puts the brake on at once and takes it off after the hold-off. That
// begins anew with each cluster that returns: after an outage they come one by
// one, and those that are still to come must not be emptied meanwhile.
func (r *round) judgeBrake() {
	suspects := 0
	for _, cluster := range r.in.Clusters {
		switch {
		case !cluster.Seen:
			continue
		case cluster.lost():
			r.out.Lost++
		case cluster.Suspect:
			suspects++
		}
		r.out.Known++
	}
	most := func(count int) bool { return r.out.Known >= minBrakeClusters && 2*count > r.out.Known }
	brake := r.in.Memory.Brake
	switch {
	case most(r.out.Lost):
		brake = Brake{On: true}
	case brake.On && (brake.ClearSince.IsZero() || r.out.Lost < brake.Lost):
		brake.ClearSince, brake.Lost = r.now, r.out.Lost
	case brake.On:
		brake.Lost = r.out.Lost
	}
	if brake.On && !brake.ClearSince.IsZero() && !r.now.Before(brake.ClearSince.Add(r.cfg.BrakeHoldOff)) {
		brake = Brake{}
	}
	if brake.On && !brake.ClearSince.IsZero() {
		r.lookAgain(brake.ClearSince.Add(r.cfg.BrakeHoldOff))
	}
	r.out.Memory.Brake = brake
	r.hold = brake.On || most(r.out.Lost+suspects)
}

// judge finds out what is due for one deployment.
func (r *round) judge(d Deployment) {
	for _, avoided := range d.Avoided {
		r.judgeReturn(d, avoided)
	}
	for _, name := range d.Placed {
		place := Place{d.Key, name}
		if slices.ContainsFunc(d.Avoided, func(a model.AvoidedCluster) bool { return a.Cluster == name }) {
			continue // it is on its way out
		}
		// A cluster that is gone from the list is left by planning itself.
		if cluster, exists := r.in.Clusters[name]; exists {
			r.judgeStay(d, place, cluster)
		}
	}
}

// judgeStay finds out whether a deployment must leave a cluster.
func (r *round) judgeStay(d Deployment, place Place, cluster Cluster) {
	m := move{place: place}
	switch {
	case cluster.Draining:
		r.noteDrain(d, place)
		m.reason, m.message, m.due = model.AvoidDrain, fmt.Sprintf("cluster %s is being drained", place.Cluster), r.now
		if r.hold && cluster.Status != model.ClusterHealthy {
			r.out.Held++
			return
		}
	case d.Failover && cluster.Status == model.ClusterUnhealthy && !cluster.Since.IsZero():
		toleration := r.cfg.Toleration
		if d.Toleration != nil {
			toleration = *d.Toleration
		}
		m.reason, m.due = model.AvoidFailover, later(cluster.Since.Add(toleration), r.confirmed(cluster))
		m.message = fmt.Sprintf("cluster %s has been unhealthy for longer than %v", place.Cluster, toleration)
		if r.now.Before(m.due) {
			r.lookAgain(m.due)
			return
		}
		if r.hold {
			r.out.Held++
			return
		}
	default:
		return
	}
	r.out.Waiting[place.Cluster]++
	r.leaving = append(r.leaving, m)
}

// noteDrain counts a deployment that has a place in a cluster that is being
// drained. It stays there once it was asked to leave, there was time to answer, and
// the answer is that nothing else fits.
func (r *round) noteDrain(d Deployment, place Place) {
	drain := r.out.Drains[place.Cluster]
	ask, asked := r.in.Memory.Asked[place]
	answered := asked && !ask.Back && (ask.Again || !r.now.Before(ask.At.Add(r.cfg.patience(ask))))
	if answered && d.Stranded {
		at, _ := slices.BinarySearch(drain.Staying, d.Key)
		drain.Staying = slices.Insert(drain.Staying, at, d.Key)
	} else {
		drain.Leaving++
	}
	r.out.Drains[place.Cluster] = drain
}

// confirmed is when a cluster that stays as it is has been found so for long
// enough by this leader itself.
func (r *round) confirmed(cluster Cluster) time.Time {
	return later(cluster.Since.Add(r.cfg.Confirm), r.in.Begun.Add(r.cfg.Relook))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// judgeReturn finds out whether a deployment may use a cluster again that it
// left.
func (r *round) judgeReturn(d Deployment, avoided model.AvoidedCluster) {
	m := move{place: Place{d.Key, avoided.Cluster}, reason: avoided.Reason, due: r.now}
	cluster, exists := r.in.Clusters[avoided.Cluster]
	switch {
	case !exists:
		m.message = fmt.Sprintf("cluster %s does not exist any more", avoided.Cluster)
	case cluster.Draining || cluster.Cordoned:
		return
	case avoided.Reason == model.AvoidDrain && cluster.Status != model.ClusterUnhealthy && cluster.Status != model.ClusterUnknown:
		m.message = fmt.Sprintf("cluster %s is not being drained any more", avoided.Cluster)
	case cluster.Status != model.ClusterHealthy:
		return
	default:
		m.due = later(cluster.Since.Add(r.cfg.Recovery), r.in.Begun.Add(r.cfg.Relook))
		m.message = fmt.Sprintf("cluster %s has been healthy for %v", avoided.Cluster, r.cfg.Recovery)
		if r.now.Before(m.due) {
			r.lookAgain(m.due)
			return
		}
	}
	r.returning = append(r.returning, m)
}

// withdraw takes back what was asked for and is not due any more: the cluster
// returned, the deployment opted out, the brake came on.
func (r *round) withdraw() {
	r.wanted = map[Place]bool{}
	for _, m := range r.leaving {
		r.wanted[m.place] = true
	}
	avoided := map[Place]bool{}
	for _, d := range r.in.Deployments {
		for _, a := range d.Avoided {
			avoided[Place{d.Key, a.Cluster}] = true
		}
	}
	for place, ask := range r.out.Memory.Asked {
		switch {
		case ask.Back && !avoided[place], !ask.Back && avoided[place]:
			delete(r.out.Memory.Asked, place) // done
		case !ask.Back && !r.wanted[place]:
			delete(r.out.Memory.Asked, place)
			r.out.Withdraw = append(r.out.Withdraw, place)
		}
	}
	slices.SortFunc(r.out.Withdraw, comparePlaces)
}

// spend makes as many of the due moves as the budget allows: first those who
// leave, then those who return, then those that the dispatcher could not make
// when it was asked before.
func (r *round) spend() {
	budget := r.refill()
	spent := func(m move, back bool) bool {
		if budget.Moves < 1 {
			return false
		}
		budget.Moves--
		_, again := r.out.Memory.Asked[m.place]
		ask := Ask{At: r.now, Back: back, Again: again}
		r.out.Memory.Asked[m.place] = ask
		r.lookAgain(r.now.Add(r.cfg.patience(ask)))
		if back {
			r.out.Readmit = append(r.out.Readmit, Readmission{m.place, m.message})
		} else {
			r.out.Evict = append(r.out.Evict, Eviction{m.place, m.reason, m.message})
		}
		return true
	}
	first, again := r.split(r.leaving)
	back, backAgain := r.split(r.returning)
	short := false
	for _, list := range []struct {
		moves []move
		back  bool
	}{{first, false}, {back, true}, {again, false}, {backAgain, true}} {
		for _, m := range list.moves {
			short = short || !spent(m, list.back)
		}
	}
	if short {
		r.lookAgain(r.now.Add(time.Duration((1 - budget.Moves) / r.cfg.rate() * float64(time.Second))))
	}
	r.out.Memory.Budget = budget
}

// split orders due moves and parts those that were never asked for from those
// whose answer was waited for long enough.
func (r *round) split(moves []move) (first, again []move) {
	slices.SortFunc(moves, func(a, b move) int {
		return cmp.Or(a.due.Compare(b.due), comparePlaces(a.place, b.place))
	})
	for _, m := range moves {
		ask, asked := r.in.Memory.Asked[m.place]
		if _, still := r.out.Memory.Asked[m.place]; !asked || !still {
			first = append(first, m)
			continue
		}
		if due := ask.At.Add(r.cfg.patience(ask)); r.now.Before(due) {
			r.lookAgain(due)
			continue
		}
		again = append(again, m)
	}
	// Who was asked for longest ago is next, so that all get their turn.
	slices.SortStableFunc(again, func(a, b move) int {
		return r.in.Memory.Asked[a.place].At.Compare(r.in.Memory.Asked[b.place].At)
	})
	return first, again
}

// firstPatience is how long a first answer is waited for.
const firstPatience = 2 * time.Second

// patience is how long an answer is waited for. The first time it is short: the
// dispatcher may have begun to lead a moment later than we did, and then has not
// heard what it was asked for.
func (c Config) patience(ask Ask) time.Duration {
	if ask.Again {
		return c.RetryInterval
	}
	return min(firstPatience, c.RetryInterval)
}

// rate is how many moves a second adds to the budget.
func (c Config) rate() float64 { return float64(c.MaxEvictionsPerMinute) / 60 }

// burst is how many moves may be made at once.
func (c Config) burst(placed int) float64 {
	return float64(max(1, min(c.MaxEvictionsPerMinute, (placed+9)/10)))
}

func (r *round) refill() Budget {
	full, budget := r.cfg.burst(r.in.Placed), r.in.Memory.Budget
	if budget.At.IsZero() {
		return Budget{Moves: full, At: r.now}
	}
	if passed := r.now.Sub(budget.At); passed > 0 {
		budget.Moves += passed.Seconds() * r.cfg.rate()
		budget.At = r.now
	}
	budget.Moves = min(full, budget.Moves)
	return budget
}

// lookAgain notes when something will be due.
func (r *round) lookAgain(at time.Time) {
	if r.out.Next.IsZero() || at.Before(r.out.Next) {
		r.out.Next = at
	}
}

func comparePlaces(a, b Place) int {
	return cmp.Or(cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Deployment, b.Deployment))
}
