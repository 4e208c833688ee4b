package dispatch

import (
	"context"
	"slices"
	"time"

	"github.com/oprc/oprc-pm/crm/inventory"
	"github.com/oprc/oprc-pm/crm/plan"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// clusterNews is what happened to a cluster, as far as deployments may have to be
// looked at.
type clusterNews struct {
	// came or went: who names it as a target is concerned.
	came, went bool
	// document: what planning goes by changed.
	document bool
	// returned: it may be called, or used, again.
	returned bool
	// probed: it was looked at for the first time.
	probed bool
	// silent: it cannot be asked any more.
	silent bool
}

func (n clusterNews) none() bool { return n == clusterNews{} }

// newsOf tells what a change of a cluster means.
func newsOf(c inventory.Change) clusterNews {
	switch {
	case c.After == nil:
		return clusterNews{went: true}
	case c.Before == nil:
		return clusterNews{came: true, returned: true}
	}
	return clusterNews{
		document: c.Before.Spec.ResourceVersion != c.After.Spec.ResourceVersion,
		returned: usable(c.After.Health) && !usable(c.Before.Health) ||
			c.After.Health.Status == model.ClusterHealthy && c.Before.Health.Status != model.ClusterHealthy,
		probed: isUnprobed(c.Before.Health.Reason) && !isUnprobed(c.After.Health.Reason),
	}
}

func isUnprobed(reason string) bool { return reason == inventory.ReasonNotProbed }

// unprobed returns the clusters that nobody has looked at yet, in order.
func unprobed(clusters []plan.Cluster) (names []string) {
	for _, c := range clusters {
		if isUnprobed(c.Reason) {
			names = append(names, c.Name)
		}
	}
	return names
}

func usable(h model.ClusterHealth) bool {
	return h.Status != model.ClusterUnhealthy && h.Circuit != model.CircuitOpen
}

// clusterChanged takes in a change of a cluster. It is called by the inventory and
// does not block.
func (r *run) clusterChanged(c inventory.Change) {
	news := newsOf(c)
	r.mu.Lock()
	news.silent = r.listen(c)
	if c.Before == nil || c.After == nil || news.document || c.Before.Health.Status != c.After.Health.Status {
		r.epoch++
	}
	if !news.none() {
		known := r.changed[c.Cluster]
		r.changed[c.Cluster] = clusterNews{
			came: known.came || news.came, went: known.went || news.went,
			document: known.document || news.document, returned: known.returned || news.returned,
			probed: known.probed || news.probed, silent: known.silent || news.silent,
		}
	}
	recovers := r.silences[c.Cluster] != nil
	r.mu.Unlock()
	if news.none() && !recovers {
		return
	}
	select {
	case r.clustersNow <- struct{}{}:
	default: // told already
	}
}

// runClusters has the deployments looked at that a change of clusters concerns.
func (r *run) runClusters(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.clustersNow:
		case <-timer.C:
		}
		calm, next := r.endSilences()
		timer.Reset(next)
		for _, cluster := range calm {
			r.wakeThere(cluster)
		}
		r.mu.Lock()
		changed := r.changed
		r.changed = map[string]clusterNews{}
		r.mu.Unlock()
		for cluster, news := range changed {
			r.tellOf(ctx, cluster, news)
		}
		if len(changed) > 0 {
			r.wakeWanting()
		}
	}
}

// wakeThere has all deployments with units in a cluster looked at.
func (r *run) wakeThere(cluster string) {
	for _, deployment := range r.deps.Inventory.DeploymentsOn(cluster) {
		r.queue.addPassing(deployment)
	}
}

func (r *run) tellOf(ctx context.Context, cluster string, news clusterNews) {
	if news.returned {
		r.clusterReturned(cluster)
	}
	if news.document || news.came || news.went || news.silent {
		r.wakeThere(cluster)
	}
	if !news.came && !news.went {
		return
	}
	targeting, err := r.list(ctx, storage.ByEnvironment, cluster)
	if err != nil && ctx.Err() == nil {
		r.deps.Logger.Warn("deployments of a cluster cannot be listed, all are looked at", "cluster", cluster, "error", err)
		r.requestResync()
	}
	for _, deployment := range targeting {
		r.queue.addPassing(deployment)
	}
}

// clusterReturned has the deployments looked at that have something to do in a
// cluster, without the delays that its failures have earned them. Units that run
// need nothing done: what became of them in the meantime is for drift to find.
func (r *run) clusterReturned(cluster string) {
	var concerned []string
	deployments := r.deps.Inventory.DeploymentsOn(cluster)
	r.mu.Lock()
	for _, deployment := range deployments {
		k, known := r.deployments[deployment]
		if !known {
			continue // not looked at yet by this run
		}
		waits := false
		for ref, t := range k.units {
			if ref.Cluster == cluster && (t.phase != model.UnitRunning || t.failures > 0) {
				t.due, t.failures, waits = time.Time{}, 0, true
			}
		}
		if waits {
			concerned = append(concerned, deployment)
		}
	}
	r.mu.Unlock()
	for _, deployment := range concerned {
		r.queue.add(deployment)
	}
}

// wakeWanting has the deployments looked at that would use another cluster if
// they could, or that could not be recorded.
func (r *run) wakeWanting() {
	r.mu.Lock()
	wanting := make([]string, 0, len(r.wanting))
	for deployment := range r.wanting {
		wanting = append(wanting, deployment)
	}
	r.mu.Unlock()
	slices.Sort(wanting)
	for _, deployment := range wanting {
		r.queue.addPassing(deployment)
	}
}

// wants tells whether a deployment would use another cluster if it could, and
// whether what is in its way may go without a cluster being changed.
func (w wish) wants(d model.DeploymentObserved) (another, soon bool) {
	if w.deleting {
		return false, false
	}
	soon = w.plan.Shortfall != "" || len(w.staying()) > 0 || w.awaits() || w.planErr != nil && w.planErr.Reason == plan.ReasonNoFit
	another = soon || w.planErr != nil || len(w.plan.UnknownEnvs) > 0 || len(w.avoided) > 0
	for _, place := range d.PlacedOn {
		another = another || place.For != "" || place.Unfit
	}
	return another, soon
}
