package fsm

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/storage"
)

// maxGrowth is how much memory a decoder may take per byte of input, beside a
// constant: the Go values are larger than their encoding, but not out of bounds.
const maxGrowth = 64

// bounded fails when fn allocates out of proportion to its input.
func bounded(t *testing.T, input []byte, fn func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	if got, limit := after.TotalAlloc-before.TotalAlloc, uint64(1<<20+maxGrowth*len(input)); got > limit {
		t.Errorf("decoding %d bytes allocated %d, want at most %d", len(input), got, limit)
	}
}

// TestDecodersAreBounded gives the decoders counts that their input cannot keep.
func TestDecodersAreBounded(t *testing.T) {
	const size = 1 << 20
	noise := bytes.Repeat([]byte{0xff}, size)
	counted := func(head []byte, perElement int) []byte {
		return append(binary.AppendUvarint(head, uint64(size/perElement)), noise...)
	}
	head := append([]byte{proposalVersion, byte(kindRecordUnitStatus), 0, 0, 0, 0}, make([]byte, 8+1)...)
	withKind := func(head []byte, k kind) []byte {
		head = bytes.Clone(head[:len(head)-1]) // There is no generation.
		head[1] = byte(k)
		return head
	}
	inputs := map[string][]byte{
		"entry":    counted([]byte{entryVersion}, minProposal+1),
		"units":    counted(bytes.Clone(head), 3),
		"removals": counted(append(bytes.Clone(head), 0), 2),
		"health":   counted(withKind(head, kindRecordClusterHealth), 2),
		"events":   counted(withKind(head, kindRecordEvents), 3),
		"result":   counted(make([]byte, 7), 2),
		"requests": counted(nil, minRemembered),
	}
	for name, data := range inputs {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, entryErr := UnpackEntry(data)
			_, proposalErr := DecodeProposal(data)
			_, resultErr := DecodeResult(data)
			_, requestsErr := decodeRequests(data)
			runtime.ReadMemStats(&after)
			if entryErr == nil || proposalErr == nil || resultErr == nil || requestsErr == nil {
				t.Errorf("noise was decoded: %v, %v, %v, %v", entryErr, proposalErr, resultErr, requestsErr)
			}
			if got := after.TotalAlloc - before.TotalAlloc; got > 16*size {
				t.Errorf("%d bytes of noise took %d bytes of memory", size, got)
			}
		})
	}
}

func goldenSeeds(f *testing.F, pattern string) {
	files, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds %s: %v", pattern, err)
	}
	for _, file := range files {
		f.Add(readGolden(f, file))
	}
}

func FuzzDecodeProposal(f *testing.F) {
	goldenSeeds(f, "proposal_*.hex")
	f.Fuzz(func(t *testing.T, data []byte) {
		PeekKey(data)
		var p storage.Proposal
		var err error
		bounded(t, data, func() { p, err = DecodeProposal(data) })
		if err != nil {
			return
		}
		// What can be decoded means the same after another round.
		k, key, payload, err := encodeCommand(p.Command)
		if err != nil {
			t.Fatalf("encode what was decoded: %v", err)
		}
		d := decoder{rest: payload}
		again := d.command(k, key)
		if d.err != nil || !cmp.Equal(p.Command, again, compareCommands) {
			t.Errorf("second round: got %+v, %v, want %+v", again, d.err, p.Command)
		}
	})
}

func FuzzUnpackEntry(f *testing.F) {
	goldenSeeds(f, "entry_*.hex")
	f.Fuzz(func(t *testing.T, data []byte) {
		bounded(t, data, func() {
			if proposals, err := UnpackEntry(data); err != nil && proposals != nil {
				t.Errorf("got %d proposals beside the error %v", len(proposals), err)
			}
		})
	})
}

func FuzzDecodeResult(f *testing.F) {
	goldenSeeds(f, "result.hex")
	f.Fuzz(func(t *testing.T, data []byte) {
		bounded(t, data, func() {
			r, err := DecodeResult(data)
			if err != nil {
				return
			}
			again, err := DecodeResult(AppendResult(nil, r))
			if err != nil || again.Err() != nil && again.Err().Error() != r.Err().Error() || again.Index != r.Index {
				t.Errorf("second round: got %+v, %v, want %+v", again, err, r)
			}
		})
	})
}

func FuzzDecodeRequests(f *testing.F) {
	goldenSeeds(f, "requests.hex")
	f.Fuzz(func(t *testing.T, data []byte) {
		bounded(t, data, func() {
			if requests, err := decodeRequests(data); err == nil {
				if _, err := decodeRequests(encodeRequests(requests)); err != nil {
					t.Errorf("second round: %v", err)
				}
			}
		})
	})
}

// FuzzRestore hands over garbage, as it is and with a checksum that makes it look
// sound: it is refused and the state stays, or it is a snapshot.
func FuzzRestore(f *testing.F) {
	state := openFSM(f, f.TempDir())
	apply(f, state, logEntry(f, 1, namedPackage(f, "p")), logEntry(f, 2, namedPackage(f, "q", "p")))
	snapshot := snapshotOf(f, state)
	// The head, which is what decides; the whole is too long to mutate well.
	f.Add(snapshot[:snapshotHeader+256], false)
	f.Add(snapshot[:len(snapshot)-sha256.Size], true)
	f.Add([]byte{}, false)
	f.Add(appendSnapshotHeader(nil, mustMeta(f, state), 0), true)
	before := contents(f, state)
	f.Fuzz(func(t *testing.T, data []byte, seal bool) {
		if seal {
			sum := sha256.Sum256(data)
			data = append(bytes.Clone(data), sum[:]...)
		}
		input := source(data)
		err := state.Restore(input)
		if input.closed != 1 {
			t.Errorf("the source was closed %d times, want once", input.closed)
		}
		if fault := state.faulted(); fault != nil {
			t.Fatalf("garbage stopped the state machine: %v", fault)
		}
		if err == nil {
			checkDigest(t, state)
			restore(t, state, snapshot)
		}
		if after := contents(t, state); after != before {
			t.Errorf("state after error %v:\n%s\nwant\n%s", err, after, before)
		}
	})
}
