package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/oprc/oprc-pm/internal/client"
	"github.com/oprc/oprc-pm/model"
)

// troubleSection lists the clusters of a deployment that are not healthy: what is
// recorded of the units there is what they were when they were last seen. Without
// trouble there is no section.
func (d *description) troubleSection(ctx context.Context, dep model.Deployment, units []model.UnitStatus) error {
	at := map[string]bool{}
	for _, p := range dep.PlacedOn {
		at[p.Cluster] = true
	}
	for _, u := range units {
		at[u.Cluster] = true
	}
	if len(at) == 0 {
		return nil
	}
	clusters, err := d.c.ListClusters(ctx)
	if err != nil && !client.NotFound(err) {
		return err
	}
	t := table{header: []string{"CLUSTER", "STATUS", "SINCE", "REASON", "WHAT FOLLOWS"}}
	for _, c := range clusters {
		if status := orUnknown(c.Health.Status); at[c.Name] && status != model.ClusterHealthy {
			reason := strings.TrimSuffix(c.Health.Reason+": "+c.Health.Message, ": ")
			t.rows = append(t.rows, []string{cell(c.Name), cell(status), cell(age(d.now, c.Health.Since)), cell(shorten(reason, 80)),
				consequence(dep, units, c.Name, status)})
		}
	}
	if len(t.rows) > 0 {
		d.section("Clusters in trouble (their units are shown as last seen)", t)
	}
	return nil
}

// consequence says what will be done about a cluster that is not healthy.
func consequence(dep model.Deployment, units []model.UnitStatus, cluster, status string) string {
	placed := slices.ContainsFunc(dep.PlacedOn, func(p model.PlacedCluster) bool { return p.Cluster == cluster })
	on := dep.Failover != nil && dep.Failover.Enabled
	switch {
	case !placed && slices.ContainsFunc(units, func(u model.UnitStatus) bool { return u.Cluster == cluster }):
		return "left already; what is still there is removed once it answers"
	case status != model.ClusterUnhealthy:
		return "nothing, unless it gets worse"
	case !on:
		return "stays: failover is not enabled"
	case dep.Failover.Toleration != nil:
		return fmt.Sprintf("is left when it has been so for %v", *dep.Failover.Toleration)
	}
	return "is left when it has been so for crm.failover.toleration"
}
