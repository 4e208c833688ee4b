package fsm

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/bolt"
)

// noon is the proposers' clock in tests.
var noon = time.Date(2026, 3, 14, 12, 0, 0, 987654321, time.UTC)

// openFSM opens the state in dir and closes it with the test.
func openFSM(t testing.TB, dir string, change ...func(*Config)) *FSM {
	t.Helper()
	f, err := tryOpen(dir, change...)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return f
}

func tryOpen(dir string, change ...func(*Config)) (*FSM, error) {
	cfg := DefaultConfig(dir)
	cfg.BootID = "boot-1"
	for _, fn := range change {
		fn(&cfg)
	}
	f, err := Open(cfg)
	if err == nil {
		f.machine.maxEvents = keptEvents
	}
	return f, err
}

// keptEvents is how many events the state machines of tests keep: few enough
// that a short log makes them drop some.
const keptEvents = 25

func bootID(id string) func(*Config) { return func(c *Config) { c.BootID = id } }

// logEntry packs commands, each with a request id of its own, into a log entry.
func logEntry(t testing.TB, index uint64, commands ...storage.Command) *raft.Log {
	t.Helper()
	var proposals []storage.Proposal
	for i, c := range commands {
		id := fmt.Sprintf("request-%d-%d", index, i)
		proposals = append(proposals, storage.Proposal{Request: storage.Request{Command: c, ID: id}, At: noon})
	}
	return packLog(t, index, 1, proposals...)
}

func packLog(t testing.TB, index, term uint64, proposals ...storage.Proposal) *raft.Log {
	t.Helper()
	var encoded [][]byte
	for _, p := range proposals {
		b, err := EncodeProposal(p)
		if err != nil {
			t.Fatalf("encode %T: %v", p.Command, err)
		}
		encoded = append(encoded, b)
	}
	return &raft.Log{Index: index, Term: term, Type: raft.LogCommand, Data: PackEntry(encoded)}
}

// apply applies entries as one batch, which must not end in a fault.
func apply(t testing.TB, f *FSM, entries ...*raft.Log) [][]storage.Result {
	t.Helper()
	var results [][]storage.Result
	for i, response := range f.ApplyBatch(entries) {
		switch r := response.(type) {
		case nil:
			results = append(results, nil)
		case []storage.Result:
			results = append(results, r)
		default:
			t.Fatalf("apply entry %d: got %v", entries[i].Index, response)
		}
	}
	return results
}

// contents is everything that replicas must have in common, in words.
func contents(t testing.TB, f *FSM) string {
	t.Helper()
	var b bytes.Buffer
	index, err := f.View(func(r storage.Reader) error {
		return r.Scan(nil, nil, func(key, value []byte) (bool, error) {
			_, err := fmt.Fprintf(&b, "%q = %q\n", key, value)
			return true, err
		})
	})
	if err != nil {
		t.Fatalf("view: %v", err)
	}
	digest, at := f.Digest()
	if at != index || f.AppliedIndex() != index {
		t.Errorf("index of the view is %d, of the digest %d, applied %d, want all the same", index, at, f.AppliedIndex())
	}
	fmt.Fprintf(&b, "index %d digest %s cluster %s\n", index, digest, f.ClusterID())
	return b.String()
}

// checkDigest compares the incremental digest with the computed one.
func checkDigest(t testing.TB, f *FSM) {
	t.Helper()
	if _, err := f.View(func(r storage.Reader) error {
		want, err := storage.ComputeDigest(r)
		if got, index := f.Digest(); err == nil && got != want.String() {
			t.Errorf("digest at index %d: got %s, want %s", index, got, want)
		}
		return err
	}); err != nil {
		t.Fatalf("view: %v", err)
	}
}

// memorySink is a raft.SnapshotSink that keeps what it gets.
type memorySink struct {
	bytes.Buffer
	closed, canceled int
}

func (s *memorySink) ID() string    { return "memory" }
func (s *memorySink) Close() error  { s.closed++; return nil }
func (s *memorySink) Cancel() error { s.canceled++; return nil }

// snapshotOf returns a snapshot of the present state.
func snapshotOf(t testing.TB, f *FSM) []byte {
	t.Helper()
	snapshot, err := f.Snapshot()
	if err != nil {
		t.Fatalf("snapshot: %v", err)
	}
	defer snapshot.Release()
	var sink memorySink
	if err := snapshot.Persist(&sink); err != nil {
		t.Fatalf("persist: %v", err)
	}
	if sink.closed != 1 || sink.canceled != 0 {
		t.Errorf("sink was closed %d times and canceled %d times, want once and never", sink.closed, sink.canceled)
	}
	return sink.Bytes()
}

// mustMeta is what the state file says about itself.
func mustMeta(t testing.TB, f *FSM) (m bolt.Meta) {
	t.Helper()
	if err := f.db.View(func(_ storage.Reader, meta bolt.Meta) error {
		m = bolt.Meta{Index: meta.Index, Term: meta.Term, Digest: meta.Digest}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return m
}

// countingSource is a snapshot to restore that counts how often it is closed.
type countingSource struct {
	*bytes.Reader
	closed int
}

func (s *countingSource) Close() error { s.closed++; return nil }

func source(snapshot []byte) *countingSource {
	return &countingSource{Reader: bytes.NewReader(snapshot)}
}

func restore(t testing.TB, f *FSM, snapshot []byte) {
	t.Helper()
	if err := f.Restore(source(snapshot)); err != nil {
		t.Fatalf("restore: %v", err)
	}
}

// crashed returns a copy of a directory as a killed process leaves it behind:
// the kernel has all that was written.
func crashed(t testing.TB, dir string) string {
	t.Helper()
	left := t.TempDir()
	for _, name := range []string{stateFile, bootMarkFile} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(left, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return left
}

// pkgCommand is a put of a package.
func pkgCommand(t testing.TB, p model.Package) storage.PutPackage {
	t.Helper()
	p.SetDefaults()
	line, err := model.EncodePackage(p)
	if err != nil {
		t.Fatal(err)
	}
	c := storage.PutPackage{Name: p.Name, Document: line}
	c.Tags, c.Dependencies, c.Classes = p.IndexTerms()
	return c
}

// namedPackage is a put of a package with the class "main".
func namedPackage(t testing.TB, name string, dependencies ...string) storage.PutPackage {
	t.Helper()
	return pkgCommand(t, model.Package{Name: name, Dependencies: dependencies, Classes: []model.Class{{Key: "main"}}})
}

// deployCommand is a put of a deployment of the class "main".
func deployCommand(t testing.TB, key, pkg string, envs ...string) storage.PutDeployment {
	t.Helper()
	return encodeDeployment(t, model.Deployment{Key: key, PackageName: pkg, ClassKey: "main", TargetEnvs: envs})
}

func encodeDeployment(t testing.TB, d model.Deployment) storage.PutDeployment {
	t.Helper()
	d.SetDefaults()
	line, err := model.EncodeDeployment(d)
	if err != nil {
		t.Fatal(err)
	}
	return storage.PutDeployment{Key: d.Key, Document: line, Package: d.PackageName, Class: d.ClassKey, Environments: d.Environments()}
}

func stateCommand(t testing.TB, key, status string) storage.UpdateRuntimeState {
	t.Helper()
	line, err := model.EncodeRuntimeState(model.RuntimeState{Key: key, ClassKey: "main", DeploymentID: "d", Status: status})
	if err != nil {
		t.Fatal(err)
	}
	return storage.UpdateRuntimeState{Key: key, Document: line}
}

func forced(c storage.PutPackage) storage.PutPackage {
	c.Force = true
	return c
}

// clusterCommand is a put of a cluster.
func clusterCommand(t testing.TB, name string, manager model.ClusterManager, change ...func(*model.Cluster)) storage.PutCluster {
	t.Helper()
	cluster := model.Cluster{Name: name, BaseURL: "http://" + name, ManagedBy: manager}
	for _, fn := range change {
		fn(&cluster)
	}
	cluster.SetDefaults()
	line, err := model.EncodeCluster(cluster)
	if err != nil {
		t.Fatal(err)
	}
	return storage.PutCluster{Name: name, Document: line, ManagedBy: manager}
}

func healthCommand(cluster, status string) storage.RecordClusterHealth {
	return storage.RecordClusterHealth{Clusters: []storage.NamedHealth{{
		Name: cluster, Health: model.ClusterHealth{ClusterName: cluster, Status: status, LastSeen: noon},
	}}}
}

// about is an event about a deployment.
func about(deployment string) model.Event {
	return model.Event{At: noon, Type: model.EventNormal, Kind: model.EventAboutDeployment, Name: deployment, Reason: "Placed"}
}

// world is a machine over a state file, without the raft.FSM around it.
type world struct {
	testing.TB
	db      *bolt.DB
	machine *Machine
	index   uint64
	term    uint64
}

func newWorld(t testing.TB) *world {
	t.Helper()
	db, err := bolt.Open(bolt.Config{Path: filepath.Join(t.TempDir(), "state.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return &world{TB: t, db: db, machine: newMachine(), term: 5}
}

func newMachine() *Machine {
	m := NewMachine()
	m.maxEvents = keptEvents
	return m
}

// view reads what the world holds.
func (w *world) view(fn func(r storage.Reader) error) {
	w.Helper()
	if err := w.db.View(func(r storage.Reader, _ bolt.Meta) error { return fn(r) }); err != nil {
		w.Fatal(err)
	}
}

// run applies proposals as one entry.
func (w *world) run(proposals ...storage.Proposal) ([]storage.Result, []storage.Event) {
	w.Helper()
	w.index++
	var results []storage.Result
	var events []storage.Event
	err := w.db.Update(func(tx storage.Tx, m *bolt.Meta) (err error) {
		results, events, err = w.machine.Apply(tx, w.index, w.term, proposals)
		m.Index, m.Term = w.index, w.term
		return err
	})
	if err != nil {
		w.Fatalf("apply at index %d: %v", w.index, err)
	}
	return results, events
}

// do applies one command.
func (w *world) do(c storage.Command) storage.Result {
	w.Helper()
	results, _ := w.run(storage.Proposal{Request: storage.Request{Command: c}, At: noon})
	return results[0]
}

// must applies commands that must be accepted.
func (w *world) must(commands ...storage.Command) {
	w.Helper()
	for _, c := range commands {
		if result := w.do(c); result.Code != "" {
			w.Fatalf("apply %T: got %+v, want it accepted", c, result)
		}
	}
}

// register puts clusters, in no entry of their own.
func (w *world) register(clusters ...string) {
	w.Helper()
	err := w.db.Update(func(tx storage.Tx, _ *bolt.Meta) error {
		for _, name := range clusters {
			command := clusterCommand(w, name, model.ManagedByAPI)
			results, _, err := w.machine.Apply(tx, w.index, w.term, []storage.Proposal{{Request: storage.Request{Command: command}, At: noon}})
			if err != nil || results[0].Code != "" {
				return fmt.Errorf("register cluster %s: %+v, %w", name, results[0], err)
			}
		}
		return nil
	})
	if err != nil {
		w.Fatal(err)
	}
}

// digest is that of all keys except the request table.
func (w *world) digest() storage.Digest {
	w.Helper()
	var d storage.Digest
	err := w.db.View(func(r storage.Reader, _ bolt.Meta) error {
		return r.Scan(nil, nil, func(key, value []byte) (bool, error) {
			if !bytes.HasPrefix(key, []byte(storage.RequestPrefix)) {
				d.Add(key, value)
			}
			return true, nil
		})
	})
	if err != nil {
		w.Fatal(err)
	}
	return d
}
