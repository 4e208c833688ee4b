package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/oprc/oprc-pm/internal/client"
	"github.com/oprc/oprc-pm/model"
)

// defaultWait is how long --wait without a duration waits.
const defaultWait = 5 * time.Minute

// applyOptions are the flags of apply.
type applyOptions struct {
	files  []string
	strict bool
	dryRun string
	force  bool
	wait   time.Duration
}

func (p *program) applyCommand() *cobra.Command {
	var o applyOptions
	cmd := p.clientFlags(&cobra.Command{
		Use:   "apply -f FILE|DIR|-",
		Short: "Create or update clusters, packages and deployments from files",
		Long: `Create or update what YAML or JSON files describe: clusters, then packages in
the order of their dependencies, then deployments. What is already as described
stays unchanged. Everything is checked before anything is sent. A package that
drops a class which is deployed is refused, except with --force: its deployments
then go on running what they run. A pause, a cordon and a drain are kept: resume
and uncordon end them.

With --wait the command ends when every deployment of the files runs (exit code
0), one of them is down, has failed to roll out or was rolled back (1), or the
time is up (5).`,
		Example: `  oprc-pm apply -f deploy/examples/echo.yml
  oprc-pm apply -f deploy/examples --wait=2m
  oprc-pm apply -f shop.yml --dry-run=server
  generate-manifests | oprc-pm apply --strict -f -`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return p.apply(cmd.Context(), o) },
	})
	fileFlag(cmd, &o.files)
	cmd.Flags().BoolVar(&o.strict, "strict", false, "fail on fields that are not known")
	cmd.Flags().StringVar(&o.dryRun, "dry-run", "none", "none; client: check the files and send nothing; server: say what would change")
	cmd.Flags().BoolVar(&o.force, "force", false, "store packages although classes vanish that are deployed")
	waitFlag(cmd, &o.wait, "wait until the deployments run, at most so long")
	fixedCompletion(cmd, "dry-run", "none", "client", "server")
	return cmd
}

// fileFlag declares -f.
func fileFlag(cmd *cobra.Command, files *[]string) {
	cmd.Flags().StringArrayVarP(files, "filename", "f", nil, "`FILE`, directory, or - for standard input; may be repeated")
}

// waitFlag declares --wait[=DURATION].
func waitFlag(cmd *cobra.Command, wait *time.Duration, usage string) {
	cmd.Flags().DurationVar(wait, "wait", 0, usage)
	cmd.Flags().Lookup("wait").NoOptDefVal = defaultWait.String()
}

func (p *program) apply(ctx context.Context, o applyOptions) error {
	switch o.dryRun {
	case "none", "client", "server":
	default:
		return usagef("--dry-run must be none, client or server, is %q", o.dryRun)
	}
	set, err := p.loadManifests(o.files, o.strict)
	if err != nil {
		return err
	}
	set.force = o.force
	if o.dryRun == "client" {
		set.each(func(name string) { p.printf("%s valid (dry run)\n", name) })
		return nil
	}
	c, err := p.client()
	if err != nil {
		return err
	}
	defer c.Close()
	if err := p.keepSwitches(ctx, c, &set); err != nil {
		return err
	}
	if o.dryRun == "server" {
		return p.dryRunManifests(ctx, c, set)
	}
	applied, err := p.applyManifests(ctx, c, set)
	if err != nil || o.wait == 0 {
		return err
	}
	return p.waitRunning(ctx, c, applied, o.wait)
}

// each calls fn with kind/name of everything in the set.
func (s *manifests) each(fn func(name string)) {
	for _, cluster := range s.clusters {
		fn("cluster/" + cluster.Name)
	}
	for _, pkg := range s.packages {
		fn("package/" + pkg.Name)
	}
	for _, d := range s.deployments {
		fn("deployment/" + d.Key)
	}
	for _, state := range s.states {
		fn("runtime-state/" + state.Key)
	}
}

// appliedDeployment is a deployment that was sent, and the index of the write.
type appliedDeployment struct {
	key   string
	index uint64
	// generation that the write led to.
	generation uint64
	// repackaged: its package was changed just before, which it may not have been
	// looked at for.
	repackaged bool
}

// applyManifests sends a set and prints what became of each. The first failure
// ends it: what follows may depend on it.
func (p *program) applyManifests(ctx context.Context, c *client.Client, set manifests) ([]appliedDeployment, error) {
	for _, cluster := range set.clusters {
		result, err := c.PutCluster(ctx, cluster, client.WriteOptions{})
		if err != nil {
			return nil, fmt.Errorf("apply cluster/%s: %w", cluster.Name, err)
		}
		p.printWritten("cluster", cluster.Name, result)
	}
	changed := map[string]bool{}
	for _, pkg := range set.packages {
		result, err := c.PutPackage(ctx, pkg, client.WriteOptions{Force: set.force})
		if err != nil {
			return nil, fmt.Errorf("apply package/%s: %w%s", pkg.Name, err, forceHint(err, set.force))
		}
		changed[pkg.Name] = result.Status != "unchanged"
		p.printWritten("package", pkg.Name, result)
	}
	applied := make([]appliedDeployment, 0, len(set.deployments))
	for _, d := range set.deployments {
		result, err := c.PutDeployment(ctx, d, client.WriteOptions{})
		if err != nil {
			return nil, fmt.Errorf("apply deployment/%s: %w", d.Key, err)
		}
		p.printWritten("deployment", d.Key, result)
		applied = append(applied, appliedDeployment{d.Key, result.Index, result.Generation, changed[d.PackageName]})
	}
	for _, state := range set.states {
		result, err := c.PutRuntimeState(ctx, state, client.WriteOptions{})
		if err != nil {
			return nil, fmt.Errorf("apply runtime-state/%s: %w", state.Key, err)
		}
		p.printWritten("runtime-state", state.Key, result)
	}
	return applied, nil
}

// forceHint tells the way out when a package was refused because a deployed class
// would vanish.
func forceHint(err error, forced bool) string {
	failed, ok := errors.AsType[*model.Error](err)
	if forced || !ok || failed.Code != model.CodeConflict || !slices.ContainsFunc(failed.Problems, func(p model.Problem) bool { return p.Path == "classes" }) {
		return ""
	}
	return "\n--force stores it all the same: those deployments go on running what they run"
}

func (p *program) printWritten(kind, name string, result client.WriteResult) {
	for _, warning := range result.Warnings {
		_, _ = fmt.Fprintf(p.err, "warning: %s/%s: %s\n", kind, name, warning)
	}
	p.printf("%s/%s %s\n", kind, name, result.Status)
}
