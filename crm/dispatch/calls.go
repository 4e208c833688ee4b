package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/oprc/oprc-pm/crm"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// task is a call to be made for a unit.
type task struct {
	key    string
	call   string
	record model.UnitStatus
	// unit is the content to deploy, for a deploy call only.
	unit  model.DeploymentUnit
	track *track
	from  crm.Origin
}

// dispatch begins the calls that are due and returns the time until the next.
// The intent of every one is recorded when it is called.
func (r *run) dispatch(ctx context.Context, q question, units []model.UnitStatus) (again time.Duration) {
	wanted := map[storage.UnitRef]model.DeploymentUnit{}
	for _, unit := range q.w.plan.Units {
		wanted[storage.UnitRef{Cluster: unit.TargetCluster, Unit: unit.ID}] = unit
	}
	tasks, again := r.due(q, wanted, units)
	for _, t := range tasks {
		r.laneOf(t.record.Cluster).submit(ctx, t.call == callStatus, func(ctx context.Context) { r.perform(ctx, t) })
	}
	return again
}

// due picks the calls that may begin, marks them begun, and finds when the next
// one is due. What waits for its cluster is due when that is back, see
// WakeCluster.
func (r *run) due(q question, wanted map[storage.UnitRef]model.DeploymentUnit, units []model.UnitStatus) (tasks []task, again time.Duration) {
	polled := map[string]bool{}
	for _, unit := range units {
		if _, asked := polled[unit.Cluster]; !asked {
			polled[unit.Cluster] = r.isPolled(unit.Cluster)
		}
	}
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	d := q.s.deployment
	busy := false
	for i, t := range r.see(d.Key, q.s.units, units, now) {
		record := units[i]
		unit, isWanted := wanted[refOf(record)]
		call := nextCall(record, isWanted, polled[record.Cluster])
		busy = busy || t.busy || call != "" && !settled(record)
		if call == "" || t.busy || t.outcome != nil || !q.known(record.Cluster) || !q.open(record.Cluster) {
			continue
		}
		if wait := t.due.Sub(now); wait > 0 {
			again = sooner(again, wait)
			continue
		}
		t.busy = true
		tasks = append(tasks, task{key: d.Key, call: call, record: record, unit: unit, track: t, from: r.origin(d, call, record)})
	}
	if !busy {
		r.knowledgeOf(d.Key).plan = nil // settled: the next look is far away
	}
	return tasks, again
}

// origin says on whose behalf a call is made. An intent begins with a record's
// transition, so that is what its idempotency key is made of: with the unit's id
// alone, a CRM that remembers keys would not deploy a unit again that it lost.
func (r *run) origin(d model.Deployment, call string, record model.UnitStatus) crm.Origin {
	from := crm.Origin{
		Term: r.fence, Generation: d.Generation, Deployment: d.Key,
		CorrelationID: fmt.Sprintf("%s/%d/%d", d.Key, d.Generation, r.fence),
	}
	if call != callStatus {
		from.IdempotencyKey = fmt.Sprintf("%s-%s-%x", record.ID, call, record.LastTransitionTime.UnixNano())
	}
	return from
}

// perform makes a call and hands its outcome to the next reconcile.
func (r *run) perform(ctx context.Context, t task) {
	client, known := r.deps.Fleet.Client(t.record.Cluster)
	if !known || r.outdated(t) || !r.deps.Gate.Allow(t.record.Cluster) {
		r.release(t)
		return
	}
	o := call(ctx, client, t)
	if ctx.Err() != nil {
		return // the run is over; what it remembers is dropped with it
	}
	r.report(t, o)
	r.logFailure(ctx, t, o)
	r.mu.Lock()
	wait, news := r.learn(t.track, t.record, &o)
	if news {
		t.track.outcome = &o
		wait = r.cfg.CoalesceDelay
	}
	r.mu.Unlock()
	r.queue.addAfter(t.key, wait)
}

// outdated tells that the wish changed while a call waited for its turn, which can
// be long where a cluster hangs: it is then not made at all.
func (r *run) outdated(t task) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return t.track.phase != t.record.Phase
}

// release gives up a call that was not made, and has its deployment looked at.
func (r *run) release(t task) {
	r.mu.Lock()
	t.track.busy, t.track.due = false, time.Time{}
	r.mu.Unlock()
	r.queue.add(t.key)
}

// report tells the circuit breaker how a call went.
func (r *run) report(t task, o outcome) {
	if says, err := aboutCluster(o.err); says {
		r.deps.Gate.Report(t.record.Cluster, err)
	}
}

// aboutCluster is what a call says about its cluster, if anything: nil where it
// answered, whatever it said of the unit.
func aboutCluster(err error) (says bool, failure error) {
	var call *crm.CallError
	switch crm.ClassOf(err) {
	case crm.ClassCanceled:
		return false, nil
	case crm.ClassTerminal, crm.ClassNotSupported, crm.ClassFenced, crm.ClassNotFound:
		// A call that this node could not make was answered by nobody.
		return !errors.As(err, &call) || !call.NotSent, nil
	}
	return true, err
}

// logFailure tells of a failed call: loudly when a person may have to act.
func (r *run) logFailure(ctx context.Context, t task, o outcome) {
	level := slog.LevelDebug
	switch crm.ClassOf(o.err) {
	case crm.ClassOK:
		return
	case crm.ClassTerminal, crm.ClassNotSupported, crm.ClassFenced:
		level = slog.LevelWarn
	}
	r.deps.Logger.Log(ctx, level, "call to crm failed", "deployment", t.key, "unit", t.record.ID, "error", o.err)
}

func call(ctx context.Context, client crm.Client, t task) outcome {
	o := outcome{call: t.call}
	id := t.record.CRMID
	if id == "" {
		id = t.record.ID // never accepted, or the answer was lost
	}
	switch t.call {
	case callDeploy:
		var response model.CRMResponse
		response, o.err = client.Deploy(ctx, t.from, t.unit)
		if o.crmID = response.ID; o.crmID == "" {
			o.crmID = t.unit.ID
		}
	case callStatus:
		var status model.CRMStatus
		status, o.err = client.Status(ctx, t.from, id)
		if o.err == nil {
			return answered(t.record.Cluster, status.Status, textOf(status.Message))
		}
	case callDelete:
		o.err = client.Delete(ctx, t.from, id)
	}
	return o
}

func textOf(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}
