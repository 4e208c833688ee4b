package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/oprc/oprc-pm/internal/client"
	"github.com/oprc/oprc-pm/model"
)

func (p *program) describeCommand() *cobra.Command {
	return p.clientFlags(&cobra.Command{
		Use:   "describe KIND NAME... | KIND/NAME...",
		Short: "Show everything about a resource, for people",
		Long: `Show a resource with what belongs to it: a package with its classes, functions
and deployments; a deployment with its conditions, its rollout, where it is placed
and why, its units and events; a cluster with its health, its units and events.
Programs read get -o json instead.`,
		Example: `  oprc-pm describe deployment Record
  oprc-pm describe package example
  oprc-pm describe cluster oaas-1`,
		Args:              usageArgs(cobra.MinimumNArgs(1)),
		ValidArgsFunction: p.completeTargets(func(*kind) bool { return true }),
		RunE:              func(cmd *cobra.Command, args []string) error { return p.describe(cmd.Context(), args) },
	})
}

func (p *program) describe(ctx context.Context, args []string) error {
	targets, err := parseTargets(args)
	if err != nil {
		return err
	}
	c, err := p.client()
	if err != nil {
		return err
	}
	defer c.Close()
	for i, t := range targets {
		if t.name == "" {
			return usagef("say which of the %s to describe", t.kind.name)
		}
		found, err := fetch(ctx, c, targetGroup{kind: t.kind, names: []string{t.name}}, url.Values{}, 0)
		if err != nil {
			return err
		}
		if i > 0 {
			p.printf("\n")
		}
		d := &description{p: p, c: c, now: p.now()}
		if err := d.describe(ctx, t.kind, found.Items[0]); err != nil {
			return err
		}
	}
	return nil
}

// description prints one resource.
type description struct {
	p   *program
	c   *client.Client
	now time.Time
}

func (d *description) describe(ctx context.Context, k *kind, raw json.RawMessage) error {
	switch k.collection {
	case client.Packages:
		return decodeThen(raw, func(pkg model.Package) error { return d.describePackage(ctx, pkg) })
	case client.Deployments:
		return decodeThen(raw, func(dep model.Deployment) error { return d.describeDeployment(ctx, dep) })
	case client.Clusters:
		return decodeThen(raw, func(cluster clusterRow) error { return d.describeCluster(ctx, cluster) })
	}
	// The others are flat: all there is, is in the document.
	text, err := model.MarshalYAML(raw)
	if err != nil {
		return err
	}
	d.p.printf("%s", text)
	return nil
}

func decodeThen[T any](raw json.RawMessage, fn func(T) error) error {
	var v T
	if err := json.Unmarshal(raw, &v); err != nil {
		return fmt.Errorf("decode document: %w", err)
	}
	return fn(v)
}

// fields prints aligned name: value lines; empty values are left out.
func (d *description) fields(pairs ...string) {
	width := 0
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			width = max(width, len(pairs[i]))
		}
	}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			d.p.printf("%-*s  %s\n", width+1, pairs[i]+":", cell(pairs[i+1]))
		}
	}
}

// section prints a titled table, indented; an empty one says so.
func (d *description) section(title string, t table) {
	d.p.printf("\n%s:\n", title)
	if len(t.rows) == 0 {
		d.p.printf("  none\n")
		return
	}
	var text strings.Builder
	t.write(&text)
	for line := range strings.Lines(text.String()) {
		d.p.printf("  %s", line)
	}
}

// when prints a time with how long ago it was.
func (d *description) when(t *time.Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	return fmt.Sprintf("%s (%s ago)", t.UTC().Format(time.RFC3339), age(d.now, t))
}

func metaText(m model.Meta) string {
	return fmt.Sprintf("%d (resource version %d)", m.Generation, m.ResourceVersion)
}

func (d *description) describePackage(ctx context.Context, pkg model.Package) error {
	disabled := ""
	if pkg.Disabled {
		disabled = "yes"
	}
	d.fields("Package", pkg.Name, "Version", optional(pkg.Version),
		"Description", optional(pkg.Metadata.Description), "Author", optional(pkg.Metadata.Author),
		"Tags", strings.Join(pkg.Metadata.Tags, ", "), "Depends on", strings.Join(pkg.Dependencies, ", "),
		"Disabled", disabled, "Generation", metaText(pkg.Meta),
		"Created", d.when(pkg.CreatedAt), "Updated", d.when(pkg.UpdatedAt))

	classes := table{header: []string{"CLASS", "BINDING", "FUNCTION", "ACCESS", "STATELESS"}}
	for _, class := range pkg.Classes {
		if len(class.FunctionBindings) == 0 {
			classes.rows = append(classes.rows, []string{cell(class.Key), "-", "-", "-", "-"})
		}
		for i, b := range class.FunctionBindings {
			row := []string{cell(class.Key), cell(b.Name), cell(b.FunctionKey), cell(string(b.AccessModifier)), yesNo(b.Stateless)}
			if i > 0 {
				row[0] = ""
			}
			classes.rows = append(classes.rows, row)
		}
	}
	d.section("Classes", classes)
	functions, err := tableOf(pkg.Functions, functionColumns, d.now)
	if err != nil {
		return err
	}
	d.section("Functions", functions)
	return d.deploymentsSection(ctx, url.Values{"package_name": {pkg.Name}})
}

// deploymentsSection lists the deployments that query selects.
func (d *description) deploymentsSection(ctx context.Context, query url.Values) error {
	deployments, err := d.c.ListDeployments(ctx, query)
	if err != nil {
		return err
	}
	t, err := tableOf(deployments, deploymentColumns, d.now)
	if err != nil {
		return err
	}
	d.section("Deployments", t)
	return nil
}

// tableOf makes the table that get would print of values at hand.
func tableOf[T any](values []T, columns []column[T], now time.Time) (table, error) {
	raws := make([]json.RawMessage, len(values))
	for i, v := range values {
		raw, err := json.Marshal(v)
		if err != nil {
			return table{}, fmt.Errorf("encode document: %w", err)
		}
		raws[i] = raw
	}
	return tabulate(columns)(raws, false, now)
}
