package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const modulePath = "github.com/oprc/oprc-pm"

// A sourceFile is one parsed Go file.
type sourceFile struct {
	// path is relative to the top of the tree, with slashes.
	path  string
	test  bool
	lines int
	ast   *ast.File
}

// dir is the package directory, which is also the import path below the module.
func (f *sourceFile) dir() string { return path.Dir(f.path) }

// A tree is all Go files of the module, in path order.
type tree struct {
	fset  *token.FileSet
	files []*sourceFile
}

// at renders a position as path:line.
func (tr *tree) at(pos token.Pos) string {
	p := tr.fset.Position(pos)
	return fmt.Sprintf("%s:%d", p.Filename, p.Line)
}

func (tr *tree) add(name string, src []byte) error {
	file, err := parser.ParseFile(tr.fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return fmt.Errorf("parse %s: %w", name, err)
	}
	tr.files = append(tr.files, &sourceFile{
		path:  name,
		test:  strings.HasSuffix(name, "_test.go"),
		lines: strings.Count(string(src), "\n"),
		ast:   file,
	})
	return nil
}

// root is the top of the working copy: the directory that holds go.mod.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		t.Fatalf("find the top of the tree: %v", err)
	}
	return dir
}

// parseOnce parses the working copy for all tests of this package.
var parseOnce = sync.OnceValues(func() (*tree, error) {
	top := os.DirFS("../..")
	tr := &tree{fset: token.NewFileSet()}
	err := fs.WalkDir(top, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && ignoredDir(name):
			return fs.SkipDir
		case d.IsDir() || path.Ext(name) != ".go":
			return nil
		}
		src, err := fs.ReadFile(top, name)
		if err != nil {
			return err
		}
		return tr.add(name, src)
	})
	return tr, err
})

// ignoredDir mirrors what the go command ignores, plus the build outputs that
// .gitignore names.
func ignoredDir(name string) bool {
	base := path.Base(name)
	return strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || base == "testdata" ||
		name == "bin" || name == "data"
}

func workingCopy(t *testing.T) *tree {
	t.Helper()
	tr, err := parseOnce()
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// sources makes a tree of the given files, for the tests of the checkers.
func sources(t *testing.T, files map[string]string) *tree {
	t.Helper()
	tr := &tree{fset: token.NewFileSet()}
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := tr.add(name, []byte(files[name])); err != nil {
			t.Fatal(err)
		}
	}
	return tr
}

// covers tells whether pattern, in the notation of room.path, covers dir.
func covers(pattern, dir string) bool {
	if pattern == "*" || pattern == dir {
		return true
	}
	parent, ok := strings.CutSuffix(pattern, "/...")
	return ok && (dir == parent || strings.HasPrefix(dir, parent+"/"))
}

func anyCovers(patterns []string, dir string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return covers(p, dir) })
}

// importPath is the unquoted path of an import.
func importPath(spec *ast.ImportSpec) string {
	name, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		return spec.Path.Value
	}
	return name
}

// report fails the test with every finding on a line of its own.
func report(t *testing.T, findings []string) {
	t.Helper()
	for _, f := range findings {
		t.Error(f)
	}
}
