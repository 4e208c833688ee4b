package main

import (
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/oprc/oprc-pm/model"
)

// filterFlags are the flags of get that narrow a list.
var filterFlags = []struct{ name, usage string }{
	{"tag", "packages with any of these tags"},
	{"name-pattern", "packages whose name contains this"},
	{"disabled", "packages that are disabled (true) or not (false)"},
	{"package", "deployments, classes, functions, records of this package"},
	{"class", "deployments, records of this class"},
	{"env", "deployments that target this cluster, units in it, records of this environment"},
	{"cluster", "units and records in this cluster"},
	{"condition", "deployments in this condition, as RUNNING"},
	{"status", "records in this condition or phase, as Running"},
	{"deployment", "units and revisions of this deployment"},
	{"kind", "events about deployments, clusters, packages or nodes: deployment, cluster, package or node"},
	{"name", "events about the one of this name"},
	{"type", "events of this type: Normal, Warning or Alarm"},
	{"reason", "events with this reason, as Moved"},
	{"since", "events since a time, a sequence number, or so long ago, as 1h"},
}

// recordFilters are those of records and runtimes.
var recordFilters = map[string]string{
	"package": "package_name", "class": "class_key", "env": "environment", "cluster": "cluster", "status": "status",
}

// addFilterFlags declares the filters on cmd.
func addFilterFlags(cmd *cobra.Command) {
	for _, f := range filterFlags {
		if f.name == "tag" {
			cmd.Flags().StringSlice(f.name, nil, f.usage)
			continue
		}
		cmd.Flags().String(f.name, "", f.usage)
	}
}

// queryOf turns the filters that were given into the kind's query. A filter that
// the kind does not have is wrong usage, not silently everything.
func queryOf(cmd *cobra.Command, k *kind) (url.Values, error) {
	query := url.Values{}
	for _, f := range filterFlags {
		if !cmd.Flags().Changed(f.name) {
			continue
		}
		parameter, ok := k.filters[f.name]
		if !ok {
			return nil, usagef("--%s does not apply to %s", f.name, k.name)
		}
		value := cmd.Flags().Lookup(f.name).Value.String()
		if f.name == "tag" {
			tags, err := cmd.Flags().GetStringSlice(f.name)
			if err != nil {
				return nil, usagef("--%s: %v", f.name, err)
			}
			value = strings.Join(tags, ",")
		}
		if f.name == "disabled" {
			if _, err := strconv.ParseBool(value); err != nil {
				return nil, usagef("--disabled must be true or false, is %q", value)
			}
		}
		query.Set(parameter, value)
	}
	return query, nil
}

// The match functions decide on changed documents what the server decides on
// lists.

func matchPackage(raw json.RawMessage, query url.Values) bool {
	var p model.Package
	if json.Unmarshal(raw, &p) != nil {
		return false
	}
	if pattern := query.Get("name_pattern"); !strings.Contains(p.Name, pattern) {
		return false
	}
	if want, err := strconv.ParseBool(query.Get("disabled")); err == nil && want != p.Disabled {
		return false
	}
	tags := query.Get("tags")
	return tags == "" || slices.ContainsFunc(strings.Split(tags, ","), func(tag string) bool {
		return slices.Contains(p.Metadata.Tags, tag)
	})
}

func matchDeployment(raw json.RawMessage, query url.Values) bool {
	var d model.Deployment
	if json.Unmarshal(raw, &d) != nil {
		return false
	}
	equal := func(parameter, value string) bool {
		return query.Get(parameter) == "" || query.Get(parameter) == value
	}
	env := query.Get("target_env")
	return equal("package_name", d.PackageName) && equal("class_key", d.ClassKey) &&
		(query.Get("condition") == "" || strings.EqualFold(query.Get("condition"), string(d.Condition))) &&
		(env == "" || slices.Contains(d.TargetEnvs, env))
}

func matchUnit(raw json.RawMessage, query url.Values) bool {
	var u model.UnitStatus
	if json.Unmarshal(raw, &u) != nil {
		return false
	}
	equal := func(parameter, value string) bool {
		return query.Get(parameter) == "" || query.Get(parameter) == value
	}
	return equal("deployment", u.DeploymentKey) && equal("env", u.Cluster)
}
