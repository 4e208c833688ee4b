package fsm

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// checkIndexes compares every index key with a scan of the documents, and the
// kept events with their sequence.
func checkIndexes(t testing.TB, f *FSM) {
	t.Helper()
	if _, err := f.View(func(r storage.Reader) error { return compareIndexes(t, r) }); err != nil {
		t.Fatalf("view: %v", err)
	}
}

// checkClusters checks that every unit is recorded in a cluster that exists.
func checkClusters(t testing.TB, f *FSM) {
	t.Helper()
	if _, err := f.View(func(r storage.Reader) error {
		return storage.ScanPrefix(r, []byte(storage.UnitPrefix), func(key, _ []byte) (bool, error) {
			document, err := r.Get(storage.ClusterKey(strings.Split(string(key), "/")[2]))
			if document == nil {
				t.Errorf("%s is recorded in a cluster that does not exist", key)
			}
			return true, err
		})
	}); err != nil {
		t.Fatalf("view: %v", err)
	}
}

func compareIndexes(t testing.TB, r storage.Reader) error {
	t.Helper()
	want, err := indexKeys(r)
	if err != nil {
		return err
	}
	var got []string
	err = storage.ScanPrefix(r, []byte("index/"), func(key, value []byte) (bool, error) {
		if !bytes.Equal(value, storage.IndexValue) {
			t.Errorf("value of %q: got %q, want %q", key, value, storage.IndexValue)
		}
		got = append(got, string(key))
		return true, nil
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("index keys (-scan of the documents +kept):\n%s", diff)
	}
	return err
}

// indexKeys are the index keys that the documents behind r ask for, sorted.
func indexKeys(r storage.Reader) ([]string, error) {
	var keys []string
	add := func(index storage.Index, term, name string) { keys = append(keys, string(index.Key(term, name))) }
	err := r.Scan(nil, nil, func(key, value []byte) (bool, error) {
		prefix, name, _ := strings.Cut(string(key), "/")
		switch prefix + "/" {
		case storage.PackagePrefix:
			p, err := model.ParsePackage(value)
			if err != nil {
				return false, err
			}
			tags, dependencies, _ := p.IndexTerms()
			for _, tag := range tags {
				add(storage.ByTag, tag, name)
			}
			for _, dependency := range dependencies {
				add(storage.ByDependency, dependency, name)
			}
		case storage.DeploymentPrefix:
			d, err := model.ParseDeployment(value)
			if err != nil {
				return false, err
			}
			add(storage.ByPackage, d.PackageName, name)
			for _, env := range d.Environments() {
				add(storage.ByEnvironment, env, name)
			}
		case storage.UnitPrefix:
			u, err := model.ParseUnit(value)
			if err != nil {
				return false, err
			}
			add(storage.ByCluster, u.Cluster, u.DeploymentKey+"/"+u.ID)
		case storage.StoredEventPrefix:
			e, err := model.ParseEvent(value)
			if err != nil {
				return false, err
			}
			add(storage.ByEventSubject, e.Kind+"/"+e.Name, fmt.Sprintf("%020d", e.Sequence))
			if want := fmt.Sprintf("%020d", e.Sequence); name != want {
				return false, fmt.Errorf("event %d is kept as %s", e.Sequence, name)
			}
		}
		return true, nil
	})
	slices.Sort(keys)
	return keys, err
}
