package dispatch

import (
	"context"
	"fmt"
	"log/slog"
	"time"

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
	from  Origin
}

// dispatch begins the calls that are due and returns the time until the next.
// The intent of every one is recorded when it is called.
func (r *run) dispatch(ctx context.Context, s situation, w wish, units []model.UnitStatus) (again time.Duration) {
	now := r.now()
	wanted := map[storage.UnitRef]model.DeploymentUnit{}
	for _, unit := range w.plan.Units {
		wanted[storage.UnitRef{Cluster: unit.TargetCluster, Unit: unit.ID}] = unit
	}
	for _, t := range r.due(s, wanted, units, now, &again) {
		r.lanes[t.record.Cluster].submit(ctx, func(ctx context.Context) { r.perform(ctx, t) })
	}
	return again
}

// due picks the calls that may begin, marks them begun, and finds when the next
// one is due.
func (r *run) due(s situation, wanted map[storage.UnitRef]model.DeploymentUnit, units []model.UnitStatus, now time.Time, again *time.Duration) []task {
	r.mu.Lock()
	defer r.mu.Unlock()
	var tasks []task
	d := s.deployment
	for i, t := range r.see(r.knowledgeOf(d.Key), s.units, units, now) {
		record := units[i]
		unit, isWanted := wanted[refOf(record)]
		call := nextCall(record, isWanted)
		if call == "" || t.busy || t.outcome != nil || r.lanes[record.Cluster] == nil {
			continue
		}
		if wait := t.due.Sub(now); wait > 0 {
			if *again == 0 || wait < *again {
				*again = wait
			}
			continue
		}
		t.busy = true
		tasks = append(tasks, task{key: d.Key, call: call, record: record, unit: unit, track: t, from: r.origin(d, call, record)})
	}
	return tasks
}

// origin says on whose behalf a call is made. An intent begins with a record's
// transition, so that is what its idempotency key is made of: with the unit's id
// alone, a CRM that remembers keys would not deploy a unit again that it lost.
func (r *run) origin(d model.Deployment, call string, record model.UnitStatus) Origin {
	from := Origin{
		Term: r.term, Generation: d.Generation,
		CorrelationID: fmt.Sprintf("%s/%d/%d", d.Key, d.Generation, r.term),
	}
	if call != callStatus {
		from.IdempotencyKey = fmt.Sprintf("%s-%s-%x", record.ID, call, record.LastTransitionTime.UnixNano())
	}
	return from
}

// perform makes a call and hands its outcome to the next reconcile.
func (r *run) perform(ctx context.Context, t task) {
	if r.outdated(t) {
		r.queue.add(t.key)
		return
	}
	o := r.call(ctx, t)
	if ctx.Err() != nil {
		return // the run is over; what it remembers is dropped with it
	}
	r.logFailure(ctx, t, o)
	now := r.now()
	r.mu.Lock()
	wait, news := r.learn(t.track, t.record, &o, now)
	if news {
		t.track.outcome = &o
		wait = r.cfg.CoalesceDelay
	}
	r.mu.Unlock()
	r.queue.addAfter(t.key, wait)
}

// outdated tells, and notes, that the wish changed while a call waited for its
// turn, which can be long where a cluster hangs: it is then not made at all.
func (r *run) outdated(t task) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t.track.phase == t.record.Phase {
		return false
	}
	t.track.busy, t.track.due = false, time.Time{}
	return true
}

// logFailure tells of a failed call: loudly when a person may have to act.
func (r *run) logFailure(ctx context.Context, t task, o outcome) {
	level := slog.LevelDebug
	switch ClassOf(o.err) {
	case ClassOK:
		return
	case ClassTerminal, ClassFenced:
		level = slog.LevelWarn
	}
	r.deps.Logger.Log(ctx, level, "call to crm failed", "deployment", t.key, "unit", t.record.ID, "error", o.err)
}

func (r *run) call(ctx context.Context, t task) outcome {
	client := r.deps.Clients[t.record.Cluster]
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
		o.condition = status.Status
		if status.Message != nil {
			o.message = printable(*status.Message)
		}
	case callDelete:
		o.err = client.Delete(ctx, t.from, id)
	}
	return o
}
