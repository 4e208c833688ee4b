package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"

	"github.com/spf13/cobra"

	"github.com/oprc/oprc-pm/internal/client"
	"github.com/oprc/oprc-pm/model"
)

// getOptions are the flags of get.
type getOptions struct {
	output      string
	watch       bool
	limit       int
	consistency string
}

func (p *program) getCommand() *cobra.Command {
	var o getOptions
	cmd := p.clientFlags(&cobra.Command{
		Use:   "get KIND [NAME...] | KIND/NAME...",
		Short: "List resources, or show some by name",
		Long: `List resources of a kind, or show some by name. The kinds are packages,
deployments, classes, functions, clusters, units, members and runtime-states.

With --watch the list is followed by every change to it, as it happens, also
across restarts of the server; a name need not exist yet. With -o json each
change is one line: the change as the API tells it.`,
		Example: `  oprc-pm get packages
  oprc-pm get deployment Record -o yaml
  oprc-pm get deployments --package example --watch
  oprc-pm get units --deployment Record -o wide
  oprc-pm get members -o json`,
		Args:              usageArgs(cobra.MinimumNArgs(1)),
		ValidArgsFunction: p.completeTargets(func(*kind) bool { return true }),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.get(cmd, args, o)
		},
	})
	p.outputFlag(cmd, &o.output)
	cmd.Flags().BoolVarP(&o.watch, "watch", "w", false, "go on with every change")
	cmd.Flags().IntVar(&o.limit, "limit", 0, "show at most so many (0: all)")
	cmd.Flags().StringVar(&o.consistency, "consistency", "", "linearizable (default), lease or stale")
	addFilterFlags(cmd)
	fixedCompletion(cmd, "consistency", "linearizable", "lease", "stale")
	return cmd
}

// outputFlag declares -o with the formats of a list.
func (p *program) outputFlag(cmd *cobra.Command, output *string) {
	cmd.Flags().StringVarP(output, "output", "o", outputTable, "table, wide, json or yaml")
	fixedCompletion(cmd, "output", outputFormats...)
}

func (p *program) get(cmd *cobra.Command, args []string, o getOptions) error {
	targets, err := parseTargets(args)
	if err != nil {
		return err
	}
	if err := checkOutput(o.output); err != nil {
		return err
	}
	if o.limit < 0 {
		return usagef("--limit must not be negative")
	}
	c, err := p.client()
	if err != nil {
		return err
	}
	defer c.Close()
	if o.watch {
		return p.getWatch(cmd, c, targets, o)
	}
	groups := groupTargets(targets)
	for i, group := range groups {
		query, err := queryOf(cmd, group.kind)
		if err != nil {
			return err
		}
		if o.consistency != "" {
			query.Set("consistency", o.consistency)
		}
		found, err := fetch(cmd.Context(), c, group, query, o.limit)
		if err != nil {
			return err
		}
		if i > 0 && o.output != outputJSON && o.output != outputYAML {
			p.printf("\n")
		}
		single := len(targets) == 1 && len(group.names) == 1
		if err := p.printDocuments(group.kind, found.Items, single, o.output); err != nil {
			return err
		}
		if found.More {
			_, _ = fmt.Fprintf(p.err, "there are more; --limit %d was reached\n", o.limit)
		}
	}
	return nil
}

// targetGroup is the targets of one kind.
type targetGroup struct {
	kind  *kind
	names []string
}

// groupTargets joins targets of the same kind, in order.
func groupTargets(targets []target) []targetGroup {
	var groups []targetGroup
	for _, t := range targets {
		i := slices.IndexFunc(groups, func(g targetGroup) bool { return g.kind == t.kind })
		if i < 0 {
			i = len(groups)
			groups = append(groups, targetGroup{kind: t.kind})
		}
		if t.name != "" {
			groups[i].names = append(groups[i].names, t.name)
		}
	}
	return groups
}

// fetch reads the documents of a group: by name, or the whole list.
func fetch(ctx context.Context, c *client.Client, g targetGroup, query url.Values, limit int) (client.List, error) {
	switch {
	case g.kind.name == "units":
		return fetchUnits(ctx, c, g, query, limit)
	case len(g.names) > 0 && g.kind.addressable:
		var list client.List
		for _, name := range g.names {
			raw, meta, err := c.GetRaw(ctx, client.Resource(g.kind.collection, name), pick(query, "consistency"))
			if err != nil {
				return client.List{}, err
			}
			list.Items, list.Meta = append(list.Items, raw), meta
		}
		return list, nil
	case len(g.names) > 0:
		list, err := c.ListRaw(ctx, client.Resource(g.kind.collection), query, 0)
		if err != nil {
			return client.List{}, err
		}
		return selectNames(list, g)
	}
	// A collection without pages would answer limit with an error.
	if !g.kind.addressable {
		list, err := c.ListRaw(ctx, client.Resource(g.kind.collection), query, 0)
		return cut(list, limit), err
	}
	return c.ListRaw(ctx, client.Resource(g.kind.collection), query, limit)
}

// fetchUnits reads the units of one deployment or, deployment by deployment, of
// all.
func fetchUnits(ctx context.Context, c *client.Client, g targetGroup, query url.Values, limit int) (client.List, error) {
	var list client.List
	deployments := []string{query.Get("deployment")}
	if deployments[0] == "" {
		all, err := c.ListRaw(ctx, client.Resource(client.Deployments), pick(query, "consistency"), 0)
		if err != nil {
			return client.List{}, err
		}
		list.Meta, deployments = all.Meta, nil
		for _, raw := range all.Items {
			deployments = append(deployments, keyOf("key")(raw))
		}
	}
	for _, deployment := range deployments {
		units, err := c.ListRaw(ctx, client.Resource(client.Deployments, deployment, "units"), pick(query, "consistency"), 0)
		if client.NotFound(err) && query.Get("deployment") == "" {
			continue // deleted since it was listed
		}
		if err != nil {
			return client.List{}, err
		}
		if list.Index == 0 {
			list.Meta = units.Meta
		}
		for _, raw := range units.Items {
			if matchUnit(raw, query) {
				list.Items = append(list.Items, raw)
			}
		}
	}
	if len(g.names) > 0 {
		return selectNames(list, g)
	}
	return cut(list, limit), nil
}

// selectNames keeps the named documents of a list, and misses none.
func selectNames(list client.List, g targetGroup) (client.List, error) {
	var items []json.RawMessage
	for _, name := range g.names {
		before := len(items)
		for _, raw := range list.Items {
			if g.kind.key(raw) == name {
				items = append(items, raw)
			}
		}
		if len(items) == before {
			return client.List{}, model.Errorf(model.CodeNotFound, "%s %q does not exist", g.kind.singular, name)
		}
	}
	list.Items = items
	return list, nil
}

func cut(list client.List, limit int) client.List {
	if limit > 0 && len(list.Items) > limit {
		list.Items, list.More = list.Items[:limit], true
	}
	return list
}

func pick(query url.Values, parameter string) url.Values {
	if value := query.Get(parameter); value != "" {
		return url.Values{parameter: {value}}
	}
	return nil
}

// printDocuments prints documents in one of the formats.
func (p *program) printDocuments(k *kind, raws []json.RawMessage, single bool, output string) error {
	switch output {
	case outputJSON, outputYAML:
		var v any = raws
		if raws == nil {
			v = []json.RawMessage{}
		}
		if single {
			v = raws[0]
		}
		return p.printStructured(output, v)
	}
	if len(raws) == 0 {
		_, _ = fmt.Fprintf(p.err, "no %s found\n", k.name)
		return nil
	}
	t, err := k.tabulate(raws, output == outputWide, p.now())
	if err != nil {
		return err
	}
	t.write(p.out)
	return nil
}

// compactJSON puts a document on one line.
func compactJSON(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode output: %w", err)
	}
	var line bytes.Buffer
	if err := json.Compact(&line, data); err != nil {
		return nil, fmt.Errorf("encode output: %w", err)
	}
	return line.Bytes(), nil
}
