package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/oprc/oprc-pm/cluster"
)

func (p *program) checkCommand() *cobra.Command {
	var output string
	var positions bool
	cmd := &cobra.Command{
		Use:   "check DATA_DIR",
		Short: "Verify the data directory of a stopped node",
		Long: `Read all that a stopped node keeps, and change nothing: its identity, term and
vote, every log entry, every snapshot, every page of the state file and the digest
of its content. Each problem is named with its file and with the command that
mends it.

Exit code 1 says that there is a problem.`,
		Example: `  oprc-pm check /var/lib/oprc-pm
  oprc-pm check /var/lib/oprc-pm -o json
  oprc-pm check /var/lib/oprc-pm --positions > n2.json`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error { return p.check(args[0], output, positions) },
	}
	cmd.Flags().BoolVar(&positions, "positions", false, "print only where the log ends, for cluster recover --compare")
	p.outputFlag(cmd, &output)
	return cmd
}

func (p *program) check(dir, output string, positions bool) error {
	if err := checkOutput(output); err != nil {
		return err
	}
	report, err := cluster.Check(dir)
	if err != nil {
		return fmt.Errorf("check: %w", err)
	}
	switch {
	case positions && output != outputYAML:
		err = p.printStructured(outputJSON, report.Position)
	case positions:
		err = p.printStructured(output, report.Position)
	case output == outputJSON || output == outputYAML:
		err = p.printStructured(output, report)
	default:
		p.printCheck(report)
	}
	if err == nil && len(report.Problems) > 0 {
		err = &exitError{exitFailure, errSilent}
		if positions { // where it ends cannot be relied on
			p.complain(report)
		}
	}
	return err
}

func (p *program) complain(report cluster.CheckReport) {
	for _, problem := range report.Problems {
		_, _ = fmt.Fprintf(p.err, "problem: %s: %s\n", problem.File, problem.Problem)
	}
}

func (p *program) printCheck(r cluster.CheckReport) {
	if r.ServerID != "" {
		p.printf("server %s of cluster %s\n", r.ServerID, orNone(r.ClusterID))
		p.printf("log (%s) holds index %d to %d, term %d; term now %d\n", r.LogStore, r.FirstIndex, r.LastIndex, r.LastTerm, r.Term)
		p.printf("configuration: %s\n", peersText(r.Configuration))
	}
	for _, s := range r.Snapshots {
		whole := "whole"
		if !s.Whole {
			whole = "damaged"
		}
		p.printf("snapshot %s: index %d, term %d, %d bytes, %s\n", s.ID, s.Index, s.Term, s.Bytes, whole)
	}
	if s := r.State; s != nil {
		p.printf("state: index %d, term %d, digest %s, %d bytes\n", s.Index, s.Term, s.Digest, s.Bytes)
	}
	for _, note := range r.Notes {
		p.printf("note: %s\n", note)
	}
	for _, problem := range r.Problems {
		p.printf("problem: %s: %s\n  %s\n", problem.File, problem.Problem, problem.Remedy)
	}
	if len(r.Problems) == 0 {
		p.printf("no problem was found\n")
	}
}

func orNone(text string) string {
	if text == "" {
		return "(none)"
	}
	return text
}

func (p *program) clusterRejoinCommand() *cobra.Command {
	var dir, output string
	var force bool
	cmd := &cobra.Command{
		Use:   "rejoin",
		Short: "Move a stopped node's damaged data aside, so that it comes back empty",
		Long: `Move everything in the data directory of a stopped node into a directory
aside-TIME in it. Nothing is deleted. Started again with --join, the node joins as a
new one and gets everything from the others; under its old name it replaces its old
self.

Refused where the directory knows of no other voter: it may then hold the only copy
of the data. Restore a backup, or use --force if there are others.`,
		Example: `  oprc-pm cluster rejoin --data-dir /var/lib/oprc-pm`,
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(_ *cobra.Command, _ []string) error {
			return p.setAside("rejoin", dir, output, func() (cluster.SetAside, error) { return cluster.Rejoin(dir, force) },
				"start the node with --join and the address of another; it must not be left to found a cluster of its own")
		},
	}
	cmd.Flags().StringVar(&dir, "data-dir", "", "`DIR` of the stopped node (required)")
	cmd.Flags().BoolVar(&force, "force", false, "do it although no other voter is known")
	p.outputFlag(cmd, &output)
	return cmd
}

func (p *program) clusterRebuildCommand() *cobra.Command {
	var dir, output string
	cmd := &cobra.Command{
		Use:   "rebuild",
		Short: "Move a stopped node's damaged state file aside, so that it is made anew",
		Long: `Move the state file of a stopped node into a directory aside-TIME in its data
directory. The next start makes it anew from the newest snapshot and the log, of
this node alone; nothing that was acknowledged is lost. Refused where snapshot or log
are damaged too.`,
		Example: `  oprc-pm cluster rebuild --data-dir /var/lib/oprc-pm`,
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(_ *cobra.Command, _ []string) error {
			return p.setAside("rebuild", dir, output, func() (cluster.SetAside, error) { return cluster.Rebuild(dir) }, "start the node")
		},
	}
	cmd.Flags().StringVar(&dir, "data-dir", "", "`DIR` of the stopped node (required)")
	p.outputFlag(cmd, &output)
	return cmd
}

// setAside runs rejoin or rebuild and tells what came of it.
func (p *program) setAside(verb, dir, output string, do func() (cluster.SetAside, error), next string) error {
	if err := checkOutput(output); err != nil {
		return err
	}
	if dir == "" {
		return usagef("--data-dir must be given")
	}
	result, err := do()
	if errors.Is(err, cluster.ErrOnlyCopy) {
		return &exitError{exitConflict, fmt.Errorf("cluster %s: %w", verb, err)}
	}
	if err != nil {
		return damaged(fmt.Errorf("cluster %s: %w", verb, err))
	}
	if output == outputJSON || output == outputYAML {
		return p.printStructured(output, result)
	}
	p.printf("moved to %s: %v\n%s\n", result.To, result.Moved, next)
	return nil
}

// damaged gives errors of a damaged data directory their exit code.
func damaged(err error) error {
	var damage *cluster.DamageError
	if errors.As(err, &damage) {
		return &exitError{exitDamaged, err}
	}
	return err
}
