package fsm

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/bolt"
)

// The files in testdata pin every encoding that was ever shipped. With -update a
// missing one is written; one that exists is never changed, because logs and
// snapshots in the field hold what it holds. A new encoding gets a new version
// and a new file, and the old file stays.
var updateGolden = flag.Bool("update", false, "write golden files that are missing")

// golden compares got with a file of hexadecimal lines.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name+".hex")
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) && *updateGolden {
		if err := os.WriteFile(path, hexLines(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if err != nil {
		t.Fatalf("%v (write missing files with -update)", err)
	}
	if diff := cmp.Diff(string(text), string(hexLines(got))); diff != "" {
		t.Errorf("%s: the encoding changed, which no log in the field survives (-want +got):\n%s", path, diff)
	}
}

// hexLines is a dump that can be read in a diff and read back.
func hexLines(b []byte) []byte {
	var out bytes.Buffer
	for len(b) > 0 {
		n := min(32, len(b))
		printable := bytes.Map(func(r rune) rune {
			if r < ' ' || r > '~' {
				return '.'
			}
			return r
		}, b[:n])
		fmt.Fprintf(&out, "%-64x  %s\n", b[:n], printable)
		b = b[n:]
	}
	return out.Bytes()
}

func readGolden(t testing.TB, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	for line := range strings.Lines(string(text)) {
		digits, _, _ := strings.Cut(line, " ")
		b, err := hex.DecodeString(digits)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		out = append(out, b...)
	}
	return out
}

// goldenProposals has every kind of command, with every field set. It uses
// literal bytes, so that a change of the documents' own encoding is no change
// here.
func goldenProposals() map[string]storage.Proposal {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6789, time.UTC)
	propose := func(c storage.Command) storage.Proposal {
		return storage.Proposal{Request: storage.Request{Command: c, ID: "request-1", LeaderTerm: 300}, At: at}
	}
	return map[string]storage.Proposal{
		"barrier":         propose(storage.Barrier{}),
		"mint_cluster_id": propose(storage.MintClusterID{ClusterID: "5f2b"}),
		"put_package": propose(storage.PutPackage{
			Name: "shop", Mode: storage.Update, IfMatch: 1000, Document: []byte(`"name":"shop"`),
			Tags: []string{"a", "b"}, Dependencies: []string{"base"}, Classes: []string{"cart", "user"},
		}),
		"delete_package": propose(storage.DeletePackage{Name: "shop", IfMatch: 7, Cascade: true}),
		"put_deployment": propose(storage.PutDeployment{
			Key: "shop-eu", Mode: storage.Create, IfMatch: 9, Document: []byte(`"key":"shop-eu"`),
			Package: "shop", Class: "cart", Environments: []string{"east", "west"},
		}),
		"delete_deployment": propose(storage.DeleteDeployment{Key: "shop-eu", IfMatch: 8}),
		"record_unit_status": propose(storage.RecordUnitStatus{
			Deployment: "shop-eu", Generation: 2, Forget: true,
			Put: []model.UnitStatus{{
				ID: "u1", DeploymentKey: "shop-eu", Cluster: "east", Generation: 2, Phase: model.UnitRunning, CRMID: "c",
				Message: "m", LastError: "e", Attempts: 3, LastTransitionTime: at,
			}},
			Remove:   []storage.UnitRef{{Cluster: "west", Unit: "u0"}},
			Observed: &model.DeploymentObserved{ObservedGeneration: 2, Condition: model.DeploymentRunning},
		}),
		"update_runtime_state": propose(storage.UpdateRuntimeState{Key: "s", IfMatch: 6, Document: []byte(`"key":"s"`)}),
		"put_package_forced": propose(storage.PutPackage{
			Name: "shop", Mode: storage.Update, IfMatch: 1000, Document: []byte(`"name":"shop"`),
			Tags: []string{"a", "b"}, Dependencies: []string{"base"}, Classes: []string{"cart"}, Force: true,
		}),
		"record_deployment": propose(goldenRecord(at)),
		"put_cluster": propose(storage.PutCluster{
			Name: "east", Mode: storage.Update, IfMatch: 11, Document: []byte(`"name":"east"`), ManagedBy: model.ManagedByConfig,
		}),
		"delete_cluster": propose(storage.DeleteCluster{Name: "east", IfMatch: 12, Force: true}),
		"record_cluster_health": propose(storage.RecordClusterHealth{
			Clusters: []storage.NamedHealth{{Name: "east", Health: goldenHealth(at)}}, Events: []model.Event{goldenEvent(at)},
		}),
		"record_events": propose(storage.RecordEvents{Events: []model.Event{goldenEvent(at), {At: at, Kind: "package", Name: "shop"}}}),
		"stage_restore": propose(storage.StageRestore{ID: "restore-1", Part: 300, Data: []byte("OPRCBKUP")}),
		"abort_restore": propose(storage.AbortRestore{ID: "restore-1"}),
		"commit_restore": propose(storage.CommitRestore{
			ID: "restore-1", Parts: 301, Sha256: [32]byte{0: 1, 31: 2}, Force: true, MinIndex: 1000,
		}),
	}
}

func goldenRecord(at time.Time) storage.RecordUnitStatus {
	return storage.RecordUnitStatus{
		Deployment: "shop-eu", Generation: 2,
		Put: []model.UnitStatus{{
			ID: "u1", DeploymentKey: "shop-eu", Cluster: "east", Generation: 2, Phase: model.UnitPending, LastError: "refused",
			Attempts: 3, LastTransitionTime: at, NextRetryAt: &at, Revision: 4,
		}},
		Remove: []storage.UnitRef{{Cluster: "west", Unit: "u0"}},
		Observed: &model.DeploymentObserved{
			ObservedGeneration: 2, Revision: 4,
			RolloutStatus:   &model.RolloutStatus{Phase: model.RolloutProgressing, Generation: 2, Revision: 4, Updated: 1, Total: 2, Message: "m", Since: at},
			PlacedOn:        []model.PlacedCluster{{Cluster: "east", NodeIDs: []uint64{7}, For: "north"}},
			AvoidedClusters: []model.AvoidedCluster{{Cluster: "north", Reason: model.AvoidFailover, Message: "m", Since: at}},
		},
		Revision: &model.Revision{
			Revision: 4, DeploymentKey: "shop-eu", Generation: 2, PackageResourceVersion: 5, Template: "t", CreatedAt: at, GoodSince: &at,
			Cause: "rollback", Deployment: model.Deployment{Key: "shop-eu", PackageName: "shop", ClassKey: "cart"},
		},
		KeepRevisionsFrom: 3,
		Events:            []model.Event{goldenEvent(at)},
	}
}

func goldenEvent(at time.Time) model.Event {
	return model.Event{
		At: at, Type: model.EventWarning, Kind: model.EventAboutDeployment, Name: "shop-eu", Reason: "Moved", Message: "m",
		Cluster: "east", Unit: "u1",
	}
}

func goldenHealth(at time.Time) model.ClusterHealth {
	version, nodes, share := "1.2", uint32(3), 0.5
	return model.ClusterHealth{
		ClusterName: "east", Status: model.ClusterDegraded, CRMVersion: &version, LastSeen: at, NodeCount: &nodes, ReadyNodes: &nodes,
		Availability: &share, Reason: "ProbeFailed", Message: "m", Since: &at, Circuit: model.CircuitClosed,
		Load: &model.ClusterLoad{Units: &nodes, Capacity: &nodes, CPU: &share, Memory: &share},
	}
}

func goldenResult() storage.Result {
	return storage.Result{
		Index: 300, Outcome: storage.Updated, ResourceVersion: 299, Generation: 2, Code: model.CodeConflict, Message: "taken",
		Problems: []model.Problem{{Path: "name", Message: "taken"}}, Duplicate: true,
	}
}

func TestGoldenProposals(t *testing.T) {
	t.Parallel()
	for name, p := range goldenProposals() {
		encoded, err := EncodeProposal(p)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "proposal_v1_"+name, encoded)
		got, err := DecodeProposal(readGolden(t, filepath.Join("testdata", "proposal_v1_"+name+".hex")))
		if diff := cmp.Diff(decoded(t, p), got, compareCommands); err != nil || diff != "" {
			t.Errorf("decode %s: error %v (-want +got):\n%s", name, err, diff)
		}
	}
}

func TestGoldenOthers(t *testing.T) {
	t.Parallel()
	proposals := goldenProposals()
	var encoded [][]byte
	for _, name := range []string{"put_package", "barrier"} {
		b, err := EncodeProposal(proposals[name])
		if err != nil {
			t.Fatal(err)
		}
		encoded = append(encoded, b)
	}
	golden(t, "entry_v1", PackEntry(encoded))
	golden(t, "result", AppendResult(nil, goldenResult()))
	golden(t, "requests", encodeRequests(goldenRequests()))
	golden(t, "request_key", requestKey(300))
	golden(t, "snapshot_header_v1", appendSnapshotHeader(nil, bolt.Meta{Index: 300, Term: 2, Digest: [2]uint64{3, 4}}, 65536))

	requests, err := decodeRequests(readGolden(t, filepath.Join("testdata", "requests.hex")))
	if diff := cmp.Diff(goldenRequests(), requests, cmp.AllowUnexported(remembered{})); err != nil || diff != "" {
		t.Errorf("decode requests: error %v (-want +got):\n%s", err, diff)
	}
	result, err := DecodeResult(readGolden(t, filepath.Join("testdata", "result.hex")))
	if diff := cmp.Diff(goldenResult(), result); err != nil || diff != "" {
		t.Errorf("decode result: error %v (-want +got):\n%s", err, diff)
	}
	meta, length, err := readSnapshotHeader(bytes.NewReader(readGolden(t, filepath.Join("testdata", "snapshot_header_v1.hex"))))
	if err != nil || meta.Index != 300 || meta.Term != 2 || meta.Digest != [2]uint64{3, 4} || length != 65536 {
		t.Errorf("read snapshot header: got %+v, %d, %v", meta, length, err)
	}
}

func goldenRequests() []remembered {
	return []remembered{
		{id: hashRequestID("request-1"), fingerprint: 0x0102030405060708, result: goldenResult()},
		{id: hashRequestID("request-2"), fingerprint: 1, result: storage.Result{Index: 300, Outcome: storage.Created}},
	}
}

// TestEveryKindHasAGolden asks the decoder which kinds there are.
func TestEveryKindHasAGolden(t *testing.T) {
	t.Parallel()
	pinned := map[kind]bool{}
	files, err := filepath.Glob(filepath.Join("testdata", "proposal_v*.hex"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data := readGolden(t, file)
		if _, err := DecodeProposal(data); err != nil {
			t.Errorf("%s cannot be read any more: %v", file, err)
		}
		pinned[kind(data[1])] = true
	}
	kinds := 0
	for k := range 256 {
		// Version, kind, empty texts and numbers, and a payload of zeros.
		data := append([]byte{proposalVersion, byte(k)}, make([]byte, 4+8+16)...)
		_, err := DecodeProposal(data)
		known := err == nil || !strings.Contains(err.Error(), "unknown command")
		if known {
			kinds++
		}
		if known != pinned[kind(k)] {
			t.Errorf("kind %d: known to the decoder %t, pinned by a file %t", k, known, pinned[kind(k)])
		}
	}
	if want := len(goldenProposals()); kinds != want {
		t.Errorf("the decoder knows %d kinds, want %d", kinds, want)
	}
}
