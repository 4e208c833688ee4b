package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/oprc/oprc-pm/model"
)

// maxManifestBytes bounds one file of manifests.
const maxManifestBytes = 64 << 20

// manifests is what the files of a command say, in the order in which it is to
// be applied.
type manifests struct {
	clusters    []model.Cluster
	packages    []model.Package
	deployments []model.Deployment
	states      []model.RuntimeState
	// force stores packages although classes vanish that are deployed.
	force bool
}

// loadManifests reads files, directories (their .yml, .yaml and .json files, not
// those of directories below) and - for standard input. All problems of all
// files are reported at once. strict makes unknown fields a problem; otherwise
// they are told as warnings.
func (p *program) loadManifests(paths []string, strict bool) (manifests, error) {
	if len(paths) == 0 {
		return manifests{}, usagef("-f FILE is missing; - reads standard input")
	}
	var set manifests
	var problems []model.Problem
	for _, path := range paths {
		files, err := manifestFiles(path)
		if err != nil {
			return manifests{}, err
		}
		for _, file := range files {
			data, err := p.readManifest(file)
			if err != nil {
				return manifests{}, err
			}
			found, err := model.DecodeManifests(data, formatOf(file, data))
			problems = append(problems, inFile(file, err)...)
			for _, m := range found {
				problems = append(problems, p.unknownFields(file, m, strict)...)
				set.add(m)
			}
		}
	}
	problems = append(problems, set.duplicates()...)
	if err := model.Invalid(problems); err != nil {
		return manifests{}, err
	}
	if set.empty() {
		return manifests{}, usagef("%s: there is no package and no deployment in it, nor a cluster", strings.Join(paths, ", "))
	}
	ordered, err := inDependencyOrder(set.packages)
	set.packages = ordered
	return set, err
}

// manifestFiles lists what a -f stands for.
func manifestFiles(path string) ([]string, error) {
	if path == "-" {
		return []string{path}, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, usagef("%v", err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path) // sorted by name
	if err != nil {
		return nil, usagef("%v", err)
	}
	var files []string
	for _, entry := range entries {
		switch filepath.Ext(entry.Name()) {
		case ".yml", ".yaml", ".json":
			if !entry.IsDir() {
				files = append(files, filepath.Join(path, entry.Name()))
			}
		}
	}
	if len(files) == 0 {
		return nil, usagef("%s holds no .yml, .yaml or .json file", path)
	}
	return files, nil
}

func (p *program) readManifest(path string) ([]byte, error) {
	source := p.in
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return nil, usagef("%v", err)
		}
		defer func() { _ = file.Close() }() // only read
		source = file
	}
	data, err := io.ReadAll(io.LimitReader(source, maxManifestBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", fileName(path), err)
	}
	if len(data) > maxManifestBytes {
		return nil, usagef("%s is larger than %d MiB", fileName(path), maxManifestBytes>>20)
	}
	return data, nil
}

func fileName(path string) string {
	if path == "-" {
		return "standard input"
	}
	return path
}

// formatOf takes the name's word for it; standard input is JSON when it begins
// like it.
func formatOf(path string, data []byte) model.Format {
	text := bytes.TrimLeft(data, "\ufeff \t\r\n")
	if filepath.Ext(path) == ".json" || path == "-" && len(text) > 0 && text[0] == '{' {
		return model.JSON
	}
	return model.YAML
}

// inFile puts the file before the problems of a decoding error.
func inFile(path string, err error) []model.Problem {
	if err == nil {
		return nil
	}
	var invalid *model.Error
	if !errors.As(err, &invalid) || len(invalid.Problems) == 0 {
		return []model.Problem{{Path: fileName(path), Message: err.Error()}}
	}
	problems := make([]model.Problem, len(invalid.Problems))
	for i, problem := range invalid.Problems {
		problems[i] = model.Problem{Path: fileName(path) + ": " + problem.Path, Message: problem.Message}
	}
	return problems
}

// unknownFields turns the fields that the model does not know into problems, or
// into warnings.
func (p *program) unknownFields(path string, m model.Manifest, strict bool) []model.Problem {
	var problems []model.Problem
	for _, field := range m.Unknown {
		where := fmt.Sprintf("%s: document %d: %s", fileName(path), m.Index, field)
		if strict {
			problems = append(problems, model.Problem{Path: where, Message: "is not a known field"})
			continue
		}
		_, _ = fmt.Fprintf(p.err, "warning: %s: is not a known field and is ignored\n", where)
	}
	return problems
}

func (s *manifests) empty() bool {
	return len(s.clusters)+len(s.packages)+len(s.deployments)+len(s.states) == 0
}

func (s *manifests) add(m model.Manifest) {
	if m.Package != nil {
		s.packages = append(s.packages, *m.Package)
	}
	s.deployments = append(s.deployments, m.Deployments...)
	s.clusters = append(s.clusters, m.Clusters...)
	s.states = append(s.states, m.RuntimeStates...)
}

// duplicates reports what is described twice: which one should hold?
func (s *manifests) duplicates() []model.Problem {
	var problems []model.Problem
	seen := map[string]bool{}
	check := func(kind, name string) {
		id := kind + "/" + name
		if seen[id] {
			problems = append(problems, model.Problem{Path: id, Message: "is described more than once"})
		}
		seen[id] = true
	}
	for _, c := range s.clusters {
		check("cluster", c.Name)
	}
	for _, p := range s.packages {
		check("package", p.Name)
	}
	for _, d := range s.deployments {
		check("deployment", d.Key)
	}
	for _, state := range s.states {
		check("runtime-state", state.Key)
	}
	return problems
}

// inDependencyOrder puts each package after those of the set that it depends
// on, and leaves the order alone otherwise.
func inDependencyOrder(packages []model.Package) ([]model.Package, error) {
	byName := map[string]int{}
	for i, p := range packages {
		byName[p.Name] = i
	}
	const (
		untouched = iota
		visiting
		placed
	)
	state := make([]int, len(packages))
	ordered := make([]model.Package, 0, len(packages))
	var visit func(i int, path []string) error
	visit = func(i int, path []string) error {
		path = append(path, packages[i].Name)
		switch state[i] {
		case placed:
			return nil
		case visiting:
			cycle := path[slices.Index(path, packages[i].Name):]
			return model.Invalid([]model.Problem{{Path: "package/" + packages[i].Name + ": dependencies",
				Message: "form a cycle: " + strings.Join(cycle, " -> ")}})
		}
		state[i] = visiting
		for _, dependency := range packages[i].Dependencies {
			if j, ok := byName[dependency]; ok {
				if err := visit(j, path); err != nil {
					return err
				}
			}
		}
		state[i] = placed
		ordered = append(ordered, packages[i])
		return nil
	}
	for i := range packages {
		if err := visit(i, nil); err != nil {
			return nil, err
		}
	}
	return ordered, nil
}
