package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/oprc/oprc-pm/internal/client"
)

// program is one run of the command line: where it reads and writes, and the
// flags that all client verbs share. Tests run the whole of it.
type program struct {
	in      io.Reader
	out     io.Writer
	err     io.Writer
	environ []string
	// now is the clock of ages in tables.
	now func() time.Time

	servers []string
	timeout time.Duration
}

// run is main without the process: args are without the program's name, environ
// is as os.Environ gives it. ctx ends when the program is told to stop. It
// returns the exit code.
func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer, environ []string) int {
	p := &program{in: in, out: out, err: errOut, environ: environ, now: time.Now}
	root := p.rootCommand()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	return p.finish(ctx, root.ExecuteContext(ctx))
}

// getenv returns a variable, or "".
func (p *program) getenv(name string) string {
	value := ""
	for _, entry := range p.environ {
		if key, v, _ := strings.Cut(entry, "="); key == name {
			value = v
		}
	}
	return value
}

const rootLong = `oprc-pm is the Package Manager of an Object-as-a-Service platform: it holds
packages and deployments, decides where each deployment runs, and drives the
clusters until what runs is what was asked for.

Exit codes: 0 success · 1 failure, or a difference (diff, plan) · 2 wrong usage or
invalid input · 3 not found · 4 conflict with the present state · 5 unavailable
or out of time · 65 damaged data directory · 70 a fault stopped the node · 130 interrupted.`

func (p *program) rootCommand() *cobra.Command {
	root := group(&cobra.Command{
		Use:   "oprc-pm",
		Short: "Package Manager of an Object-as-a-Service platform",
		Long:  rootLong,
		Example: `  oprc-pm dev --apply deploy/examples/echo.yml
  oprc-pm get deployments`,
		Version: version(),
	})
	root.SilenceErrors, root.SilenceUsage = true, true
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetVersionTemplate("oprc-pm {{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%s (see %s --help)", flagText(err), cmd.CommandPath())
	})
	root.AddGroup(&cobra.Group{ID: "node", Title: "Run:"}, &cobra.Group{ID: "client", Title: "Use:"}, &cobra.Group{ID: "other", Title: "Other:"})
	root.SetHelpCommandGroupID("other")
	add := func(groupID string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = groupID
			root.AddCommand(c)
		}
	}
	add("node", p.serverCommand(), p.devCommand(), p.crmSimCommand(), p.checkCommand())
	add("client", p.applyCommand(), p.getCommand(), p.describeCommand(), p.diffCommand(), p.planCommand(),
		p.createCommand(), p.deleteCommand(), p.rolloutCommand(), p.exportCommand(), p.importCommand(),
		p.cordonCommand(), p.uncordonCommand(), p.drainCommand(), p.clusterCommand())
	add("other", p.benchCommand(), p.versionCommand(), p.completionCommand())
	return root
}

// group makes a command that only holds others: alone it shows its help, and an
// unknown name below it is wrong usage.
func group(cmd *cobra.Command) *cobra.Command {
	cmd.SuggestionsMinimumDistance = 2
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		text := fmt.Sprintf("unknown command %q for %q", args[0], cmd.CommandPath())
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			text += ", did you mean " + strings.Join(near, " or ") + "?"
		}
		return usagef("%s", text)
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	return cmd
}

// usageArgs makes the errors of a cobra argument check wrong usage, and says how
// the command is used.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if arg := takenForName(cmd, args); arg != "" {
			return usagef("%s is taken for a name; for a time to wait write --wait=%s", arg, arg)
		}
		if check(cmd, args) == nil {
			return nil
		}
		text := "an argument is missing"
		if len(args) > 0 {
			text = fmt.Sprintf("unexpected %q", strings.Join(args, " "))
		}
		return usagef("%s; use: %s (see %s --help)", text, cmd.UseLine(), cmd.CommandPath())
	}
}

// takenForName returns the argument that was meant as the value of --wait: a flag
// whose value may be left out does not take the next word.
func takenForName(cmd *cobra.Command, args []string) string {
	wait := cmd.Flags().Lookup("wait")
	if wait == nil || !wait.Changed || wait.Value.String() != wait.NoOptDefVal {
		return ""
	}
	for _, arg := range args {
		if _, err := time.ParseDuration(arg); err == nil {
			return arg
		}
	}
	return ""
}

// flagText words the error of a flag without the names of library functions.
func flagText(err error) string {
	text := err.Error()
	at := strings.Index(text, ": strconv.Parse")
	if at < 0 {
		return text
	}
	switch wanted := text[at+len(": strconv.Parse"):]; {
	case strings.HasSuffix(text, "value out of range"):
		return text[:at] + ": too large"
	case strings.HasPrefix(wanted, "Bool"):
		return text[:at] + ": must be true or false"
	case strings.HasPrefix(wanted, "Float"):
		return text[:at] + ": must be a number"
	}
	return text[:at] + ": must be a whole number"
}

const defaultServer = "http://127.0.0.1:8080"

// clientFlags gives cmd the flags of verbs that call a server.
func (p *program) clientFlags(cmd *cobra.Command) *cobra.Command {
	servers := []string{defaultServer}
	if value := p.getenv("OPRC_SERVER"); value != "" {
		servers = strings.Split(value, ",")
	}
	cmd.Flags().StringSliceVar(&p.servers, "server", servers, "`URL` of a node, or several, tried in turn (OPRC_SERVER)")
	cmd.Flags().DurationVar(&p.timeout, "timeout", 30*time.Second, "how long to try one request, repetitions included")
	return cmd
}

// client makes the client of the flags.
func (p *program) client() (*client.Client, error) {
	if p.timeout <= 0 {
		return nil, usagef("--timeout must be longer than 0")
	}
	cfg := client.DefaultConfig()
	cfg.Servers = p.servers
	cfg.Timeout = p.timeout
	cfg.UserAgent = "oprc-pm/" + version()
	c, err := client.New(cfg)
	if err != nil {
		return nil, usagef("--server: %v", err)
	}
	return c, nil
}

// terminal reports whether w is a terminal that can move its cursor.
func (p *program) terminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok || p.getenv("TERM") == "" || p.getenv("TERM") == "dumb" {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func (p *program) printf(format string, args ...any) {
	// A reader that went away ends the program by itself (SIGPIPE).
	_, _ = fmt.Fprintf(p.out, format, args...)
}
