package main

import (
	"errors"
	"fmt"
	"os"
	"runtime/pprof"
	"strings"

	"github.com/spf13/cobra"

	"github.com/oprc/oprc-pm/bench"
)

// benchFlags are those of the verbs that measure.
type benchFlags struct {
	output string
	out    string
	host   bench.Host
}

const benchLong = `bench puts a load on a control plane and tells how fast the answers came, whether
they were right, and what they cost. It loads the nodes named by --server, or
starts nodes of its own with --local.

With --vs plain the same answers are also served from memory by a plain HTTP
server, the limit of HTTP on this machine, and both are measured in turns. A
load that did nothing, or got a wrong answer, fails.

The documents it stores are named bench-…, and removed at the end.`

func (p *program) benchCommand() *cobra.Command {
	var flags benchFlags
	o := bench.DefaultOptions()
	var vs string
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure a control plane under load",
		Long:  benchLong,
		Example: `  oprc-pm bench --local 1 --vs plain
  oprc-pm bench --local 3 --workload put --clients 256 --via follower
  oprc-pm bench --server http://10.0.0.1:8080,http://10.0.0.2:8080 --workload mixed
  oprc-pm bench compare before.json after.json`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if vs != "" && vs != bench.PlainName {
				return usagef("--vs %q is not %s", vs, bench.PlainName)
			}
			o.VsPlain = vs == bench.PlainName
			if o.Local == 0 && len(o.Servers) == 0 {
				o.Servers = strings.Split(p.benchServer(), ",")
			}
			if err := p.prepareBench(&flags); err != nil {
				return err
			}
			report, err := bench.Measure(cmd.Context(), flags.host, o)
			return p.finishBench(&flags, report, err)
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&o.Servers, "server", nil, "`URL` of the node to load, or several (OPRC_SERVER)")
	f.IntVar(&o.Local, "local", 0, "start this many nodes on loopback and load them")
	f.StringVar(&vs, "vs", "", "what to measure beside it, in turns: plain")
	f.StringVar(&o.Workload, "workload", o.Workload, strings.Join(bench.Workloads, ", "))
	f.StringSliceVar(&o.Consistencies, "consistency", o.Consistencies, "of reads: "+strings.Join(bench.Consistencies, ", ")+"; several are measured in turns")
	f.StringVar(&o.Via, "via", o.Via, "which nodes to load: "+strings.Join(bench.Vias, ", "))
	f.IntVar(&o.Load.Clients, "clients", o.Load.Clients, "number of connections, each with one request in flight")
	f.DurationVar(&o.Load.Duration, "duration", o.Load.Duration, "measured time of each turn")
	f.DurationVar(&o.Load.Warmup, "warmup", o.Load.Warmup, "time before it that does not count")
	f.IntVar(&o.Turns, "turns", o.Turns, "how often to measure")
	f.IntVar(&o.Documents, "documents", o.Documents, "number of packages to store and to choose from")
	f.IntVar(&o.DocumentBytes, "size", o.DocumentBytes, "size of a package in bytes")
	f.IntVar(&o.Page, "page", o.Page, "packages of one list")
	f.IntVar(&o.WritePercent, "writes", o.WritePercent, "percentage of writes in mixed")
	f.Uint64Var(&o.AllowedErrors, "allow-errors", 0, "number of failed operations of a turn to put up with")
	f.BoolVar(&o.Keep, "keep", false, "leave the packages on the servers")
	f.DurationVar(&flags.host.OpTimeout, "timeout", bench.DefaultOpTimeout, "after how long an operation has failed")
	p.benchOutputFlags(cmd, &flags, "")
	cmd.AddCommand(p.benchSuiteCommand(), p.benchOrchestrateCommand(), p.benchRestartCommand(), p.benchCompareCommand(), p.benchPlainServerCommand(), p.benchProfileCommand())
	return cmd
}

// benchOutputFlags gives cmd the flags of everything that measures.
func (p *program) benchOutputFlags(cmd *cobra.Command, flags *benchFlags, out string) {
	f := cmd.Flags()
	f.StringVarP(&flags.output, "output", "o", outputTable, "table or json")
	f.StringVar(&flags.out, "out", out, "also write the report as JSON to this `FILE`")
	f.StringVar(&flags.host.Dir, "dir", "", "where local nodes keep their data while they run (default: the system's temporary folder)")
	f.StringArrayVar(&flags.host.ServerArgs, "server-arg", nil, "argument for local nodes, may be repeated")
	f.StringVar(&flags.host.CPUProfileDir, "cpuprofile", "", "write a CPU profile of each local node to this `DIR`")
	_ = f.MarkHidden("cpuprofile")
}

// benchServer is the server that is loaded when none is named.
func (p *program) benchServer() string {
	if value := p.getenv("OPRC_SERVER"); value != "" {
		return value
	}
	return defaultServer
}

// prepareBench checks the flags and says how children are started.
func (p *program) prepareBench(flags *benchFlags) error {
	if flags.output != outputTable && flags.output != outputJSON {
		return usagef("--output %q is neither %s nor %s", flags.output, outputTable, outputJSON)
	}
	executable, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	flags.host.Version = version()
	flags.host.Executable = executable
	flags.host.PlainVerb = []string{"bench", "plain-server"}
	flags.host.ProfileVerb = []string{"bench", "profile"}
	flags.host.SimVerb = []string{"crm-sim"}
	flags.host.Env = p.benchEnv()
	flags.host.Progress = func(format string, args ...any) {
		_, _ = fmt.Fprintf(p.err, format+"\n", args...)
	}
	return nil
}

// benchEnv is the environment of children. What configures a node is left out:
// a measured node has the defaults.
func (p *program) benchEnv() []string {
	env := []string{}
	for _, entry := range p.environ {
		name, _, _ := strings.Cut(entry, "=")
		switch name {
		case "PATH", "HOME", "TMPDIR", "GOMAXPROCS", "GOGC", "GOMEMLIMIT", "GODEBUG":
			env = append(env, entry)
		}
	}
	return env
}

// finishBench prints what was measured, also when it ended with an error.
func (p *program) finishBench(flags *benchFlags, report *bench.Report, err error) error {
	if report == nil || len(report.Runs) == 0 {
		return err
	}
	var printErr error
	if flags.output == outputJSON {
		printErr = report.WriteJSON(p.out)
	} else {
		printErr = report.WriteTable(p.out)
	}
	if err != nil {
		return err
	}
	if printErr != nil {
		return printErr
	}
	if flags.out != "" {
		return report.WriteFile(flags.out)
	}
	return nil
}

func (p *program) benchSuiteCommand() *cobra.Command {
	var flags benchFlags
	var smoke bool
	cmd := &cobra.Command{
		Use:   "suite",
		Short: "Measure reads and writes on one node and on three, in about two minutes",
		Long: `suite measures always the same, on nodes that it starts itself, so that reports
can be compared: reads of one package on a single node beside a plain HTTP server,
writes with one client and with 64 on one node and on three, and both through a
follower.`,
		Example: `  oprc-pm bench suite --out bench/results/latest.json
  oprc-pm bench suite --smoke`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := p.prepareBench(&flags); err != nil {
				return err
			}
			o := bench.DefaultSuiteOptions()
			if smoke {
				o = bench.SmokeSuiteOptions()
			}
			report, err := bench.Suite(cmd.Context(), flags.host, o)
			return p.finishBench(&flags, report, err)
		},
	}
	cmd.Flags().BoolVar(&smoke, "smoke", false, "only see that everything works, in seconds; the figures mean nothing")
	p.benchOutputFlags(cmd, &flags, "")
	return cmd
}

func (p *program) benchOrchestrateCommand() *cobra.Command {
	var flags benchFlags
	var smoke bool
	o := bench.DefaultOrchestrateOptions()
	cmd := &cobra.Command{
		Use:   "orchestrate",
		Short: "Measure many deployments in many simulated clusters",
		Long: `orchestrate starts nodes and simulated clusters of its own, registers the clusters,
creates deployments and measures how fast all run. Then, while nothing changes, what
that costs: CPU of the leader, writes through Raft (there should be none) and calls to
the CRMs. Last, how long it takes to plan one more deployment.

It fails when the clusters do not hold exactly the units that are recorded.`,
		Example: `  oprc-pm bench orchestrate --out bench/results/orchestrate.json
  oprc-pm bench orchestrate --nodes 3 --clusters 100 --deployments 1000
  oprc-pm bench orchestrate --smoke`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if smoke {
				chosen := o
				o = bench.SmokeOrchestrateOptions()
				o.Nodes = chosen.Nodes
			}
			if err := o.Validate(); err != nil {
				return usagef("%v", err)
			}
			if err := p.prepareBench(&flags); err != nil {
				return err
			}
			report, err := bench.Orchestrate(cmd.Context(), flags.host, o)
			return p.finishBench(&flags, report, err)
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.Nodes, "nodes", o.Nodes, "nodes of the control plane")
	f.IntVar(&o.Clusters, "clusters", o.Clusters, "simulated clusters")
	f.IntVar(&o.Deployments, "deployments", o.Deployments, "deployments")
	f.IntVar(&o.UnitsEach, "units-each", o.UnitsEach, "clusters in which each deployment runs")
	f.DurationVar(&o.TimeToRunning, "time-to-running", o.TimeToRunning, "time that a cluster takes to bring a unit up")
	f.DurationVar(&o.Quiet, "quiet", o.Quiet, "how long to measure while nothing changes")
	f.DurationVar(&o.Limit, "limit", o.Limit, "after how long it has failed to converge")
	f.BoolVar(&smoke, "smoke", false, "20 clusters and 100 deployments, in seconds; the figures mean nothing")
	p.benchOutputFlags(cmd, &flags, "")
	return cmd
}

func (p *program) benchCompareCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:     "compare A.json B.json",
		Short:   "Print the ratios of two reports",
		Example: `  oprc-pm bench compare before.json after.json`,
		Args:    usageArgs(cobra.ExactArgs(2)),
		RunE: func(_ *cobra.Command, args []string) error {
			if output != outputTable && output != outputJSON {
				return usagef("--output %q is neither %s nor %s", output, outputTable, outputJSON)
			}
			a, err := bench.ReadReport(args[0])
			if err != nil {
				return err
			}
			b, err := bench.ReadReport(args[1])
			if err != nil {
				return err
			}
			comparison, err := bench.Compare(a, b)
			if err != nil {
				return err
			}
			if output == outputJSON {
				return comparison.WriteJSON(p.out)
			}
			return comparison.WriteTable(p.out)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", outputTable, "table or json")
	return cmd
}

// benchPlainServerCommand is what bench starts itself.
func (p *program) benchPlainServerCommand() *cobra.Command {
	var listen, answers, readyFile string
	cmd := &cobra.Command{
		Use:    "plain-server",
		Short:  "Serve the answers of a file from memory",
		Hidden: true,
		Args:   usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return bench.ServePlain(cmd.Context(), listen, answers, readyFile)
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:0", "where to listen, `HOST:PORT`")
	cmd.Flags().StringVar(&answers, "answers", "", "`FILE` of answers")
	cmd.Flags().StringVar(&readyFile, "ready-file", "", "`FILE` to write when listening")
	for _, name := range []string{"answers", "ready-file"} {
		_ = cmd.MarkFlagRequired(name) // The flag exists: it was made above.
	}
	return cmd
}

// benchProfileCommand runs another verb of this program and writes a profile of
// the whole process when it ends.
func (p *program) benchProfileCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:    "profile --out FILE -- VERB ...",
		Short:  "Run a verb and write its CPU profile",
		Hidden: true,
		Args:   usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			profile, err := os.Create(file)
			if err != nil {
				return fmt.Errorf("create profile: %w", err)
			}
			defer func() { err = errors.Join(err, profile.Close()) }()
			if err := pprof.StartCPUProfile(profile); err != nil {
				return fmt.Errorf("start profile: %w", err)
			}
			defer pprof.StopCPUProfile()
			inner := &program{in: p.in, out: p.out, err: p.err, environ: p.environ, now: p.now}
			root := inner.rootCommand()
			root.SetArgs(args)
			return root.ExecuteContext(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&file, "out", "", "`FILE` to write")
	_ = cmd.MarkFlagRequired("out") // The flag exists: it was made above.
	return cmd
}
