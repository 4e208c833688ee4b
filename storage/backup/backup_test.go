package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/memory"
)

// sample is a state with some of everything.
func sample(t testing.TB, packages int) *memory.Tree {
	t.Helper()
	tree := memory.NewTree()
	put := func(key, value string) {
		if err := tree.Put([]byte(key), []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	put(string(storage.ClusterIDKey), "the cluster")
	put("system/event_sequence", "7")
	put("system/term_base", "5")
	put("system/restored", "{}")
	put("restores/r/0000000000", "not of a backup")
	for i := range packages {
		put(fmt.Sprintf("packages/p%05d", i), fmt.Sprintf("{\"resource_version\":%d,\n\"name\":\"p%05d\"}", i, i))
		put(fmt.Sprintf("index/tag/t\x00p%05d", i), "\x01")
	}
	put("deployments/d", "{}")
	put("requests/\x00\x00\x00\x00\x00\x00\x00\x07", "\x00")
	return tree
}

var written = Header{
	CreatedAt: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), Node: "n1", Release: "v1", Driver: "raft", Index: 42, Term: 3,
}

func fileOf(t testing.TB, r storage.Reader) ([]byte, Header) {
	t.Helper()
	var file bytes.Buffer
	h, err := Write(context.Background(), &file, written, r)
	if err != nil {
		t.Fatal(err)
	}
	return file.Bytes(), h
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for name, tree := range map[string]*memory.Tree{"empty": memory.NewTree(), "some": sample(t, 10), "many": sample(t, 20_000)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file, want := fileOf(t, tree)
			again := memory.NewTree()
			// One byte at a time: what a reader gives at once must not matter.
			source := io.Reader(bytes.NewReader(file))
			if len(file) < 10_000 {
				source = iotest.OneByteReader(source)
			}
			got, err := Read(source, func(key, value []byte) error {
				return again.Put(bytes.Clone(key), bytes.Clone(value))
			})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("header: -written +read\n%s", diff)
			}
			digest, err := storage.ComputeDigest(again)
			if err != nil || digest.String() != want.Digest {
				t.Errorf("digest of what was read: %s, %v, want %s", digest, err, want.Digest)
			}
			if staged, _ := again.Get(storage.RestorePartKey("r", 0)); staged != nil {
				t.Error("what is staged for a restore went into the backup")
			}
			content, err := storage.ContentDigest(tree)
			if err != nil || content.String() != want.ContentDigest {
				t.Errorf("content digest: %s, %v, header says %s", content, err, want.ContentDigest)
			}
		})
	}
}

func TestHeaderTellsWhatIsInside(t *testing.T) {
	t.Parallel()
	_, got := fileOf(t, sample(t, 3))
	want := written
	want.Format, want.ClusterID, want.TermBase, want.Keys, want.Bytes = 1, "the cluster", 5, 12, got.Bytes
	want.Documents = map[string]uint64{"package": 3, "deployment": 1}
	want.Digest, want.ContentDigest = got.Digest, got.ContentDigest
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("header: -want +got\n%s", diff)
	}
	if got.Digest == got.ContentDigest {
		t.Error("the content digest includes the cluster's id")
	}
}

// TestEveryByteCounts changes each byte of a backup in several ways, one at a time.
func TestEveryByteCounts(t *testing.T) {
	t.Parallel()
	file, _ := fileOf(t, sample(t, 20))
	for at := range file {
		for _, change := range []byte{0x01, 0x80, 0xff} {
			bad := bytes.Clone(file)
			bad[at] ^= change
			if _, err := Inspect(bytes.NewReader(bad)); err == nil {
				t.Fatalf("byte %d of %d was changed by %#x and nobody noticed", at, len(file), change)
			}
		}
	}
}

func TestRefusesWhatIsNotWhole(t *testing.T) {
	t.Parallel()
	file, _ := fileOf(t, sample(t, 20))
	var damage *DamagedError
	for n := range file {
		if _, err := Inspect(bytes.NewReader(file[:n])); !errors.As(err, &damage) {
			t.Fatalf("the first %d bytes of %d: got error %v, want damage", n, len(file), err)
		}
	}
	for _, tail := range []string{"x", string(file)} {
		if _, err := Inspect(bytes.NewReader(append(bytes.Clone(file), tail...))); !errors.As(err, &damage) {
			t.Errorf("%d bytes more: got error %v, want damage", len(tail), err)
		}
	}
}

func TestErrorsOfTheFileAreNotDamage(t *testing.T) {
	t.Parallel()
	file, _ := fileOf(t, sample(t, 2000))
	broken := errors.New("input/output error")
	for _, n := range []int{0, 5, 100, len(file) / 2, len(file) - 10} {
		_, err := Inspect(io.MultiReader(bytes.NewReader(file[:n]), iotest.ErrReader(broken)))
		var damage *DamagedError
		if !errors.Is(err, broken) || errors.As(err, &damage) {
			t.Errorf("a file that fails after %d bytes: got error %v, want %v", n, err, broken)
		}
	}
	// What a caller of Read says comes back as it is.
	if _, err := Read(bytes.NewReader(file), func(_, _ []byte) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("got error %v, want that of the caller", err)
	}
}

func TestWriteEndsWithItsContextAndItsWriter(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Write(ctx, io.Discard, written, sample(t, 10)); !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want %v", err, context.Canceled)
	}
	full := errors.New("no space left on device")
	for _, room := range []int{0, 5, 200, 400} {
		if _, err := Write(t.Context(), &smallDisk{room: room, err: full}, written, sample(t, 5000)); !errors.Is(err, full) {
			t.Errorf("a disk with room for %d bytes: got error %v, want %v", room, err, full)
		}
	}
}

type smallDisk struct {
	room int
	err  error
}

func (d *smallDisk) Write(p []byte) (int, error) {
	if d.room -= len(p); d.room < 0 {
		return 0, d.err
	}
	return len(p), nil
}

func FuzzInspect(f *testing.F) {
	file, _ := fileOf(f, sample(f, 3))
	f.Add(file)
	f.Add(file[:len(file)/2])
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := Inspect(bytes.NewReader(data))
		if err == nil && h.Format != Version {
			t.Errorf("a backup of format %d was accepted", h.Format)
		}
	})
}
