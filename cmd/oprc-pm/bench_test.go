package main

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/bench"
)

// runBench runs the program with the arguments given.
func runBench(t *testing.T, args ...string) (code int, out, errOut string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = run(t.Context(), append([]string{"bench"}, args...), strings.NewReader(""), &stdout, &stderr, nil)
	return code, stdout.String(), stderr.String()
}

func TestBenchUsage(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"vs":           {"--vs", "etcd"},
		"output":       {"-o", "yaml"},
		"argument":     {"more"},
		"suite_output": {"suite", "-o", "wide"},
		"one_report":   {"compare", "a.json"},
		"no_nodes":     {"orchestrate", "--nodes", "0"},
		"few_clusters": {"orchestrate", "--clusters", "1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if code, _, errOut := runBench(t, args...); code != exitUsage {
				t.Errorf("got exit code %d and %q, want %d", code, errOut, exitUsage)
			}
		})
	}
}

func TestBenchCompare(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.json")
	report := bench.NewReport("1.2.3", time.Now())
	report.Runs = []bench.Run{{Name: "get, 1 node", Subjects: []bench.SubjectReport{{
		Name: "stale", OpsPerSecond: bench.Spread{Min: 1, Median: 2, Max: 3}, Histogram: new(bench.Histogram),
	}}}}
	if err := report.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	code, out, errOut := runBench(t, "compare", path, path)
	if code != exitOK || !strings.Contains(out, "get, 1 node: stale") {
		t.Errorf("got exit code %d, %q, %q", code, out, errOut)
	}
	code, out, _ = runBench(t, "compare", "-o", "json", path, path)
	var comparison bench.Comparison
	if err := json.Unmarshal([]byte(out), &comparison); code != exitOK || err != nil || comparison.Rows[0].Ops != 1 {
		t.Errorf("got exit code %d and %q", code, out)
	}
	if code, _, errOut := runBench(t, "compare", path, path+".absent"); code != exitFailure || errOut == "" {
		t.Errorf("absent: got exit code %d and %q", code, errOut)
	}
}

// TestBenchEnv: what configures a node must not reach the nodes that are
// measured.
func TestBenchEnv(t *testing.T) {
	t.Parallel()
	p := &program{environ: []string{"PATH=/bin", "OPRC_JOIN=n1", "GOGC=200", "SERVER_PORT=1", "STORAGE_TYPE=memory", "GODEBUG=x=1"}}
	if got, want := p.benchEnv(), []string{"PATH=/bin", "GOGC=200", "GODEBUG=x=1"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
