package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oprc/oprc-pm/internal/client"
	"github.com/oprc/oprc-pm/model"
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
	// event is the kind in the change stream; empty where there is none.
	event storage.Kind
	// filters maps flags to query parameters.
	filters map[string]string
	// key names a document of the list.
	key func(raw json.RawMessage) string
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
		key: keyOf("name"), tabulate: tabulate(clusterColumns),
	},
	{
		name: "units", singular: "unit", event: storage.KindUnit,
		filters: map[string]string{"deployment": "deployment", "env": "env"},
		key:     keyOf("id"), matches: matchUnit, tabulate: tabulate(unitColumns),
	},
	{
		name: "members", singular: "member", aliases: []string{"nodes", "node"}, collection: client.Members,
		key: keyOf("name"), tabulate: tabulate(memberColumns),
	},
	{
		name: "runtime-states", singular: "runtime-state", aliases: []string{"runtimes", "rs"},
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

func uintText(n uint64) string { return strconv.FormatUint(n, 10) }

var packageColumns = []column[model.Package]{
	{"NAME", false, func(p model.Package, _ time.Time) string { return p.Name }},
	{"VERSION", false, func(p model.Package, _ time.Time) string { return optional(p.Version) }},
	{"CLASSES", false, func(p model.Package, _ time.Time) string { return strconv.Itoa(len(p.Classes)) }},
	{"FUNCTIONS", false, func(p model.Package, _ time.Time) string { return strconv.Itoa(len(p.Functions)) }},
	{"TAGS", false, func(p model.Package, _ time.Time) string { return strings.Join(p.Metadata.Tags, ",") }},
	{"AGE", false, func(p model.Package, now time.Time) string { return age(now, p.CreatedAt) }},
	{"DEPENDENCIES", true, func(p model.Package, _ time.Time) string { return strings.Join(p.Dependencies, ",") }},
	{"GENERATION", true, func(p model.Package, _ time.Time) string { return uintText(p.Generation) }},
	{"RESOURCE VERSION", true, func(p model.Package, _ time.Time) string { return uintText(p.ResourceVersion) }},
	{"DESCRIPTION", true, func(p model.Package, _ time.Time) string { return shorten(optional(p.Metadata.Description), 60) }},
}

var deploymentColumns = []column[model.Deployment]{
	{"KEY", false, func(d model.Deployment, _ time.Time) string { return d.Key }},
	{"PACKAGE", false, func(d model.Deployment, _ time.Time) string { return d.PackageName }},
	{"CLASS", false, func(d model.Deployment, _ time.Time) string { return d.ClassKey }},
	{"CONDITION", false, func(d model.Deployment, _ time.Time) string { return conditionText(d) }},
	{"ENVIRONMENTS", false, func(d model.Deployment, _ time.Time) string { return strings.Join(environmentsOf(d), ",") }},
	{"AGE", false, func(d model.Deployment, now time.Time) string { return age(now, d.CreatedAt) }},
	{"GENERATION", true, func(d model.Deployment, _ time.Time) string { return uintText(d.Generation) }},
	{"OBSERVED", true, func(d model.Deployment, _ time.Time) string { return uintText(d.ObservedGeneration) }},
	{"RESOURCE VERSION", true, func(d model.Deployment, _ time.Time) string { return uintText(d.ResourceVersion) }},
	{"LAST ERROR", true, func(d model.Deployment, _ time.Time) string {
		if d.Status == nil {
			return ""
		}
		return shorten(d.Status.LastError, 80)
	}},
}

// conditionText says DELETING until the last unit of a deleted deployment is
// gone, and marks a state that is of an older generation.
func conditionText(d model.Deployment) string {
	switch {
	case d.DeletionRequestedAt != nil:
		return "DELETING"
	case d.Condition == "":
		return string(model.DeploymentPending)
	case d.ObservedGeneration > 0 && d.ObservedGeneration < d.Generation:
		return string(d.Condition) + " (old)"
	}
	return string(d.Condition)
}

// environmentsOf is where a deployment is, or else where it should be.
func environmentsOf(d model.Deployment) []string {
	if d.Status != nil && len(d.Status.SelectedEnvs) > 0 {
		return d.Status.SelectedEnvs
	}
	return d.TargetEnvs
}

var classColumns = []column[model.Class]{
	{"KEY", false, func(c model.Class, _ time.Time) string { return c.Key }},
	{"FUNCTIONS", false, func(c model.Class, _ time.Time) string {
		names := make([]string, len(c.FunctionBindings))
		for i, binding := range c.FunctionBindings {
			names[i] = binding.Name
		}
		return shorten(strings.Join(names, ","), 60)
	}},
	{"CONSISTENCY", false, func(c model.Class, _ time.Time) string {
		if c.StateSpec == nil {
			return ""
		}
		return string(c.StateSpec.ConsistencyModel)
	}},
	{"DESCRIPTION", true, func(c model.Class, _ time.Time) string { return shorten(optional(c.Description), 60) }},
}

var functionColumns = []column[model.Function]{
	{"KEY", false, func(f model.Function, _ time.Time) string { return f.Key }},
	{"TYPE", false, func(f model.Function, _ time.Time) string { return string(f.FunctionType) }},
	{"IMAGE", false, func(f model.Function, _ time.Time) string {
		if f.ProvisionConfig == nil {
			return ""
		}
		if image := optional(f.ProvisionConfig.ContainerImage); image != "" {
			return image
		}
		return optional(f.ProvisionConfig.WasmModuleURL)
	}},
	{"DESCRIPTION", true, func(f model.Function, _ time.Time) string { return shorten(optional(f.Description), 60) }},
}

var clusterColumns = []column[model.ClusterInfo]{
	{"NAME", false, func(c model.ClusterInfo, _ time.Time) string { return c.Name }},
	{"STATUS", false, func(c model.ClusterInfo, _ time.Time) string { return c.Health.Status }},
	{"NODES", false, func(c model.ClusterInfo, _ time.Time) string {
		if c.Health.NodeCount == nil {
			return ""
		}
		ready := "?"
		if c.Health.ReadyNodes != nil {
			ready = uintText(uint64(*c.Health.ReadyNodes))
		}
		return ready + "/" + uintText(uint64(*c.Health.NodeCount))
	}},
	{"AVAILABILITY", false, func(c model.ClusterInfo, _ time.Time) string {
		if c.Health.Availability == nil {
			return ""
		}
		return strconv.FormatFloat(*c.Health.Availability, 'g', 6, 64)
	}},
	{"LAST SEEN", false, func(c model.ClusterInfo, now time.Time) string {
		if c.Health.LastSeen.IsZero() || c.Health.Status == model.ClusterUnknown {
			return ""
		}
		return humanDuration(now.Sub(c.Health.LastSeen)) + " ago"
	}},
	{"CRM VERSION", true, func(c model.ClusterInfo, _ time.Time) string { return optional(c.Health.CRMVersion) }},
	{"CALLS ITSELF", true, func(c model.ClusterInfo, _ time.Time) string { return c.Health.ClusterName }},
}

var unitColumns = []column[model.UnitStatus]{
	{"DEPLOYMENT", false, func(u model.UnitStatus, _ time.Time) string { return u.DeploymentKey }},
	{"CLUSTER", false, func(u model.UnitStatus, _ time.Time) string { return u.Cluster }},
	{"UNIT", false, func(u model.UnitStatus, _ time.Time) string { return u.ID }},
	{"PHASE", false, func(u model.UnitStatus, _ time.Time) string { return string(u.Phase) }},
	{"SINCE", false, func(u model.UnitStatus, now time.Time) string { return age(now, &u.LastTransitionTime) }},
	{"MESSAGE", false, func(u model.UnitStatus, _ time.Time) string {
		if u.LastError != "" {
			return shorten(u.LastError, 60)
		}
		return shorten(u.Message, 60)
	}},
	{"GENERATION", true, func(u model.UnitStatus, _ time.Time) string { return uintText(u.Generation) }},
	{"ATTEMPTS", true, func(u model.UnitStatus, _ time.Time) string { return uintText(uint64(u.Attempts)) }},
	{"CRM ID", true, func(u model.UnitStatus, _ time.Time) string { return u.CRMID }},
}

var memberColumns = []column[storage.Member]{
	{"NAME", false, func(m storage.Member, _ time.Time) string { return m.Name }},
	{"ROLE", false, func(m storage.Member, _ time.Time) string {
		if !m.Alive {
			return "" // nobody knows
		}
		return string(m.Role)
	}},
	{"VOTER", false, func(m storage.Member, _ time.Time) string { return yesNo(m.Voter) }},
	{"ALIVE", false, func(m storage.Member, _ time.Time) string { return yesNo(m.Alive) }},
	{"HTTP", false, func(m storage.Member, _ time.Time) string { return m.HTTPAddr }},
	{"APPLIED", false, func(m storage.Member, _ time.Time) string { return uintText(m.AppliedIndex) }},
	{"DIGEST", false, func(m storage.Member, _ time.Time) string {
		if m.Digest == "" {
			return ""
		}
		return m.Digest[:min(len(m.Digest), 12)] + "@" + uintText(m.DigestIndex)
	}},
	{"ERROR", false, func(m storage.Member, _ time.Time) string { return shorten(m.Error, 60) }},
	{"ID", true, func(m storage.Member, _ time.Time) string { return m.ID }},
	{"CLUSTER", true, func(m storage.Member, _ time.Time) string { return m.ClusterAddr }},
	{"TERM", true, func(m storage.Member, _ time.Time) string { return uintText(m.Term) }},
	{"COMMIT", true, func(m storage.Member, _ time.Time) string { return uintText(m.CommitIndex) }},
	{"VERSION", true, func(m storage.Member, _ time.Time) string { return m.Version }},
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

var runtimeStateColumns = []column[model.RuntimeState]{
	{"KEY", false, func(s model.RuntimeState, _ time.Time) string { return s.Key }},
	{"CLASS", false, func(s model.RuntimeState, _ time.Time) string { return s.ClassKey }},
	{"DEPLOYMENT", false, func(s model.RuntimeState, _ time.Time) string { return s.DeploymentID }},
	{"STATUS", false, func(s model.RuntimeState, _ time.Time) string { return s.Status }},
	{"HEALTH", false, func(s model.RuntimeState, _ time.Time) string { return s.Health }},
	{"UPDATED", false, func(s model.RuntimeState, now time.Time) string {
		if text := age(now, s.LastUpdated); text != "" {
			return text + " ago"
		}
		return ""
	}},
	{"REQUESTS", true, func(s model.RuntimeState, _ time.Time) string { return uintText(s.Metrics.RequestCount) }},
	{"ERRORS", true, func(s model.RuntimeState, _ time.Time) string { return uintText(s.Metrics.ErrorCount) }},
}
