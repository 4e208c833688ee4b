package cluster

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

func openInner(t *testing.T) *raftboltdb.BoltStore {
	t.Helper()
	inner, err := openBolt(filepath.Join(t.TempDir(), "log.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := inner.Close(); err != nil {
			t.Error(err)
		}
	})
	return inner
}

// Entries of releases that sealed nothing are read, sealed ones too, by this release
// and by those; what the disk changed is not. The caller's entries stay as they are.
func TestSealedLog(t *testing.T) {
	t.Parallel()
	inner := openInner(t)
	log := &sealedLog{inner: inner, file: "log.db", disk: &diskWatch{}}
	if err := inner.StoreLog(&raft.Log{Index: 1, Term: 1, Data: []byte("old")}); err != nil {
		t.Fatal(err)
	}
	mine := &raft.Log{Index: 2, Term: 1, Data: []byte("new")}
	if err := log.StoreLog(mine); err != nil {
		t.Fatal(err)
	}
	if mine.Extensions != nil {
		t.Error("the caller's entry was changed")
	}
	for index, want := range map[uint64]string{1: "old", 2: "new"} {
		var got, before raft.Log
		if err := errors.Join(log.GetLog(index, &got), inner.GetLog(index, &before)); err != nil {
			t.Fatal(err)
		}
		if string(got.Data) != want || got.Extensions != nil || string(before.Data) != want {
			t.Errorf("entry %d: got %+v, and by an older release %+v, want %s", index, got, before, want)
		}
	}
	var stored raft.Log
	if err := inner.GetLog(2, &stored); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*raft.Log){
		"data": func(l *raft.Log) { l.Data = []byte("nev") },
		"term": func(l *raft.Log) { l.Term = 2 },
		"type": func(l *raft.Log) { l.Type = raft.LogNoop },
		"seal": func(l *raft.Log) { l.Extensions = bytes.Repeat([]byte{1}, 5) },
		"kind": func(l *raft.Log) { l.Extensions[0] = 9 },
		"cut":  func(l *raft.Log) { l.Extensions = l.Extensions[:4] },
	} {
		changed := stored
		changed.Data, changed.Extensions = bytes.Clone(stored.Data), bytes.Clone(stored.Extensions)
		change(&changed)
		if err := inner.StoreLog(&changed); err != nil {
			t.Fatal(err)
		}
		var got raft.Log
		if err := log.GetLog(2, &got); !errors.Is(err, errSeal) || !strings.Contains(err.Error(), "log.db") {
			t.Errorf("%s changed: %v, want %v", name, err, errSeal)
		}
	}
	var none raft.Log
	if err := log.GetLog(9, &none); !errors.Is(err, raft.ErrLogNotFound) {
		t.Errorf("an entry that is not there: %v", err)
	}
}

func TestSealedStable(t *testing.T) {
	t.Parallel()
	inner := openInner(t)
	stable := &sealedStable{inner: inner, file: "stable.db", disk: &diskWatch{}}
	term, vote := []byte("CurrentTerm"), []byte("LastVoteCand")
	if _, err := stable.GetUint64(term); err == nil || err.Error() != "not found" { // the library compares the text
		t.Errorf("a term that is not there: %v", err)
	}
	if err := errors.Join(inner.SetUint64(term, 7), inner.Set(vote, []byte("abc"))); err != nil {
		t.Fatal(err)
	}
	wantStable(t, stable, 7, "abc")
	if err := errors.Join(stable.SetUint64(term, 8), stable.Set(vote, []byte("def"))); err != nil {
		t.Fatal(err)
	}
	wantStable(t, stable, 8, "def")
	if old, err := inner.GetUint64(term); err != nil || old != 8 {
		t.Errorf("an older release reads the term %d, %v", old, err)
	}
	for _, key := range [][]byte{term, vote} {
		whole, err := inner.Get(key)
		if err != nil {
			t.Fatal(err)
		}
		for i := range whole {
			changed := bytes.Clone(whole)
			changed[i] ^= 0x21
			if err := inner.Set(key, changed); err != nil {
				t.Fatal(err)
			}
			if bytes.Equal(key, term) {
				_, err = stable.GetUint64(key)
			} else {
				_, err = stable.Get(key)
			}
			if !errors.Is(err, errSeal) {
				t.Errorf("%s with byte %d changed: %v, want %v", key, i, err, errSeal)
			}
		}
		if err := inner.Set(key, whole); err != nil {
			t.Fatal(err)
		}
	}
	wantStable(t, stable, 8, "def")
}

func wantStable(t *testing.T, s raft.StableStore, term uint64, vote string) {
	t.Helper()
	gotTerm, termErr := s.GetUint64([]byte("CurrentTerm"))
	gotVote, voteErr := s.Get([]byte("LastVoteCand"))
	if err := errors.Join(termErr, voteErr); err != nil || gotTerm != term || string(gotVote) != vote {
		t.Errorf("term %d, vote %q, %v, want %d and %q", gotTerm, gotVote, err, term, vote)
	}
}

func BenchmarkSealedStore(b *testing.B) {
	entry := &raft.Log{Index: 1, Term: 1, Data: make([]byte, 2048)}
	b.ReportAllocs()
	for b.Loop() {
		_ = sealOf(entry)
	}
}
