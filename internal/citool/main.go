// Command citool is the part of .ci/run that is easier to write in Go than in
// the shell:
//
//	citool tests   reads the output of go test -json and reports it for people
//	citool fuzz    runs every fuzz target of the module for a short time
//	citool tracked looks for what must not be committed
//	citool conformance runs the suite of all storage drivers and prints a table
//
// It uses only the standard library and holds no goroutine of its own.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "citool:", err)
		os.Exit(1)
	}
}

func run(args []string, stdin io.Reader, stdout io.Writer) error {
	if len(args) == 0 {
		return errors.New("say which check: tests, fuzz, tracked or conformance")
	}
	switch args[0] {
	case "tests":
		return testsCommand(args[1:], stdin, stdout)
	case "fuzz":
		return fuzzCommand(args[1:], stdout)
	case "tracked":
		return checkTracked(stdout)
	case "conformance":
		return runConformance(stdout)
	default:
		return fmt.Errorf("unknown check %q: want tests, fuzz, tracked or conformance", args[0])
	}
}

func testsCommand(args []string, stdin io.Reader, stdout io.Writer) error {
	flags := flag.NewFlagSet("tests", flag.ContinueOnError)
	totals := flags.String("totals", "", "file for the line \"N passed, N failed\"; empty: standard output")
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("parse flags: %w", err)
	}
	if *totals == "" {
		return reportTests(stdin, stdout, stdout)
	}
	file, err := os.Create(*totals)
	if err != nil {
		return fmt.Errorf("create totals file: %w", err)
	}
	return errors.Join(reportTests(stdin, stdout, file), file.Close())
}

func fuzzCommand(args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("fuzz", flag.ContinueOnError)
	each := flags.Duration("each", 5*time.Second, "how long each target runs")
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("parse flags: %w", err)
	}
	return fuzzAll(*each, stdout)
}
