package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/oprc/oprc-pm/internal/client"
	"github.com/oprc/oprc-pm/storage"
)

// kind is one sort of resource that the verbs know.
type kind struct {
	// name is the plural, by which it is listed; singular stands before a name,
	// as in package/example.
	name     string
	singular string
	aliases  []string
	// collection is its path segment.
	collection string
	// addressable kinds have a path for each of them; of the others the list is
	// searched.
	addressable bool
	// unpaged lists know no pages: what is beyond a limit is cut off here.
	unpaged bool
	// below is the collection whose resources each have a list of this kind
	// below them, as deployments have units; empty for the others.
	below string
	// parameter of the query that names the owner in below.
	parameter string
	// event is the kind in the change stream; empty where there is none.
	event storage.Kind
	// alsoOn are further kinds whose changes make the list worth another look;
	// its documents are then not those of the stream.
	alsoOn []storage.Kind
	// newest is how many documents a list without a limit holds, of a kind whose
	// lists are cut at the old end; 0 for the others, which are cut at the end.
	newest int
	// fades: old documents make room for new ones, which is no news.
	fades bool
	// filters maps flags to query parameters.
	filters map[string]string
	// key names a document of the list.
	key func(raw json.RawMessage) string
	// changeKey is the key of a document in the change stream; nil: the same as
	// key.
	changeKey func(raw json.RawMessage) string
	// matches says whether a changed document passes the filters. nil means that
	// there are none to pass.
	matches func(raw json.RawMessage, query url.Values) bool
	// tabulate makes one row per document.
	tabulate func(raws []json.RawMessage, wide bool, now time.Time) (table, error)
}

// kinds is what get and describe know, in the order of their help.
var kinds = []*kind{
	{
		name: "packages", singular: "package", aliases: []string{"pkg", "pkgs"},
		collection: client.Packages, addressable: true, event: storage.KindPackage,
		filters: map[string]string{"tag": "tags", "name-pattern": "name_pattern", "disabled": "disabled"},
		key:     keyOf("name"), matches: matchPackage, tabulate: tabulate(packageColumns),
	},
	{
		name: "deployments", singular: "deployment", aliases: []string{"deploy", "deploys"},
		collection: client.Deployments, addressable: true, event: storage.KindDeployment,
		filters: map[string]string{"package": "package_name", "class": "class_key", "env": "target_env", "condition": "condition"},
		key:     keyOf("key"), matches: matchDeployment, tabulate: tabulate(deploymentColumns),
	},
	{
		name: "classes", singular: "class", aliases: []string{"cls"}, collection: client.Classes,
		filters: map[string]string{"package": "package"},
		key:     keyOf("key"), tabulate: tabulate(classColumns),
	},
	{
		name: "functions", singular: "function", aliases: []string{"fn", "fns"}, collection: client.Functions,
		filters: map[string]string{"package": "package"},
		key:     keyOf("key"), tabulate: tabulate(functionColumns),
	},
	{
		name: "clusters", singular: "cluster", aliases: []string{"envs", "env", "environments"}, collection: client.Clusters,
		addressable: true, unpaged: true, event: storage.KindCluster, alsoOn: []storage.Kind{storage.KindClusterHealth},
		key: keyOf("name"), tabulate: tabulate(clusterColumns),
	},
	{
		name: "units", singular: "unit", below: client.Deployments, parameter: "deployment", event: storage.KindUnit,
		filters: map[string]string{"deployment": "deployment", "env": "env", "cluster": "env"},
		key:     keyOf("id"), changeKey: unitChangeKey, matches: matchUnit, tabulate: tabulate(unitColumns),
	},
	{
		name: "revisions", singular: "revision", aliases: []string{"rev", "revs"},
		below: client.Deployments, parameter: "deployment", event: storage.KindRevision, fades: true,
		filters: map[string]string{"deployment": "deployment"},
		key:     revisionKey, changeKey: revisionChangeKey, matches: matchRevision, tabulate: tabulate(revisionColumns),
	},
	{
		name: "events", singular: "event", aliases: []string{"ev"}, collection: client.Events, event: storage.KindEvent, fades: true, newest: 500,
		filters: map[string]string{"kind": "kind", "name": "name", "type": "type", "reason": "reason", "since": "since"},
		key:     eventKey, changeKey: eventChangeKey, matches: matchEvent, tabulate: tabulate(eventColumns),
	},
	{
		name: "records", singular: "record", aliases: []string{"deployment-records"}, collection: client.Records,
		addressable: true, unpaged: true,
		filters: recordFilters, key: keyOf("id"), tabulate: tabulate(recordColumns),
	},
	{
		name: "runtimes", singular: "runtime", aliases: []string{"class-runtimes", "class-runtime", "cr", "rts"},
		collection: client.ClassRuntimes, addressable: true, unpaged: true,
		filters: recordFilters, key: keyOf("id"), tabulate: tabulate(recordColumns),
	},
	{
		name: "members", singular: "member", aliases: []string{"nodes", "node"}, collection: client.Members,
		key: keyOf("name"), tabulate: tabulate(memberColumns),
	},
	{
		name: "runtime-states", singular: "runtime-state", aliases: []string{"rs"},
		collection: client.RuntimeStates, addressable: true, event: storage.KindRuntimeState,
		key: keyOf("key"), tabulate: tabulate(runtimeStateColumns),
	},
}

// kindByName finds a kind by plural, singular or alias.
func kindByName(name string) (*kind, error) {
	wanted := strings.ReplaceAll(strings.ToLower(name), "_", "-")
	var names []string
	for _, k := range kinds {
		if wanted == k.name || wanted == k.singular || slices.Contains(k.aliases, wanted) {
			return k, nil
		}
		names = append(names, k.name)
	}
	return nil, usagef("there is no kind %q; the kinds are %s", name, strings.Join(names, ", "))
}

// kindNames returns the plurals of the kinds that pass.
func kindNames(pass func(*kind) bool) []string {
	var names []string
	for _, k := range kinds {
		if pass(k) {
			names = append(names, k.name)
		}
	}
	return names
}

// target is one resource, or all of a kind when name is empty.
type target struct {
	kind *kind
	name string
}

// parseTargets reads KIND, KIND NAME…, or KIND/NAME….
func parseTargets(args []string) ([]target, error) {
	if !strings.Contains(args[0], "/") {
		k, err := kindByName(args[0])
		if err != nil {
			return nil, err
		}
		if len(args) == 1 {
			return []target{{kind: k}}, nil
		}
		var targets []target
		for _, name := range args[1:] {
			if name == "" || strings.Contains(name, "/") {
				return nil, usagef("%q is not a name", name)
			}
			targets = append(targets, target{k, name})
		}
		return targets, nil
	}
	var targets []target
	for _, arg := range args {
		kindName, name, ok := strings.Cut(arg, "/")
		if !ok || name == "" {
			return nil, usagef("%q is not KIND/NAME", arg)
		}
		k, err := kindByName(kindName)
		if err != nil {
			return nil, err
		}
		targets = append(targets, target{k, name})
	}
	return targets, nil
}

// keyOf returns a function that reads one member of a document.
func keyOf(member string) func(json.RawMessage) string {
	return func(raw json.RawMessage) string {
		var object map[string]json.RawMessage
		if json.Unmarshal(raw, &object) != nil {
			return ""
		}
		var name string
		if json.Unmarshal(object[member], &name) != nil {
			return ""
		}
		return name
	}
}

// column is one column of a kind's table.
type column[T any] struct {
	title string
	wide  bool
	value func(v T, now time.Time) string
}

// tabulate makes the function that turns documents into a table.
func tabulate[T any](columns []column[T]) func([]json.RawMessage, bool, time.Time) (table, error) {
	return func(raws []json.RawMessage, wide bool, now time.Time) (table, error) {
		var t table
		for _, c := range columns {
			if wide || !c.wide {
				t.header = append(t.header, c.title)
			}
		}
		for _, raw := range raws {
			var v T
			if err := json.Unmarshal(raw, &v); err != nil {
				return table{}, fmt.Errorf("decode document: %w", err)
			}
			row := make([]string, 0, len(t.header))
			for _, c := range columns {
				if wide || !c.wide {
					row = append(row, cell(c.value(v, now)))
				}
			}
			t.rows = append(t.rows, row)
		}
		return t, nil
	}
}
