package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"text/tabwriter"
)

// A conformanceDriver is a column of the conformance table: one run of
// storage/storagetest.
type conformanceDriver struct {
	name string
	pkg  string
	// test is the test that runs the suite; cases are its subtests.
	test string
}

// conformanceDrivers are all drivers, in every shape in which the suite runs.
var conformanceDrivers = []conformanceDriver{
	{"memory", "./storage/memory", "TestStore"},
	{"raft, 1 node", "./cluster", "TestConformance/1"},
	{"raft, 3 nodes", "./cluster", "TestConformance/3"},
	{"etcd, 1 member", "./storage/etcd", "TestConformance/1"},
	{"etcd, 2 of 3 members", "./storage/etcd", "TestConformance/3"},
}

// runConformance runs the suite of all drivers and prints one table, driver by case.
func runConformance(stdout io.Writer) error {
	results := conformance{}
	ran := map[string]bool{}
	for _, driver := range conformanceDrivers {
		top, _, _ := strings.Cut(driver.test, "/")
		if ran[driver.pkg] {
			continue
		}
		ran[driver.pkg] = true
		cmd := exec.Command("go", "test", "-json", "-count=1", "-run", "^"+top+"$", driver.pkg)
		cmd.Stderr = os.Stderr
		events, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			return fmt.Errorf("run %s: %w", driver.pkg, err)
		}
		readErr := results.read(events, driver.pkg)
		// A failed test is told of by the table.
		var failed *exec.ExitError
		if err := cmd.Wait(); err != nil && !errors.As(err, &failed) {
			return fmt.Errorf("run %s: %w", driver.pkg, err)
		}
		if readErr != nil {
			return readErr
		}
	}
	return results.print(stdout)
}

// conformance is the result of each case by driver.
type conformance map[string]map[string]string

// read collects what go test -json says of one package.
func (c conformance) read(events io.Reader, pkg string) error {
	lines := bufio.NewScanner(events)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var event testEvent
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			return fmt.Errorf("read test events: %w", err)
		}
		switch event.Action {
		case "pass", "fail", "skip":
			c.note(pkg, event.Test, event.Action)
		}
	}
	return lines.Err()
}

// note files the result of a test, if it is a case of a driver. Tests that have
// cases of their own are no cases.
func (c conformance) note(pkg, test, result string) {
	for _, driver := range conformanceDrivers {
		name, ok := strings.CutPrefix(test, driver.test+"/")
		if driver.pkg != pkg || !ok {
			continue
		}
		name = strings.TrimPrefix(name, "shared/")
		if name == "shared" {
			return
		}
		if c[name] == nil {
			c[name] = map[string]string{}
		}
		c[name][driver.name] = result
		return
	}
}

// withoutGroups drops tests that only hold others.
func (c conformance) withoutGroups() []string {
	names := slices.Sorted(maps.Keys(c))
	return slices.DeleteFunc(names, func(name string) bool {
		return slices.ContainsFunc(names, func(other string) bool { return strings.HasPrefix(other, name+"/") })
	})
}

// print writes the table. A case that did not pass with every driver is an error,
// and so is one that a driver did not run.
func (c conformance) print(stdout io.Writer) error {
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "CASE")
	for _, driver := range conformanceDrivers {
		fmt.Fprint(w, "\t"+driver.name)
	}
	fmt.Fprintln(w)
	cases := c.withoutGroups()
	bad := 0
	for _, name := range cases {
		fmt.Fprint(w, name)
		for _, driver := range conformanceDrivers {
			result := c[name][driver.name]
			if result == "" {
				result = "missing"
			}
			if result != "pass" {
				bad++
			}
			fmt.Fprint(w, "\t"+result)
		}
		fmt.Fprintln(w)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("print table: %w", err)
	}
	fmt.Fprintf(stdout, "%d cases, %d drivers, %d results are not pass\n", len(cases), len(conformanceDrivers), bad)
	if bad > 0 || len(cases) == 0 {
		return errors.New("the drivers do not behave alike")
	}
	return nil
}
