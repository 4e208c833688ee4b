package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// slowest is how many tests the report names as the slowest.
const slowest = 10

// A testEvent is one line of go test -json (go doc test2json).
type testEvent struct {
	Action  string
	Package string
	// ImportPath is set instead of Package for the events of a build.
	ImportPath string
	Test       string
	Elapsed    float64 // seconds
	Output     string
}

// A testReport collects the events of one run. Tests and subtests count alike.
type testReport struct {
	out io.Writer
	// output holds what a test, or with an empty name its package, printed;
	// it is dropped as soon as the test passed.
	output  map[testID]*strings.Builder
	running map[testID]bool
	builds  map[string]*strings.Builder
	passed  []testResult
	failed  []testID
	skipped []testID
}

type testID struct{ pkg, name string }

func (id testID) String() string {
	if id.name == "" {
		return id.pkg
	}
	return id.pkg + " " + id.name
}

type testResult struct {
	id      testID
	elapsed time.Duration
}

// reportTests turns the events of r into a report on out: one line for each
// package, the whole output of what failed, and the slowest tests. The line
// "N passed, N failed" goes to totals, so that the gate can say it last. A test
// that was skipped or never ended, and a package that did not build, count as
// failed; to have run no test at all is an error too.
func reportTests(r io.Reader, out, totals io.Writer) error {
	rep := &testReport{
		out:     out,
		output:  map[testID]*strings.Builder{},
		running: map[testID]bool{},
		builds:  map[string]*strings.Builder{},
	}
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			rep.line(line)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read test events: %w", err)
		}
	}
	rep.finish()
	failed := len(rep.failed) + len(rep.skipped)
	if _, err := fmt.Fprintf(totals, "%d passed, %d failed\n", len(rep.passed), failed); err != nil {
		return fmt.Errorf("write totals: %w", err)
	}
	switch {
	case failed > 0:
		return fmt.Errorf("%d tests failed, %d of them because a skipped test is a failure here", failed, len(rep.skipped))
	case len(rep.passed) == 0:
		return errors.New("no test ran")
	default:
		return nil
	}
}

// line takes one line of input. What is no event (make's own words, a message
// of the go command) is shown as it is.
func (rep *testReport) line(text string) {
	var ev testEvent
	if !strings.HasPrefix(text, "{") || json.Unmarshal([]byte(text), &ev) != nil || ev.Action == "" {
		fmt.Fprint(rep.out, text)
		return
	}
	id := testID{ev.Package, ev.Test}
	switch ev.Action {
	case "build-output":
		appendOutput(rep.builds, ev.ImportPath, ev.Output)
	case "run":
		rep.running[id] = true
	case "output":
		appendOutput(rep.output, id, ev.Output)
	case "pass", "fail", "skip":
		if ev.Test == "" {
			rep.endPackage(id, ev)
		} else {
			rep.endTest(id, ev)
		}
	}
}

func appendOutput[K comparable](to map[K]*strings.Builder, key K, text string) {
	b := to[key]
	if b == nil {
		b = &strings.Builder{}
		to[key] = b
	}
	b.WriteString(text)
}

func (rep *testReport) endTest(id testID, ev testEvent) {
	delete(rep.running, id)
	elapsed := time.Duration(ev.Elapsed * float64(time.Second))
	switch ev.Action {
	case "pass":
		rep.passed = append(rep.passed, testResult{id, elapsed})
		delete(rep.output, id)
	case "fail":
		rep.fail(id)
	case "skip":
		rep.skipped = append(rep.skipped, id)
		rep.show("SKIP", id)
	}
}

// endPackage ends a package: a test of it that is still running did not live to
// tell, and counts as failed.
func (rep *testReport) endPackage(id testID, ev testEvent) {
	for _, test := range rep.runningIn(func(t testID) bool { return t.pkg == id.pkg }) {
		delete(rep.running, test)
		rep.fail(test)
	}
	verdict := "ok  "
	switch {
	case ev.Action == "fail":
		verdict = "FAIL"
		// Failed tests have been reported; a package that fails without one did
		// not build, or died outside its tests.
		if !rep.failedIn(id.pkg) {
			rep.fail(id)
		}
	case ev.Action == "skip":
		verdict = "none"
	}
	fmt.Fprintf(rep.out, "%s  %s  %.1fs\n", verdict, id.pkg, ev.Elapsed)
	delete(rep.output, id)
}

func (rep *testReport) runningIn(selected func(testID) bool) []testID {
	var ids []testID
	for id := range rep.running {
		if selected(id) {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b testID) int { return strings.Compare(a.String(), b.String()) })
	return ids
}

func (rep *testReport) failedIn(pkg string) bool {
	return slices.ContainsFunc(rep.failed, func(id testID) bool { return id.pkg == pkg })
}

func (rep *testReport) fail(id testID) {
	rep.failed = append(rep.failed, id)
	rep.show("FAIL", id)
}

// show prints what a test said, and what its package said where the test itself
// is the package.
func (rep *testReport) show(verdict string, id testID) {
	fmt.Fprintf(rep.out, "--- %s %s\n", verdict, id)
	if b := rep.output[id]; b != nil {
		fmt.Fprint(rep.out, b.String())
		delete(rep.output, id)
	}
}

// finish closes the books and prints the summary.
func (rep *testReport) finish() {
	for _, test := range rep.runningIn(func(testID) bool { return true }) {
		rep.fail(test)
	}
	for _, pkg := range sortedKeys(rep.builds) {
		fmt.Fprintf(rep.out, "--- BUILD %s\n%s", pkg, rep.builds[pkg])
	}
	rep.printSlowest()
	for _, id := range rep.skipped {
		fmt.Fprintf(rep.out, "skipped: %s\n", id)
	}
	for _, id := range rep.failed {
		fmt.Fprintf(rep.out, "failed: %s\n", id)
	}
}

func (rep *testReport) printSlowest() {
	slices.SortStableFunc(rep.passed, func(a, b testResult) int { return int(b.elapsed - a.elapsed) })
	shown := min(slowest, len(rep.passed))
	if shown == 0 {
		return
	}
	fmt.Fprintln(rep.out, "slowest tests:")
	for _, r := range rep.passed[:shown] {
		fmt.Fprintf(rep.out, "  %7.2fs  %s\n", r.elapsed.Seconds(), r.id)
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
