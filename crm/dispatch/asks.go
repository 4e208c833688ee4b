package dispatch

import "github.com/oprc/oprc-pm/storage"

// Report is what a look at a cluster's records found about a unit.
type Report struct {
	// Unit is the unit's id, Deployment the key that it is recorded under.
	Unit       string
	Deployment string
	// Lost: the cluster does not have the unit any more.
	Lost bool
	// Condition and Message are the CRM's words; ignored when Lost.
	Condition string
	Message   string
}

// Wake has a deployment looked at again.
func (d *Dispatcher) Wake(deployment string) {
	if r := d.running(); r != nil {
		r.queue.add(deployment)
	}
}

// WakeCluster has all deployments looked at that have units in a cluster, without
// the delays that failed calls have earned there: its circuit closed, or the
// cluster changed.
func (d *Dispatcher) WakeCluster(cluster string) {
	if r := d.running(); r != nil {
		r.clusterReturned(cluster)
	}
}

// Evict asks for a deployment to leave a cluster; reason is one of
// model.AvoidFailover and model.AvoidDrain. If another cluster fits, the next look
// records that the cluster is avoided, and the deployment moves. If none does, it
// stays, an event says so once, and the request is dropped: ask again.
func (d *Dispatcher) Evict(deployment, cluster, reason, message string) {
	if r := d.running(); r != nil {
		r.ask(deployment, cluster, &request{reason: reason, message: message})
	}
}

// Readmit allows a deployment to use a cluster again that it was moved away from,
// and drops a request to leave it that is not yet carried out.
func (d *Dispatcher) Readmit(deployment, cluster string) {
	if r := d.running(); r != nil {
		r.ask(deployment, cluster, nil)
	}
}

// Observe takes in what a look at a cluster's records found. It counts like the
// answer to a status call.
func (d *Dispatcher) Observe(cluster string, report Report) {
	r := d.running()
	if r == nil {
		return
	}
	o := answered(cluster, report.Condition, report.Message)
	if report.Lost {
		o.err = missing(cluster, "is not among the cluster's records")
	}
	r.mu.Lock()
	k := r.knowledgeOf(report.Deployment)
	if k.reports == nil {
		k.reports = map[storage.UnitRef]outcome{}
	}
	k.reports[storage.UnitRef{Cluster: cluster, Unit: report.Unit}] = o
	r.mu.Unlock()
	r.queue.add(report.Deployment)
}

// PollUnits says whether the units that run in a cluster have to be asked for one
// by one, because its records cannot be listed. Without it they are not: changes
// are told by Observe.
func (d *Dispatcher) PollUnits(cluster string, on bool) {
	d.mu.Lock()
	changed := d.polled[cluster] != on
	if on {
		d.polled[cluster] = true
	} else {
		delete(d.polled, cluster)
	}
	r := d.current
	d.mu.Unlock()
	if !changed || r == nil {
		return
	}
	r.wakeThere(cluster)
}

// isPolled tells what PollUnits last said.
func (d *Dispatcher) isPolled(cluster string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.polled[cluster]
}

// request asks for a deployment to leave a cluster.
type request struct{ reason, message string }

// ask notes a request for the next look at a deployment; nil asks for the cluster
// to be allowed again.
func (r *run) ask(deployment, cluster string, wanted *request) {
	r.mu.Lock()
	k := r.knowledgeOf(deployment)
	if k.asked == nil {
		k.asked = map[string]*request{}
	}
	k.asked[cluster] = wanted
	r.mu.Unlock()
	r.queue.add(deployment)
}
