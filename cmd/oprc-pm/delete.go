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

// deleteOptions are the flags of delete.
type deleteOptions struct {
	files          []string
	cluster        string
	force          bool
	cascade        bool
	ignoreNotFound bool
	wait           time.Duration
}

func (p *program) deleteCommand() *cobra.Command {
	var o deleteOptions
	cmd := p.clientFlags(&cobra.Command{
		Use:   "delete KIND NAME... | KIND/NAME... | -f FILE|DIR|-",
		Short: "Delete packages, deployments and clusters",
		Long: `Delete packages, deployments and clusters, by name or as files describe them
(then the deployments first, and the packages and clusters once those are gone).

The delete of a deployment is accepted at once; its units are then removed from
every cluster. With --wait the command ends when the last of them is gone. A
package that others depend on, or that has deployments, is not deleted; with
--cascade its deployments are deleted with it.

With --cluster a deployment is taken off that cluster only. A cluster in which
units are recorded, or that deployments name, is not deleted: drain it, and take
them off it. With --force it is, and what still runs there is forgotten, not
stopped.`,
		Example: `  oprc-pm delete deployment Record --wait
  oprc-pm delete deployment Record --cluster oaas-2 --wait
  oprc-pm delete package example --cascade
  oprc-pm delete cluster edge-7
  oprc-pm delete -f deploy/examples/echo.yml --ignore-not-found`,
		Args:              usageArgs(cobra.ArbitraryArgs),
		ValidArgsFunction: p.completeTargets(func(k *kind) bool { return deletable(k) }),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.delete(cmd.Context(), args, o)
		},
	})
	fileFlag(cmd, &o.files)
	cmd.Flags().BoolVar(&o.cascade, "cascade", false, "delete the deployments of a package with it")
	cmd.Flags().StringVar(&o.cluster, "cluster", "", "delete deployments from this cluster only")
	cmd.Flags().BoolVar(&o.force, "force", false, "delete a cluster although units are recorded there, or deployments name it")
	cmd.Flags().BoolVar(&o.ignoreNotFound, "ignore-not-found", false, "what does not exist is no error")
	waitFlag(cmd, &o.wait, "wait until deployments are gone from every cluster, at most so long")
	return cmd
}

func deletable(k *kind) bool {
	return k.collection == client.Packages || k.collection == client.Deployments || k.collection == client.Clusters
}

func (p *program) delete(ctx context.Context, args []string, o deleteOptions) error {
	targets, err := p.deleteTargets(args, o)
	if err != nil {
		return err
	}
	c, err := p.client()
	if err != nil {
		return err
	}
	defer c.Close()
	d := &deletion{p: p, c: c, o: o}
	for i, t := range targets {
		if t.kind.collection != client.Deployments && len(o.files) > 0 && i > 0 {
			// Package and cluster can go only when their deployments have gone.
			if err := d.waitGone(ctx); err != nil {
				return err
			}
		}
		if err := d.delete(ctx, t); err != nil {
			return err
		}
	}
	if o.wait > 0 {
		return d.waitGone(ctx)
	}
	return nil
}

// deleteTargets is what is to be deleted, in order.
func (p *program) deleteTargets(args []string, o deleteOptions) ([]target, error) {
	if len(o.files) > 0 {
		if len(args) > 0 {
			return nil, usagef("give names or -f, not both")
		}
		return p.targetsOfFiles(o.files)
	}
	if len(args) == 0 {
		return nil, usagef("say what to delete: KIND NAME, or -f FILE")
	}
	targets, err := parseTargets(args)
	if err != nil {
		return nil, err
	}
	for _, t := range targets {
		switch {
		case !deletable(t.kind):
			return nil, usagef("%s cannot be deleted; %s can", t.kind.name, strings.Join(kindNames(deletable), ", "))
		case o.cluster != "" && t.kind.collection != client.Deployments:
			return nil, usagef("--cluster applies to deployments only")
		case o.force && t.kind.collection != client.Clusters:
			return nil, usagef("--force applies to clusters only")
		case t.name == "":
			return nil, usagef("say which of the %s to delete", t.kind.name)
		}
	}
	return targets, nil
}

// targetsOfFiles takes deployments first, then packages before those that they
// depend on.
func (p *program) targetsOfFiles(files []string) ([]target, error) {
	set, err := p.loadManifests(files, false)
	if err != nil {
		return nil, err
	}
	packages, err := kindByName(client.Packages)
	if err != nil {
		return nil, err
	}
	deployments, err := kindByName(client.Deployments)
	if err != nil {
		return nil, err
	}
	var targets []target
	for _, d := range set.deployments {
		targets = append(targets, target{deployments, d.Key})
	}
	for _, pkg := range slices.Backward(set.packages) {
		targets = append(targets, target{packages, pkg.Name})
	}
	clusters, err := kindByName(client.Clusters)
	if err != nil {
		return nil, err
	}
	for _, cluster := range set.clusters {
		targets = append(targets, target{clusters, cluster.Name})
	}
	return targets, nil
}

// deletion is one run of delete.
type deletion struct {
	p *program
	c *client.Client
	o deleteOptions
	// leaving are the deployments whose units are being removed.
	leaving []string
	// since is the index of the newest delete.
	since uint64
}

func (d *deletion) delete(ctx context.Context, t target) error {
	name := t.kind.singular + "/" + t.name
	result, err := d.send(ctx, t)
	switch {
	case client.NotFound(err) && d.o.ignoreNotFound:
		d.p.printf("%s not found\n", name)
		return nil
	case err != nil:
		return fmt.Errorf("delete %s: %w", name, err)
	}
	d.since = max(d.since, result.Index)
	from := ""
	if d.o.cluster != "" {
		from = " from cluster " + d.o.cluster
	}
	d.p.printf("%s deleted%s\n", name, from)
	if t.kind.collection == client.Clusters && result.Message != "" {
		// Without a warning there is no message.
		_, _ = fmt.Fprintf(d.p.err, "warning: %s: %s\n", name, cell(result.Message))
	}
	return nil
}

func (d *deletion) send(ctx context.Context, t target) (client.WriteResult, error) {
	switch {
	case t.kind.collection == client.Clusters:
		return d.c.DeleteCluster(ctx, t.name, client.WriteOptions{Force: d.o.force})
	case d.o.cluster != "":
		// The server waits: the deployment stays, so there is no end of it to see.
		return d.c.DeleteDeployment(ctx, t.name, client.WriteOptions{Cluster: d.o.cluster, Wait: d.o.wait})
	case t.kind.collection == client.Deployments:
		result, err := d.c.DeleteDeployment(ctx, t.name, client.WriteOptions{})
		if err == nil {
			d.leaving = append(d.leaving, t.name)
		}
		return result, err
	}
	var along []string
	if d.o.cascade && d.o.wait > 0 {
		deployments, err := d.c.ListDeployments(ctx, url.Values{"package_name": {t.name}})
		if err != nil {
			return client.WriteResult{}, err
		}
		for _, deployment := range deployments {
			along = append(along, deployment.Key)
		}
	}
	result, err := d.c.DeletePackage(ctx, t.name, client.WriteOptions{Cascade: d.o.cascade})
	if err == nil {
		d.leaving = append(d.leaving, along...)
	}
	return result, err
}

// waitGone waits until the deleted deployments are forgotten, which is when
// their last unit is gone.
func (d *deletion) waitGone(ctx context.Context) error {
	wait := d.o.wait
	if wait == 0 {
		wait = defaultWait
	}
	waiting, cancel := context.WithTimeoutCause(ctx, wait, errWaitOver)
	defer cancel()
	for len(d.leaving) > 0 {
		err := d.waitOne(waiting, d.leaving[0])
		switch {
		case err == nil:
			d.leaving = d.leaving[1:]
		case errors.Is(context.Cause(waiting), errWaitOver):
			return timeoutf("after %v deployment/%s still has units%s; its delete goes on", wait, d.leaving[0], d.left(ctx, d.leaving[0]))
		case model.CodeOf(err) != model.CodeGone:
			return fmt.Errorf("wait for the end of deployment/%s: %w", d.leaving[0], err)
		}
	}
	return nil
}

// left says where the units of a deployment are and what keeps them, as far as
// that can be found out.
func (d *deletion) left(ctx context.Context, key string) string {
	ctx, cancel := context.WithTimeout(ctx, askingFor)
	defer cancel()
	units, err := d.c.ListUnits(ctx, key)
	if err != nil || len(units) == 0 {
		return ""
	}
	places := make([]string, len(units))
	for i, u := range units {
		places[i] = u.Cluster
		if text := unitText(u); text != "" {
			places[i] += " (" + cell(text) + ")"
		}
	}
	return " in " + model.NameList(places)
}

func (d *deletion) waitOne(ctx context.Context, key string) error {
	raw, meta, err := d.c.GetRaw(ctx, client.Resource(client.Deployments, key), url.Values{"min_index": {uintText(d.since)}})
	if client.NotFound(err) || err == nil && d.backAgain(raw) {
		return nil
	}
	if err != nil {
		return err
	}
	stream := d.c.Watch(ctx, meta.Index, storage.KindDeployment)
	defer stream.Close()
	for {
		change, err := stream.Next()
		if err != nil {
			return err
		}
		if change.Key == key && (change.Type == storage.EventDelete || d.backAgain(change.Document)) {
			return nil
		}
	}
}

// backAgain reports whether somebody has put the deployment again meanwhile,
// which takes the delete back.
func (d *deletion) backAgain(raw []byte) bool {
	deployment, err := model.ParseDeployment(raw)
	return err == nil && deployment.DeletionRequestedAt == nil
}
