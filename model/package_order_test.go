package model_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/oprc/oprc-pm/model"
)

// packagesOf reads "a: b c, b:" as the package a that depends on b and c, and b.
func packagesOf(text string) []model.Package {
	var packages []model.Package
	for entry := range strings.SplitSeq(text, ",") {
		name, dependencies, _ := strings.Cut(entry, ":")
		packages = append(packages, model.Package{Name: strings.TrimSpace(name), Dependencies: strings.Fields(dependencies)})
	}
	return packages
}

func TestPackageOrder(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, packages, want, err string }{
		{"one", "a:", "a", ""},
		{"as_given", "c:, a:, b:", "c a b", ""},
		{"dependency_first", "a: b, b:", "b a", ""},
		{"chain", "a: b, b: c, c:", "c b a", ""},
		{"diamond", "a: b c, b: d, c: d, d:", "d b c a", ""},
		{"others_keep_their_place", "x:, a: c, y:, c:, z: a", "x c a y z", ""},
		{"dependencies_elsewhere", "a: elsewhere b, b: beyond", "b a", ""},
		{"twice_the_same_dependency", "a: b b, b:", "b a", ""},
		{"itself", "a: a", "", "packages depend on each other: a -> a"},
		{"two", "a: b, b: a", "", "packages depend on each other: a -> b -> a"},
		{"only_the_circle_is_named", "x: a, a: b, b: c, c: a", "", "packages depend on each other: a -> b -> c -> a"},
		{"second_way_in", "x:, a: x c, b: a, c: b", "", "packages depend on each other: a -> c -> b -> a"},
		{"name_twice", "a:, b:, a:", "", `package "a" is given twice`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ordered, err := model.PackageOrder(packagesOf(tt.packages))
			if tt.err != "" {
				if err == nil || err.Error() != tt.err || model.CodeOf(err) != model.CodeInvalid || ordered != nil {
					t.Errorf("got %v, error %v, want %s", ordered, err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range ordered {
				got = append(got, p.Name)
			}
			wantEqual(t, strings.Join(got, " "), tt.want)
		})
	}
	if ordered, err := model.PackageOrder(nil); len(ordered) != 0 || err != nil {
		t.Errorf("nothing: got %v, %v", ordered, err)
	}
}

// TestPackageOrderOfAChain is longer than anybody's, and so is its circle.
func TestPackageOrderOfAChain(t *testing.T) {
	t.Parallel()
	const n = 100_000
	packages := make([]model.Package, n)
	for i := range packages {
		packages[i] = model.Package{Name: fmt.Sprint(i), Dependencies: []string{fmt.Sprint(i + 1)}}
	}
	ordered, err := model.PackageOrder(packages)
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(packages)
	if !slices.EqualFunc(ordered, packages, func(a, b model.Package) bool { return a.Name == b.Name }) {
		t.Error("a chain is not ordered from its end")
	}
	slices.Reverse(packages)
	packages[n-1].Dependencies = []string{"0"}
	_, err = model.PackageOrder(packages)
	const want = "packages depend on each other: 0 -> 1 -> 2 -> 3 -> 4 -> 5 -> ... -> 99999 -> 0"
	if err == nil || err.Error() != want {
		t.Errorf("circle: got %v, want %s", err, want)
	}
}
