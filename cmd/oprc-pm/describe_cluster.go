package main

import (
	"context"
	"net/url"
	"strconv"
	"strings"

	"github.com/oprc/oprc-pm/internal/client"
	"github.com/oprc/oprc-pm/model"
)

func (d *description) describeCluster(ctx context.Context, c clusterRow) error {
	h := c.Health
	capacity := ""
	if c.Capacity != nil {
		capacity = uintText(uint64(*c.Capacity)) + " units"
	}
	availability := ""
	if h.Availability != nil {
		availability = shareText(*h.Availability)
	}
	d.fields("Cluster", c.Name, "Status", clusterStatus(c), "Reason", h.Reason, "Message", h.Message,
		"Since", d.when(h.Since), "Last seen", d.when(&h.LastSeen), "Circuit", h.Circuit,
		"Nodes ready", nodesText(h), "Availability", availability, "Load", loadText(h.Load),
		"URL", c.BaseURL, "Protocol", string(c.Protocol), "Labels", labelsText(c.Labels),
		"Environments", strings.Join(c.Environments, ", "), "Weight", weightText(c), "Capacity", capacity,
		"Managed by", string(c.ManagedBy), "CRM version", optional(h.CRMVersion), "Calls itself", h.ClusterName)

	units, _, err := d.c.ListClusterUnits(ctx, c.Name, url.Values{})
	if err != nil && !client.NotFound(err) {
		return err
	}
	t, err := tableOf(units, unitColumns, d.now)
	if err != nil {
		return err
	}
	d.section("Units", t)
	if err := d.deploymentsSection(ctx, url.Values{"target_env": {c.Name}}); err != nil {
		return err
	}
	return d.eventsSection(ctx, model.EventAboutCluster, c.Name)
}

// loadText is what a CRM says of its load.
func loadText(load *model.ClusterLoad) string {
	if load == nil {
		return ""
	}
	var parts []string
	share := func(name string, value *float64) {
		if value != nil {
			parts = append(parts, name+" "+strconv.FormatFloat(*value*100, 'f', 0, 64)+" %")
		}
	}
	count := func(name string, value *uint32) {
		if value != nil {
			parts = append(parts, name+" "+uintText(uint64(*value)))
		}
	}
	count("units", load.Units)
	count("of at most", load.Capacity)
	share("CPU", load.CPU)
	share("memory", load.Memory)
	return strings.Join(parts, ", ")
}
