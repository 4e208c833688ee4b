package main

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/oprc/oprc-pm/internal/client"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// getWatch prints what is there and then every change, until it is told to stop.
func (p *program) getWatch(cmd *cobra.Command, c *client.Client, targets []target, o getOptions) error {
	groups := groupTargets(targets)
	if len(groups) != 1 {
		return usagef("--watch follows one kind at a time")
	}
	g := groups[0]
	if g.kind.event == "" {
		return usagef("%s cannot be watched; those that can are %s", g.kind.name,
			strings.Join(kindNames(func(k *kind) bool { return k.event != "" }), ", "))
	}
	if o.output == outputYAML {
		return usagef("--watch prints tables or JSON, not yaml")
	}
	if o.limit > 0 {
		return usagef("--limit and --watch exclude each other")
	}
	query, err := queryOf(cmd, g.kind)
	if err != nil {
		return err
	}
	w := &watcher{p: p, c: c, group: g, query: query, output: o.output, last: map[string]json.RawMessage{}}
	return w.run(cmd.Context())
}

// watcher prints one kind's changes. It keeps the last document of each key for
// the row of its deletion.
type watcher struct {
	p      *program
	c      *client.Client
	group  targetGroup
	query  url.Values
	output string

	last   map[string]json.RawMessage
	widths []int
	titled bool
}

func (w *watcher) run(ctx context.Context) error {
	for {
		index, err := w.list(ctx, 0)
		if err != nil {
			return err
		}
		err = w.follow(ctx, index)
		if model.CodeOf(err) != model.CodeGone {
			return err
		}
		// Too long without a connection: look again, go on from there.
	}
}

// list prints what is there and is new to us, and returns its index, which is at
// least the one that is given.
func (w *watcher) list(ctx context.Context, atLeast uint64) (uint64, error) {
	all := w.group
	all.names = nil // one that does not exist yet may still come
	query := maps.Clone(w.query)
	if atLeast > 0 {
		query.Set("min_index", uintText(atLeast))
	}
	found, err := fetch(ctx, w.c, all, query, 0)
	if err != nil {
		return 0, err
	}
	present := map[string]bool{}
	var fresh []client.Change
	for _, raw := range found.Items {
		raw = oneLine(raw)
		key := w.changeKey(raw)
		present[key] = true
		if last, shown := w.last[key]; shown && essence(last) == essence(raw) || !w.wanted(raw) {
			continue
		}
		w.last[key] = raw
		fresh = append(fresh, client.Change{Index: found.Index, Type: storage.EventPut, Kind: w.group.kind.event, Key: key, Document: raw})
	}
	if err := w.print(fresh...); err != nil {
		return 0, err
	}
	for key := range w.last {
		if !present[key] {
			if err := w.removed(client.Change{Index: found.Index, Type: storage.EventDelete, Kind: w.group.kind.event, Key: key}); err != nil {
				return 0, err
			}
		}
	}
	return found.Index, nil
}

// oneLine drops the white space between the members of a document, so that two
// forms of it compare equal.
func oneLine(raw json.RawMessage) json.RawMessage {
	var line bytes.Buffer
	if json.Compact(&line, raw) != nil {
		return raw
	}
	return line.Bytes()
}

// changeKey is the key that the change stream uses for a document.
func (w *watcher) changeKey(raw json.RawMessage) string {
	if w.group.kind.changeKey != nil {
		return w.group.kind.changeKey(raw)
	}
	return w.group.kind.key(raw)
}

// wanted applies names and filters.
func (w *watcher) wanted(raw json.RawMessage) bool {
	if len(w.group.names) > 0 && !slices.Contains(w.group.names, w.group.kind.key(raw)) {
		return false
	}
	return w.group.kind.matches == nil || w.group.kind.matches(raw, w.query)
}

func (w *watcher) follow(ctx context.Context, since uint64) error {
	stream := w.c.Watch(ctx, since, append([]storage.Kind{w.group.kind.event}, w.group.kind.alsoOn...)...)
	defer stream.Close()
	for {
		change, err := stream.Next()
		if err != nil {
			return err
		}
		switch {
		case len(w.group.kind.alsoOn) > 0:
			_, err = w.list(ctx, change.Index)
		case change.Type == storage.EventDelete && w.group.kind.fades:
			delete(w.last, change.Key)
		case change.Type == storage.EventDelete:
			err = w.removed(change)
		case string(w.last[change.Key]) == string(oneLine(change.Document)):
			// The list has shown it already.
		case w.wanted(change.Document):
			w.last[change.Key] = oneLine(change.Document)
			err = w.print(change)
		case w.last[change.Key] != nil:
			// It no longer passes the filter: the last that is seen of it.
			delete(w.last, change.Key)
			err = w.print(change)
		}
		if err != nil {
			return err
		}
	}
}

// removed prints the deletion of something that was shown.
func (w *watcher) removed(change client.Change) error {
	last, known := w.last[change.Key]
	if !known {
		return nil
	}
	delete(w.last, change.Key)
	if w.output == outputJSON {
		return w.print(change)
	}
	t, err := w.group.kind.tabulate([]json.RawMessage{last}, w.output == outputWide, w.p.now())
	if err != nil {
		return err
	}
	for i := range t.rows[0] {
		if i > 0 {
			t.rows[0][i] = ""
		}
	}
	t.rows[0][len(t.rows[0])-1] = "deleted"
	w.printTable(t)
	return nil
}

// print prints changes that are not deletes, in one table or a line each.
func (w *watcher) print(changes ...client.Change) error {
	if w.output == outputJSON {
		for _, change := range changes {
			line, err := compactJSON(change)
			if err != nil {
				return err
			}
			w.p.printf("%s\n", line)
		}
		return nil
	}
	if len(changes) == 0 {
		return nil
	}
	raws := make([]json.RawMessage, len(changes))
	for i, change := range changes {
		raws[i] = change.Document
	}
	t, err := w.group.kind.tabulate(raws, w.output == outputWide, w.p.now())
	if err != nil {
		return err
	}
	w.printTable(t)
	return nil
}

// printTable prints rows below those before; columns only ever get wider.
func (w *watcher) printTable(t table) {
	w.widths = t.widths(w.widths)
	t.writeWidths(w.p.out, w.widths, !w.titled)
	w.titled = true
}
