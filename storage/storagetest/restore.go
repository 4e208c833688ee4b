package storagetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/backup"
)

// restoreTests replace all that the store holds, so each spends one.
var restoreTests = []storeTest{
	{"restore/ok_earlier_state", testRestoreEarlier},
	{"restore/ok_fresh_store", testRestoreFresh},
	{"restore/ok_later_index", testRestoreLaterIndex},
	{"restore/err_damaged", testRestoreDamaged},
	{"restore/err_documents", testRestoreDocuments},
	{"restore/err_aborted", testRestoreAborted},
	{"restore/err_overtaken", testRestoreOvertaken},
	{"restore/ok_committed_twice", testRestoreTwice},
	{"restore/ok_leader_run_begins_anew", testRestoreLeader},
	{"restore/ok_beside_writes", testRestoreBesideWrites},
}

// save makes a backup of the store.
func (e *env) save() ([]byte, backup.Header) {
	e.Helper()
	ctx, cancel := e.step()
	defer cancel()
	var file bytes.Buffer
	h, err := backup.Save(ctx, e.store, &file, backup.SaveOptions{Node: "n", Driver: "test", Dir: e.TempDir(), At: time.Now()})
	if err != nil {
		e.Fatalf("save: %v", err)
	}
	return file.Bytes(), h
}

func (e *env) restore(file []byte, force bool) (backup.Header, storage.Result, error) {
	e.Helper()
	ctx, cancel := e.step()
	defer cancel()
	return backup.Restore(ctx, e.store, bytes.NewReader(file), backup.RestoreOptions{Force: force})
}

// mustRestore restores and compares what is there afterwards.
func (e *env) mustRestore(file []byte, force bool) storage.Result {
	e.Helper()
	h, result, err := e.restore(file, force)
	if err != nil {
		e.Fatalf("restore: %v", err)
	}
	if result.Index <= h.Index {
		e.Errorf("a backup of index %d was restored at index %d", h.Index, result.Index)
	}
	e.view(func(r storage.Reader) error {
		restored, ok, err := storage.ReadRestored(r)
		if err != nil || !ok || restored.Index != result.Index || restored.FromIndex != h.Index {
			e.Errorf("the state says that %+v was restored, %v, want index %d from %d", restored, err, result.Index, h.Index)
		}
		return nil
	})
	return result
}

// content is the content digest without requests, which anything adds to.
func (e *env) content() string {
	e.Helper()
	var digest storage.Digest
	e.view(func(r storage.Reader) (err error) {
		if digest, err = storage.ContentDigest(r); err != nil {
			return err
		}
		return storage.ScanPrefix(r, []byte(storage.RequestPrefix), func(key, value []byte) (bool, error) {
			digest.Remove(key, value)
			return true, nil
		})
	})
	return digest.String()
}

func testRestoreEarlier(e *env) {
	p, d, _ := e.deployed()
	e.withUnit(d, 1)
	req := storage.Request{ID: rand.Text(), Command: e.runtimeState(e.name("s"), "on", 0)}
	if _, err := e.send(req); err != nil {
		e.Fatal(err)
	}
	file, h := e.save()
	want := e.content()
	before := e.get(storage.PackageKey(p.name))

	lost := storage.Request{ID: rand.Text(), Command: e.runtimeState(e.name("s"), "off", 0)}
	if _, err := e.send(lost); err != nil {
		e.Fatal(err)
	}
	other := e.name("other")
	e.accept(e.put(pkg{name: other}))
	p.version = "9"
	changed := e.accept(e.put(p))
	w := e.watch(storage.WatchOptions{Since: changed.Index, Kinds: []storage.Kind{storage.KindPackage}})

	result := e.mustRestore(file, true)
	same(e, "content", want, e.content())
	same(e, "a package's bytes", string(before), string(e.get(storage.PackageKey(p.name))))
	e.wantAbsent(storage.PackageKey(other))
	same(e, "units", 1, len(e.units(d.key)))
	if result.Index <= changed.Index || h.Index > changed.Index {
		e.Errorf("index %d of the restore, %d of the last change, %d of the backup", result.Index, changed.Index, h.Index)
	}
	seen := map[string]storage.EventType{}
	for _, event := range e.until(w, result.Index) {
		seen[event.Key] = event.Type
	}
	same(e, "events", map[string]storage.EventType{p.name: storage.EventPut, other: storage.EventDelete}, seen)

	// The backup's requests are known, those since are not.
	e.repeat(req)
	if again, err := e.send(lost); err != nil || again.Duplicate {
		e.Errorf("a request since the backup: got %+v, %v, want it done again", again, err)
	}
}

func testRestoreFresh(e *env) {
	p, _, _ := e.deployed()
	file, h := e.save()
	id := e.get(storage.ClusterIDKey)
	want := e.content()
	fresh := e.suite.env(e.T, e.open(e.T))
	own := fresh.get(storage.ClusterIDKey)
	fresh.mustRestore(file, false)
	same(e, "content", want, fresh.content())
	same(e, "cluster id", string(own), string(fresh.get(storage.ClusterIDKey)))
	if len(own) > 0 && bytes.Equal(own, id) {
		e.Errorf("two clusters have the id %s", own)
	}
	fresh.view(func(r storage.Reader) error {
		base, err := storage.TermBase(r)
		if base <= h.Term {
			e.Errorf("term base after the restore: %d, want more than term %d of the backup", base, h.Term)
		}
		return err
	})
	// It goes on from there.
	p.version = "2"
	if result := fresh.accept(fresh.put(p)); result.ResourceVersion <= h.Index {
		e.Errorf("a version after the restore is %d, the backup was of index %d", result.ResourceVersion, h.Index)
	}
}

// raised is the file as if it had been made at a later index.
func (e *env) raised(index uint64) ([]byte, backup.Header) {
	e.Helper()
	var file bytes.Buffer
	var h backup.Header
	e.view(func(r storage.Reader) (err error) {
		file.Reset()
		h, err = backup.Write(e.ctx, &file, backup.Header{Index: index, Term: 3}, r)
		return err
	})
	return file.Bytes(), h
}

// testRestoreLaterIndex restores what a cluster with a longer past made: no index may
// be given out again.
func testRestoreLaterIndex(e *env) {
	e.deployed()
	at := e.accept(e.put(pkg{name: e.name("p")})).Index
	want := e.content()
	for i := range uint64(2) {
		later := at + 5000*(i+1)
		file, _ := e.raised(later)
		if result := e.mustRestore(file, true); result.Index <= later {
			e.Errorf("restored at index %d, want one after %d", result.Index, later)
		}
		same(e, "content", want, e.content())
		name := e.name("q")
		result := e.accept(e.put(pkg{name: name}))
		if result.Index <= later {
			e.Errorf("a write after the restore has index %d, want one after %d", result.Index, later)
		}
		e.accept(storage.DeletePackage{Name: name})
	}
}

func testRestoreDamaged(e *env) {
	e.deployed()
	file, _ := e.save()
	e.accept(e.put(pkg{name: e.name("p")}))
	want := e.content()
	for _, at := range []int{0, 8, 20, len(file) / 2, len(file) - 1} {
		bad := bytes.Clone(file)
		bad[at] ^= 0x40
		_, _, err := e.restore(bad, true)
		e.wantCode(err, model.CodeInvalid)
		// And if nobody had looked before.
		e.reject(model.CodeInvalid, e.stage(bad))
		same(e, fmt.Sprint("content after byte ", at, " was changed"), want, e.content())
	}
	_, _, err := e.restore(file[:len(file)-1], true)
	e.wantCode(err, model.CodeInvalid)
	same(e, "content", want, e.content())
}

// stage stages a file by hand and returns the command that restores it.
func (e *env) stage(file []byte) storage.CommitRestore {
	e.Helper()
	c := storage.CommitRestore{ID: rand.Text(), Sha256: sha256.Sum256(file), Force: true}
	for size := max(1, len(file)/3+1); len(file) > 0; c.Parts++ {
		n := min(size, len(file))
		e.accept(storage.StageRestore{ID: c.ID, Part: c.Parts, Data: file[:n]})
		file = file[n:]
	}
	return c
}

func testRestoreDocuments(e *env) {
	file, _ := e.save()
	e.deployed()
	want := e.content()
	_, _, err := e.restore(file, false)
	e.wantCode(err, model.CodeConflict)
	c := e.stage(file)
	c.Force = false
	e.reject(model.CodeConflict, c)
	same(e, "content", want, e.content())
	c.Force = true
	e.accept(c)
	if e.content() == want {
		e.Error("a forced restore changed nothing")
	}
}

func testRestoreAborted(e *env) {
	file, _ := e.save()
	e.deployed()
	want := e.content()
	c := e.stage(file)
	e.accept(storage.AbortRestore{ID: c.ID})
	e.reject(model.CodeConflict, c)
	same(e, "content", want, e.content())
	e.view(func(r storage.Reader) error {
		return storage.ScanPrefix(r, []byte(storage.RestorePrefix), func(key, _ []byte) (bool, error) {
			e.Errorf("%q is left", key)
			return true, nil
		})
	})
}

func testRestoreOvertaken(e *env) {
	file, _ := e.save()
	first := e.stage(file)
	second := e.stage(file)
	e.reject(model.CodeConflict, first)
	e.accept(second)
}

func testRestoreTwice(e *env) {
	file, _ := e.save()
	c := e.stage(file)
	first := e.accept(c)
	name := e.name("p")
	e.accept(e.put(pkg{name: name}))
	again := e.accept(c)
	if again.Index != first.Index {
		e.Errorf("the same restore again: got %+v, want %+v", again, first)
	}
	e.get(storage.PackageKey(name))
}

// testRestoreLeader restores under a leader run: it ends, and the next one finds the
// new state.
func testRestoreLeader(e *env) {
	file, _ := e.save()
	e.deployed()
	store := e.leader(e.T, e.store)
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	began := make(chan uint64)
	var done sync.WaitGroup
	done.Go(func() {
		err := store.Lead(ctx, func(ctx context.Context, _ uint64) {
			select {
			case began <- store.Status().AppliedIndex:
			case <-ctx.Done():
			}
			<-ctx.Done()
		})
		if !errors.Is(err, context.Canceled) {
			e.Errorf("lead: %v", err)
		}
	})
	next := func() uint64 {
		step, stop := e.step()
		defer stop()
		select {
		case index := <-began:
			return index
		case <-step.Done():
			cancel()
			done.Wait()
			e.Fatal("no leader run began")
			return 0
		}
	}
	next()
	result := e.mustRestore(file, true)
	if index := next(); index < result.Index {
		e.Errorf("the next leader run began at index %d, before the restore at %d was applied", index, result.Index)
	}
	cancel()
	done.Wait()
}

// testRestoreBesideWrites restores while others write: every write is of before or of
// after the restore, and whoever was answered after it finds it.
func testRestoreBesideWrites(e *env) {
	for range 20 {
		e.accept(e.put(pkg{name: e.name("p")}))
	}
	file, _ := e.save()
	stop := make(chan struct{})
	var writers sync.WaitGroup
	var mu sync.Mutex
	kept := map[string]uint64{}
	for i := range 3 {
		writers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				name := fmt.Sprintf("writer-%d-%d", i, n)
				ctx, cancel := e.step()
				result, err := e.store.Apply(ctx, storage.Request{Command: e.put(pkg{name: name})})
				cancel()
				if err != nil {
					e.Errorf("write %s: %v", name, err)
					return
				}
				mu.Lock()
				kept[name] = result.Index
				mu.Unlock()
			}
		})
	}
	result := e.mustRestore(file, true)
	close(stop)
	writers.Wait()
	e.view(func(r storage.Reader) error {
		for name, index := range kept {
			document, err := r.Get(storage.PackageKey(name))
			if err != nil {
				return err
			}
			if (document != nil) != (index > result.Index) {
				e.Errorf("%s was written at index %d, restored at %d: there %t", name, index, result.Index, document != nil)
			}
		}
		return nil
	})
}
