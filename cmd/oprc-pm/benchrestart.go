package main

import (
	"github.com/spf13/cobra"

	"github.com/oprc/oprc-pm/bench"
)

func (p *program) benchRestartCommand() *cobra.Command {
	var flags benchFlags
	var smoke bool
	o := bench.DefaultRestartOptions()
	cmd := &cobra.Command{
		Use:   "restart",
		Short: "Measure how soon a node with many packages serves again, and a new one votes",
		Long: `restart starts a node of its own, stores packages, and measures how long the node
takes to serve again after it was stopped and after it was killed. Then it starts a
second node and measures how long that takes to catch up and to become a voter.

It fails when a package is missing afterwards or the nodes differ.`,
		Example: `  oprc-pm bench restart --out bench/results/restart.json
  oprc-pm bench restart --packages 10000 --turns 1
  oprc-pm bench restart --smoke`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if smoke {
				o = bench.SmokeRestartOptions()
			}
			if err := o.Validate(); err != nil {
				return usagef("%v", err)
			}
			if err := p.prepareBench(&flags); err != nil {
				return err
			}
			report, err := bench.Restart(cmd.Context(), flags.host, o)
			return p.finishBench(&flags, report, err)
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.Packages, "packages", o.Packages, "number of packages to store")
	f.IntVar(&o.Bytes, "size", o.Bytes, "size of a package in bytes")
	f.IntVar(&o.Turns, "turns", o.Turns, "how often to restart in each way")
	f.DurationVar(&o.JoinLimit, "limit", o.JoinLimit, "after how long a new node has failed to become a voter")
	f.BoolVar(&smoke, "smoke", false, "only see that everything works, in seconds; the figures mean nothing")
	p.benchOutputFlags(cmd, &flags, "")
	return cmd
}
