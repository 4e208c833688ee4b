package main

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/oprc/oprc-pm/internal/client"
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
