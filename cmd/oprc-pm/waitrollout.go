package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/oprc/oprc-pm/crm/plan"
	"github.com/oprc/oprc-pm/internal/client"
	"github.com/oprc/oprc-pm/model"
)

// givenUp returns an error when the rollout of a deployment will not get any
// further by itself.
func (r *rollout) givenUp(d model.Deployment) error {
	s := d.RolloutStatus
	if s == nil || s.Generation != d.Generation {
		return nil
	}
	if s.Phase == model.RolloutPaused {
		return fmt.Errorf("the rollout of deployment/%s is paused: %s; oprc-pm rollout resume %s goes on with it", d.Key, s.Message, d.Key)
	}
	if before := r.before[d.Key]; r.applied[d.Key].repackaged && s.Revision == before.Revision && s.Since.Equal(before.Since) {
		return nil // that was before; what the package says now is still to come
	}
	switch s.Phase {
	case model.RolloutRolledBack:
		return fmt.Errorf("deployment/%s is rolled back: %s", d.Key, s.Message)
	case model.RolloutFailed:
		return fmt.Errorf("the rollout of deployment/%s has failed: %s", d.Key, s.Message)
	}
	return nil
}

// final reports whether what runs, now that all run, is what was asked for. It
// is not when units are still to come, and it is an error when something else
// was put in its place.
func (r *rollout) final(ctx context.Context) (bool, error) {
	for _, key := range r.order {
		if err := r.replaced(ctx, r.deployments[key]); err != nil {
			return true, err
		}
		caughtUp, err := r.caughtUp(ctx, key)
		if err != nil || !caughtUp {
			return false, err
		}
	}
	return true, nil
}

// replaced returns an error when a deployment runs again what it ran before: a
// rollback makes a generation of its own, which may run before anybody looks.
func (r *rollout) replaced(ctx context.Context, d model.Deployment) error {
	wrote := r.applied[d.Key].generation
	if wrote == 0 || d.Generation <= wrote {
		return nil
	}
	revisions, err := r.c.ListRevisions(ctx, d.Key)
	if err != nil && !client.NotFound(err) {
		return fmt.Errorf("list revisions of deployment/%s: %w", d.Key, err)
	}
	for _, revision := range slices.Backward(revisions) {
		if revision.IsReturn() && revision.Generation > wrote {
			return fmt.Errorf("deployment/%s is rolled back: %s; describe deployment tells why", d.Key, revision.Cause)
		}
	}
	return nil
}

// caughtUp reports whether a deployment whose package was changed runs what the
// package now says: units that the plan would still make are to come. That a unit
// was recorded and that the deployment does not run any more is one change, but
// two documents of it.
func (r *rollout) caughtUp(ctx context.Context, key string) (bool, error) {
	applied := r.applied[key]
	if !applied.repackaged {
		return true, nil
	}
	planned, err := r.c.GetPlan(ctx, key)
	if err != nil && model.CodeOf(err) != model.CodeUnavailable && !client.NotFound(err) {
		return false, fmt.Errorf("plan deployment/%s: %w", key, err)
	}
	if planned.Reason != "" {
		return false, fmt.Errorf("deployment/%s cannot be planned (%s): %s; what it runs is left as it is", key, planned.Reason, planned.Message)
	}
	if slices.ContainsFunc(planned.Changes, func(c plan.Change) bool {
		return c.Action == plan.ChangeCreate || c.Action == plan.ChangeReplace ||
			c.Action == plan.ChangeKeep && r.units[key][c.Cluster+"/"+c.Unit].Phase != model.UnitRunning
	}) {
		r.behind[key] = true
		return false, nil
	}
	delete(r.behind, key)
	applied.repackaged = false
	r.applied[key] = applied
	return true, nil
}

// Conditions of a deployment that are asked after here: whether a plan meets the
// wish, whether there is any, and whether the clusters can be asked.
const (
	conditionPlanned     = "Planned"
	conditionProgressing = "Progressing"
	conditionReachable   = "Reachable"
)

// unplanned returns why there is no plan for a deployment, so that what runs is
// left as it is; "" when there is one, or may be as soon as clusters were looked
// at.
func unplanned(d model.Deployment) string {
	if !slices.ContainsFunc(d.Conditions, func(c model.Condition) bool { return c.Type == conditionProgressing && c.Reason == "NotPlanned" }) {
		return ""
	}
	for _, c := range d.Conditions {
		if c.Type == conditionPlanned && c.Reason != "AwaitingProbes" {
			return c.Reason + ": " + c.Message
		}
	}
	return ""
}

// warn tells of deployments that run, but not as they were asked for.
func (r *rollout) warn() {
	for _, key := range r.order {
		for _, c := range r.deployments[key].Conditions {
			if c.Type == conditionPlanned && c.Status == model.ConditionFalse {
				_, _ = fmt.Fprintf(r.p.err, "warning: deployment/%s runs, but not as asked for (%s): %s\n", key, cell(c.Reason), cell(c.Message))
			}
		}
	}
}
