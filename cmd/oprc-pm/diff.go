package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/oprc/oprc-pm/internal/client"
	"github.com/oprc/oprc-pm/model"
)

func (p *program) diffCommand() *cobra.Command {
	var files []string
	var strict bool
	cmd := p.clientFlags(&cobra.Command{
		Use:   "diff -f FILE|DIR|-",
		Short: "Show what apply would change",
		Long: `Compare what files describe with what the server holds, as YAML, without what
the server adds. The exit code is 0 when apply would change nothing and 1 when it
would change something.`,
		Example: `  oprc-pm diff -f deploy/examples/echo.yml
  oprc-pm diff -f deploy/examples || oprc-pm apply -f deploy/examples`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return p.diff(cmd.Context(), files, strict) },
	})
	fileFlag(cmd, &files)
	cmd.Flags().BoolVar(&strict, "strict", false, "fail on fields that are not known")
	return cmd
}

func (p *program) diff(ctx context.Context, files []string, strict bool) error {
	set, err := p.loadManifests(files, strict)
	if err != nil {
		return err
	}
	c, err := p.client()
	if err != nil {
		return err
	}
	defer c.Close()
	if err := p.keepSwitches(ctx, c, &set); err != nil {
		return err
	}
	different := false
	compare := func(name, before, after string) {
		text := unifiedDiff("server/"+name, "file/"+name, before, after)
		p.printf("%s", text)
		different = different || text != ""
	}
	for _, cluster := range set.clusters {
		before, err := serverForm(ctx, c, client.Resource(client.Clusters, cluster.Name), model.ParseCluster, encodeClusterSpec)
		if err != nil {
			return fmt.Errorf("read cluster/%s: %w", cluster.Name, err)
		}
		after, err := asYAML(cluster, encodeClusterSpec)
		if err != nil {
			return err
		}
		compare("cluster/"+cluster.Name, before, after)
	}
	for _, pkg := range set.packages {
		before, err := serverForm(ctx, c, client.Resource(client.Packages, pkg.Name), model.ParsePackage, model.EncodePackage)
		if err != nil {
			return fmt.Errorf("read package/%s: %w", pkg.Name, err)
		}
		after, err := asYAML(pkg, model.EncodePackage)
		if err != nil {
			return err
		}
		compare("package/"+pkg.Name, before, after)
	}
	for _, d := range set.deployments {
		before, err := serverForm(ctx, c, client.Resource(client.Deployments, d.Key), model.ParseDeployment, model.EncodeDeployment)
		if err != nil {
			return fmt.Errorf("read deployment/%s: %w", d.Key, err)
		}
		after, err := asYAML(d, model.EncodeDeployment)
		if err != nil {
			return err
		}
		compare("deployment/"+d.Key, before, after)
	}
	if different {
		return &exitError{exitFailure, errSilent}
	}
	return nil
}

// encodeClusterSpec leaves out who manages the cluster, which the server decides.
func encodeClusterSpec(c model.Cluster) ([]byte, error) {
	c.ManagedBy = ""
	return model.EncodeCluster(c)
}

// serverForm is the user's part of what the server holds as YAML, "" for
// nothing.
func serverForm[T any](ctx context.Context, c *client.Client, path string, parse func([]byte) (T, error), encode func(T) ([]byte, error)) (string, error) {
	raw, _, err := c.GetRaw(ctx, path, nil)
	if client.NotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	v, err := parse(raw)
	if err != nil {
		return "", err
	}
	return asYAML(v, encode)
}

// asYAML renders what encode keeps of v.
func asYAML[T any](v T, encode func(T) ([]byte, error)) (string, error) {
	members, err := encode(v)
	if err != nil {
		return "", err
	}
	text, err := model.MarshalYAML(json.RawMessage("{" + string(members) + "}"))
	return string(text), err
}
