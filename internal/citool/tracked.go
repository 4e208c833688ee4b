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
)

// maxTrackedBytes bounds a committed file: what is larger is a build output or
// a data dump.
const maxTrackedBytes = 1 << 20

// A smell is a text that must not stand in a committed file.
type smell struct {
	pattern *regexp.Regexp
	why     string
}

// smells holds the patterns; each is written so that it does not match itself.
var smells = []smell{
	{
		regexp.MustCompile(`(?:^|[\s"'=:(,` + "`" + `])/(?:root|home|Users|work)/\w`),
		"a path of somebody's machine; name it relative to the repository",
	},
	{
		regexp.MustCompile(`(?i)\b(?:proxy|sum|index)\.golang\.[o]rg\b|\bgoproxy\.[a-z]+\b|\bregistry\.(?:npmjs|yarnpkg)\.|\bpypi\.[o]rg\b|\b(?:index|static)\.crates\.[i]o\b`),
		"the host of a package registry; where modules come from is the business of the environment",
	},
	{
		regexp.MustCompile(`^(?:<{7}|>{7}) `),
		"a conflict marker",
	},
}

// checkTracked looks through every file that git tracks.
func checkTracked(out io.Writer) error {
	list, err := exec.Command("git", "ls-files", "-z").Output()
	if err != nil {
		return fmt.Errorf("list tracked files: %w", err)
	}
	found := 0
	for name := range strings.SplitSeq(strings.TrimRight(string(list), "\x00"), "\x00") {
		content, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			continue // deleted, not yet committed
		}
		if err != nil {
			return fmt.Errorf("read tracked file: %w", err)
		}
		for _, finding := range smellsOf(name, content) {
			found++
			fmt.Fprintln(out, finding)
		}
	}
	if found > 0 {
		return fmt.Errorf("%d findings in tracked files", found)
	}
	return nil
}

// smellsOf returns the findings of one file.
func smellsOf(name string, content []byte) []string {
	var findings []string
	if len(content) > maxTrackedBytes {
		findings = append(findings, fmt.Sprintf("%s: %d bytes, more than %d: does it belong in the repository?", name, len(content), maxTrackedBytes))
	}
	if bytes.IndexByte(content, 0) >= 0 {
		return findings // not text
	}
	number := 0
	for line := range bytes.Lines(content) {
		number++
		for _, s := range smells {
			if m := s.pattern.Find(line); m != nil {
				findings = append(findings, fmt.Sprintf("%s:%d: %q: %s", name, number, m, s.why))
			}
		}
	}
	return findings
}
