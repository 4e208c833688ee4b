package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oprc/oprc-pm/model"
)

// clusterRow is a cluster as lists show it, or as it is stored: only the latter
// may leave the weight out.
type clusterRow struct {
	model.ClusterInfo
	Weight *uint32 `json:"weight"`
}

var clusterColumns = []column[clusterRow]{
	{"NAME", false, func(c clusterRow, _ time.Time) string { return c.Name }},
	{"STATUS", false, func(c clusterRow, _ time.Time) string { return clusterStatus(c) }},
	{"NODES", false, func(c clusterRow, _ time.Time) string { return nodesText(c.Health) }},
	{"AVAILABILITY", false, func(c clusterRow, _ time.Time) string {
		if c.Health.Availability == nil {
			return ""
		}
		return strconv.FormatFloat(*c.Health.Availability, 'g', 6, 64)
	}},
	{"UNITS", false, func(c clusterRow, _ time.Time) string {
		if c.Capacity != nil {
			return fmt.Sprintf("%d/%d", c.Units, *c.Capacity)
		}
		return strconv.Itoa(c.Units)
	}},
	{"CIRCUIT", false, func(c clusterRow, _ time.Time) string { return c.Health.Circuit }},
	{"SINCE", false, func(c clusterRow, now time.Time) string { return age(now, c.Health.Since) }},
	{"LAST SEEN", false, func(c clusterRow, now time.Time) string {
		if c.Health.LastSeen.IsZero() || c.Health.Status == model.ClusterUnknown {
			return ""
		}
		if c.Health.Stale {
			return humanDuration(now.Sub(c.Health.LastSeen)) + " ago, stale"
		}
		return humanDuration(now.Sub(c.Health.LastSeen)) + " ago"
	}},
	{"REASON", false, func(c clusterRow, _ time.Time) string {
		return shorten(strings.TrimSuffix(c.Health.Reason+": "+c.Health.Message, ": "), 80)
	}},
	{"PROTOCOL", true, func(c clusterRow, _ time.Time) string { return string(c.Protocol) }},
	{"URL", true, func(c clusterRow, _ time.Time) string { return c.BaseURL }},
	{"LABELS", true, func(c clusterRow, _ time.Time) string { return labelsText(c.Labels) }},
	{"ENVIRONMENTS", true, func(c clusterRow, _ time.Time) string { return strings.Join(c.Environments, ",") }},
	{"WEIGHT", true, func(c clusterRow, _ time.Time) string { return weightText(c) }},
	{"MANAGED BY", true, func(c clusterRow, _ time.Time) string { return string(c.ManagedBy) }},
	{"CRM VERSION", true, func(c clusterRow, _ time.Time) string { return optional(c.Health.CRMVersion) }},
	{"CALLS ITSELF", true, func(c clusterRow, _ time.Time) string { return c.Health.ClusterName }},
}

// clusterStatus says also what keeps units away from a healthy cluster.
func clusterStatus(c clusterRow) string {
	status := orUnknown(c.Health.Status)
	if c.Draining {
		return status + ",draining"
	}
	if c.Cordoned {
		return status + ",cordoned"
	}
	return status
}

func orUnknown(status string) string {
	if status == "" {
		return model.ClusterUnknown
	}
	return status
}

func nodesText(h model.ClusterHealth) string {
	if h.NodeCount == nil {
		return ""
	}
	ready := "?"
	if h.ReadyNodes != nil {
		ready = uintText(uint64(*h.ReadyNodes))
	}
	return ready + "/" + uintText(uint64(*h.NodeCount))
}

// usualWeight is that of a cluster that names none.
const usualWeight = 100

func weightText(c clusterRow) string {
	if c.Weight == nil {
		return strconv.Itoa(usualWeight)
	}
	return uintText(uint64(*c.Weight))
}

func labelsText(labels map[string]string) string {
	parts := make([]string, 0, len(labels))
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		parts = append(parts, key+"="+labels[key])
	}
	return strings.Join(parts, ",")
}

// essence is a document without what moves all the time and is no news: when a
// cluster was last seen, and by whom.
func essence(raw json.RawMessage) string {
	var c struct {
		Health map[string]json.RawMessage `json:"health"`
	}
	var rest map[string]json.RawMessage
	if json.Unmarshal(raw, &c) != nil || c.Health == nil || json.Unmarshal(raw, &rest) != nil {
		return string(raw)
	}
	delete(c.Health, "last_seen")
	delete(c.Health, "stale")
	health, err := json.Marshal(c.Health)
	if err != nil {
		return string(raw)
	}
	rest["health"] = health
	text, err := json.Marshal(rest)
	if err != nil {
		return string(raw)
	}
	return string(text)
}
