package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/oprc/oprc-pm/internal/client"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

func (p *program) rolloutStatusCommand() *cobra.Command {
	var wait time.Duration
	cmd := p.clientFlags(&cobra.Command{
		Use:   "status DEPLOYMENT",
		Short: "Show how far a rollout has come",
		Long: `Show in which phase a rollout is and how many clusters run the new revision.

With --wait the command follows it to its end: exit code 0 when it is complete, 1
when it failed, was rolled back or is paused, 5 when the time is up.`,
		Example: `  oprc-pm rollout status Record
  oprc-pm rollout status Record --wait=10m`,
		Args:              usageArgs(cobra.ExactArgs(1)),
		ValidArgsFunction: p.completeNames(client.Deployments),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.rolloutStatus(cmd.Context(), args[0], wait)
		},
	})
	waitFlag(cmd, &wait, "follow it to its end, at most so long")
	return cmd
}

func (p *program) rolloutStatus(ctx context.Context, key string, wait time.Duration) error {
	c, err := p.client()
	if err != nil {
		return err
	}
	defer c.Close()
	if wait == 0 {
		d, err := c.GetDeployment(ctx, key)
		if err != nil {
			return err
		}
		revision, err := currentRevision(ctx, c, d)
		if err != nil {
			return err
		}
		p.printf("deployment/%s %s\n", key, rolloutLine(d, revision.Cause))
		p.printDoubts(d)
		return p.printNotRunning(ctx, c, d)
	}
	return p.followRollout(ctx, c, key, wait)
}

// rolloutNext is what can be done about a rollout that does not get on by itself.
func rolloutNext(d model.Deployment) string {
	r := d.RolloutStatus
	switch {
	case r == nil || d.DeletionRequestedAt != nil || d.ObservedGeneration < d.Generation:
		return ""
	case r.Phase == model.RolloutFailed:
		return "rollout resume tries it again, rollout undo goes back"
	case r.Phase == model.RolloutPaused:
		return "rollout resume goes on"
	case d.Rollout != nil && d.Rollout.Paused:
		return "paused: changes wait for rollout resume"
	}
	return ""
}

// rolloutLine is the state of a rollout, with what can be done about it.
func rolloutLine(d model.Deployment, cause string) string {
	line := rolloutText(d, cause)
	if next := rolloutNext(d); next != "" {
		line += "; " + next
	}
	return line
}

// printDoubts tells what the state of a rollout does not: that it is not all that
// was asked for, and that nobody knows how the units are now.
func (p *program) printDoubts(d model.Deployment) {
	for _, c := range d.Conditions {
		if (c.Type == conditionPlanned || c.Type == conditionReachable) && c.Status == model.ConditionFalse {
			p.printf("  %s is False (%s): %s\n", c.Type, cell(c.Reason), cell(c.Message))
		}
	}
}

// printNotRunning lists the units of a rollout that do not run, and why.
func (p *program) printNotRunning(ctx context.Context, c *client.Client, d model.Deployment) error {
	if d.RolloutStatus == nil || d.RolloutStatus.Phase == model.RolloutComplete {
		return nil
	}
	units, err := c.ListUnits(ctx, d.Key)
	if err != nil && !client.NotFound(err) {
		return err
	}
	for _, u := range units {
		if text := unitText(u); u.Revision == d.RolloutStatus.Revision && u.Phase != model.UnitRunning && text != "" {
			p.printf("  %s in %s is %s: %s\n", u.ID, u.Cluster, u.Phase, cell(text))
		}
	}
	return nil
}

// followRollout prints the state of a rollout whenever it changes, to its end.
func (p *program) followRollout(ctx context.Context, c *client.Client, key string, wait time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, wait, errWaitOver)
	defer cancel()
	var last model.Deployment
	var first uint64 // the generation that was followed
	said := ""
	err := follow(ctx, c, 0, []storage.Kind{storage.KindDeployment}, func(index uint64) (bool, uint64, error) {
		raw, meta, err := c.GetRaw(ctx, client.Resource(client.Deployments, key), url.Values{"min_index": {uintText(index)}})
		if err != nil {
			return false, 0, err
		}
		if last, err = model.ParseDeployment(raw); err != nil {
			return false, 0, err
		}
		if first == 0 {
			first = last.Generation
		}
		revision, err := currentRevision(ctx, c, last)
		if err != nil {
			return false, 0, err
		}
		if line := rolloutLine(last, revision.Cause); line != said {
			said = line
			p.printf("deployment/%s %s\n", key, line)
		}
		return rolloutOver(last), meta.Index, nil
	}, func(change client.Change) bool { return change.Key == key })
	switch {
	case err != nil && errors.Is(context.Cause(ctx), errWaitOver):
		return timeoutf("after %v the rollout of deployment/%s is not over", wait, key)
	case err != nil:
		return err
	case last.RolloutStatus.Phase != model.RolloutComplete:
		return &exitError{exitFailure, errSilent}
	case last.Generation > first:
		// A return to an earlier revision is a rollout of its own, which succeeds.
		revision, err := currentRevision(ctx, c, last)
		if err == nil && revision.IsReturn() {
			err = fmt.Errorf("what deployment/%s was to run was taken back: %s; describe deployment tells why", key, revision.Cause)
		}
		return err
	}
	return nil
}

// currentRevision is the revision that a deployment runs, or comes to run; zero
// when there is none.
func currentRevision(ctx context.Context, c *client.Client, d model.Deployment) (model.Revision, error) {
	if d.RolloutStatus == nil || d.RolloutStatus.Revision == 0 {
		return model.Revision{}, nil
	}
	number := uintText(d.RolloutStatus.Revision)
	revision, err := client.Get[model.Revision](ctx, c, client.Resource(client.Deployments, d.Key, "revisions", number), url.Values{})
	if err != nil && !client.NotFound(err) {
		return model.Revision{}, fmt.Errorf("read revision %s of deployment/%s: %w", number, d.Key, err)
	}
	return revision, nil
}

// rolloutOver reports whether nothing more will happen by itself.
func rolloutOver(d model.Deployment) bool {
	if d.RolloutStatus == nil || d.ObservedGeneration < d.Generation || unplannedChange(d) {
		return false
	}
	return d.RolloutStatus.Phase != model.RolloutProgressing
}

// unplannedChange reports whether the newest generation was looked at and there
// is no plan for it: the rollout that is recorded is an earlier one's.
func unplannedChange(d model.Deployment) bool {
	return d.ObservedGeneration >= d.Generation && d.RolloutStatus != nil && d.RolloutStatus.Generation < d.Generation
}

// rolloutText words the state of a rollout; cause is why its revision exists. It
// holds no times, so that it changes only when the rollout does.
func rolloutText(d model.Deployment, cause string) string {
	r := d.RolloutStatus
	switch {
	case d.DeletionRequestedAt != nil:
		return "is being deleted"
	case r == nil:
		return "has not been acted on yet"
	case d.ObservedGeneration < d.Generation:
		return fmt.Sprintf("generation %d has not been acted on yet", d.Generation)
	case unplannedChange(d):
		return fmt.Sprintf("generation %d cannot be planned; revision %d stays where it is", d.Generation, r.Revision)
	}
	if cause != "" {
		cause = " (" + cell(cause) + ")"
	}
	text := fmt.Sprintf("%s: revision %d%s runs in %d of %d clusters", r.Phase, r.Revision, cause, r.Updated, r.Total)
	if r.Message != "" {
		text += ": " + cell(r.Message)
	}
	return text
}
