package storage_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// pairs is a Reader over sorted pairs, for many at once. It counts what a list
// costs.
type pairs struct {
	keys   []string
	values map[string][]byte
	visits atomic.Int64
	fail   error
}

func newPairs(values map[string]string) *pairs {
	p := &pairs{values: map[string][]byte{}}
	for key, value := range values {
		p.keys = append(p.keys, key)
		p.values[key] = []byte(value)
	}
	slices.Sort(p.keys)
	return p
}

func (p *pairs) Get(key []byte) ([]byte, error) {
	p.visits.Add(1)
	return p.values[string(key)], p.fail
}

func (p *pairs) Scan(start, end []byte, fn func(key, value []byte) (bool, error)) error {
	if p.fail != nil {
		return p.fail
	}
	i, _ := slices.BinarySearch(p.keys, string(start))
	for ; i < len(p.keys) && (end == nil || p.keys[i] < string(end)); i++ {
		p.visits.Add(1)
		if more, err := fn([]byte(p.keys[i]), p.values[p.keys[i]]); err != nil || !more {
			return err
		}
	}
	return nil
}

// collect runs a list and returns at most limit names.
func collect(t *testing.T, limit int, list func(storage.Visit) error) []string {
	t.Helper()
	got := []string{}
	err := list(func(name string, doc []byte) (bool, error) {
		if !bytes.Contains(doc, []byte(`"`+name+`"`)) {
			t.Errorf("document of %s is %s", name, doc)
		}
		got = append(got, name)
		return len(got) < limit, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func document(system, user string) string {
	stamp := storage.Stamp{ResourceVersion: 1, Generation: 1, CreatedAt: time.Unix(0, 0), UpdatedAt: time.Unix(0, 0)}
	return string(storage.BuildDocument(stamp, []byte(system), []byte(user)))
}

func packages() *pairs {
	values := map[string]string{}
	add := func(name, rest string, tags ...string) {
		values[string(storage.PackageKey(name))] = document("", fmt.Sprintf(`"name":%q%s`, name, rest))
		for _, tag := range tags {
			values[string(storage.ByTag.Key(tag, name))] = "\x01"
		}
	}
	add("alpha", "", "red", "round")
	add("beta", `,"disabled":true`, "blue", "red")
	add("gamma", `,"disabled":false`, "red")
	add("gamma-2", "", "blue")
	add("omega", "")
	// Neighbours in the key space that no list may run into.
	values["packagesX"], values["packages"] = "x", "x"
	values[string(storage.ByTag.Key("red2", "zeta"))] = "\x01"
	return newPairs(values)
}

func TestListPackages(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	tests := []struct {
		name  string
		query storage.PackageQuery
		from  string
		limit int
		want  []string
	}{
		{"all", storage.PackageQuery{}, "", 9, []string{"alpha", "beta", "gamma", "gamma-2", "omega"}},
		{"first two", storage.PackageQuery{}, "", 2, []string{"alpha", "beta"}},
		{"from a name", storage.PackageQuery{}, "gamma", 9, []string{"gamma", "gamma-2", "omega"}},
		{"after a name", storage.PackageQuery{}, storage.After("gamma"), 9, []string{"gamma-2", "omega"}},
		{"pattern", storage.PackageQuery{NamePattern: "mm"}, "", 9, []string{"gamma", "gamma-2"}},
		{"tag", storage.PackageQuery{Tags: []string{"red"}}, "", 9, []string{"alpha", "beta", "gamma"}},
		{"any tag", storage.PackageQuery{Tags: []string{"blue", "round", "blue"}}, "", 9, []string{"alpha", "beta", "gamma-2"}},
		{"tag after a name", storage.PackageQuery{Tags: []string{"red", "blue"}}, storage.After("beta"), 9, []string{"gamma", "gamma-2"}},
		{"unknown tag", storage.PackageQuery{Tags: []string{"re"}}, "", 9, []string{}},
		{"disabled", storage.PackageQuery{Disabled: &yes}, "", 9, []string{"beta"}},
		{"enabled", storage.PackageQuery{Disabled: &no}, "", 9, []string{"alpha", "gamma", "gamma-2", "omega"}},
		{"everything", storage.PackageQuery{Disabled: &no, Tags: []string{"red"}, NamePattern: "a"}, "b", 9, []string{"gamma"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := packages()
			got := collect(t, tt.limit, func(v storage.Visit) error { return storage.ListPackages(r, tt.query, tt.from, v) })
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("names (-want +got):\n%s", diff)
			}
		})
	}
}

func deployments() *pairs {
	values := map[string]string{}
	add := func(key, pkg, class, system string, envs ...string) {
		values[string(storage.DeploymentKey(key))] = document(system, fmt.Sprintf(`"key":%q,"package_name":%q,"class_key":%q`, key, pkg, class))
		values[string(storage.ByPackage.Key(pkg, key))] = "\x01"
		for _, env := range envs {
			values[string(storage.ByEnvironment.Key(env, key))] = "\x01"
		}
	}
	add("a", "p1", "K", `"condition":"RUNNING"`, "e1")
	add("b", "p1", "L", `"condition":"DOWN"`, "e1", "e2")
	add("c", "p2", "K", "", "e2")
	add("d", "p2", "K", `"condition":"RUNNING"`)
	add("e", "p1", "K", `"condition":"RUNNING"`, "e2")
	return newPairs(values)
}

func TestListDeployments(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		query storage.DeploymentQuery
		from  string
		want  []string
	}{
		{"all", storage.DeploymentQuery{}, "", []string{"a", "b", "c", "d", "e"}},
		{"package", storage.DeploymentQuery{Package: "p1"}, "", []string{"a", "b", "e"}},
		{"package after", storage.DeploymentQuery{Package: "p1"}, storage.After("a"), []string{"b", "e"}},
		{"environment", storage.DeploymentQuery{Environment: "e2"}, "", []string{"b", "c", "e"}},
		{"both", storage.DeploymentQuery{Package: "p1", Environment: "e2"}, "", []string{"b", "e"}},
		{"both, nothing in common", storage.DeploymentQuery{Package: "p2", Environment: "e1"}, "", []string{}},
		{"class", storage.DeploymentQuery{Class: "K"}, "", []string{"a", "c", "d", "e"}},
		{"condition", storage.DeploymentQuery{Condition: model.DeploymentRunning}, "", []string{"a", "d", "e"}},
		{"nothing observed is pending", storage.DeploymentQuery{Condition: model.DeploymentPending}, "", []string{"c"}},
		{"everything", storage.DeploymentQuery{Package: "p1", Environment: "e2", Class: "K", Condition: model.DeploymentRunning}, "", []string{"e"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := deployments()
			got := collect(t, 99, func(v storage.Visit) error { return storage.ListDeployments(r, tt.query, tt.from, v) })
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("keys (-want +got):\n%s", diff)
			}
		})
	}
}

// TestFilteredListCostsWhatItReturns: an index spares looking at the rest.
func TestFilteredListCostsWhatItReturns(t *testing.T) {
	t.Parallel()
	values := map[string]string{}
	const all, tagged = 5000, 300
	for i := range all {
		name := fmt.Sprintf("p%05d", i)
		values[string(storage.PackageKey(name))] = document("", fmt.Sprintf(`"name":%q`, name))
		if i%(all/tagged) == 0 {
			values[string(storage.ByTag.Key("rare", name))] = "\x01"
		}
		values[string(storage.ByTag.Key("common", name))] = "\x01"
	}
	r := newPairs(values)
	got := collect(t, all, func(v storage.Visit) error {
		return storage.ListPackages(r, storage.PackageQuery{Tags: []string{"rare"}}, "", v)
	})
	if len(got) < tagged || !slices.IsSorted(got) {
		t.Fatalf("%d names", len(got))
	}
	if visits, limit := r.visits.Load(), 3*len(got); visits > int64(limit) {
		t.Errorf("%d pairs visited for %d names, want at most %d", visits, len(got), limit)
	}
	r.visits.Store(0)
	page := collect(t, 10, func(v storage.Visit) error {
		return storage.ListPackages(r, storage.PackageQuery{Tags: []string{"common", "rare"}}, "p02500", v)
	})
	if page[0] != "p02500" || len(page) != 10 {
		t.Fatalf("page %v", page)
	}
	if visits := r.visits.Load(); visits > 200 {
		t.Errorf("%d pairs visited for a page of 10", visits)
	}
}

func TestListUnits(t *testing.T) {
	t.Parallel()
	r := newPairs(map[string]string{
		string(storage.UnitKey("d", "e1", "u1")):  `{"id":"u1","cluster":"e1","phase":"RUNNING"}`,
		string(storage.UnitKey("d", "e1", "u2")):  `{"id":"u2","cluster":"e1"}`,
		string(storage.UnitKey("d", "e0", "u9")):  `{"id":"u9","cluster":"e0"}`,
		string(storage.UnitKey("d2", "e1", "u1")): `{"id":"other"}`,
	})
	var refs []storage.UnitRef
	err := storage.ListUnits(r, "d", func(ref storage.UnitRef, _ []byte) (bool, error) {
		refs = append(refs, ref)
		return len(refs) < 2, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []storage.UnitRef{{Cluster: "e0", Unit: "u9"}, {Cluster: "e1", Unit: "u1"}}
	if diff := cmp.Diff(want, refs); diff != "" {
		t.Errorf("references (-want +got):\n%s", diff)
	}
	units, err := storage.DecodeUnits(r, "d")
	if err != nil {
		t.Fatal(err)
	}
	if len(units) != 3 || units[1].ID != "u1" || units[1].Phase != model.UnitRunning {
		t.Errorf("units %+v", units)
	}
	none, err := storage.DecodeUnits(r, "x")
	if err != nil || none == nil || len(none) != 0 {
		t.Errorf("units of nothing: %v, %v", none, err)
	}
}

func TestListRuntimeStates(t *testing.T) {
	t.Parallel()
	r := newPairs(map[string]string{
		string(storage.RuntimeStateKey("a")): document("", `"key":"a"`),
		string(storage.RuntimeStateKey("b")): document("", `"key":"b"`),
	})
	got := collect(t, 9, func(v storage.Visit) error { return storage.ListRuntimeStates(r, storage.After("a"), v) })
	if diff := cmp.Diff([]string{"b"}, got); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
}

func TestListFailures(t *testing.T) {
	t.Parallel()
	broken := errors.New("disk on fire")
	visit := func(string, []byte) (bool, error) { return true, nil }
	yes := true
	corrupt := newPairs(map[string]string{
		string(storage.PackageKey("p")):             "not json",
		string(storage.DeploymentKey("d")):          "not json",
		string(storage.ByTag.Key("dangling", "no")): "\x01",
		storage.UnitPrefix + "d/odd":                "{}",
		string(storage.UnitKey("e", "c", "u")):      "not json",
	})
	tests := []struct {
		name string
		r    *pairs
		list func(storage.Reader) error
		want error
	}{
		{"scan fails", &pairs{fail: broken}, func(r storage.Reader) error {
			return storage.ListPackages(r, storage.PackageQuery{}, "", visit)
		}, broken},
		{"index scan fails", &pairs{fail: broken}, func(r storage.Reader) error {
			return storage.ListDeployments(r, storage.DeploymentQuery{Package: "p", Environment: "e"}, "", visit)
		}, broken},
		{"visit fails", packages(), func(r storage.Reader) error {
			return storage.ListPackages(r, storage.PackageQuery{Tags: []string{"red"}}, "", func(string, []byte) (bool, error) { return true, broken })
		}, broken},
		{"corrupt package", corrupt, func(r storage.Reader) error {
			return storage.ListPackages(r, storage.PackageQuery{Disabled: &yes}, "", visit)
		}, nil},
		{"corrupt deployment", corrupt, func(r storage.Reader) error {
			return storage.ListDeployments(r, storage.DeploymentQuery{Class: "K"}, "", visit)
		}, nil},
		{"dangling index", corrupt, func(r storage.Reader) error {
			return storage.ListPackages(r, storage.PackageQuery{Tags: []string{"dangling"}}, "", visit)
		}, nil},
		{"odd unit key", corrupt, func(r storage.Reader) error { _, err := storage.DecodeUnits(r, "d"); return err }, nil},
		{"corrupt unit", corrupt, func(r storage.Reader) error { _, err := storage.DecodeUnits(r, "e"); return err }, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := tt.list(tt.r)
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
		})
	}
}
