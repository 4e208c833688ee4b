package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/oprc/oprc-pm/internal/client"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

func (p *program) cordonCommand() *cobra.Command {
	return p.clusterActionCommand(client.Cordon, &cobra.Command{
		Use:   "cordon CLUSTER...",
		Short: "Place nothing new in clusters",
		Long: `Mark clusters so that nothing new is placed in them. What is there stays and is
kept up to date. This holds for clusters of the configuration, too, and over
restarts; uncordon ends it.`,
		Example: `  oprc-pm cordon edge-1 edge-2`,
	}, nil)
}

func (p *program) uncordonCommand() *cobra.Command {
	return p.clusterActionCommand(client.Uncordon, &cobra.Command{
		Use:   "uncordon CLUSTER...",
		Short: "Use clusters again after cordon or drain",
		Long: `End a cordon or a drain. Deployments that named the cluster come back to it;
others stay where they were moved to.`,
		Example: `  oprc-pm uncordon edge-1`,
	}, nil)
}

func (p *program) drainCommand() *cobra.Command {
	var wait time.Duration
	cmd := p.clusterActionCommand(client.Drain, &cobra.Command{
		Use:   "drain CLUSTER...",
		Short: "Move everything out of clusters",
		Long: `Place nothing new in clusters and move what is there to others: the new unit
runs before the old one is removed. A deployment that fits nowhere else stays, and
says so. With --wait the command ends when nothing is left (exit code 0) or the
time is up (5); meanwhile it tells how far it is.`,
		Example: `  oprc-pm drain edge-1 --wait=10m
  oprc-pm drain edge-1 edge-2`,
	}, &wait)
	waitFlag(cmd, &wait, "wait until no unit is left there, at most so long")
	return cmd
}

// clusterActionCommand completes a verb that does the same to each cluster.
func (p *program) clusterActionCommand(action string, cmd *cobra.Command, wait *time.Duration) *cobra.Command {
	cmd.Args = usageArgs(cobra.MinimumNArgs(1))
	cmd.ValidArgsFunction = p.completeNames(client.Clusters)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return p.actOnClusters(cmd.Context(), action, args, wait)
	}
	return p.clientFlags(cmd)
}

func (p *program) actOnClusters(ctx context.Context, action string, names []string, wait *time.Duration) error {
	c, err := p.client()
	if err != nil {
		return err
	}
	defer c.Close()
	var since uint64
	for _, name := range names {
		result, err := c.ActOnCluster(ctx, name, action, client.WriteOptions{})
		if err != nil {
			return fmt.Errorf("%s cluster/%s: %w", action, name, err)
		}
		p.printWritten("cluster", name, result)
		since = max(since, result.Index)
	}
	if wait == nil || *wait == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, *wait, errWaitOver)
	defer cancel()
	for _, name := range names {
		if err := p.waitDrained(ctx, c, name, since, *wait); err != nil {
			return err
		}
	}
	return nil
}

// waitDrained follows the units of a cluster until there are none.
func (p *program) waitDrained(ctx context.Context, c *client.Client, name string, since uint64, wait time.Duration) error {
	var left []model.UnitStatus
	said := ""
	err := follow(ctx, c, since, []storage.Kind{storage.KindUnit}, func(index uint64) (bool, uint64, error) {
		units, at, err := c.ListClusterUnits(ctx, name, url.Values{"min_index": {uintText(index)}})
		if err != nil {
			return false, 0, err
		}
		left = units
		if text := fmt.Sprintf("cluster/%s: %s left", name, model.Counted(len(left), "unit")); text != said && len(left) > 0 {
			said = text
			_, _ = fmt.Fprintln(p.err, text)
		}
		return len(left) == 0, at, nil
	}, func(change client.Change) bool {
		// DEPLOYMENT/CLUSTER/UNIT
		_, rest, _ := strings.Cut(change.Key, "/")
		return strings.HasPrefix(rest, name+"/")
	})
	if err != nil && errors.Is(context.Cause(ctx), errWaitOver) {
		return timeoutf("after %v cluster/%s still holds %s, of %s; describe deployment tells why", wait, name, model.Counted(len(left), "unit"), ownersText(left))
	}
	if err != nil {
		return fmt.Errorf("wait for cluster/%s: %w", name, err)
	}
	p.printf("cluster/%s drained\n", name)
	return nil
}

// maxOwners is how many deployments a message names.
const maxOwners = 5

func ownersText(units []model.UnitStatus) string {
	var owners []string
	for _, u := range units {
		owners = append(owners, u.DeploymentKey)
	}
	slices.Sort(owners)
	owners = slices.Compact(owners)
	if len(owners) > maxOwners {
		return fmt.Sprintf("%s and %d more", strings.Join(owners[:maxOwners], ", "), len(owners)-maxOwners)
	}
	return strings.Join(owners, ", ")
}

// waitHealthy follows a cluster until it is healthy.
func (p *program) waitHealthy(ctx context.Context, c *client.Client, name string, wait time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, wait, errWaitOver)
	defer cancel()
	status, said := "", ""
	err := follow(ctx, c, 0, []storage.Kind{storage.KindClusterHealth, storage.KindCluster}, func(index uint64) (bool, uint64, error) {
		raw, meta, err := c.GetRaw(ctx, client.Resource(client.Clusters, name),
			url.Values{"min_index": {uintText(index)}, "consistency": {"stale"}}) // stale: also when index is 0, the answer says its own
		if err != nil {
			return false, 0, err
		}
		cluster, err := model.ParseCluster(raw)
		if err != nil {
			return false, 0, err
		}
		if cluster.Health != nil {
			status = orUnknown(cluster.Health.Status)
		}
		if status != said {
			said = status
			_, _ = fmt.Fprintf(p.err, "cluster/%s %s\n", name, status)
		}
		return status == model.ClusterHealthy, meta.Index, nil
	}, func(change client.Change) bool { return change.Key == name })
	if err != nil && errors.Is(context.Cause(ctx), errWaitOver) {
		return timeoutf("after %v cluster/%s is %s", wait, name, status)
	}
	if err != nil {
		return fmt.Errorf("wait for cluster/%s: %w", name, err)
	}
	return nil
}

// follow calls look, and again after every change that concerns it, until it
// reports that it is done. look reads the state as it was at the given index or
// later, and returns at which.
func follow(ctx context.Context, c *client.Client, since uint64, kinds []storage.Kind,
	look func(index uint64) (done bool, at uint64, err error), concerns func(client.Change) bool,
) error {
	for {
		done, at, err := look(since)
		if err != nil || done {
			return err
		}
		since, err = awaitChange(ctx, c, max(at, since), kinds, concerns)
		if err != nil && model.CodeOf(err) != model.CodeGone {
			return err
		}
		if err != nil {
			since = 0 // the changes are not kept any more: look at what is there now
		}
	}
}

// awaitChange returns the index of the next change that concerns the caller.
func awaitChange(ctx context.Context, c *client.Client, since uint64, kinds []storage.Kind, concerns func(client.Change) bool) (uint64, error) {
	stream := c.Watch(ctx, since, kinds...)
	defer stream.Close()
	for {
		change, err := stream.Next()
		if err != nil {
			return since, err
		}
		if concerns(change) {
			return change.Index, nil
		}
	}
}
