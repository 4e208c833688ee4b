package main

import (
	"strconv"
	"strings"
	"time"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

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

var memberColumns = []column[storage.Member]{
	{"NAME", false, func(m storage.Member, _ time.Time) string {
		if m.Name == "" {
			return m.ClusterAddr // nobody there could say
		}
		return m.Name
	}},
	{"ROLE", false, func(m storage.Member, _ time.Time) string {
		if !m.Alive {
			return "" // nobody knows
		}
		return string(m.Role)
	}},
	{"VOTER", false, func(m storage.Member, _ time.Time) string { return yesNo(m.Voter) }},
	{"ALIVE", false, func(m storage.Member, _ time.Time) string { return yesNo(m.Alive) }},
	{"HTTP", false, func(m storage.Member, _ time.Time) string { return m.HTTPAddr }},
	{"CONTACT", false, func(m storage.Member, _ time.Time) string {
		if !m.Alive || m.LastContactMS < 0 {
			return ""
		}
		return (time.Duration(m.LastContactMS) * time.Millisecond).String()
	}},
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
