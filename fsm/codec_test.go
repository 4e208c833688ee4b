package fsm

import (
	"bytes"
	"math"
	"reflect"
	"strings"
	"testing"
	"testing/quick"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// compareCommands does not tell nil lists from empty ones: nor does the encoding.
var compareCommands = cmp.Options{cmp.AllowUnexported(
	encodedRecordUnitStatus{}, encodedUnit{}, encodedRevision{}, encodedEvent{}, encodedRecordEvents{}, encodedRecordClusterHealth{}, encodedHealth{},
), cmpopts.EquateEmpty()}

// decoded is the proposal that decoding the encoding of p gives.
func decoded(t testing.TB, p storage.Proposal) storage.Proposal {
	t.Helper()
	k, key, payload, err := encodeCommand(p.Command)
	if err != nil {
		t.Fatal(err)
	}
	if p.Fingerprint == 0 {
		p.Fingerprint = fingerprint(k, key, payload)
	}
	if p.Command, err = encodeDocuments(p.Command); err != nil {
		t.Fatal(err)
	}
	return p
}

func roundTrip(t testing.TB, p storage.Proposal) {
	t.Helper()
	encoded, err := EncodeProposal(p)
	if err != nil {
		t.Fatalf("encode %+v: %v", p, err)
	}
	got, err := DecodeProposal(encoded)
	if err != nil {
		t.Fatalf("decode what %+v was encoded to: %v", p, err)
	}
	if diff := cmp.Diff(decoded(t, p), got, compareCommands); diff != "" {
		t.Fatalf("round trip (-want +got):\n%s", diff)
	}
	again, err := EncodeProposal(got)
	if err != nil || !bytes.Equal(again, encoded) {
		t.Fatalf("encoding of the decoded proposal: got %x, %v, want %x", again, err, encoded)
	}
	if peeked, want := PeekKey(encoded), keyOf(p.Command); peeked != want {
		t.Fatalf("peek at %T: got %q, want %q", p.Command, peeked, want)
	}
}

// keyOf is the document that a command touches, if it is exactly one.
func keyOf(c storage.Command) string {
	switch c := c.(type) {
	case storage.MintClusterID:
		return string(storage.ClusterIDKey)
	case storage.PutPackage:
		return string(storage.PackageKey(c.Name))
	case storage.DeletePackage:
		if c.Cascade {
			return ""
		}
		return string(storage.PackageKey(c.Name))
	case storage.PutDeployment:
		return string(storage.DeploymentKey(c.Key))
	case storage.DeleteDeployment:
		return string(storage.DeploymentKey(c.Key))
	case storage.RecordUnitStatus:
		return string(storage.DeploymentKey(c.Deployment))
	case storage.UpdateRuntimeState:
		return string(storage.RuntimeStateKey(c.Key))
	case storage.PutCluster:
		return string(storage.ClusterKey(c.Name))
	case storage.DeleteCluster:
		if c.Force {
			return ""
		}
		return string(storage.ClusterKey(c.Name))
	case storage.RecordClusterHealth:
		return storage.ClusterHealthPrefix
	case storage.RecordEvents:
		return string(storage.EventSequenceKey)
	default:
		return ""
	}
}

func TestProposalRoundTrip(t *testing.T) {
	t.Parallel()
	g := newGenerator(t, 99)
	for range 1500 {
		g.index++
		p := g.proposal()
		if g.IntN(4) == 0 {
			p.Fingerprint = g.Uint64()
		}
		p.LeaderTerm = g.Uint64() >> g.IntN(64)
		roundTrip(t, p)
	}
}

// TestCommandRoundTrip fills every field with anything: text is bytes.
func TestCommandRoundTrip(t *testing.T) {
	t.Parallel()
	check := func(p storage.PutPackage, dp storage.DeletePackage, d storage.PutDeployment,
		dd storage.DeleteDeployment, s storage.UpdateRuntimeState, ref storage.UnitRef, generation uint64,
		k storage.PutCluster, dk storage.DeleteCluster, kept uint64,
	) bool {
		p.Mode %= 3
		d.Mode %= 3
		k.Mode %= 3
		record := storage.RecordUnitStatus{Deployment: d.Key, Generation: generation, Remove: []storage.UnitRef{ref}, Forget: dp.Cascade}
		extended := record
		extended.KeepRevisionsFrom = kept
		for _, c := range []storage.Command{p, dp, d, dd, s, k, dk, record, extended} {
			k, key, payload, err := encodeCommand(c)
			if err != nil {
				t.Error(err)
				return false
			}
			dec := decoder{rest: payload}
			got := dec.command(k, key)
			if dec.err != nil || len(dec.rest) > 0 {
				t.Errorf("decode %T: %v, %d bytes left", c, dec.err, len(dec.rest))
				return false
			}
			if want := decoded(t, storage.Proposal{Request: storage.Request{Command: c}}).Command; !cmp.Equal(want, got, compareCommands) {
				t.Errorf("round trip of %T:\n%s", c, cmp.Diff(want, got, compareCommands))
				return false
			}
		}
		return true
	}
	if err := quick.Check(check, &quick.Config{MaxCount: 300}); err != nil {
		t.Error(err)
	}
}

func TestResultRoundTrip(t *testing.T) {
	t.Parallel()
	check := func(r storage.Result) bool {
		if len(r.Problems) == 0 {
			r.Problems = nil
		}
		prefix := []byte("prefix")
		b := AppendResult(prefix, r)
		got, err := DecodeResult(b[len(prefix):])
		if err != nil || !bytes.HasPrefix(b, prefix) || !reflect.DeepEqual(got, r) {
			t.Errorf("round trip: got %+v, %v, want %+v", got, err, r)
			return false
		}
		return true
	}
	if err := quick.Check(check, nil); err != nil {
		t.Error(err)
	}
}

func TestEntryRoundTrip(t *testing.T) {
	t.Parallel()
	g := newGenerator(t, 5)
	for n := range 20 {
		var encoded [][]byte
		var want []storage.Proposal
		for range n {
			p := g.proposal()
			b, err := EncodeProposal(p)
			if err != nil {
				t.Fatal(err)
			}
			encoded, want = append(encoded, b), append(want, decoded(t, p))
		}
		got, err := UnpackEntry(PackEntry(encoded))
		if err != nil || len(got) != n {
			t.Fatalf("unpack: got %d proposals, %v, want %d", len(got), err, n)
		}
		for i := range got {
			if diff := cmp.Diff(want[i], got[i], compareCommands); diff != "" {
				t.Errorf("proposal %d (-want +got):\n%s", i, diff)
			}
		}
	}
}

// TestFingerprint tells commands apart and nothing else.
func TestFingerprint(t *testing.T) {
	t.Parallel()
	of := func(p storage.Proposal) uint64 {
		b, err := EncodeProposal(p)
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeProposal(b)
		if err != nil {
			t.Fatal(err)
		}
		return got.Fingerprint
	}
	p := storage.Proposal{Request: storage.Request{ID: "a", Command: namedPackage(t, "p")}, At: noon}
	q := storage.Proposal{Request: storage.Request{ID: "b", Command: namedPackage(t, "p"), LeaderTerm: 3}, At: noon.Add(time.Hour)}
	if of(p) != of(q) || of(p) == 0 {
		t.Errorf("fingerprints of one command: got %x and %x, want the same, not 0", of(p), of(q))
	}
	seen := map[uint64]storage.Command{}
	for _, c := range []storage.Command{
		namedPackage(t, "p"), namedPackage(t, "q"), withMode(namedPackage(t, "p"), storage.Create, 0), withMode(namedPackage(t, "p"), storage.Upsert, 1),
		storage.DeletePackage{Name: "p"}, storage.DeletePackage{Name: "p", Cascade: true}, storage.DeleteDeployment{Key: "p"},
		recordPut("p", 1), recordPut("p", 2), storage.Barrier{}, storage.MintClusterID{ClusterID: "p"},
		forced(namedPackage(t, "p")), clusterCommand(t, "p", model.ManagedByAPI), clusterCommand(t, "p", model.ManagedByConfig),
		storage.DeleteCluster{Name: "p"}, storage.DeleteCluster{Name: "p", Force: true}, storage.RecordEvents{}, storage.RecordEvents{Events: []model.Event{about("p")}},
		storage.RecordClusterHealth{}, healthCommand("p", model.ClusterHealthy), healthCommand("p", model.ClusterDegraded),
		storage.RecordUnitStatus{Deployment: "p", Generation: 1, KeepRevisionsFrom: 1}, storage.RecordUnitStatus{Deployment: "p", Generation: 1, Events: []model.Event{about("p")}},
		storage.RecordUnitStatus{Deployment: "p", Generation: 1, Revision: &model.Revision{Revision: 1}},
	} {
		fingerprint := of(storage.Proposal{Request: storage.Request{Command: c}, At: noon})
		if other, taken := seen[fingerprint]; taken {
			t.Errorf("%+v and %+v have one fingerprint", c, other)
		}
		seen[fingerprint] = c
	}
}

func TestEncodeRefusesWhatCannotBeStored(t *testing.T) {
	t.Parallel()
	ok := namedPackage(t, "p")
	pkg := func(change func(c *storage.PutPackage)) storage.Request {
		c := ok
		change(&c)
		return storage.Request{Command: c}
	}
	long := strings.Repeat("x", maxTerm+1)
	nan := math.NaN()
	deployment := deployCommand(t, "d", "p")
	deployment.Environments = []string{"a\x00b"}
	tests := map[string]storage.Request{
		"id":                {ID: strings.Repeat("x", storage.MaxRequestID+1), Command: ok},
		"empty name":        pkg(func(c *storage.PutPackage) { c.Name = "" }),
		"long name":         pkg(func(c *storage.PutPackage) { c.Name = long }),
		"slash":             pkg(func(c *storage.PutPackage) { c.Name = "a/b" }),
		"nul":               pkg(func(c *storage.PutPackage) { c.Name = "a\x00b" }),
		"empty document":    pkg(func(c *storage.PutPackage) { c.Document = nil }),
		"empty tag":         pkg(func(c *storage.PutPackage) { c.Tags = []string{""} }),
		"long tag":          pkg(func(c *storage.PutPackage) { c.Tags = []string{"ok", long} }),
		"dependency":        pkg(func(c *storage.PutPackage) { c.Dependencies = []string{"a\x00b"} }),
		"environment":       {Command: deployment},
		"package":           {Command: storage.PutDeployment{Key: "d", Document: ok.Document}},
		"cluster id":        {Command: storage.MintClusterID{}},
		"deleted":           {Command: storage.DeletePackage{}},
		"deployment":        {Command: storage.DeleteDeployment{Key: "a/b"}},
		"state":             {Command: storage.UpdateRuntimeState{Key: "s"}},
		"unit":              {Command: recordPut("d", 1, running("d", "east", ""))},
		"unit cluster":      {Command: recordPut("d", 1, running("d", "ea/st", "u"))},
		"cluster":           {Command: storage.PutCluster{Name: "a/b", Document: ok.Document}},
		"cluster document":  {Command: storage.PutCluster{Name: "a"}},
		"deleted cluster":   {Command: storage.DeleteCluster{Name: "a\x00b"}},
		"health":            {Command: healthCommand("", model.ClusterHealthy)},
		"health of nothing": {Command: storage.RecordClusterHealth{Clusters: []storage.NamedHealth{{Name: "a", Health: model.ClusterHealth{Availability: &nan}}}}},
		"event":             {Command: storage.RecordEvents{Events: []model.Event{about("a\x00b")}}},
		"event kind":        {Command: storage.RecordEvents{Events: []model.Event{{Name: "a"}}}},
		"event text":        {Command: storage.RecordEvents{Events: []model.Event{{Kind: "cluster", Name: "a", Message: "\xff"}}}},
		"event of health":   {Command: storage.RecordClusterHealth{Events: []model.Event{{Kind: "a/b", Name: "a"}}}},
		"event of units":    {Command: storage.RecordUnitStatus{Deployment: "d", Events: []model.Event{about("")}}},
		"revision":          {Command: storage.RecordUnitStatus{Deployment: "d", Revision: &model.Revision{}}},
		"revision text":     {Command: storage.RecordUnitStatus{Deployment: "d", Revision: &model.Revision{Revision: 1, Cause: "\xff"}}},
		"not a number": {Command: storage.RecordUnitStatus{Deployment: "d", Observed: &model.DeploymentObserved{
			Status: &model.DeploymentStatusSummary{AchievedQuorumAvailability: &nan},
		}}},
	}
	for name, request := range tests {
		if _, err := EncodeProposal(storage.Proposal{Request: request}); model.CodeOf(err) != model.CodeInvalid {
			t.Errorf("%s: got error %v, want code %s", name, err, model.CodeInvalid)
		}
	}
	if _, err := EncodeProposal(storage.Proposal{}); err == nil {
		t.Error("no command: got no error, want one")
	}
	slashed := pkg(func(c *storage.PutPackage) { c.Tags = []string{"team/core"} })
	if _, err := EncodeProposal(storage.Proposal{Request: slashed}); err != nil {
		t.Errorf("tag with a slash: got %v, want it accepted", err)
	}
}

// TestDecodeRefuses: what a newer release wrote, and what is damaged, is never
// taken for something else.
func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	encode := func(c storage.Command) []byte {
		b, err := EncodeProposal(storage.Proposal{Request: storage.Request{Command: c, ID: "id"}, At: noon})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	change := func(b []byte, at int, to byte) []byte {
		b = bytes.Clone(b)
		if at < 0 {
			at += len(b)
		}
		b[at] = to
		return b
	}
	put, del := encode(namedPackage(t, "p")), encode(storage.DeletePackage{Name: "p"})
	mode := bytes.Index(put, namedPackage(t, "p").Document) - 4
	if put[mode] != byte(storage.Upsert) || put[mode+1] != 0 {
		t.Fatalf("the mode is not at %d of %x", mode, put)
	}
	tests := map[string]struct {
		data []byte
		want string
	}{
		"newer version":   {change(put, 0, proposalVersion+1), "newer"},
		"unknown kind":    {change(put, 1, 200), "newer release"},
		"kind 0":          {change(put, 1, 0), "newer release"},
		"unknown mode":    {change(put, mode, 3), "put mode 3"},
		"unknown truth":   {change(del, -1, 2), "truth value"},
		"trailing bytes":  {append(bytes.Clone(del), 0), "too many"},
		"empty":           {nil, "truncated"},
		"only a version":  {[]byte{proposalVersion}, "truncated"},
		"length too long": {[]byte{proposalVersion, byte(kindBarrier), 0xff, 0xff, 0x7f}, "exceeds"},
		"endless number":  {append([]byte{proposalVersion, byte(kindBarrier)}, bytes.Repeat([]byte{0xff}, 11)...), "malformed"},
	}
	for name, tt := range tests {
		p, err := DecodeProposal(tt.data)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %+v, error %v, want one that says %q", name, p, err, tt.want)
		}
		if p.Command != nil {
			t.Errorf("%s: got the command %+v beside the error", name, p.Command)
		}
	}
	for n := range put {
		if _, err := DecodeProposal(put[:n]); err == nil {
			t.Errorf("the first %d bytes of %d: got no error, want one", n, len(put))
		}
	}
	entry := PackEntry([][]byte{put, del})
	for n := range entry {
		if _, err := UnpackEntry(entry[:n]); err == nil {
			t.Errorf("the first %d bytes of an entry: got no error, want one", n)
		}
	}
	for name, data := range map[string][]byte{
		"newer entry": change(entry, 0, entryVersion+1), "long entry": append(bytes.Clone(entry), 0), "unknown kind in entry": PackEntry([][]byte{put, tests["unknown kind"].data}),
	} {
		if _, err := UnpackEntry(data); err == nil {
			t.Errorf("%s: got no error, want one", name)
		}
	}
}

func TestPeekKeyOfGarbage(t *testing.T) {
	t.Parallel()
	for _, data := range [][]byte{nil, {1}, {1, 3}, {1, 3, 0}, {1, 3, 5, 'a'}, {1, 200, 1, 'a'}, {1, byte(kindDeletePackage), 1, 'a'}, {1, byte(kindBarrier), 1, 'a'}} {
		if got := PeekKey(data); got != "" {
			t.Errorf("peek at %x: got %q, want nothing", data, got)
		}
	}
}
