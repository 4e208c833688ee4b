package fsm

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// benchPackage is a package of about 2 KiB.
func benchPackage(b *testing.B, name string, version int) storage.PutPackage {
	b.Helper()
	text := strings.Repeat("about this package ", 80)
	tag := fmt.Sprint("v", version)
	p := model.Package{
		Name: name, Metadata: model.PackageMetadata{Description: &text, Tags: []string{"bench", tag}},
		Classes: []model.Class{{Key: "main"}}, Functions: []model.Function{{Key: "f", Config: map[string]string{"a": "b"}}},
	}
	return pkgCommand(b, p)
}

// BenchmarkPutPackage applies entries of one put each, in batches: what a
// replica does for b.N writes, without Raft.
func BenchmarkPutPackage(b *testing.B) {
	for _, batch := range []int{1, 16, 128} {
		b.Run(fmt.Sprint("batch=", batch), func(b *testing.B) {
			f := openFSM(b, b.TempDir())
			const names = 1000
			// The entries are made ahead; only the index is new in each round.
			entries := make([]*raft.Log, 2*names)
			for i := range entries {
				c := benchPackage(b, fmt.Sprintf("package-%04d", i%names), i/names)
				entries[i] = packLog(b, 1, 1, storage.Proposal{Request: storage.Request{Command: c}, At: noon})
			}
			b.SetBytes(int64(len(entries[0].Data)))
			b.ReportAllocs()
			b.ResetTimer()
			for done := 0; done < b.N; {
				n := min(batch, b.N-done)
				logs := make([]*raft.Log, n)
				for i := range logs {
					entry := *entries[(done+i)%len(entries)]
					entry.Index = uint64(done + i + 1)
					logs[i] = &entry
				}
				if err, failed := f.ApplyBatch(logs)[0].(error); failed {
					b.Fatal(err)
				}
				done += n
			}
		})
	}
}

// BenchmarkGetPackage reads one document of 2 KiB among a thousand.
func BenchmarkGetPackage(b *testing.B) {
	f := openFSM(b, b.TempDir())
	var proposals []storage.Proposal
	for i := range 1000 {
		c := benchPackage(b, fmt.Sprintf("package-%04d", i), 0)
		proposals = append(proposals, storage.Proposal{Request: storage.Request{Command: c}, At: noon})
	}
	apply(b, f, packLog(b, 1, 1, proposals...))
	key := storage.PackageKey("package-0500")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := f.View(func(r storage.Reader) error {
				doc, err := r.Get(key)
				if len(doc) < 1024 {
					b.Errorf("got %d bytes", len(doc))
				}
				return err
			}); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkDigest changes one document of 2 KiB in a digest.
func BenchmarkDigest(b *testing.B) {
	c := benchPackage(b, "package", 0)
	var d storage.Digest
	key := storage.PackageKey(c.Name)
	b.SetBytes(int64(len(c.Document)))
	b.ReportAllocs()
	for b.Loop() {
		d.Remove(key, c.Document)
		d.Add(key, c.Document)
	}
}
