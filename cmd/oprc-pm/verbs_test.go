package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/model"
)

func writeFile(path, content string) error { return os.WriteFile(path, []byte(content), 0o600) }

func equal(t *testing.T, got, want string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The whole way of the example through the verbs, with the tables that people
// see.
func TestExampleThroughTheVerbs(t *testing.T) {
	t.Parallel()
	server := startNode(t)

	r := cli(t, server, "", "apply", "-f", example, "--wait").want(t, exitOK)
	equal(t, r.out, "package/example created\ndeployment/Record created\n")
	contains(t, r.err, "deployment/Record RUNNING (oaas-1 RUNNING, oaas-2 RUNNING)\n")

	r = cli(t, server, "", "apply", "-f", example, "--wait=10s").want(t, exitOK)
	equal(t, r.out, "package/example unchanged\ndeployment/Record unchanged\n")

	r = cli(t, server, "", "get", "deployments").want(t, exitOK)
	equal(t, settled(r.out), `KEY      PACKAGE   CLASS    CONDITION   ENVIRONMENTS    AGE
Record   example   Record   RUNNING     oaas-1,oaas-2   0s
`)
	r = cli(t, server, "", "get", "pkg", "example").want(t, exitOK)
	equal(t, settled(r.out), `NAME      VERSION   CLASSES   FUNCTIONS   TAGS   AGE
example   1.0       1         1           -      0s
`)
	r = cli(t, server, "", "get", "units").want(t, exitOK)
	equal(t, settled(r.out), `DEPLOYMENT   CLUSTER   UNIT                      PHASE     SINCE   MESSAGE
Record       oaas-1    record-xxxxxxxxxxxxxxxx   RUNNING   0s      -
Record       oaas-2    record-xxxxxxxxxxxxxxxx   RUNNING   0s      -
`)
	r = cli(t, server, "", "get", "classes").want(t, exitOK)
	equal(t, r.out, `KEY              FUNCTIONS   CONSISTENCY
example.Record   echo        NONE
`)
	r = cli(t, server, "", "get", "fn/Record.echo").want(t, exitOK)
	equal(t, r.out, `KEY           TYPE     IMAGE
Record.echo   CUSTOM   ghcr.io/pawissanutt/oaas-rs/echo-fn:dev-alpha
`)
	r = cli(t, server, "", "get", "clusters").want(t, exitOK)
	contains(t, r.out, "NAME     STATUS", "oaas-1   Healthy   3/3     0.99", "oaas-2   Healthy   3/3     0.99")
	r = cli(t, server, "", "cluster", "members").want(t, exitOK)
	contains(t, r.out, "NAME   ROLE", "dev    leader   yes     yes     127.0.0.1:")

	r = cli(t, server, "", "describe", "deployment/Record").want(t, exitOK)
	contains(t, r.out, "Deployment:    Record\n", "Condition:     RUNNING\n", "Conditions:\n", "Ready         True",
		"Units:\n", "  oaas-1    record-", "Spec:\n  key: Record\n")
	r = cli(t, server, "", "describe", "package", "example").want(t, exitOK)
	contains(t, r.out, "Package:     example\n", "Classes:\n", "  Record   echo      Record.echo   PUBLIC   yes\n", "Deployments:\n", "  Record   example")
	r = cli(t, server, "", "describe", "cluster", "oaas-1").want(t, exitOK)
	contains(t, r.out, "Cluster:       oaas-1\n", "Status:        Healthy\n", "  Record   example")

	r = cli(t, server, "", "delete", "package", "example").want(t, exitConflict)
	contains(t, r.err, "error: delete package/example: ")
	r = cli(t, server, "", "delete", "-f", example, "--wait").want(t, exitOK)
	equal(t, r.out, "deployment/Record deleted\npackage/example deleted\n")
	r = cli(t, server, "", "get", "units").want(t, exitOK)
	equal(t, r.out+r.err, "no units found\n")
	cli(t, server, "", "delete", "-f", example).want(t, exitNotFound)
	r = cli(t, server, "", "delete", "-f", example, "--ignore-not-found").want(t, exitOK)
	equal(t, r.out, "deployment/Record not found\npackage/example not found\n")
}

func TestDeleteCascadeWaits(t *testing.T) {
	t.Parallel()
	server := startNode(t)
	cli(t, server, "", "apply", "-f", example, "--wait").want(t, exitOK)
	cli(t, server, "", "delete", "package/example", "--cascade", "--wait=20s").want(t, exitOK)
	cli(t, server, "", "get", "deployment/Record").want(t, exitNotFound)
	cli(t, server, "", "get", "package/example").want(t, exitNotFound)
}

func TestOutputForPrograms(t *testing.T) {
	t.Parallel()
	server := startNode(t)
	r := cli(t, server, "", "get", "packages", "-o", "json").want(t, exitOK)
	equal(t, r.out, "[]\n")
	cli(t, server, "", "apply", "-f", example).want(t, exitOK)

	var list []model.Package
	r = cli(t, server, "", "get", "packages", "-o", "json").want(t, exitOK)
	if err := json.Unmarshal([]byte(r.out), &list); err != nil || len(list) != 1 || list[0].Name != "example" {
		t.Errorf("list: %v\n%s", err, r.out)
	}
	var one model.Package
	r = cli(t, server, "", "get", "package", "example", "-o", "json").want(t, exitOK)
	if err := json.Unmarshal([]byte(r.out), &one); err != nil || one.Name != "example" {
		t.Errorf("one: %v\n%s", err, r.out)
	}
	// What get prints as YAML can be applied as it is.
	r = cli(t, server, "", "get", "package", "example", "-o", "yaml").want(t, exitOK)
	r = cli(t, server, r.out, "apply", "-f", "-", "--strict").want(t, exitOK)
	equal(t, r.out, "package/example unchanged\n")

	var members []struct {
		Name string `json:"name"`
		Role string `json:"role"`
	}
	r = cli(t, server, "", "cluster", "members", "-o", "json").want(t, exitOK)
	if err := json.Unmarshal([]byte(r.out), &members); err != nil || len(members) != 1 || members[0].Role != "leader" {
		t.Errorf("members: %v\n%s", err, r.out)
	}
	var info versionInfo
	r = cli(t, "", "", "version", "-o", "json").want(t, exitOK)
	if err := json.Unmarshal([]byte(r.out), &info); err != nil || info.Version == "" || info.Go == "" {
		t.Errorf("version: %v\n%s", err, r.out)
	}
}

func TestFilters(t *testing.T) {
	t.Parallel()
	server := startNode(t)
	files := []string{"apply"}
	for name, content := range map[string]string{
		"a.yml": "name: alpha\nmetadata: {tags: [x, y]}\nclasses: [{key: C}]\n",
		"b.yml": "name: beta\nmetadata: {tags: [z]}\nclasses: [{key: C}]\ndisabled: true\n",
		"c.yml": "name: gamma\nclasses: [{key: C}]\n",
	} {
		files = append(files, "-f", tempFile(t, name, content))
	}
	cli(t, server, "", files...).want(t, exitOK)
	for args, want := range map[string]string{
		"--tag x":                       "alpha",
		"--tag y,z":                     "alpha beta",
		"--name-pattern amm":            "gamma",
		"--disabled=true":               "beta",
		"--limit 2":                     "alpha beta",
		"--limit 2 --consistency lease": "alpha beta",
		"--tag nothing":                 "",
	} {
		r := cli(t, server, "", append([]string{"get", "packages", "-o", "json"}, strings.Fields(args)...)...).want(t, exitOK)
		var list []model.Package
		if err := json.Unmarshal([]byte(r.out), &list); err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, p := range list {
			names = append(names, p.Name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("get packages %s: got %q, want %q", args, got, want)
		}
	}
}

func TestApplyInput(t *testing.T) {
	t.Parallel()
	server := startNode(t)
	for name, test := range map[string]struct {
		args  []string
		stdin string
		code  int
		out   string
		err   []string
	}{
		"json on stdin": {
			args: []string{"apply", "-f", "-"}, stdin: `{"name":"js","classes":[]}`,
			out: "package/js created\n",
		},
		"several documents, dependencies first": {
			args: []string{"apply", "-f", "-"}, stdin: "name: top\nversion: 1\ndependencies: [base]\n---\nname: base\nversion: 1\n",
			out: "package/base created\npackage/top created\n",
		},
		"unknown field is a warning": {
			args: []string{"apply", "-f", "-"}, stdin: "name: loose\nversion: 1\ncolour: red\n",
			out: "package/loose created\n",
			err: []string{"warning: standard input: document 1: colour: is not a known field and is ignored\n"},
		},
		"strict": {
			args: []string{"apply", "--strict", "-f", "-"}, stdin: "name: strict\nversion: 1\ncolour: red\n",
			code: exitUsage, err: []string{"error: the input has a problem:\n  standard input: document 1: colour: is not a known field\n"},
		},
		"all problems at once": {
			args: []string{"apply", "-f", "-"}, stdin: "name: bad\nclasses: [{key: ''}, {key: A, function_bindings: [{name: f, function_key: none, access_modifier: LOUD}]}]\n",
			code: exitUsage, err: []string{"error: the input has 3 problems:\n", "classes[0].key", "function_bindings[0].function_key", "function_bindings[0].access_modifier"},
		},
		"dry run": {
			args: []string{"apply", "--dry-run=client", "-f", example},
			out:  "package/example valid (dry run)\ndeployment/Record valid (dry run)\n",
		},
		"cycle": {
			args: []string{"apply", "-f", "-"}, stdin: "name: a\nversion: 1\ndependencies: [b]\n---\nname: b\nversion: 1\ndependencies: [a]\n",
			code: exitUsage, err: []string{"form a cycle: a -> b -> a"},
		},
		"twice": {
			args: []string{"apply", "-f", "-"}, stdin: "name: a\nversion: 1\n---\nname: a\nversion: 2\n",
			code: exitUsage, err: []string{"package/a: is described more than once"},
		},
		"missing dependency": {
			args: []string{"apply", "-f", "-"}, stdin: "name: a\nversion: 1\ndependencies: [nowhere]\n",
			code: exitUsage, err: []string{"error: apply package/a: the input has a problem:\n  dependencies: ", "nowhere"},
		},
		"missing file":    {args: []string{"apply", "-f", "/nowhere.yml"}, code: exitUsage, err: []string{"/nowhere.yml"}},
		"empty directory": {args: []string{"apply", "-f", t.TempDir()}, code: exitUsage, err: []string{"holds no .yml, .yaml or .json file"}},
		"nothing in it":   {args: []string{"apply", "-f", "-"}, stdin: "# nothing\n", code: exitUsage, err: []string{"there is no package and no deployment"}},
		"no file":         {args: []string{"apply"}, code: exitUsage, err: []string{"-f FILE is missing"}},
		"odd dry run":     {args: []string{"apply", "-f", "-", "--dry-run=maybe"}, code: exitUsage, err: []string{"--dry-run must be none, client or server"}},
		"syntax":          {args: []string{"apply", "-f", "-"}, stdin: "name: [", code: exitUsage, err: []string{"standard input: "}},
	} {
		t.Run(name, func(t *testing.T) {
			r := cli(t, server, test.stdin, test.args...).want(t, test.code)
			equal(t, r.out, test.out)
			contains(t, r.err, test.err...)
		})
	}
}

func TestApplyDirectory(t *testing.T) {
	t.Parallel()
	server := startNode(t)
	dir := t.TempDir()
	for name, content := range map[string]string{
		"1.yaml":    "name: one\nversion: 1\ndependencies: [two]\n",
		"2.json":    `{"name":"two","version":"2","classes":[{"key":"C","function_bindings":[]}]}`,
		"3.yml":     "key: D\npackage_name: two\nclass_key: C\ntarget_envs: [oaas-1]\n",
		"notes.txt": "not: yaml: at all",
	} {
		if err := writeFile(filepath.Join(dir, name), content); err != nil {
			t.Fatal(err)
		}
	}
	r := cli(t, server, "", "apply", "-f", dir, "--wait").want(t, exitOK)
	equal(t, r.out, "package/two created\npackage/one created\ndeployment/D created\n")
}

// What cannot run is a failure of apply --wait, in the deployment's own words.
func TestApplyWaitFails(t *testing.T) {
	t.Parallel()
	server := startNode(t)
	const unknown = "name: p\nversion: 1\nclasses: [{key: C}]\ndeployments: [{key: D, class_key: C, target_envs: [mars]}]\n"
	r := cli(t, server, unknown, "apply", "-f", "-", "--wait=20s").want(t, exitFailure)
	equal(t, r.out, "package/p created\ndeployment/D created\n")
	contains(t, r.err, "error: deployment/D is down: ", "mars")
}

func TestApplyWaitRunsOutOfTime(t *testing.T) {
	t.Parallel()
	server := startNode(t)
	r := cli(t, server, "", "apply", "-f", example, "--wait=1ms").want(t, exitUnavailable)
	contains(t, r.err, "error: after 1ms not everything runs: deployment/Record ")
}

func TestDiff(t *testing.T) {
	t.Parallel()
	server := startNode(t)
	const before = "name: p\nversion: 1\nclasses: [{key: C}]\ndeployments: [{key: D, class_key: C, target_envs: [oaas-1]}]\n"
	after := strings.NewReplacer("version: 1", "version: 2", "oaas-1", "oaas-2").Replace(before)

	r := cli(t, server, before, "diff", "-f", "-").want(t, exitFailure)
	contains(t, r.out, "--- server/package/p\n+++ file/package/p\n@@ -0,0 +1,", "+name: p\n", "--- server/deployment/D\n")
	equal(t, r.err, "")
	cli(t, server, before, "apply", "-f", "-").want(t, exitOK)
	r = cli(t, server, before, "diff", "-f", "-").want(t, exitOK)
	equal(t, r.out, "")
	r = cli(t, server, after, "diff", "-f", "-").want(t, exitFailure)
	contains(t, r.out, "--- server/package/p\n+++ file/package/p\n", " name: p\n-version: \"1\"\n+version: \"2\"\n",
		"--- server/deployment/D\n+++ file/deployment/D\n", "-  - oaas-1\n+  - oaas-2\n")
	cli(t, server, after, "apply", "-f", "-").want(t, exitOK)
	cli(t, server, after, "diff", "-f", "-").want(t, exitOK)
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	server := startNode(t)
	for line, test := range map[string]struct {
		code int
		err  string
	}{
		"":                                {exitOK, ""},
		"get packages":                    {exitOK, "no packages found"},
		"bogus":                           {exitUsage, `error: unknown command "bogus" for "oprc-pm"`},
		"gett":                            {exitUsage, "did you mean get?"},
		"cluster bogus":                   {exitUsage, `error: unknown command "bogus" for "oprc-pm cluster"`},
		"get":                             {exitUsage, "error: an argument is missing; use: oprc-pm get KIND [NAME...] | KIND/NAME... [flags]"},
		"get packages --bogus":            {exitUsage, "unknown flag: --bogus"},
		"get cats":                        {exitUsage, `there is no kind "cats"; the kinds are packages, deployments,`},
		"get packages/":                   {exitUsage, `"packages/" is not KIND/NAME`},
		"get packages -o xml":             {exitUsage, `--output "xml" is not one of table, wide, json, yaml`},
		"get packages --limit -1":         {exitUsage, "--limit must not be negative"},
		"get packages --env x":            {exitUsage, "--env does not apply to packages"},
		"get packages --disabled=maybe":   {exitUsage, "--disabled must be true or false"},
		"get packages --consistency=some": {exitUsage, "consistency"},
		"get members -w":                  {exitUsage, "members cannot be watched"},
		"get packages deployments/x":      {exitUsage, `"deployments/x" is not a name`},
		"get package/x deployment/y -w":   {exitUsage, "--watch follows one kind at a time"},
		"get packages --timeout 0s":       {exitUsage, "--timeout must be longer than 0"},
		"get packages --server ftp://x":   {exitUsage, `--server: "ftp://x" is not the URL of a server`},
		"get package nothing":             {exitNotFound, `error: package "nothing" does not exist`},
		"get class nothing":               {exitNotFound, `error: class "nothing" does not exist`},
		"get units --deployment nothing":  {exitNotFound, "nothing"},
		"describe packages":               {exitUsage, "say which of the packages to describe"},
		"describe package nothing":        {exitNotFound, "nothing"},
		"delete":                          {exitUsage, "say what to delete"},
		"delete packages":                 {exitUsage, "say which of the packages to delete"},
		"delete members x":                {exitUsage, "members cannot be deleted; packages, deployments, clusters can"},
		"delete package x -f y":           {exitUsage, "give names or -f, not both"},
		"delete package nothing":          {exitNotFound, "error: delete package/nothing: "},
		"delete package nothing --ignore-not-found": {exitOK, ""},
		"diff":                                {exitUsage, "-f FILE is missing"},
		"completion tcsh":                     {exitUsage, `error: unexpected "tcsh"; use: oprc-pm completion bash|zsh|fish|powershell`},
		"version -o xml":                      {exitUsage, "neither json nor yaml"},
		"server extra":                        {exitUsage, `error: unexpected "extra"; use: oprc-pm server`},
		"get packages --limit many":           {exitUsage, `invalid argument "many" for "--limit" flag: must be a whole number (see`},
		"crm-sim --name x --error-rate most":  {exitUsage, "must be a number"},
		"server --config /nowhere.yml":        {exitUsage, "/nowhere.yml"},
		"server --storage mysql":              {exitUsage, `storage.type: must be raft, etcd or memory, is "mysql"`},
		"crm-sim":                             {exitUsage, "name must not be empty"},
		"crm-sim --name x --log-level loud":   {exitUsage, `log level "loud"`},
		"crm-sim --name x --listen nowhere:x": {exitFailure, "error: listen on nowhere:x: "},
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			r := cli(t, server, "", strings.Fields(line)...).want(t, test.code)
			contains(t, r.err, test.err)
			if test.code != exitOK && !strings.HasPrefix(r.err, "error: ") {
				t.Errorf("stderr does not begin with error: but is %q", r.err)
			}
			if test.code != exitOK && r.out != "" {
				t.Errorf("stdout is not empty: %q", r.out)
			}
		})
	}
}

func TestServersAreTriedInTurn(t *testing.T) {
	t.Parallel()
	server := startNode(t)
	const dead = "http://127.0.0.1:1"
	cli(t, dead+","+server, "", "apply", "-f", example).want(t, exitOK)
	r := cli(t, dead, "", "get", "packages", "--timeout", "2s").want(t, exitUnavailable)
	contains(t, r.err, "error: cannot reach http://127.0.0.1:1: ", "refused")
}
