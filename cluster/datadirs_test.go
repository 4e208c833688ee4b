package cluster_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/cluster"
	"github.com/oprc/oprc-pm/internal/testcluster"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/memory"
)

// testdata/datadirs holds data directories as releases left them, NAME.tar.gz, and
// beside each what it must show, NAME.json. They are never changed; `make datadir
// NAME=…` makes another from what this program writes.
const (
	dataDirs      = "testdata/datadirs"
	makeDataDirOf = "OPRC_MAKE_DATADIR"
)

// recordedState is what a data directory must show.
type recordedState struct {
	LogStore string `json:"log_store"`
	Index    uint64 `json:"index"`
	Digest   string `json:"digest"`
	Pairs    []pair `json:"pairs"`
}

type pair struct {
	Key   []byte `json:"key"`
	Value []byte `json:"value"`
}

// TestDataDirs: every directory is found whole by the check, starts, shows exactly
// what was recorded, and takes a write.
func TestDataDirs(t *testing.T) {
	archives, err := filepath.Glob(filepath.Join(dataDirs, "*.tar.gz"))
	if err != nil || len(archives) == 0 {
		t.Fatalf("there are no data directories in %s: %v", dataDirs, err)
	}
	for _, archive := range archives {
		name := strings.TrimSuffix(filepath.Base(archive), ".tar.gz")
		t.Run(name, func(t *testing.T) { startsAsRecorded(t, archive, filepath.Join(dataDirs, name+".json")) })
	}
}

func startsAsRecorded(t *testing.T, archive, record string) {
	text, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	var want recordedState
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	c := testcluster.New(t, 1, testcluster.NotStarted(), testcluster.WithConfig(func(_ int, cfg *cluster.Config) {
		cfg.LogStore = want.LogStore
	}))
	dir := c.Config(0).DataDir
	unpack(t, archive, dir)
	mustCheck(t, dir)
	c.Start(0)
	c.WaitReady()
	recorded := map[string]bool{}
	for _, p := range want.Pairs {
		recorded[string(p.Key)] = true
	}
	// The only thing that a start writes is the leader's first entry, and that
	// leaves its result behind.
	got := pairsOf(t, c.Node(0))
	got = slices.DeleteFunc(got, func(p pair) bool {
		return bytes.HasPrefix(p.Key, []byte("requests/")) && !recorded[string(p.Key)]
	})
	if len(got) != len(want.Pairs) {
		t.Errorf("it holds %d keys, %d were recorded", len(got), len(want.Pairs))
	}
	for i := range min(len(got), len(want.Pairs)) {
		if w := want.Pairs[i]; !bytes.Equal(got[i].Key, w.Key) || !bytes.Equal(got[i].Value, w.Value) {
			t.Fatalf("it holds %s: %s, recorded was %s: %s", got[i].Key, got[i].Value, w.Key, w.Value)
		}
	}
	if digest := digestOf(t, got); digest != want.Digest {
		t.Errorf("its digest is %s, recorded was %s", digest, want.Digest)
	}
	result, err := c.Node(0).Apply(t.Context(), storage.Request{Command: testcluster.Put("written-after", "1")})
	if err != nil || result.Index <= want.Index {
		t.Errorf("a write gave index %d, %v; want one beyond %d", result.Index, err, want.Index)
	}
}

// TestMakeDataDir makes a data directory when it is told to, and else sees that
// what it would make can be read.
func TestMakeDataDir(t *testing.T) {
	names, target := []string{"new"}, t.TempDir()
	if name := os.Getenv(makeDataDirOf); name != "" {
		names, target = []string{name}, dataDirs
	}
	for _, name := range names {
		for _, logStore := range []string{"boltdb", "wal"} {
			base := filepath.Join(target, name+"-"+logStore)
			if _, err := os.Stat(base + ".tar.gz"); err == nil {
				t.Fatalf("%s is there already, and what was recorded is never changed", base)
			}
			makeDataDir(t, logStore, base)
			t.Run(logStore, func(t *testing.T) { startsAsRecorded(t, base+".tar.gz", base+".json") })
		}
	}
}

// makeDataDir writes a state with every kind of document: some of it is in a
// snapshot, and some only in the log.
func makeDataDir(t *testing.T, logStore, base string) {
	t.Helper()
	c := testcluster.New(t, 1, testcluster.WithConfig(func(_ int, cfg *cluster.Config) { cfg.LogStore = logStore }))
	n := c.Node(0)
	for i, command := range everyKind(t) {
		if i == 6 {
			if _, err := n.Compact(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := n.Apply(t.Context(), storage.Request{Command: command}); err != nil {
			t.Fatalf("command %d, %T: %v", i, command, err)
		}
	}
	state := recordedState{LogStore: logStore, Index: n.Status().AppliedIndex, Pairs: pairsOf(t, n)}
	state.Digest = digestOf(t, state.Pairs)
	if digest := n.Status().Digest; digest != state.Digest {
		t.Fatalf("the node's digest is %s, that of its content %s", digest, state.Digest)
	}
	text, err := json.MarshalIndent(state, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	dir := c.Config(0).DataDir
	c.Stop(0)
	if err := os.MkdirAll(filepath.Dir(base), 0o755); err != nil {
		t.Fatal(err)
	}
	pack(t, dir, base+".tar.gz")
	if err := os.WriteFile(base+".json", append(text, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

// everyKind is one command of each sort of document.
func everyKind(t *testing.T) []storage.Command {
	t.Helper()
	at := time.Date(2025, 5, 6, 7, 8, 9, 0, time.UTC)
	version := "1.0.0"
	library := model.Package{Name: "library", Version: &version, Classes: []model.Class{{Key: "Base"}}}
	shop := model.Package{Name: "shop", Version: &version, Dependencies: []string{"library"},
		Metadata: model.PackageMetadata{Tags: []string{"web"}}, Classes: []model.Class{{Key: "Cart"}}}
	deployment := model.Deployment{Key: "cart", PackageName: "shop", ClassKey: "Cart", TargetEnvs: []string{"east"}}
	east := model.Cluster{Name: "east", BaseURL: "http://east.example", Protocol: model.ProtocolHTTP, ManagedBy: model.ManagedByAPI}
	unit := model.UnitStatus{ID: "cart-1", DeploymentKey: "cart", Cluster: "east", Generation: 1, Phase: model.UnitRunning, LastTransitionTime: at, Revision: 1}
	event := model.Event{At: at, Type: model.EventNormal, Kind: "deployment", Name: "cart", Reason: "Placed", Message: "it runs"}
	line := func(encoded []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return encoded
	}
	return []storage.Command{
		storage.PutPackage{Name: "library", Mode: storage.Create, Document: line(model.EncodePackage(library)), Classes: []string{"Base"}},
		storage.PutPackage{Name: "shop", Mode: storage.Create, Document: line(model.EncodePackage(shop)),
			Tags: []string{"web"}, Dependencies: []string{"library"}, Classes: []string{"Cart"}},
		storage.PutCluster{Name: "east", Document: line(model.EncodeCluster(east)), ManagedBy: model.ManagedByAPI},
		storage.RecordClusterHealth{Clusters: []storage.NamedHealth{{Name: "east", Health: model.ClusterHealth{ClusterName: "east", Status: "Healthy", LastSeen: at}}}},
		storage.PutDeployment{Key: "cart", Mode: storage.Create, Document: line(model.EncodeDeployment(deployment)),
			Package: "shop", Class: "Cart", Environments: []string{"east"}},
		storage.RecordUnitStatus{Deployment: "cart", Generation: 1, Put: []model.UnitStatus{unit},
			Observed: &model.DeploymentObserved{ObservedGeneration: 1, Condition: model.DeploymentRunning, Revision: 1},
			Revision: &model.Revision{Revision: 1, DeploymentKey: "cart", Generation: 1, Template: "t", CreatedAt: at, Deployment: deployment},
			Events:   []model.Event{event}},
		storage.UpdateRuntimeState{Key: "cart-1", Document: line(model.EncodeRuntimeState(model.RuntimeState{Key: "cart-1", ClassKey: "Cart", DeploymentID: "cart"}))},
		storage.RecordEvents{Events: []model.Event{event}},
		storage.StageRestore{ID: "unfinished", Data: []byte("a part of a backup")},
		testcluster.Put("written", "1"),
		testcluster.Put("deleted", "1"),
		storage.DeletePackage{Name: "deleted"},
	}
}

func pairsOf(t *testing.T, n *cluster.Node) (pairs []pair) {
	t.Helper()
	_, err := n.View(t.Context(), storage.ReadOptions{}, func(r storage.Reader) error {
		return r.Scan(nil, nil, func(key, value []byte) (bool, error) {
			pairs = append(pairs, pair{bytes.Clone(key), bytes.Clone(value)})
			return true, nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return pairs
}

func digestOf(t *testing.T, pairs []pair) string {
	t.Helper()
	tree := memory.NewTree()
	for _, p := range pairs {
		if err := tree.Put(p.Key, p.Value); err != nil {
			t.Fatal(err)
		}
	}
	digest, err := storage.ComputeDigest(tree)
	if err != nil {
		t.Fatal(err)
	}
	return digest.String()
}

// pack archives what belongs to a stopped node: no lock, no reserve, nothing that
// a crash may lose.
func pack(t *testing.T, dir, archive string) {
	t.Helper()
	var out bytes.Buffer
	zip, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(zip)
	err = fs.WalkDir(os.DirFS(dir), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || path == "LOCK" || path == "reserve" || strings.HasPrefix(path, "tmp/") {
			return err
		}
		content, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil {
			return err
		}
		header := &tar.Header{Name: path, Mode: 0o600, Size: int64(len(content)), Format: tar.FormatPAX}
		if err := w.WriteHeader(header); err != nil {
			return err
		}
		_, err = w.Write(content)
		return err
	})
	if err = errors.Join(err, w.Close(), zip.Close()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(archive, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func unpack(t *testing.T, archive, dir string) {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zip, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(zip); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.FromSlash(header.Name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, content, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}
