package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/oprc/oprc-pm/crm/plan"
	"github.com/oprc/oprc-pm/internal/client"
	"github.com/oprc/oprc-pm/model"
)

// planOptions are the flags of plan.
type planOptions struct {
	files  []string
	strict bool
	force  bool
	output string
}

func (p *program) planCommand() *cobra.Command {
	var o planOptions
	cmd := p.clientFlags(&cobra.Command{
		Use:   "plan -f FILE|DIR|- | plan DEPLOYMENT...",
		Short: "Show where deployments would run, why, and what would change",
		Long: `Ask the server where the deployments of files would run: which clusters are
selected, why these and not the others, and which units would be created,
replaced, kept or removed. Packages of the files count as if they were stored;
their other deployments are shown where units would change. Nothing is changed.

With names instead of files, the deployments are planned as they are stored.

The exit code is 0 when nothing would change and 1 when something would.`,
		Example: `  oprc-pm plan -f deploy/examples/echo.yml
  oprc-pm plan -f deploy/examples -o json
  oprc-pm plan Record`,
		RunE: func(cmd *cobra.Command, args []string) error { return p.plan(cmd.Context(), args, o) },
	})
	fileFlag(cmd, &o.files)
	cmd.Flags().BoolVar(&o.strict, "strict", false, "fail on fields that are not known")
	cmd.Flags().BoolVar(&o.force, "force", false, "plan packages although classes vanish that are deployed")
	p.outputFlag(cmd, &o.output)
	return cmd
}

func (p *program) plan(ctx context.Context, names []string, o planOptions) error {
	if err := checkOutput(o.output); err != nil {
		return err
	}
	if len(names) > 0 && len(o.files) > 0 {
		return usagef("give names or -f, not both")
	}
	if len(names)+len(o.files) == 0 {
		return usagef("say what to plan: names of deployments, or -f FILE")
	}
	var set manifests
	if len(names) == 0 {
		var err error
		if set, err = p.loadManifests(o.files, o.strict); err != nil {
			return err
		}
	}
	set.force = o.force
	c, err := p.client()
	if err != nil {
		return err
	}
	defer c.Close()
	if err := p.keepSwitches(ctx, c, &set); err != nil {
		return err
	}
	found, err := askPlans(ctx, c, names, set)
	if err != nil {
		return err
	}
	if o.output == outputJSON || o.output == outputYAML {
		err = p.printStructured(o.output, found)
	} else {
		p.printPlans(found, o.output == outputWide)
	}
	if err == nil && found.changed() {
		return &exitError{exitFailure, errSilent}
	}
	return err
}

// plans is the answer to plan, as programs read it.
type plans struct {
	Packages    []client.PackagePlan `json:"packages"`
	Deployments []client.Plan        `json:"deployments"`
}

func (s plans) changed() bool {
	return slices.ContainsFunc(s.Deployments, client.Plan.Changed) || slices.ContainsFunc(s.Packages, func(p client.PackagePlan) bool {
		return p.Would != "nothing" || slices.ContainsFunc(p.Deployments, client.Plan.Changed)
	})
}

// askPlans asks for the plans of a set, or of stored deployments. A deployment is
// sent with its package where that is in the set: it may not exist yet.
func askPlans(ctx context.Context, c *client.Client, names []string, set manifests) (plans, error) {
	found := plans{Packages: []client.PackagePlan{}, Deployments: []client.Plan{}}
	for _, name := range names {
		planned, err := c.GetPlan(ctx, name)
		if err != nil {
			return found, fmt.Errorf("plan deployment/%s: %w", name, err)
		}
		found.Deployments = append(found.Deployments, planned)
	}
	sent := map[string]bool{}
	for _, pkg := range set.packages {
		var along []model.Deployment
		for _, d := range set.deployments {
			if d.PackageName == pkg.Name {
				along, sent[d.Key] = append(along, d), true
			}
		}
		planned, err := c.PlanPackage(ctx, pkg, along, set.force)
		if err != nil {
			return found, fmt.Errorf("plan package/%s: %w", pkg.Name, err)
		}
		found.Deployments = append(found.Deployments, planned.Plans...)
		planned.Plans = nil // they are in the list of all
		planned.Deployments = slices.DeleteFunc(planned.Deployments, func(d client.Plan) bool { return sent[d.ID] })
		found.Packages = append(found.Packages, planned)
	}
	for _, d := range set.deployments {
		if sent[d.Key] {
			continue
		}
		planned, err := c.PlanDeployment(ctx, d)
		if err != nil {
			return found, fmt.Errorf("plan deployment/%s: %w", d.Key, err)
		}
		found.Deployments = append(found.Deployments, planned)
	}
	return found, nil
}

// printPlans prints plans for people.
func (p *program) printPlans(found plans, wide bool) {
	for _, pkg := range found.Packages {
		p.printf("package/%s: %s\n", pkg.ID, wouldText(pkg.Would))
		for _, d := range pkg.Deployments {
			if d.Changed() || d.Reason != "" {
				p.printf("\ndeployment/%s: %s\n", d.ID, wouldText(d.Would))
				p.printPlanProblems(d)
				p.printChanges(d)
			}
		}
		if pkg.Omitted > 0 {
			p.printf("\n%d further deployments of the package were not looked at\n", pkg.Omitted)
		}
	}
	for i, d := range found.Deployments {
		if i > 0 || len(found.Packages) > 0 {
			p.printf("\n")
		}
		p.printf("deployment/%s: %s\n", d.ID, wouldText(d.Would))
		p.printPlanProblems(d)
		p.printRequirements(d)
		p.printChanges(d)
		p.printVerdicts(d, wide)
	}
}

func wouldText(would string) string {
	switch would {
	case "create":
		return "would be created"
	case "update":
		return "would be updated"
	case "roll":
		return "stays, its units would change"
	}
	return "nothing would change"
}

func (p *program) printPlanProblems(d client.Plan) {
	if d.Reason != "" {
		p.printf("  cannot be placed (%s): %s\n", d.Reason, cell(d.Message))
	}
	if d.Shortfall != "" && !strings.Contains(d.Message, d.Shortfall) {
		p.printf("  fewer clusters than needed: %s\n", cell(d.Shortfall))
	}
	if len(d.UnknownEnvs) > 0 {
		p.printf("  unknown environments: %s\n", strings.Join(d.UnknownEnvs, ", "))
	}
	if len(d.Stranded) > 0 {
		p.printf("  cannot leave, since nothing else fits: %s\n", strings.Join(d.Stranded, ", "))
	}
}

func (p *program) printRequirements(d client.Plan) {
	r := d.Requirements
	if len(d.Units) == 0 {
		return
	}
	needs := "at least one cluster up"
	if r.Quorum {
		needs = "a majority of the clusters up"
	}
	p.printf("  availability %s of %s wanted (%s), %d of %d clusters\n",
		shareText(r.AchievedAvailability), shareText(r.Availability), needs, len(d.Units), r.Clusters)
	if r.MinScale > 0 {
		p.printf("  at least %d replicas of each function in each cluster\n", r.MinScale)
	}
	for _, note := range r.Notes {
		p.printf("  %s\n", cell(note))
	}
}

func shareText(share float64) string { return strconv.FormatFloat(share, 'g', 8, 64) }

// printIndented prints a table under a plan.
func (p *program) printIndented(t table) {
	var text strings.Builder
	t.write(&text)
	p.printf("\n")
	for line := range strings.Lines(text.String()) {
		p.printf("  %s", line)
	}
}

func (p *program) printChanges(d client.Plan) {
	if len(d.Changes) == 0 {
		return
	}
	t := table{header: []string{"CLUSTER", "ACTION", "UNIT", "REPLACES", "REASON"}}
	for _, c := range d.Changes {
		t.rows = append(t.rows, []string{cell(c.Cluster), cell(string(c.Action)), cell(c.Unit), cell(c.Replaces), cell(c.Reason)})
	}
	p.printIndented(t)
}

// maxVerdicts is how many clusters that were not selected are shown, except with
// -o wide.
const maxVerdicts = 20

func (p *program) printVerdicts(d client.Plan, wide bool) {
	t := verdictTable(d.Verdicts, wide)
	if len(t.rows) == 0 {
		return
	}
	p.printIndented(t)
	if hidden := len(d.Verdicts) - len(t.rows); hidden > 0 {
		p.printf("  %d further clusters were not selected; -o wide shows them\n", hidden)
	}
}

// verdictTable shows the selected clusters, then the others, the best first.
func verdictTable(verdicts []plan.Verdict, all bool) table {
	t := table{header: []string{"CLUSTER", "SELECTED", "SCORE", "WHY"}}
	sorted := slices.Clone(verdicts)
	slices.SortStableFunc(sorted, func(a, b plan.Verdict) int {
		switch {
		case a.Selected != b.Selected && a.Selected, a.Selected == b.Selected && a.Score > b.Score:
			return -1
		case a.Selected != b.Selected && b.Selected, a.Selected == b.Selected && a.Score < b.Score:
			return 1
		}
		return 0
	})
	others := 0
	for _, v := range sorted {
		if !v.Selected {
			if others++; others > maxVerdicts && !all {
				break
			}
		}
		score := ""
		if v.Score != 0 {
			score = strconv.FormatFloat(v.Score, 'f', 2, 64)
		}
		t.rows = append(t.rows, []string{cell(v.Cluster), yesNo(v.Selected), cell(score), cell(strings.Join(v.Reasons, "; "))})
	}
	return t
}

// dryRunManifests says what apply would do, thing by thing.
func (p *program) dryRunManifests(ctx context.Context, c *client.Client, set manifests) error {
	for _, cluster := range set.clusters {
		before, err := serverForm(ctx, c, client.Resource(client.Clusters, cluster.Name), model.ParseCluster, encodeClusterSpec)
		if err != nil {
			return fmt.Errorf("read cluster/%s: %w", cluster.Name, err)
		}
		after, err := asYAML(cluster, encodeClusterSpec)
		if err != nil {
			return err
		}
		would := map[bool]string{true: "nothing", false: "update"}[before == after]
		if before == "" {
			would = "create"
		}
		p.printf("cluster/%s: %s (dry run)\n", cluster.Name, wouldText(would))
	}
	found, err := askPlans(ctx, c, nil, set)
	if err != nil {
		return err
	}
	for _, pkg := range found.Packages {
		p.printf("package/%s: %s (dry run)\n", pkg.ID, wouldText(pkg.Would))
		for _, d := range pkg.Deployments {
			if d.Changed() {
				p.dryRunDeployment(d, set.clusters)
			}
		}
	}
	for _, d := range found.Deployments {
		p.dryRunDeployment(d, set.clusters)
	}
	return nil
}

// dryRunDeployment says what an apply would do to a deployment, and warns when
// that would not make it run as asked for. What it lacks may come with the same
// files: coming are their clusters.
func (p *program) dryRunDeployment(d client.Plan, coming []model.Cluster) {
	p.printf("deployment/%s: %s (dry run)\n", d.ID, wouldText(d.Would))
	comes := func(env string) bool {
		return slices.ContainsFunc(coming, func(c model.Cluster) bool { return c.Name == env || slices.Contains(c.Environments, env) })
	}
	switch {
	case len(coming) > 0 && (len(d.UnknownEnvs) == 0 || slices.ContainsFunc(d.UnknownEnvs, comes)):
		// The plan was made without them.
	case d.Reason != "":
		_, _ = fmt.Fprintf(p.err, "warning: deployment/%s cannot be placed (%s): %s\n", d.ID, cell(d.Reason), cell(d.Message))
	case d.Shortfall != "":
		_, _ = fmt.Fprintf(p.err, "warning: deployment/%s would run in fewer clusters than needed: %s\n", d.ID, cell(d.Shortfall))
	}
}
