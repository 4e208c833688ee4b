package dispatch

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/oprc/oprc-pm/crm/plan"
	"github.com/oprc/oprc-pm/model"
)

// wish is what should be.
type wish struct {
	// deleting: nothing should be.
	deleting bool
	// unplanned: there is no plan, for the reason of planErr, so everything stays
	// as it is. A plan that does not work out must not tear down what runs.
	unplanned bool
	planErr   *plan.Error
	plan      plan.Plan
	// avoided is what is to be recorded as the deployment's AvoidedClusters.
	avoided []model.AvoidedCluster
	// left are the clusters of avoided that are new, stuck those that the
	// deployment was asked to leave and cannot.
	left  []model.AvoidedCluster
	stuck []string
	// unprobed are clusters that nobody has looked at yet, when there are too few
	// others: what they are good for is not known.
	unprobed []string
}

// awaits tells that there is no plan yet, since clusters have to be looked at
// first.
func (w wish) awaits() bool {
	return w.planErr != nil && w.planErr.Reason == ReasonAwaitingProbes
}

// selected returns the clusters of the plan, in order.
func (w wish) selected() []string {
	clusters := make([]string, len(w.plan.Units))
	for i, unit := range w.plan.Units {
		clusters[i] = unit.TargetCluster
	}
	return clusters
}

// wisher works a wish out.
type wisher struct {
	s situation
	// asked as in knowledge.
	asked map[string]*request
	// stuck are those that were to be left and could not, when last asked.
	stuck []string
	now   time.Time
	// make plans s's deployment, with these avoidances.
	make func(avoided []model.AvoidedCluster) (plan.Plan, error)
	// unprobed returns the clusters that nobody has looked at yet.
	unprobed func() []string
}

// wish decides what should be: what is planned, moved by what was asked for. A
// request to leave a cluster is taken up only if the plan then does without it.
func (i wisher) wish() wish {
	if i.s.deployment.DeletionRequestedAt != nil {
		return wish{deleting: true, avoided: i.s.deployment.AvoidedClusters}
	}
	w := wish{avoided: i.s.deployment.AvoidedClusters}
	if i.s.pkg == nil {
		w.unplanned = true
		w.planErr = &plan.Error{
			Reason: plan.ReasonPackageNotFound, Message: "package " + i.s.deployment.PackageName + " does not exist",
		}
		return w
	}
	for cluster, wanted := range i.asked {
		if wanted == nil {
			w.avoided = without(w.avoided, cluster)
		}
	}
	made, err := i.make(w.avoided)
	w.plan = made
	if err != nil {
		w.unplanned = true
		w.planErr = i.tooSoon(&w, asPlanError(err))
		return w
	}
	if made.Shortfall != "" {
		w.unprobed = i.unprobed()
	}
	for _, cluster := range slices.Sorted(maps.Keys(i.asked)) {
		if wanted := i.asked[cluster]; wanted != nil {
			i.leave(&w, cluster, *wanted)
		}
	}
	// What was asked before and led to nothing is still to be told.
	for _, cluster := range i.stuck {
		if _, again := i.asked[cluster]; !again && slices.Contains(w.selected(), cluster) {
			w.stuck = append(w.stuck, cluster)
		}
	}
	slices.Sort(w.stuck)
	return w
}

// tooSoon words that no cluster fits when that is said too soon.
func (i wisher) tooSoon(w *wish, err *plan.Error) *plan.Error {
	if err.Reason != plan.ReasonNoFit {
		return err
	}
	if w.unprobed = i.unprobed(); len(w.unprobed) == 0 {
		return err
	}
	return plan.Errorf(ReasonAwaitingProbes, "%s", awaitingText(w.unprobed))
}

// leave takes up a request to leave a cluster, if that is possible.
func (i wisher) leave(w *wish, cluster string, wanted request) {
	avoids := slices.ContainsFunc(w.avoided, func(a model.AvoidedCluster) bool { return a.Cluster == cluster })
	if avoids || !slices.Contains(w.selected(), cluster) {
		return // it is not there any more, or would not be if it could
	}
	avoided := model.AvoidedCluster{Cluster: cluster, Reason: wanted.reason, Message: wanted.message, Since: i.now}
	trial := append(slices.Clone(w.avoided), avoided)
	made, err := i.make(trial)
	moved := wish{plan: made}
	if err != nil || len(made.Units) == 0 || slices.Contains(moved.selected(), cluster) {
		w.stuck = append(w.stuck, cluster)
		return
	}
	w.plan, w.avoided, w.left = made, trial, append(w.left, avoided)
}

func without(avoided []model.AvoidedCluster, cluster string) []model.AvoidedCluster {
	return slices.DeleteFunc(slices.Clone(avoided), func(a model.AvoidedCluster) bool { return a.Cluster == cluster })
}

func asPlanError(err error) *plan.Error {
	var planErr *plan.Error
	if errors.As(err, &planErr) {
		return planErr
	}
	return &plan.Error{Reason: "PlanFailed", Message: err.Error()}
}

// planClusters shows the planner the clusters. One that is drained is only
// cordoned to a deployment that is placed there: when it goes is for failover to
// say, which moves deployments at a bounded rate and not while it brakes.
func planClusters(clusters []plan.Cluster, d model.Deployment) []plan.Cluster {
	for _, placed := range d.PlacedOn {
		at := slices.IndexFunc(clusters, func(c plan.Cluster) bool { return c.Draining && c.Name == placed.Cluster })
		avoided := slices.ContainsFunc(d.AvoidedClusters, func(a model.AvoidedCluster) bool { return a.Cluster == placed.Cluster })
		if at >= 0 && !avoided {
			clusters[at].Draining, clusters[at].Cordoned = false, true
		}
	}
	return clusters
}
