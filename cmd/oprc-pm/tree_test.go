package main

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// everyCommand calls fn for each command that help shows.
func everyCommand(cmd *cobra.Command, fn func(*cobra.Command)) {
	fn(cmd)
	for _, child := range cmd.Commands() {
		if child.IsAvailableCommand() && child.Name() != "help" {
			everyCommand(child, fn)
		}
	}
}

func newRoot() *cobra.Command { return (&program{}).rootCommand() }

// Every command says in one line what it does, and shows how, with examples
// whose verbs and flags exist.
func TestEveryCommandHasExamples(t *testing.T) {
	t.Parallel()
	count := 0
	everyCommand(newRoot(), func(cmd *cobra.Command) {
		count++
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: the short help is %q", cmd.CommandPath(), cmd.Short)
		}
		shown := 0
		for line := range strings.Lines(cmd.Example) {
			for _, words := range invocations(line) {
				shown++
				checkExample(t, cmd, words)
			}
		}
		if shown == 0 {
			t.Errorf("%s: there is no example that begins with oprc-pm", cmd.CommandPath())
		}
	})
	if count < 15 {
		t.Errorf("only %d commands were found", count)
	}
}

// invocations returns the words after each oprc-pm of a line.
func invocations(line string) [][]string {
	var found [][]string
	words := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \n()<>|", r) })
	for i, word := range words {
		if word != "oprc-pm" {
			continue
		}
		end := i + 1
		for end < len(words) && words[end] != "oprc-pm" {
			end++
		}
		found = append(found, words[i+1:end])
	}
	return found
}

func checkExample(t *testing.T, cmd *cobra.Command, words []string) {
	t.Helper()
	found, rest, err := newRoot().Find(words)
	if err != nil {
		t.Errorf("%s: example %q: %v", cmd.CommandPath(), words, err)
		return
	}
	for _, word := range rest {
		name, _, _ := strings.Cut(strings.TrimLeft(word, "-"), "=")
		switch {
		case strings.HasPrefix(word, "--") && found.Flags().Lookup(name) == nil,
			strings.HasPrefix(word, "-") && !strings.HasPrefix(word, "--") && len(word) > 1 && found.Flags().ShorthandLookup(name) == nil:
			t.Errorf("%s: example %q: there is no flag %s", cmd.CommandPath(), words, word)
		}
	}
}

// Help of every command can be shown, on stdout.
func TestHelp(t *testing.T) {
	t.Parallel()
	everyCommand(newRoot(), func(cmd *cobra.Command) {
		args := append(strings.Fields(cmd.CommandPath())[1:], "--help")
		r := cli(t, "", "", args...).want(t, exitOK)
		contains(t, r.out, "Usage:", "Examples:")
	})
}

func TestCompletionScripts(t *testing.T) {
	t.Parallel()
	for _, shell := range shells {
		r := cli(t, "", "", "completion", shell).want(t, exitOK)
		contains(t, r.out, "oprc-pm", "__complete")
		if shell != "bash" {
			continue
		}
		check := exec.CommandContext(t.Context(), "bash", "-n")
		check.Stdin = strings.NewReader(r.out)
		if out, err := check.CombinedOutput(); err != nil {
			t.Errorf("bash does not take the script: %v\n%s", err, out)
		}
	}
}

// What the shell asks for on Tab.
func TestCompletion(t *testing.T) {
	t.Parallel()
	server := startNode(t)
	cli(t, server, "", "apply", "-f", example).want(t, exitOK)
	for line, want := range map[string]string{
		"get |":             "packages\ndeployments\nclasses\n",
		"get packages |":    "example\n",
		"get deployment/|":  "deployment/Record\n",
		"delete |":          "packages\ndeployments\nclusters\n:4\n",
		"describe class |":  "example.Record\n",
		"get packages -o |": "table\nwide\njson\nyaml\n",
		"get packages --server http://127.0.0.1:1 |": ":4\n",
		"cluster m|":   "members",
		"completion |": "bash\nzsh\nfish\npowershell\n",
	} {
		args := append([]string{"__complete"}, strings.Fields(strings.TrimSuffix(line, "|"))...)
		if strings.HasSuffix(line, " |") {
			args = append(args, "")
		}
		r := cli(t, server, "", args...).want(t, exitOK)
		if !strings.HasPrefix(r.out, want) {
			t.Errorf("%s: got %q, want %q first", line, r.out, want)
		}
	}
}
