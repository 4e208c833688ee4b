package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"

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
deployments, classes, functions, clusters, units, revisions, events, records,
runtimes, members and runtime-states.

Records (and runtimes, their older name) are what the clusters themselves say
they run: every cluster is asked. One that does not answer is named on stderr,
and the others are listed all the same.

With --watch the list is followed by every change to it, as it happens, also
across restarts of the server; a name need not exist yet. With -o json each
change is one line: the change as the API tells it.`,
		Example: `  oprc-pm get packages
  oprc-pm get deployment Record -o yaml
  oprc-pm get deployments --package example --watch
  oprc-pm get units --deployment Record -o wide
  oprc-pm get clusters -o wide --watch
  oprc-pm get events --type Warning --since 1h
  oprc-pm get revisions --deployment Record
  oprc-pm get records --cluster oaas-1
  oprc-pm get members -o json`,
		Args:              usageArgs(cobra.MinimumNArgs(1)),
		ValidArgsFunction: p.completeTargets(func(*kind) bool { return true }),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.get(cmd, args, o)
		},
	})
	p.outputFlag(cmd, &o.output)
	cmd.Flags().BoolVarP(&o.watch, "watch", "w", false, "go on with every change")
	cmd.Flags().IntVar(&o.limit, "limit", 0, "show at most so many (0: all, and of events the newest 500)")
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
		p.warnFailed(found.Failed)
		p.warnOld(found.Meta)
		single := len(targets) == 1 && len(group.names) == 1
		if err := p.printDocuments(group.kind, found.Items, single, o.output); err != nil {
			return err
		}
		if found.More {
			p.warnMore(group.kind, o.limit)
		}
	}
	return nil
}

// warnMore tells that a list is not the whole.
func (p *program) warnMore(k *kind, limit int) {
	text := "there are more"
	if k.newest > 0 {
		text = "there are older ones"
	}
	if limit == 0 {
		_, _ = fmt.Fprintf(p.err, "%s; --limit shows more than %d\n", text, k.newest)
		return
	}
	_, _ = fmt.Fprintf(p.err, "%s; --limit %d was reached\n", text, limit)
}

// warnFailed names the clusters that a list lacks.
func (p *program) warnFailed(failed []client.FailedCluster) {
	for _, f := range failed {
		switch f.Class {
		case "": // a count, not a name
			_, _ = fmt.Fprintf(p.err, "warning: %s clusters did not answer; what they hold is missing here\n", cell(f.Name))
		case "truncated":
			_, _ = fmt.Fprintf(p.err, "warning: cluster %s holds more than is listed here\n", cell(f.Name))
		default:
			_, _ = fmt.Fprintf(p.err, "warning: cluster %s did not answer (%s); what it holds is missing here\n", cell(f.Name), failureText(f.Class))
		}
	}
}

// failureText words why a cluster did not answer. A class that is not known here
// is shown as it is.
func failureText(class string) string {
	switch class {
	case "circuit_open":
		return "it was not asked, since it has not answered for some time"
	case "timeout":
		return "no answer in time"
	case "retryable":
		return "it cannot be reached, or has a fault"
	case "terminal", "fenced":
		return "it refused"
	case "not_supported":
		return "its CRM cannot list"
	case "no_client":
		return "the node that was asked does not know how to reach it"
	case "busy":
		return "too many questions wait for it"
	}
	return cell(class)
}

// oldAfter is how long a node may be without its leader before what it tells
// from its own memory is marked: a few heartbeats are lost now and then.
const oldAfter = 3 * time.Second

// warnOld tells that the node that answered may not know what is new.
func (p *program) warnOld(m client.Meta) {
	switch {
	case m.LastContact < 0:
		_, _ = fmt.Fprintln(p.err, "warning: the node that answered has not heard from a leader yet; this may be out of date")
	case m.LastContact > oldAfter:
		_, _ = fmt.Fprintf(p.err, "warning: the node that answered last heard from the leader %s ago; this may be out of date\n", humanDuration(m.LastContact))
	}
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
	case g.kind.below != "":
		return fetchBelow(ctx, c, g, query, limit)
	case len(g.names) > 0 && g.kind.addressable:
		var list client.List
		for _, name := range g.names {
			raw, meta, err := c.GetRaw(ctx, client.Resource(g.kind.collection, name), pick(query, "consistency", "min_index", "cluster"))
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
	if g.kind.newest > 0 {
		return fetchNewest(ctx, c, g, query, limit)
	}
	// A collection without pages would answer limit with an error.
	if !g.kind.addressable || g.kind.unpaged {
		list, err := c.ListRaw(ctx, client.Resource(g.kind.collection), query, 0)
		return cut(list, limit), err
	}
	return c.ListRaw(ctx, client.Resource(g.kind.collection), query, limit)
}

// fetchNewest reads the newest documents of a list that holds the oldest of them
// first. The server cuts it.
func fetchNewest(ctx context.Context, c *client.Client, g targetGroup, query url.Values, limit int) (client.List, error) {
	if limit == 0 {
		limit = g.kind.newest
	}
	// One more tells whether there is more.
	query.Set("limit", strconv.Itoa(limit+1))
	list, err := c.ListRaw(ctx, client.Resource(g.kind.collection), query, 0)
	if over := len(list.Items) - limit; over > 0 {
		list.Items, list.More = list.Items[over:], true
	}
	return list, err
}

// fetchBelow reads what belongs to one resource or, resource by resource, to
// all: the units of a deployment, its revisions.
func fetchBelow(ctx context.Context, c *client.Client, g targetGroup, query url.Values, limit int) (client.List, error) {
	var list client.List
	owners := []string{query.Get(g.kind.parameter)}
	fresh := pick(query, "consistency", "min_index")
	if owners[0] == "" {
		all, err := c.ListRaw(ctx, client.Resource(g.kind.below), fresh, 0)
		if err != nil {
			return client.List{}, err
		}
		list.Meta, owners = all.Meta, nil
		for _, raw := range all.Items {
			owners = append(owners, keyOf("key")(raw))
		}
	}
	for _, owner := range owners {
		found, err := c.ListRaw(ctx, client.Resource(g.kind.below, owner, g.kind.name), fresh, 0)
		if client.NotFound(err) && query.Get(g.kind.parameter) == "" {
			continue // deleted since it was listed
		}
		if err != nil {
			return client.List{}, err
		}
		if list.Index == 0 {
			list.Meta = found.Meta
		}
		for _, raw := range found.Items {
			if g.kind.matches(raw, query) {
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

// pick returns the parameters of a query that are among names.
func pick(query url.Values, names ...string) url.Values {
	picked := url.Values{}
	for _, name := range names {
		if value := query.Get(name); value != "" {
			picked.Set(name, value)
		}
	}
	return picked
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
