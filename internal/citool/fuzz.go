package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"
)

// A fuzzTarget is one FuzzX function of one package.
type fuzzTarget struct{ pkg, name string }

// fuzzAll runs every fuzz target of the module for the given time each, and
// names all that failed.
func fuzzAll(each time.Duration, out io.Writer) error {
	list, err := exec.Command("go", "test", "-list", "^Fuzz", "./...").CombinedOutput()
	if err != nil {
		return fmt.Errorf("list fuzz targets: %w\n%s", err, list)
	}
	targets := parseFuzzList(string(list))
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

// parseFuzzList reads the output of go test -list: names, each group followed
// by the line of the package they belong to.
func parseFuzzList(list string) []fuzzTarget {
	var targets []fuzzTarget
	var names []string
	for line := range strings.Lines(list) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 1 && strings.HasPrefix(fields[0], "Fuzz"):
			names = append(names, fields[0])
		case len(fields) >= 2 && fields[0] == "ok":
			for _, name := range names {
				targets = append(targets, fuzzTarget{fields[1], name})
			}
			names = nil
		}
	}
	return targets
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
