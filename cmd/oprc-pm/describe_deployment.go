package main

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/oprc/oprc-pm/internal/client"
	"github.com/oprc/oprc-pm/model"
)

func (d *description) describeDeployment(ctx context.Context, dep model.Deployment) error {
	units, err := d.c.ListUnits(ctx, dep.Key)
	if err != nil && !client.NotFound(err) {
		return err
	}
	revision, err := currentRevision(ctx, d.c, dep)
	if err != nil {
		return err
	}
	d.deploymentFields(dep, revision.Cause)
	if err := d.troubleSection(ctx, dep, units); err != nil {
		return err
	}
	conditions := table{header: []string{"TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"}}
	for _, c := range dep.Conditions {
		conditions.rows = append(conditions.rows, []string{cell(c.Type), cell(string(c.Status)), cell(c.Reason),
			cell(age(d.now, &c.LastTransitionTime)), cell(c.Message)})
	}
	d.section("Conditions", conditions)

	if err := d.placementSection(ctx, dep); err != nil {
		return err
	}
	d.askClusters(ctx, units)
	t, err := tableOf(units, unitDetailColumns, d.now)
	if err != nil {
		return err
	}
	d.section("Units", t)
	if err := d.eventsSection(ctx, model.EventAboutDeployment, dep.Key); err != nil {
		return err
	}
	spec, err := asYAML(dep, model.EncodeDeployment)
	if err != nil {
		return err
	}
	d.p.printf("\nSpec:\n")
	for line := range strings.Lines(spec) {
		d.p.printf("  %s", line)
	}
	return nil
}

func (d *description) deploymentFields(dep model.Deployment, cause string) {
	lastError, availability := "", ""
	if dep.Status != nil {
		lastError = dep.Status.LastError
		if dep.Status.AchievedQuorumAvailability != nil {
			availability = shareText(*dep.Status.AchievedQuorumAvailability)
		}
	}
	observed := strconv.FormatUint(dep.ObservedGeneration, 10)
	if dep.ObservedGeneration < dep.Generation {
		observed += " (the newest has not been acted on yet)"
	}
	rollout := ""
	if dep.RolloutStatus != nil {
		rollout = rolloutText(dep, cause) + ", since " + d.when(&dep.RolloutStatus.Since)
	}
	d.fields("Deployment", dep.Key, "Package", dep.PackageName, "Class", dep.ClassKey,
		"Condition", conditionText(dep), "Environments", strings.Join(dep.TargetEnvs, ", "), "Placed in", placesText(dep.PlacedOn),
		"Requirements", requirementsText(dep.NFRRequirements), "Availability", availability,
		"Generation", metaText(dep.Meta), "Observed", observed, "Rollout", rollout, "Next", rolloutNext(dep),
		"Created", d.when(dep.CreatedAt), "Updated", d.when(dep.UpdatedAt),
		"Delete since", d.when(dep.DeletionRequestedAt), "Last error", lastError)
}

// placesText names the places of a deployment.
func placesText(places []model.PlacedCluster) string {
	names := make([]string, len(places))
	for i, p := range places {
		names[i] = p.Cluster
		if p.For != "" {
			names[i] += " (for " + p.For + ")"
		}
	}
	return strings.Join(names, ", ")
}

// placementSection lists where the deployment is placed, where it must not be,
// and why. Without a plan, which not every server has, the reasons are missing.
func (d *description) placementSection(ctx context.Context, dep model.Deployment) error {
	planned, err := d.c.GetPlan(ctx, dep.Key)
	if err != nil && model.CodeOf(err) != model.CodeUnavailable && !client.NotFound(err) {
		return err
	}
	why := map[string]string{}
	for _, v := range planned.Verdicts {
		why[v.Cluster] = strings.Join(v.Reasons, "; ")
	}
	t := table{header: []string{"CLUSTER", "PLACED", "WHY"}}
	placed := map[string]bool{}
	for _, p := range dep.PlacedOn {
		placed[p.Cluster] = true
		reason := why[p.Cluster]
		if says := "stands in for " + p.For; p.For != "" && !strings.Contains(reason, says) {
			reason = strings.TrimSuffix(says+"; "+reason, "; ")
		}
		t.rows = append(t.rows, []string{cell(p.Cluster), "yes", cell(reason)})
	}
	for _, a := range dep.AvoidedClusters {
		t.rows = append(t.rows, []string{cell(a.Cluster), "avoided", cell(fmt.Sprintf("%s since %s: %s", a.Reason, d.when(&a.Since), a.Message))})
	}
	for _, c := range planned.PlacedOn {
		if !placed[c.Cluster] {
			t.rows = append(t.rows, []string{cell(c.Cluster), "planned", cell(why[c.Cluster])})
		}
	}
	d.section("Placement", t)
	if planned.Message != "" {
		d.p.printf("  %s\n", cell(planned.Message))
	}
	if planned.Shortfall != "" && !strings.Contains(planned.Message, planned.Shortfall) {
		d.p.printf("  %s\n", cell(planned.Shortfall))
	}
	if len(planned.Stranded) > 0 {
		d.p.printf("  cannot leave, since nothing else fits: %s\n", strings.Join(planned.Stranded, ", "))
	}
	return nil
}

// What describe asks of clusters about units that are on their way.
const (
	maxAsked  = 5
	askingFor = 3 * time.Second
)

// askClusters adds what the clusters say now of units that are on their way
// without a word of why they do not run: what is recorded changes with their
// phase only. A cluster that does not answer leaves things as they are.
func (d *description) askClusters(ctx context.Context, units []model.UnitStatus) {
	ctx, cancel := context.WithTimeout(ctx, askingFor)
	defer cancel()
	var asking sync.WaitGroup
	asked := 0
	for i := range units {
		u := &units[i]
		if u.Phase != model.UnitDeploying || unitText(*u) != "" || asked == maxAsked {
			continue
		}
		asked++
		asking.Go(func() {
			record, err := client.Get[model.DeploymentRecord](ctx, d.c, client.Resource(client.Records, u.ID), url.Values{"cluster": {u.Cluster}})
			if err == nil && optional(record.Status.Message) != "" {
				u.Message = "the cluster says: " + *record.Status.Message
			}
		})
	}
	asking.Wait()
}

// shownEvents is how many events describe shows.
const shownEvents = 20

// eventsSection lists the newest events about something.
func (d *description) eventsSection(ctx context.Context, kind, name string) error {
	events, err := d.c.ListEvents(ctx, url.Values{"kind": {kind}, "name": {name}, "limit": {strconv.Itoa(shownEvents)}})
	if err != nil && !client.NotFound(err) {
		return err
	}
	t := table{header: []string{"AGE", "TYPE", "REASON", "CLUSTER", "MESSAGE"}}
	for _, e := range events {
		t.rows = append(t.rows, []string{cell(age(d.now, &e.At)), cell(string(e.Type)), cell(e.Reason), cell(e.Cluster), cell(e.Message)})
	}
	d.section("Events", t)
	return nil
}

func requirementsText(r model.NFRRequirements) string {
	var parts []string
	if r.MinThroughputRPS != nil {
		parts = append(parts, fmt.Sprintf("at least %d requests/s", *r.MinThroughputRPS))
	}
	if r.Availability != nil {
		parts = append(parts, fmt.Sprintf("availability %g", *r.Availability))
	}
	if r.CPUUtilizationTarget != nil {
		parts = append(parts, fmt.Sprintf("CPU utilisation %g", *r.CPUUtilizationTarget))
	}
	return strings.Join(parts, ", ")
}
