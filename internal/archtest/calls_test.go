package archtest

import (
	"fmt"
	"go/ast"
	"path"
	"slices"
	"strings"
	"testing"
)

// forbids tells whether the ban covers the symbol name of package pkg; name is
// "" for the bare import.
func (b ban) forbids(pkg, name string) bool {
	cut := strings.LastIndex(b.symbol, ".")
	if b.symbol[:cut] != pkg {
		return false
	}
	switch want := b.symbol[cut+1:]; {
	case want == "*":
		return true
	case strings.HasSuffix(want, "*"):
		return name != "" && strings.HasPrefix(name, strings.TrimSuffix(want, "*"))
	default:
		return want == name
	}
}

func (b ban) holdsIn(f *sourceFile) bool {
	if f.test && !b.tests {
		return false
	}
	return (len(b.in) == 0 || anyCovers(b.in, f.dir())) && !anyCovers(b.notIn, f.dir())
}

// checkBans returns every use of a banned symbol.
func checkBans(tr *tree, exempt []exemption) []string {
	var findings []string
	for _, f := range tr.files {
		active := slices.DeleteFunc(slices.Clone(bans), func(b ban) bool { return !b.holdsIn(f) })
		if len(active) == 0 {
			continue
		}
		find := func(node ast.Node, pkg, name string) {
			for _, b := range active {
				if !b.forbids(pkg, name) || isExempt(exempt, f.path, b.symbol) {
					continue
				}
				symbol := strings.TrimSuffix(pkg+"."+name, ".")
				findings = append(findings, fmt.Sprintf("%s: %s is banned here: %s; %s", tr.at(node.Pos()), symbol, b.why, tableHint))
			}
		}
		names := map[string]string{}
		for _, spec := range f.ast.Imports {
			name := importPath(spec)
			local := localName(spec, name)
			names[local] = name
			find(spec, name, "")
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if id, ok := sel.X.(*ast.Ident); ok && names[id.Name] != "" {
				find(sel, names[id.Name], sel.Sel.Name)
			}
			return true
		})
	}
	return findings
}

// localName is the identifier by which the file refers to the import.
func localName(spec *ast.ImportSpec, name string) string {
	if spec.Name != nil {
		return spec.Name.Name
	}
	base := path.Base(name)
	if len(base) > 1 && base[0] == 'v' && strings.Trim(base[1:], "0123456789") == "" {
		base = path.Base(path.Dir(name))
	}
	return base
}

func isExempt(exempt []exemption, file, symbol string) bool {
	return slices.ContainsFunc(exempt, func(e exemption) bool { return e.file == file && e.symbol == symbol })
}

func TestBannedCalls(t *testing.T) {
	t.Parallel()
	report(t, checkBans(workingCopy(t), exemptions))
}

// TestExemptionsAreNeeded keeps the list of exemptions free of what no longer
// needs one.
func TestExemptionsAreNeeded(t *testing.T) {
	t.Parallel()
	all := checkBans(workingCopy(t), nil)
	for _, e := range exemptions {
		if e.reason == "" {
			t.Errorf("exemption of %s in %s gives no reason", e.symbol, e.file)
		}
		symbol := strings.TrimSuffix(strings.TrimSuffix(e.symbol, "*"), ".")
		used := slices.ContainsFunc(all, func(f string) bool {
			return strings.HasPrefix(f, e.file+":") && strings.Contains(f, ": "+symbol)
		})
		if !used {
			t.Errorf("%s does not use %s any more: drop its exemption from internal/archtest/rules_test.go", e.file, e.symbol)
		}
	}
}

// TestBannedCallsCatches proves that the checker sees what it is there to see.
func TestBannedCallsCatches(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, file, src, want string
	}{
		{"ok_duration", "fsm/a.go", "package fsm\nimport \"time\"\nvar d = time.Second", ""},
		{"ok_clock_of_the_proposer", "cluster/a.go", "package cluster\nimport \"time\"\nvar now = time.Now()", ""},
		{"ok_clock_in_test", "fsm/a_test.go", "package fsm\nimport \"time\"\nvar now = time.Now()", ""},
		{"ok_method_of_the_same_name", "crm/a.go", "package crm\ntype c struct{}\nfunc (c) Sleep() {}\nfunc f(time c) { time.Sleep() }", ""},
		{"ok_environment_in_root", "cmd/oprc-pm/a.go", "package main\nimport \"os\"\nvar e = os.Getenv(\"A\")", ""},
		{"err_clock_in_fsm", "fsm/a.go", "package fsm\nimport \"time\"\nvar now = time.Now()", "fsm/a.go:3: time.Now is banned here"},
		{"err_clock_as_value", "model/a.go", "package model\nimport \"time\"\nvar now = time.Now", "time.Now is banned"},
		{"err_clock_renamed", "storage/a.go", "package storage\nimport clock \"time\"\nvar now = clock.Now()", "time.Now is banned"},
		{"err_random_import", "fsm/a.go", "package fsm\nimport _ \"math/rand/v2\"", "math/rand/v2 is banned"},
		{"err_sleep_in_test", "crm/a_test.go", "package crm\nimport \"time\"\nfunc f() { time.Sleep(1) }", "time.Sleep is banned"},
		{"err_environment", "crm/a.go", "package crm\nimport \"os\"\nvar e = os.Getenv(\"A\")", "os.Getenv is banned"},
		{"err_exit", "httpapi/a.go", "package httpapi\nimport \"os\"\nfunc f() { os.Exit(1) }", "os.Exit is banned"},
		{"err_global_metric", "httpapi/a.go", "package httpapi\nimport \"github.com/VictoriaMetrics/metrics\"\nvar c = metrics.GetOrCreateCounter(\"x\")", "GetOrCreateCounter is banned"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := strings.Join(checkBans(sources(t, map[string]string{tt.file: tt.src}), nil), "\n")
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
