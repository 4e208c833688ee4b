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

func (p *program) rolloutCommand() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "rollout",
		Short: "Follow, hold and take back changes of deployments",
		Example: `  oprc-pm rollout status Record --wait
  oprc-pm rollout undo Record`,
	})
	cmd.AddCommand(p.rolloutStatusCommand(), p.rolloutActionCommand(client.Pause), p.rolloutActionCommand(client.Resume),
		p.rolloutHistoryCommand(), p.rolloutUndoCommand())
	return cmd
}

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
		cause, err := revisionCause(ctx, c, d)
		if err != nil {
			return err
		}
		p.printf("deployment/%s %s\n", key, rolloutText(d, cause))
		return nil
	}
	return p.followRollout(ctx, c, key, wait)
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
		cause, err := revisionCause(ctx, c, last)
		if err != nil {
			return false, 0, err
		}
		if line := rolloutText(last, cause); line != said {
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
		cause, err := revisionCause(ctx, c, last)
		if err == nil && cause != "" {
			err = fmt.Errorf("what deployment/%s was to run was taken back: %s; describe deployment tells why", key, cause)
		}
		return err
	}
	return nil
}

// revisionCause is why the revision that a deployment runs, or comes to run,
// exists; empty when it is a wish like any other.
func revisionCause(ctx context.Context, c *client.Client, d model.Deployment) (string, error) {
	if d.RolloutStatus == nil || d.RolloutStatus.Revision == 0 {
		return "", nil
	}
	number := uintText(d.RolloutStatus.Revision)
	revision, err := client.Get[model.Revision](ctx, c, client.Resource(client.Deployments, d.Key, "revisions", number), url.Values{})
	if err != nil && !client.NotFound(err) {
		return "", fmt.Errorf("read revision %s of deployment/%s: %w", number, d.Key, err)
	}
	return revision.Cause, nil
}

// rolloutOver reports whether nothing more will happen by itself.
func rolloutOver(d model.Deployment) bool {
	if d.RolloutStatus == nil || d.ObservedGeneration < d.Generation {
		return false
	}
	return d.RolloutStatus.Phase != model.RolloutProgressing
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
	}
	if cause != "" {
		cause = " (" + cell(cause) + ")"
	}
	text := fmt.Sprintf("%s: revision %d%s runs in %d of %d clusters", r.Phase, r.Revision, cause, r.Updated, r.Total)
	if r.Message != "" {
		text += ": " + cell(r.Message)
	}
	if d.Rollout != nil && d.Rollout.Paused && r.Phase != model.RolloutPaused {
		text += "; paused: changes wait for rollout resume"
	}
	return text
}

func (p *program) rolloutActionCommand(action string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pause DEPLOYMENT...",
		Short: "Hold rollouts where they are",
		Long: `Hold rollouts: what is being changed settles, no further cluster is touched, also
by later changes of the deployment. resume ends it.`,
		Example: `  oprc-pm rollout pause Record`,
	}
	if action == client.Resume {
		cmd = &cobra.Command{
			Use:     "resume DEPLOYMENT...",
			Short:   "Go on with rollouts that are paused, or that failed",
			Example: `  oprc-pm rollout resume Record`,
		}
	}
	cmd.Args = usageArgs(cobra.MinimumNArgs(1))
	cmd.ValidArgsFunction = p.completeNames(client.Deployments)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := p.client()
		if err != nil {
			return err
		}
		defer c.Close()
		for _, key := range args {
			result, err := c.ActOnDeployment(cmd.Context(), key, action, client.WriteOptions{})
			if err != nil {
				return fmt.Errorf("%s deployment/%s: %w", action, key, err)
			}
			p.printWritten("deployment", key, result)
		}
		return nil
	}
	return p.clientFlags(cmd)
}

func (p *program) rolloutHistoryCommand() *cobra.Command {
	var output string
	cmd := p.clientFlags(&cobra.Command{
		Use:   "history DEPLOYMENT",
		Short: "List the revisions of a deployment",
		Long: `List the revisions that are kept: the newest ones, and always the last that ran
everywhere. undo returns to one of them.`,
		Example: `  oprc-pm rollout history Record
  oprc-pm rollout history Record -o yaml`,
		Args:              usageArgs(cobra.ExactArgs(1)),
		ValidArgsFunction: p.completeNames(client.Deployments),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			c, err := p.client()
			if err != nil {
				return err
			}
			defer c.Close()
			revisions, err := kindByName(client.Revisions)
			if err != nil {
				return err
			}
			found, err := fetch(cmd.Context(), c, targetGroup{kind: revisions}, url.Values{"deployment": {args[0]}}, 0)
			if err != nil {
				return err
			}
			return p.printDocuments(revisions, found.Items, false, output)
		},
	})
	p.outputFlag(cmd, &output)
	return cmd
}

func (p *program) rolloutUndoCommand() *cobra.Command {
	var revision uint64
	var wait time.Duration
	cmd := p.clientFlags(&cobra.Command{
		Use:   "undo DEPLOYMENT",
		Short: "Return to an earlier revision",
		Long: `Return a deployment to an earlier revision: the one that is named, or the newest
that ran everywhere and differs from the present one. It becomes a new generation
and is rolled out like any other change; a pause ends.`,
		Example: `  oprc-pm rollout undo Record
  oprc-pm rollout undo Record --to-revision=3 --wait`,
		Args:              usageArgs(cobra.ExactArgs(1)),
		ValidArgsFunction: p.completeNames(client.Deployments),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.rolloutUndo(cmd.Context(), args[0], revision, wait)
		},
	})
	cmd.Flags().Uint64Var(&revision, "to-revision", 0, "`NUMBER` of the revision (0: the last good one)")
	waitFlag(cmd, &wait, "wait until it runs, at most so long")
	return cmd
}

func (p *program) rolloutUndo(ctx context.Context, key string, revision uint64, wait time.Duration) error {
	c, err := p.client()
	if err != nil {
		return err
	}
	defer c.Close()
	result, err := c.Rollback(ctx, key, revision, client.WriteOptions{})
	if err != nil {
		return fmt.Errorf("undo deployment/%s: %w", key, err)
	}
	text := "deployment/" + key + " rolled back to revision " + uintText(result.Revision)
	if result.Status == "unchanged" {
		text = "deployment/" + key + " unchanged: it is at revision " + uintText(result.Revision)
	}
	p.printf("%s\n", text)
	if wait == 0 {
		return nil
	}
	return p.waitRunning(ctx, c, []appliedDeployment{{key: key, index: result.Index, generation: result.Generation}}, wait)
}
