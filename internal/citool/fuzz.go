package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

// A fuzzTarget is one FuzzX function of one package.
type fuzzTarget struct{ pkg, name string }

// fuzzAll runs every fuzz target of the module for the given time each, and
// names all that failed.
func fuzzAll(each time.Duration, out io.Writer) error {
	targets, err := fuzzTargets()
	if err != nil {
		return err
	}
	if len(targets) == 0 {
		return errors.New("found no fuzz target")
	}
	var failed []error
	for _, target := range targets {
		begin := time.Now()
		if err := fuzzOne(target, each, out); err != nil {
			failed = append(failed, err)
			continue
		}
		fmt.Fprintf(out, "ok    %s %s  %.1fs\n", target.pkg, target.name, time.Since(begin).Seconds())
	}
	return errors.Join(failed...)
}

// fuzzTargets reads the test files of all packages. The go command could be asked
// for the list, but it would link every test of the module to answer.
func fuzzTargets() ([]fuzzTarget, error) {
	const format = "{{range .TestGoFiles}}{{$.ImportPath}}\t{{$.Dir}}/{{.}}\n{{end}}{{range .XTestGoFiles}}{{$.ImportPath}}\t{{$.Dir}}/{{.}}\n{{end}}"
	list, err := exec.Command("go", "list", "-f", format, "./...").Output()
	if err != nil {
		return nil, fmt.Errorf("list test files: %w", err)
	}
	var targets []fuzzTarget
	for line := range strings.Lines(string(list)) {
		pkg, path, found := strings.Cut(strings.TrimSpace(line), "\t")
		if !found {
			continue
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read test file: %w", err)
		}
		for _, name := range fuzzFunctions(source) {
			targets = append(targets, fuzzTarget{pkg, name})
		}
	}
	return targets, nil
}

var fuzzFunction = regexp.MustCompile(`(?m)^func (Fuzz\w*)\(`)

// fuzzFunctions are the names of the fuzz targets in a gofmt-ed test file.
func fuzzFunctions(source []byte) (names []string) {
	for _, match := range fuzzFunction.FindAllSubmatch(source, -1) {
		names = append(names, string(match[1]))
	}
	return names
}

// fuzzOne runs one target. Now and then the go command reports its own deadline
// as a failure when the time is up at a bad moment; without a failing input
// that proves nothing, and the target gets one more run.
func fuzzOne(target fuzzTarget, each time.Duration, out io.Writer) error {
	const attempts = 2
	for attempt := 1; ; attempt++ {
		cmd := exec.Command("go", "test", "-run", "^$", "-fuzz", "^"+target.name+"$",
			"-fuzztime", each.String(), "-fuzzminimizetime", "10s", target.pkg)
		output, err := cmd.CombinedOutput()
		if err == nil {
			return nil
		}
		if attempt < attempts && deadlineOnly(output) {
			continue
		}
		fmt.Fprintf(out, "--- FAIL %s %s\n%s", target.pkg, target.name, output)
		return fmt.Errorf("fuzz %s %s: %w", target.pkg, target.name, err)
	}
}

func deadlineOnly(output []byte) bool {
	return bytes.Contains(output, []byte("context deadline exceeded")) &&
		!bytes.Contains(output, []byte("Failing input written to"))
}
