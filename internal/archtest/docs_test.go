package archtest

import (
	"fmt"
	"go/ast"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// documents reads every Markdown file of the tree, by its path from the top.
func documents(t *testing.T) map[string]string {
	t.Helper()
	top := os.DirFS(root(t))
	docs := map[string]string{}
	err := fs.WalkDir(top, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && ignoredDir(name):
			return fs.SkipDir
		case d.IsDir() || path.Ext(name) != ".md":
			return nil
		}
		text, err := fs.ReadFile(top, name)
		docs[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"README.md", "docs/architecture.md"} {
		if docs[name] == "" {
			t.Errorf("%s is missing", name)
		}
	}
	return docs
}

// document returns one document of docs.
func document(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root(t), "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// roomTable renders the rooms as the table of docs/architecture.md.
func roomTable() string {
	var b strings.Builder
	b.WriteString("| package | what lives there | may import |\n|---|---|---|\n")
	for _, r := range rooms {
		imports := strings.Join(r.mayImport, ", ")
		switch imports {
		case "":
			imports = "nothing of ours"
		case "*":
			imports = "everything"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", strings.TrimSuffix(r.path, "/..."), r.about, imports)
	}
	return b.String()
}

func TestArchitectureHasTheTable(t *testing.T) {
	t.Parallel()
	if want := roomTable(); !strings.Contains(document(t, "architecture.md"), want) {
		t.Errorf("docs/architecture.md does not hold the table of internal/archtest/rules_test.go; replace its table by:\n%s", want)
	}
}

var linkPattern = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// TestDocumentLinks follows every relative link of the documents, to the file
// and, inside Markdown, to the heading.
func TestDocumentLinks(t *testing.T) {
	t.Parallel()
	top := root(t)
	for name, text := range documents(t) {
		for _, m := range linkPattern.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			file, anchor, _ := strings.Cut(m[1], "#")
			target := name
			if file != "" {
				target = path.Join(path.Dir(name), file)
			}
			if _, err := os.Stat(filepath.Join(top, target)); err != nil {
				t.Errorf("%s links to %s, which does not exist", name, m[1])
				continue
			}
			if anchor == "" || path.Ext(target) != ".md" {
				continue
			}
			linked, err := os.ReadFile(filepath.Join(top, target))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(anchors(string(linked)), anchor) {
				t.Errorf("%s links to %s, but %s has no such heading", name, m[1], target)
			}
		}
	}
}

var (
	headingPattern   = regexp.MustCompile(`(?m)^#+ +(.*)$`)
	anchorDropped    = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	testNamePattern  = regexp.MustCompile(`(?:\b(\w+)\.)?\b((?:Test|Fuzz|Benchmark)[A-Z]\w*)`)
	testFuncPrefixes = []string{"Test", "Fuzz", "Benchmark"}
)

// anchors are the fragment names of a document's headings.
func anchors(text string) []string {
	var all []string
	for _, m := range headingPattern.FindAllStringSubmatch(text, -1) {
		name := anchorDropped.ReplaceAllString(strings.ToLower(m[1]), "")
		all = append(all, strings.ReplaceAll(name, " ", "-"))
	}
	return all
}

// TestDocumentsNameTestsThatExist looks up every test that a document names:
// package.TestX, or TestX alone in a document beside the package or above it.
func TestDocumentsNameTestsThatExist(t *testing.T) {
	t.Parallel()
	byPackage, dirs := map[string]bool{}, map[string][]string{}
	for _, f := range workingCopy(t).files {
		for _, decl := range f.ast.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if ok && slices.ContainsFunc(testFuncPrefixes, func(p string) bool { return strings.HasPrefix(fn.Name.Name, p) }) {
				byPackage[strings.TrimSuffix(f.ast.Name.Name, "_test")+"."+fn.Name.Name] = true
				dirs[fn.Name.Name] = append(dirs[fn.Name.Name], f.dir())
			}
		}
	}
	for name, text := range documents(t) {
		below := path.Dir(name) + "/..."
		for _, m := range testNamePattern.FindAllStringSubmatch(text, -1) {
			switch {
			case m[1] != "" && !byPackage[m[0]]:
				t.Errorf("%s names %s, which does not exist", name, m[0])
			case m[1] == "" && !slices.ContainsFunc(dirs[m[2]], func(dir string) bool { return covers(below, dir) }):
				t.Errorf("%s names %s, which does not exist below it; write package.%s for one elsewhere", name, m[2], m[2])
			}
		}
	}
}

var (
	metricPattern    = regexp.MustCompile(`\boprc_[a-zA-Z0-9_]*`)
	metricRowPattern = regexp.MustCompile("(?m)^\\| `(oprc_[a-z0-9_]+)")
)

// metricNames returns the metric names in the string literals of production
// code, each with the place of its first use.
func metricNames(tr *tree) map[string]string {
	found := map[string]string{}
	for _, f := range tr.files {
		if f.test || f.dir() == "internal/archtest" {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			text, err := strconv.Unquote(lit.Value)
			if err != nil {
				return true
			}
			for _, name := range metricPattern.FindAllString(text, -1) {
				if found[name] == "" {
					found[name] = tr.at(lit.Pos())
				}
			}
			return true
		})
	}
	return found
}

// TestMetricsAreDocumented compares the metric names in the source with
// docs/metrics.md, both ways. Names must be whole literals, so that they can be
// found by searching for them.
func TestMetricsAreDocumented(t *testing.T) {
	t.Parallel()
	documented := map[string]bool{}
	for _, m := range metricRowPattern.FindAllStringSubmatch(document(t, "metrics.md"), -1) {
		if documented[m[1]] {
			t.Errorf("docs/metrics.md has two rows for %s", m[1])
		}
		documented[m[1]] = true
	}
	used := metricNames(workingCopy(t))
	for _, name := range sortedKeys(used) {
		if strings.HasSuffix(name, "_") {
			t.Errorf("%s: metric name beginning with %s is built from pieces; write it as one literal", used[name], name)
		} else if !documented[name] {
			t.Errorf("%s: metric %s has no row in docs/metrics.md", used[name], name)
		}
	}
	for _, name := range sortedKeys(documented) {
		if used[name] == "" {
			t.Errorf("docs/metrics.md describes %s, which the program does not have", name)
		}
	}
}

func TestMetricNames(t *testing.T) {
	t.Parallel()
	tr := sources(t, map[string]string{
		"crm/a.go":      "package crm\nvar a = `oprc_crm_calls_total{cluster=\"x\"}`\nvar b = \"oprc_\" + part\n",
		"crm/a_test.go": "package crm\nvar c = \"oprc_test_only_total\"\n",
	})
	got := sortedKeys(metricNames(tr))
	if want := []string{"oprc_", "oprc_crm_calls_total"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
