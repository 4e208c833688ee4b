package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/oprc/oprc-pm/internal/client"
)

// completionTimeout is how long a person waits for the Tab key.
const completionTimeout = time.Second

var shells = []string{"bash", "zsh", "fish", "powershell"}

func (p *program) completionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "Print the completion script of a shell",
		Long: `Print a script that completes verbs, kinds, flags and the names of resources.
Names are asked of the server (OPRC_SERVER), which has a second to answer.`,
		Example: `  source <(oprc-pm completion bash)
  oprc-pm completion zsh > "${fpath[1]}/_oprc-pm"
  oprc-pm completion fish > ~/.config/fish/completions/oprc-pm.fish`,
		ValidArgs: shells,
		Args:      usageArgs(cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs)),
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(p.out, true)
			case "zsh":
				return root.GenZshCompletion(p.out)
			case "fish":
				return root.GenFishCompletion(p.out, true)
			}
			return root.GenPowerShellCompletionWithDesc(p.out)
		},
	}
}

// fixedCompletion completes a flag from a list.
func fixedCompletion(cmd *cobra.Command, flag string, values ...string) {
	err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	if err != nil {
		panic(err) // the flag is not declared: a defect of the caller
	}
}

// completeTargets completes KIND, then the names of that kind.
func (p *program) completeTargets(pass func(*kind) bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) == 0 && !strings.Contains(toComplete, "/") {
			return kindNames(pass), cobra.ShellCompDirectiveNoFileComp
		}
		kindName, prefix := "", ""
		if len(args) > 0 && !strings.Contains(args[0], "/") {
			kindName = args[0]
		} else if name, _, ok := strings.Cut(toComplete, "/"); ok {
			kindName, prefix = name, name+"/"
		}
		k, err := kindByName(kindName)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return p.resourceNames(cmd.Context(), k, prefix), cobra.ShellCompDirectiveNoFileComp
	}
}

// resourceNames asks the server; what goes wrong completes nothing.
func (p *program) resourceNames(ctx context.Context, k *kind, prefix string) []cobra.Completion {
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, completionTimeout)
	defer cancel()
	cfg := client.DefaultConfig()
	cfg.Servers, cfg.Timeout, cfg.RefusedRounds = p.servers, completionTimeout, 1
	c, err := client.New(cfg)
	if err != nil {
		return nil
	}
	defer c.Close()
	list, err := fetch(ctx, c, targetGroup{kind: k}, map[string][]string{"consistency": {"stale"}}, 0)
	if err != nil {
		return nil
	}
	var names []cobra.Completion
	for _, raw := range list.Items {
		if name := k.key(raw); name != "" {
			names = append(names, prefix+name)
		}
	}
	return names
}

// completeNames completes the names of one kind.
func (p *program) completeNames(collection string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		k, err := kindByName(collection)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return p.resourceNames(cmd.Context(), k, ""), cobra.ShellCompDirectiveNoFileComp
	}
}
