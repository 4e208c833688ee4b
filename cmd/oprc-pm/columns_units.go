package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/oprc/oprc-pm/model"
)

var unitColumns = []column[model.UnitStatus]{
	{"DEPLOYMENT", false, func(u model.UnitStatus, _ time.Time) string { return u.DeploymentKey }},
	{"CLUSTER", false, func(u model.UnitStatus, _ time.Time) string { return u.Cluster }},
	{"UNIT", false, func(u model.UnitStatus, _ time.Time) string { return u.ID }},
	{"PHASE", false, func(u model.UnitStatus, _ time.Time) string { return string(u.Phase) }},
	{"SINCE", false, func(u model.UnitStatus, now time.Time) string { return age(now, &u.LastTransitionTime) }},
	{"MESSAGE", false, func(u model.UnitStatus, _ time.Time) string { return shorten(unitText(u), 60) }},
	{"GENERATION", true, func(u model.UnitStatus, _ time.Time) string { return uintText(u.Generation) }},
	{"REVISION", true, func(u model.UnitStatus, _ time.Time) string { return uintText(u.Revision) }},
	{"ATTEMPTS", true, func(u model.UnitStatus, _ time.Time) string { return uintText(uint64(u.Attempts)) }},
	{"NEXT RETRY", true, func(u model.UnitStatus, now time.Time) string { return until(now, u.NextRetryAt) }},
	{"CRM ID", true, func(u model.UnitStatus, _ time.Time) string { return u.CRMID }},
}

// unitDetailColumns are those of describe, where the deployment is known and the
// whole story is wanted.
var unitDetailColumns = []column[model.UnitStatus]{
	{"CLUSTER", false, func(u model.UnitStatus, _ time.Time) string { return u.Cluster }},
	{"UNIT", false, func(u model.UnitStatus, _ time.Time) string { return u.ID }},
	{"PHASE", false, func(u model.UnitStatus, _ time.Time) string { return string(u.Phase) }},
	{"SINCE", false, func(u model.UnitStatus, now time.Time) string { return age(now, &u.LastTransitionTime) }},
	{"REVISION", false, func(u model.UnitStatus, _ time.Time) string {
		if u.Revision == 0 {
			return ""
		}
		return uintText(u.Revision)
	}},
	{"ATTEMPTS", false, func(u model.UnitStatus, _ time.Time) string { return uintText(uint64(u.Attempts)) }},
	{"NEXT RETRY", false, func(u model.UnitStatus, now time.Time) string { return until(now, u.NextRetryAt) }},
	{"LAST ERROR OR MESSAGE", false, func(u model.UnitStatus, _ time.Time) string { return shorten(unitText(u), 120) }},
}

// until is how long it still takes to t, for people.
func until(now time.Time, t *time.Time) string {
	switch {
	case t == nil || t.IsZero():
		return ""
	case t.After(now):
		return "in " + humanDuration(t.Sub(now))
	}
	return "now"
}

var revisionColumns = []column[model.Revision]{
	{"DEPLOYMENT", false, func(r model.Revision, _ time.Time) string { return r.DeploymentKey }},
	{"REVISION", false, func(r model.Revision, _ time.Time) string { return uintText(r.Revision) }},
	{"GENERATION", false, func(r model.Revision, _ time.Time) string { return uintText(r.Generation) }},
	{"AGE", false, func(r model.Revision, now time.Time) string { return age(now, &r.CreatedAt) }},
	{"GOOD SINCE", false, func(r model.Revision, now time.Time) string {
		if text := age(now, r.GoodSince); text != "" {
			return text + " ago"
		}
		return ""
	}},
	{"CHANGED", false, func(r model.Revision, _ time.Time) string { return r.Changed }},
	{"CAUSE", false, func(r model.Revision, _ time.Time) string { return shorten(r.Cause, 60) }},
	{"TEMPLATE", true, func(r model.Revision, _ time.Time) string { return r.Template }},
	{"PACKAGE VERSION", true, func(r model.Revision, _ time.Time) string { return uintText(r.PackageResourceVersion) }},
}

var eventColumns = []column[model.Event]{
	{"AGE", false, func(e model.Event, now time.Time) string { return age(now, &e.At) }},
	{"TYPE", false, func(e model.Event, _ time.Time) string { return string(e.Type) }},
	{"ABOUT", false, func(e model.Event, _ time.Time) string { return e.Kind + "/" + e.Name }},
	{"REASON", false, func(e model.Event, _ time.Time) string { return e.Reason }},
	{"CLUSTER", false, func(e model.Event, _ time.Time) string { return e.Cluster }},
	{"MESSAGE", false, func(e model.Event, _ time.Time) string { return shorten(e.Message, 120) }},
	{"SEQUENCE", true, func(e model.Event, _ time.Time) string { return uintText(e.Sequence) }},
	{"AT", true, func(e model.Event, _ time.Time) string { return e.At.UTC().Format(time.RFC3339) }},
	{"UNIT", true, func(e model.Event, _ time.Time) string { return e.Unit }},
}

// qualifiedClass is PACKAGE.CLASS: some CRMs give the class alone.
func qualifiedClass(r model.DeploymentRecord) string {
	prefix := r.PackageName + "."
	if r.PackageName == "" || r.ClassKey == "" || strings.HasPrefix(r.ClassKey, prefix) {
		return r.ClassKey
	}
	return prefix + r.ClassKey
}

var recordColumns = []column[model.DeploymentRecord]{
	{"CLUSTER", false, func(r model.DeploymentRecord, _ time.Time) string { return optional(r.ClusterName) }},
	{"ID", false, func(r model.DeploymentRecord, _ time.Time) string { return r.ID }},
	{"CLASS", false, func(r model.DeploymentRecord, _ time.Time) string { return qualifiedClass(r) }},
	{"CONDITION", false, func(r model.DeploymentRecord, _ time.Time) string { return r.Status.Condition }},
	{"PHASE", false, func(r model.DeploymentRecord, _ time.Time) string { return r.Status.Phase }},
	{"FUNCTIONS READY", false, func(r model.DeploymentRecord, _ time.Time) string { return readyFunctions(r) }},
	{"MESSAGE", false, func(r model.DeploymentRecord, _ time.Time) string { return shorten(optional(r.Status.Message), 60) }},
	{"PACKAGE", true, func(r model.DeploymentRecord, _ time.Time) string { return r.PackageName }},
	{"ENVIRONMENT", true, func(r model.DeploymentRecord, _ time.Time) string { return r.TargetEnvironment }},
	{"PARTITIONS", true, func(r model.DeploymentRecord, _ time.Time) string { return uintText(uint64(r.PartitionCount)) }},
	{"UPDATED", true, func(r model.DeploymentRecord, _ time.Time) string { return r.UpdatedAt }},
}

func readyFunctions(r model.DeploymentRecord) string {
	if len(r.Status.Functions) == 0 {
		return ""
	}
	ready := 0
	for _, f := range r.Status.Functions {
		if f.Ready != nil && *f.Ready {
			ready++
		}
	}
	return fmt.Sprintf("%d/%d", ready, len(r.Status.Functions))
}

// The keys of documents in lists and in the change stream.

func unitChangeKey(raw json.RawMessage) string {
	var u model.UnitStatus
	if json.Unmarshal(raw, &u) != nil {
		return ""
	}
	return u.DeploymentKey + "/" + u.Cluster + "/" + u.ID
}

func revisionKey(raw json.RawMessage) string {
	var r model.Revision
	if json.Unmarshal(raw, &r) != nil {
		return ""
	}
	return strconv.FormatUint(r.Revision, 10)
}

func revisionChangeKey(raw json.RawMessage) string {
	var r model.Revision
	if json.Unmarshal(raw, &r) != nil {
		return ""
	}
	return fmt.Sprintf("%s/%020d", r.DeploymentKey, r.Revision)
}

func eventKey(raw json.RawMessage) string {
	var e model.Event
	if json.Unmarshal(raw, &e) != nil {
		return ""
	}
	return uintText(e.Sequence)
}

func eventChangeKey(raw json.RawMessage) string {
	var e model.Event
	if json.Unmarshal(raw, &e) != nil {
		return ""
	}
	return fmt.Sprintf("%020d", e.Sequence)
}

func matchRevision(raw json.RawMessage, query url.Values) bool {
	var r model.Revision
	deployment := query.Get("deployment")
	return json.Unmarshal(raw, &r) == nil && (deployment == "" || deployment == r.DeploymentKey)
}

func matchEvent(raw json.RawMessage, query url.Values) bool {
	var e model.Event
	if json.Unmarshal(raw, &e) != nil {
		return false
	}
	equal := func(parameter, value string) bool {
		return query.Get(parameter) == "" || strings.EqualFold(query.Get(parameter), value)
	}
	// since is for what is there already: a change is newer.
	return equal("kind", e.Kind) && equal("name", e.Name) && equal("type", string(e.Type)) && equal("reason", e.Reason)
}
