package archtest

import (
	"fmt"
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const tableHint = "the table is in internal/archtest/rules_test.go and explained in docs/architecture.md"

// roomOf finds the row of a package, or nil.
func roomOf(dir string) *room {
	var best *room
	for i := range rooms {
		if covers(rooms[i].path, dir) && (best == nil || len(rooms[i].path) > len(best.path)) {
			best = &rooms[i]
		}
	}
	return best
}

// checkImports returns every import that enters a room through the wrong door.
func checkImports(tr *tree) []string {
	var findings []string
	homeless := map[string]bool{}
	for _, f := range tr.files {
		dir := f.dir()
		r := roomOf(dir)
		if r == nil {
			if !homeless[dir] {
				homeless[dir] = true
				findings = append(findings, fmt.Sprintf("%s: package %s has no row: say what it is for and what it may import; %s", f.path, dir, tableHint))
			}
			continue
		}
		for _, spec := range f.ast.Imports {
			name := importPath(spec)
			var problem string
			if name == modulePath || strings.HasPrefix(name, modulePath+"/") {
				problem = ownImport(r, f, strings.TrimPrefix(strings.TrimPrefix(name, modulePath), "/"))
			} else if strings.Contains(strings.Split(name, "/")[0], ".") {
				problem = libraryImport(f, name)
			}
			if problem != "" {
				findings = append(findings, fmt.Sprintf("%s: %s; %s", tr.at(spec.Pos()), problem, tableHint))
			}
		}
	}
	return findings
}

// ownImport says what is wrong with importing target from f, a file of r.
func ownImport(r *room, f *sourceFile, target string) string {
	allowed := r.mayImport
	if f.test {
		allowed = slices.Concat(allowed, testSupport, r.testsMayImport)
	}
	// An external test package imports the package it tests.
	if anyCovers(allowed, target) || f.test && target == f.dir() {
		return ""
	}
	return fmt.Sprintf("%s may not import %s (it may import: %s)", f.dir(), target, orNothing(allowed))
}

func libraryImport(f *sourceFile, name string) string {
	lib := libraryOf(name)
	switch {
	case lib == nil:
		return fmt.Sprintf("library %s has no row: say where it may be used, and why it was chosen in docs/decisions.md", name)
	case anyCovers(lib.rooms, f.dir()), f.test && lib.inTests:
		return ""
	default:
		return fmt.Sprintf("%s may not import %s (rooms that may: %s)", f.dir(), name, orNothing(lib.rooms))
	}
}

// libraryOf finds the row of the module that provides the package name.
func libraryOf(name string) *library {
	var best *library
	for i := range libraries {
		if covers(libraries[i].module+"/...", name) && (best == nil || len(libraries[i].module) > len(best.module)) {
			best = &libraries[i]
		}
	}
	return best
}

func orNothing(list []string) string {
	if len(list) == 0 {
		return "nothing of this module"
	}
	return strings.Join(list, ", ")
}

func TestImports(t *testing.T) {
	t.Parallel()
	report(t, checkImports(workingCopy(t)))
}

// TestImportsCatches proves that the checker sees what it is there to see.
func TestImportsCatches(t *testing.T) {
	t.Parallel()
	const module = modulePath + "/"
	tests := []struct {
		name, file, imports, want string
	}{
		{"ok_downwards", "crm/health/a.go", module + "storage", ""},
		{"ok_test_support", "httpapi/a_test.go", module + "fsm", ""},
		{"ok_own_package_from_external_test", "httpapi/a_test.go", module + "httpapi", ""},
		{"ok_root_sees_all", "cmd/oprc-pm/a.go", module + "cluster", ""},
		{"ok_standard_library", "model/a.go", "encoding/json", ""},
		{"err_upwards", "model/a.go", module + "storage", "model may not import storage"},
		{"err_sideways", "crm/a.go", module + "cluster", "crm may not import cluster"},
		{"err_driver_from_api", "httpapi/a.go", module + "storage/bolt", "httpapi may not import storage/bolt"},
		{"err_test_support_in_production", "httpapi/a.go", module + "fsm", "httpapi may not import fsm"},
		{"err_harness_sees_only_the_outside", "bench/a.go", module + "storage", "bench may not import storage"},
		{"err_command_root_imported", "internal/client/a.go", module + "cmd/oprc-pm", "may not import cmd/oprc-pm"},
		{"err_raft_in_api", "httpapi/a.go", "github.com/hashicorp/raft", "httpapi may not import github.com/hashicorp/raft"},
		{"err_raft_in_api_test", "httpapi/a_test.go", "github.com/hashicorp/raft", "httpapi may not import"},
		{"err_memberlist_in_crm", "crm/a.go", "github.com/hashicorp/memberlist", "crm may not import"},
		{"err_test_library_in_production", "model/a.go", "github.com/google/go-cmp/cmp", "model may not import"},
		{"err_unknown_library", "crm/a.go", "example.com/shiny", "has no row"},
		{"err_unknown_package", "attic/a.go", "fmt", "attic has no row"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tr := sources(t, map[string]string{tt.file: fmt.Sprintf("package p\nimport _ %q\n", tt.imports)})
			got := strings.Join(checkImports(tr), "\n")
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestEveryDependencyHasARow compares the direct requirements of go.mod with
// the table and with docs/decisions.md, both ways.
func TestEveryDependencyHasARow(t *testing.T) {
	t.Parallel()
	top := root(t)
	gomod, err := os.ReadFile(filepath.Join(top, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	decisions, err := os.ReadFile(filepath.Join(top, "docs", "decisions.md"))
	if err != nil {
		t.Fatal(err)
	}
	required := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\t(?:tool )?(\S+) v\S+$`).FindAllStringSubmatch(string(gomod), -1) {
		required[m[1]] = true
		if lib := libraryOf(m[1]); lib == nil || lib.module != m[1] {
			t.Errorf("go.mod requires %s, which has no row among the libraries; %s", m[1], tableHint)
		}
		if !strings.Contains(string(decisions), "`"+m[1]+"`") {
			t.Errorf("go.mod requires %s, for which docs/decisions.md gives no reason", m[1])
		}
	}
	if len(required) == 0 {
		t.Fatal("found no requirement in go.mod")
	}
	for _, lib := range libraries {
		if !required[lib.module] {
			t.Errorf("library %s has a row but is no direct requirement of go.mod; %s", lib.module, tableHint)
		}
	}
}

// TestRoomsExist keeps the table free of rows that nothing stands behind.
func TestRoomsExist(t *testing.T) {
	t.Parallel()
	tr := workingCopy(t)
	for _, r := range rooms {
		if !slices.ContainsFunc(tr.files, func(f *sourceFile) bool { return covers(r.path, f.dir()) }) {
			t.Errorf("room %s has a row but no Go file; %s", r.path, tableHint)
		}
	}
}

// TestLibraryRoomsAreNeeded keeps the table free of doors that nobody uses.
func TestLibraryRoomsAreNeeded(t *testing.T) {
	t.Parallel()
	tr := workingCopy(t)
	for i := range libraries {
		lib := &libraries[i]
		for _, where := range lib.rooms {
			used := slices.ContainsFunc(tr.files, func(f *sourceFile) bool {
				return covers(where, f.dir()) && slices.ContainsFunc(f.ast.Imports, func(spec *ast.ImportSpec) bool {
					return libraryOf(importPath(spec)) == lib
				})
			})
			if !used {
				t.Errorf("%s may enter %s, but nothing there imports it: close the door; %s", lib.module, where, tableHint)
			}
		}
	}
}
