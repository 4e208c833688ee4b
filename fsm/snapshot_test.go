package fsm

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"

	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/bolt"
)

func TestSnapshotRestore(t *testing.T) {
	t.Parallel()
	f, g := openFSM(t, t.TempDir()), openFSM(t, t.TempDir())
	replay(t, f, newGenerator(t, 11).log(300), 1)
	replay(t, g, newGenerator(t, 12).log(100), 1)
	snapshot := snapshotOf(t, f)
	restore(t, g, snapshot)
	if diff := cmp.Diff(contents(t, f), contents(t, g)); diff != "" {
		t.Errorf("contents (-want +got):\n%s", diff)
	}
	checkDigest(t, g)
	// And a snapshot of the restored one is as good.
	h := openFSM(t, t.TempDir())
	restore(t, h, snapshotOf(t, g))
	if diff := cmp.Diff(contents(t, f), contents(t, h)); diff != "" {
		t.Errorf("contents after two hops (-want +got):\n%s", diff)
	}
	// An empty state makes a snapshot too.
	restore(t, openFSM(t, t.TempDir()), snapshotOf(t, openFSM(t, t.TempDir())))
}

// sealed appends the checksum that makes a snapshot look sound.
func sealed(b []byte) []byte {
	sum := sha256.Sum256(b)
	return append(bytes.Clone(b), sum[:]...)
}

func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	donor := openFSM(t, t.TempDir())
	replay(t, donor, newGenerator(t, 21).log(300), 1)
	good := snapshotOf(t, donor)
	body := good[:len(good)-sha256.Size]
	changed := func(b []byte, at int) []byte {
		b = bytes.Clone(b)
		b[at] ^= 0x10
		return b
	}
	noPages := bytes.Clone(body)
	clear(noPages[snapshotHeader+2*4096:])
	noise := bytes.Clone(body)
	for i := snapshotHeader + 2*4096; i < len(noise); i++ {
		noise[i] = byte(i * 7 >> 3)
	}
	shortFile := bytes.Clone(body[:snapshotHeader+3*4096])
	binary.BigEndian.PutUint64(shortFile[snapshotHeader-8:], 3*4096)

	tests := map[string]struct {
		data []byte
		want string
	}{
		"err_empty":           {nil, "header"},
		"err_header_cut":      {good[:snapshotHeader-1], "header"},
		"err_only_header":     {good[:snapshotHeader], "ends after 0 bytes"},
		"err_half":            {good[:len(good)/2], "ends after"},
		"err_checksum_cut":    {good[:len(good)-1], "damaged"},
		"err_no_checksum":     {body, "damaged"},
		"err_something_after": {append(bytes.Clone(good), 0), "damaged"},
		"err_magic":           {changed(good, 0), "not a snapshot"},
		"err_version":         {changed(good, len(snapshotMagic)), "version"},
		"err_index":           {changed(good, len(snapshotMagic)+8), "damaged"},
		"err_file":            {changed(good, len(good)/2), "damaged"},
		"err_checksum":        {changed(good, len(good)-1), "damaged"},
		"err_length":          {changed(good, snapshotHeader-8), "ends after"},
		"err_sealed_index":    {sealed(changed(body, len(snapshotMagic)+8)), "header says"},
		"err_sealed_digest":   {sealed(changed(body, len(snapshotMagic)+1+16)), "header says"},
		"err_sealed_no_file":  {sealed(append(append([]byte(nil), body[:snapshotHeader-8]...), make([]byte, 8)...)), ""},
		"err_sealed_no_pages": {sealed(noPages), ""},
		"err_sealed_noise":    {sealed(noise), ""},
		"err_sealed_short":    {sealed(shortFile), ""},
		"err_sealed_no_bolt":  {sealed(append(appendSnapshotHeader(nil, bolt.Meta{}, 4), "none"...)), ""},
		"err_wrong_digest":    {wrongDigest(t), "digest is"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			f := openFSM(t, dir)
			replay(t, f, newGenerator(t, 22).log(50), 1)
			before := contents(t, f)
			input := source(tt.data)
			err := f.Restore(input)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("restore: got error %v, want one that says %q", err, tt.want)
			}
			if input.closed != 1 {
				t.Errorf("the source was closed %d times, want once", input.closed)
			}
			if diff := cmp.Diff(before, contents(t, f)); diff != "" {
				t.Errorf("the state changed (-want +got):\n%s", diff)
			}
			if _, err := os.Stat(filepath.Join(dir, stateFile+".restore")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the refused file is still there: %v", err)
			}
			// The state goes on, and a good snapshot is welcome.
			apply(t, f, logEntry(t, 1000, namedPackage(t, "after")))
			restore(t, f, good)
		})
	}
}

// wrongDigest is a sound snapshot of a state whose digest is wrong.
func wrongDigest(t *testing.T) []byte {
	t.Helper()
	f := openFSM(t, t.TempDir())
	apply(t, f, logEntry(t, 1, namedPackage(t, "p")))
	if err := f.db.Update(func(_ storage.Tx, m *bolt.Meta) error { m.Digest[1]++; return nil }); err != nil {
		t.Fatal(err)
	}
	return snapshotOf(t, f)
}

// TestSnapshotBesideWrites streams a snapshot while the state changes.
func TestSnapshotBesideWrites(t *testing.T) {
	t.Parallel()
	log := newGenerator(t, 31).log(400)
	f := openFSM(t, t.TempDir())
	replay(t, f, log[:200], 1)
	want := contents(t, f)
	snapshot, err := f.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	var copied bytes.Buffer
	reader, writer := io.Pipe()
	var copying sync.WaitGroup
	copying.Go(func() {
		if err := snapshot.Persist(pipeSink{writer}); err != nil {
			t.Errorf("persist: %v", err)
		}
		snapshot.Release()
	})
	// A piece of the snapshot, some writes, and so on.
	for rest := log[200:]; ; {
		_, err := io.CopyN(&copied, reader, 16<<10)
		if len(rest) > 0 {
			n := min(len(rest), 20)
			apply(t, f, rest[:n]...)
			rest = rest[n:]
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	copying.Wait()
	g := openFSM(t, t.TempDir())
	restore(t, g, copied.Bytes())
	if diff := cmp.Diff(want, contents(t, g)); diff != "" {
		t.Errorf("contents (-want +got):\n%s", diff)
	}
	replay(t, g, log[200:], 2)
	replay(t, f, log, 2)
	if diff := cmp.Diff(contents(t, f), contents(t, g)); diff != "" {
		t.Errorf("contents after the same log (-want +got):\n%s", diff)
	}
}

type pipeSink struct{ *io.PipeWriter }

func (pipeSink) ID() string    { return "pipe" }
func (pipeSink) Cancel() error { return nil }

type brokenSink struct {
	memorySink
	closeErr error
	room     int
}

func (s *brokenSink) Write(b []byte) (int, error) {
	if s.room -= len(b); s.room < 0 {
		return 0, errors.New("disk full")
	}
	return len(b), nil
}

func (s *brokenSink) Close() error {
	s.closed++
	return s.closeErr
}

func TestPersistErrors(t *testing.T) {
	t.Parallel()
	f := openFSM(t, t.TempDir())
	apply(t, f, logEntry(t, 1, namedPackage(t, "p")))
	size := len(snapshotOf(t, f))
	for _, room := range []int{0, snapshotHeader, snapshotHeader + 5000, size - 1} {
		snapshot, err := f.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		sink := &brokenSink{room: room}
		if err := snapshot.Persist(sink); err == nil || sink.canceled != 1 || sink.closed != 0 {
			t.Errorf("room for %d bytes: got error %v, %d cancels, %d closes, want an error, one and none", room, err, sink.canceled, sink.closed)
		}
		snapshot.Release()
		snapshot.Release()
	}
	snapshot, err := f.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snapshot.Release()
	broken := errors.New("broken")
	if err := snapshot.Persist(&brokenSink{room: size, closeErr: broken}); !errors.Is(err, broken) {
		t.Errorf("persist: got error %v, want %v", err, broken)
	}
}

// TestRestoreWaitsForNobody: Raft's goroutine, which waits for Restore, must not
// depend on a snapshot that is being taken, which waits for Raft's goroutine.
func TestRestoreWaitsForNobody(t *testing.T) {
	t.Parallel()
	donor := openFSM(t, t.TempDir())
	apply(t, donor, logEntry(t, 50, namedPackage(t, "new")))
	donated := snapshotOf(t, donor)

	f := openFSM(t, t.TempDir())
	apply(t, f, logEntry(t, 1, namedPackage(t, "old")))
	before := contents(t, f)
	snapshot, err := f.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.View(func(r storage.Reader) error {
		restore(t, f, donated)
		// The old view stays what it was, new ones see the new state.
		for name, want := range map[string]bool{"old": true, "new": false} {
			if doc, err := r.Get(storage.PackageKey(name)); (doc != nil) != want || err != nil {
				t.Errorf("%s in the old view: got %q, %v", name, doc, err)
			}
		}
		if got := contents(t, f); got == before {
			t.Error("a new view shows the old state")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	apply(t, f, logEntry(t, 51, namedPackage(t, "newer")))
	var sink memorySink
	if err := snapshot.Persist(&sink); err != nil {
		t.Fatalf("persist a snapshot from before the restore: %v", err)
	}
	snapshot.Release()
	g := openFSM(t, t.TempDir())
	restore(t, g, sink.Bytes())
	if diff := cmp.Diff(before, contents(t, g)); diff != "" {
		t.Errorf("the snapshot from before the restore (-want +got):\n%s", diff)
	}
}

func TestViewsBesideRestores(t *testing.T) {
	t.Parallel()
	f := openFSM(t, t.TempDir())
	var snapshots [][]byte
	states := map[uint64]string{0: f.ClusterID()}
	for i := range uint64(4) {
		donor := openFSM(t, t.TempDir())
		index := 10 * (i + 1)
		apply(t, donor, logEntry(t, index, namedPackage(t, fmt.Sprint("p", index))))
		snapshots, states[index] = append(snapshots, snapshotOf(t, donor)), fmt.Sprint("p", index)
	}
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				index, err := f.View(func(storage.Reader) error { return nil })
				if err == nil {
					_, err = f.View(func(r storage.Reader) error {
						return storage.ScanPrefix(r, []byte(storage.PackagePrefix), func(_, doc []byte) (bool, error) {
							if storage.ResourceVersion(doc) < index {
								return false, fmt.Errorf("a later view is older than %d: %s", index, doc)
							}
							return true, nil
						})
					})
				}
				if err != nil {
					t.Errorf("view: %v", err)
					return
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for _, snapshot := range snapshots {
		restore(t, f, snapshot)
	}
	close(stop)
	readers.Wait()
}

func TestRestoreTellsWatchersAndWaiters(t *testing.T) {
	t.Parallel()
	donor := openFSM(t, t.TempDir())
	apply(t, donor, logEntry(t, 50, storage.MintClusterID{ClusterID: "other"}, namedPackage(t, "new")))
	f := openFSM(t, t.TempDir())
	apply(t, f, logEntry(t, 1, namedPackage(t, "old")))
	w, err := f.Watch(storage.WatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	reached := make(chan error, 1)
	var waiting sync.WaitGroup
	waiting.Go(func() { reached <- f.WaitApplied(t.Context(), 50) })
	restore(t, f, snapshotOf(t, donor))
	waiting.Wait()
	if err := <-reached; err != nil {
		t.Errorf("wait for the index of the snapshot: %v", err)
	}
	var compacted *storage.CompactedError
	if _, _, err := w.Next(t.Context()); !errors.As(err, &compacted) || compacted.Oldest != 50 {
		t.Errorf("next: got error %v, want a *CompactedError with oldest 50", err)
	}
	if got, want := f.ClusterID(), "other"; got != want {
		t.Errorf("cluster id: got %q, want %q", got, want)
	}
	// The request table came with the snapshot.
	results := apply(t, f, packLog(t, 51, 1, storage.Proposal{
		Request: storage.Request{ID: "request-50-1", Command: namedPackage(t, "new")}, At: noon,
	}))
	if !results[0][0].Duplicate || results[0][0].Index != 50 {
		t.Errorf("a request from before the snapshot: got %+v, want a duplicate of index 50", results[0][0])
	}
	resumed, err := f.Watch(storage.WatchOptions{Since: 50})
	if err != nil {
		t.Fatal(err)
	}
	defer resumed.Close()
	apply(t, f, logEntry(t, 52, namedPackage(t, "newer")))
	if events, _, err := resumed.Next(t.Context()); err != nil || len(events) != 1 || events[0].Index != 52 {
		t.Errorf("resumed: got %v, %v, want the event of 52", events, err)
	}
}

// snapshotStore is Raft's, with one snapshot of f at Raft's index.
func snapshotStore(t *testing.T, dir string, f *FSM, index uint64) raft.SnapshotStore {
	t.Helper()
	store, err := raft.NewFileSnapshotStore(dir, 2, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if f == nil {
		return store
	}
	_, transport := raft.NewInmemTransport("a")
	sink, err := store.Create(raft.SnapshotVersionMax, index, 1, raft.Configuration{}, 1, transport)
	if err != nil {
		t.Fatal(err)
	}
	snapshot, err := f.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snapshot.Release()
	if err := snapshot.Persist(sink); err != nil {
		t.Fatal(err)
	}
	return store
}

func TestPrepareForStart(t *testing.T) {
	t.Parallel()
	log := newGenerator(t, 41).log(300)
	want, half := openFSM(t, t.TempDir()), openFSM(t, t.TempDir())
	replay(t, want, log, 1)
	replay(t, half, log[:150], 1)
	// Raft's own index counts entries that the state machine does not see.
	raftIndex := log[150].Index - 1 + 2
	rebuild := func(t *testing.T, f *FSM, from []*raft.Log) {
		t.Helper()
		replay(t, f, from, 2)
		if diff := cmp.Diff(contents(t, want), contents(t, f)); diff != "" {
			t.Errorf("contents (-want +got):\n%s", diff)
		}
	}
	prepare := func(t *testing.T, f *FSM, snapshots raft.SnapshotStore) {
		t.Helper()
		if err := f.PrepareForStart(snapshots); err != nil {
			t.Fatalf("prepare: %v", err)
		}
	}
	t.Run("ok_rebuilt_after_power_loss", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		before := openFSM(t, dir)
		replay(t, before, log[:250], 3)
		f := openFSM(t, crashed(t, dir), bootID("boot-2"))
		prepare(t, f, snapshotStore(t, t.TempDir(), half, raftIndex))
		if got, want := f.AppliedIndex(), half.AppliedIndex(); got != want {
			t.Errorf("applied index: got %d, want that of the snapshot, %d", got, want)
		}
		rebuild(t, f, log[150:])
	})
	t.Run("ok_state_is_newer", func(t *testing.T) {
		t.Parallel()
		f := openFSM(t, t.TempDir())
		replay(t, f, log[:250], 3)
		at := f.AppliedIndex()
		prepare(t, f, snapshotStore(t, t.TempDir(), half, raftIndex))
		if got := f.AppliedIndex(); got != at {
			t.Errorf("applied index: got %d, want it untouched, %d", got, at)
		}
		rebuild(t, f, log[150:])
	})
	t.Run("ok_state_is_as_new_as_the_content", func(t *testing.T) {
		t.Parallel()
		f := openFSM(t, t.TempDir())
		replay(t, f, log[:150], 3)
		prepare(t, f, snapshotStore(t, t.TempDir(), half, raftIndex))
		// A restore would have forgotten the history.
		w, err := f.Watch(storage.WatchOptions{Since: log[100].Index})
		if err != nil {
			t.Errorf("the state was restored for nothing: %v", err)
		} else {
			w.Close()
		}
		rebuild(t, f, log[150:])
	})
	t.Run("ok_no_snapshot", func(t *testing.T) {
		t.Parallel()
		f := openFSM(t, t.TempDir())
		prepare(t, f, snapshotStore(t, t.TempDir(), nil, 0))
		rebuild(t, f, log)
	})
	t.Run("err_snapshot_unusable", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		store := snapshotStore(t, dir, half, raftIndex)
		files, err := filepath.Glob(filepath.Join(dir, "snapshots", "*", "state.bin"))
		if err != nil || len(files) != 1 {
			t.Fatalf("snapshot files: %v, %v", files, err)
		}
		for _, length := range []int64{1000, int64(snapshotHeader) - 1, 0} {
			if err := os.Truncate(files[0], length); err != nil {
				t.Fatal(err)
			}
			f := openFSM(t, t.TempDir())
			if err := f.PrepareForStart(store); err == nil || !strings.Contains(err.Error(), "not usable") {
				t.Errorf("prepare with %d bytes: got error %v, want one", length, err)
			}
			if got := f.AppliedIndex(); got != 0 {
				t.Errorf("applied index: got %d, want 0", got)
			}
		}
	})
}
