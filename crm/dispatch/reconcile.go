package dispatch

import (
	"context"
	"fmt"
	"time"

	"github.com/oprc/oprc-pm/crm/plan"
	"github.com/oprc/oprc-pm/internal/wait"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// reconcile looks at one deployment, records what is to be and what was
// learnt, and then lets the calls begin that are due. It does not wait for
// them: each one's outcome queues the deployment again. So a hung cluster holds
// up neither the worker nor what is recorded about the others.
//
// again is the time after which to look anew if nothing happens before; 0 means
// not until something does.
func (r *run) reconcile(ctx context.Context, key string) (again time.Duration, err error) {
	r.metrics.reconciles.Inc()
	s, exists, err := r.load(ctx, key)
	if err != nil {
		return r.backoff(key), err
	}
	if !exists {
		r.forget(key)
		return 0, nil
	}
	learnt := r.take(key)
	q, err := r.question(ctx, s, learnt)
	if err != nil {
		return r.backoff(key), err
	}
	d, err := r.decide(ctx, q)
	if err != nil {
		return r.backoff(key), err
	}
	// What was learnt is kept for the next time when it cannot be recorded.
	if err := r.carryOut(ctx, q, d); err != nil {
		return r.backoff(key), err
	}
	if d.forget {
		r.forget(key)
		r.deps.Logger.Info("deployment removed", "deployment", key)
		return 0, nil
	}
	r.recorded(key, d)
	learnt.settle(q.w)
	if d.returnTo != nil {
		if err := r.returnTo(ctx, q.s, *d.returnTo); err != nil {
			return r.backoff(key), err
		}
		return 0, nil // the change itself is a reason to look again
	}
	again = sooner(d.again, r.dispatch(ctx, q, d.units))
	if d.recordsReturn(q) {
		r.queue.add(key) // the return itself is the next step
	}
	return sooner(again, r.note(key, q.w, d)), nil
}

// question collects what a decision depends on.
func (r *run) question(ctx context.Context, s situation, learnt lesson) (question, error) {
	now := r.now()
	q := question{
		s: s, units: learnt.apply(s.units, now), cfg: r.cfg, now: now,
		known: func(cluster string) bool {
			_, exists := r.deps.Inventory.Cluster(cluster)
			return exists
		},
		open: func(cluster string) bool {
			_, callable := r.deps.Fleet.Client(cluster)
			return callable && r.deps.Gate.Allow(cluster)
		},
	}
	q.silence = r.silence
	q.insight = r.insight(s.deployment, q.units)
	planner, err := r.planner(ctx, s)
	if err != nil {
		return question{}, err
	}
	q.w = wisher{
		s: s, asked: learnt.asked, stuck: learnt.stuck, now: now, make: planner,
		unprobed: func() []string { return unprobed(r.deps.Inventory.PlanClusters("")) },
	}.wish()
	return q, nil
}

// planner returns a function that plans a deployment, or returns the plan that was
// made before when it would be the same.
func (r *run) planner(ctx context.Context, s situation) (func([]model.AvoidedCluster) (plan.Plan, error), error) {
	if s.pkg == nil || s.deployment.DeletionRequestedAt != nil {
		return nil, nil
	}
	r.mu.Lock()
	kept, epoch := r.knowledgeOf(s.deployment.Key).plan, r.epoch
	r.mu.Unlock()
	if !kept.holds(s, s.deployment.AvoidedClusters, epoch) {
		// The inventory must know what was committed before what is planned here,
		// a cluster that the deployment names for instance.
		ctx, cancel := context.WithTimeout(ctx, r.cfg.StoreTimeout)
		defer cancel()
		if err := r.deps.Inventory.WaitFor(ctx, s.index); err != nil {
			return nil, fmt.Errorf("wait for inventory: %w", err)
		}
	}
	return func(avoided []model.AvoidedCluster) (plan.Plan, error) {
		if kept.holds(s, avoided, epoch) {
			return kept.plan, nil
		}
		d := s.deployment
		d.AvoidedClusters = avoided
		made, err := plan.Make(r.PlanInput(d, *s.pkg))
		if err == nil {
			r.mu.Lock()
			k := r.knowledgeOf(d.Key)
			k.plan = &keptPlan{
				generation: d.Generation, pkg: s.pkg.ResourceVersion,
				placed: made.Placed, avoided: avoided, epoch: epoch, plan: made,
			}
			r.mu.Unlock()
		}
		return made, err
	}, nil
}

// decide decides, with the revisions if they turn out to be needed.
func (r *run) decide(ctx context.Context, q question) (decision, error) {
	d := decide(q, lookup{})
	if !d.asksRevisions {
		return d, nil
	}
	revisions, err := r.loadRevisions(ctx, q.s.deployment.Key)
	if err != nil {
		return decision{}, err
	}
	return decide(q, lookup{loaded: true, revisions: revisions}), nil
}

// recordsReturn tells whether a decision is the first part of a return, which the
// second follows at once.
func (d decision) recordsReturn(q question) bool {
	before, now := q.s.deployment.RolloutStatus, d.observed.RolloutStatus
	return now != nil && now.Phase == model.RolloutRolledBack && !sameRollout(before, now)
}

// carryOut records a decision.
func (r *run) carryOut(ctx context.Context, q question, d decision) error {
	command := q.command(d)
	if command == nil {
		return nil
	}
	for _, part := range split(*command) {
		if err := r.record(ctx, part); err != nil {
			return err
		}
	}
	for _, event := range d.events {
		r.deps.Logger.Info("deployment event", "deployment", event.Name, "reason", event.Reason, "message", event.Message, "cluster", event.Cluster)
	}
	return nil
}

// maxRecords bounds the unit records of one command: a log entry has a limit, and
// a deployment may have more units than fit into one.
const maxRecords = 500

// split cuts a command into parts of at most maxRecords. The last one says what
// is true of all together. Being cut off between two parts is like being cut off
// before the whole: the next reconcile does the rest.
func split(command storage.RecordUnitStatus) []storage.RecordUnitStatus {
	var parts []storage.RecordUnitStatus
	for len(command.Put)+len(command.Remove) > maxRecords {
		part := storage.RecordUnitStatus{Deployment: command.Deployment, Generation: command.Generation}
		puts := min(maxRecords, len(command.Put))
		removes := min(maxRecords-puts, len(command.Remove))
		part.Put, command.Put = command.Put[:puts], command.Put[puts:]
		part.Remove, command.Remove = command.Remove[:removes], command.Remove[removes:]
		parts = append(parts, part)
	}
	return append(parts, command)
}

// record commits a command as this leader run. A conflict means that the
// deployment has changed, or that another leads: look again.
func (r *run) record(ctx context.Context, command storage.RecordUnitStatus) error {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.StoreTimeout)
	defer cancel()
	r.metrics.writes.Inc()
	result, err := r.deps.Store.Apply(ctx, storage.Request{Command: command, LeaderTerm: r.term})
	if err != nil {
		return fmt.Errorf("record state of deployment %s: %w", command.Deployment, err)
	}
	r.mu.Lock()
	k := r.knowledgeOf(command.Deployment)
	k.written, k.generation = result.Index, command.Generation
	r.mu.Unlock()
	return nil
}

// returnTo puts an earlier document in place of a deployment's. That this is to be
// done is recorded, so whoever leads next does it if this run does not get to it;
// and it is not done over what somebody wrote in the meantime.
func (r *run) returnTo(ctx context.Context, s situation, d model.Deployment) error {
	document, err := model.EncodeDeployment(d)
	if err != nil {
		return fmt.Errorf("encode deployment %s: %w", s.deployment.Key, err)
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.StoreTimeout)
	defer cancel()
	r.metrics.writes.Inc()
	r.metrics.rollbacks.Inc()
	_, err = r.deps.Store.Apply(ctx, storage.Request{LeaderTerm: r.term, Command: storage.PutDeployment{
		Key: s.deployment.Key, Mode: storage.Update, IfMatch: s.deployment.ResourceVersion,
		Document: document, Package: d.PackageName, Class: d.ClassKey, Environments: d.Environments(),
	}})
	if err != nil {
		return fmt.Errorf("return deployment %s to an earlier revision: %w", s.deployment.Key, err)
	}
	return nil
}

// note remembers whether a deployment would use another cluster, and returns when
// to plan it again without a reason; 0: not.
func (r *run) note(key string, w wish, d decision) time.Duration {
	another, soon := w.wants(d.observed)
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.knowledgeOf(key)
	if another {
		r.wanting[key] = true
	} else {
		delete(r.wanting, key)
	}
	if !soon {
		return 0
	}
	k.plan = nil // or it would not be planned again
	return wait.Jitter(r.cfg.ReplanInterval, 0.2)
}
