package fsm

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

func storedDocument(user []byte) []byte {
	return storage.BuildDocument(storage.Stamp{ResourceVersion: 1, Generation: 1, CreatedAt: noon, UpdatedAt: noon}, nil, user)
}

// TestTermsAreReadFromTheHead holds the reader of index terms against the order
// in which model encodes documents: what it stops at must come after all that it
// wants.
func TestTermsAreReadFromTheHead(t *testing.T) {
	t.Parallel()
	text := "text"
	number := uint32(1)
	p := model.Package{
		Name: "p", Version: &text, Dependencies: []string{"z", "a", "a"}, Disabled: true,
		Metadata: model.PackageMetadata{Author: &text, Description: &text, Tags: []string{"y", "b", "b"}, CreatedAt: &text},
		Classes:  []model.Class{{Key: "one"}, {Key: "two", StateSpec: &model.StateSpecification{}}},
		Functions: []model.Function{{
			Key: "f", Config: map[string]string{"dependencies": "x", "tags": "x", "classes": "x"},
		}},
	}
	c := pkgCommand(t, p)
	got, err := packageTerms(storedDocument(c.Document))
	want := indexTerms{tags: c.Tags, dependencies: c.Dependencies}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(indexTerms{})); err != nil || diff != "" {
		t.Errorf("package terms: error %v (-want +got):\n%s", err, diff)
	}
	for class, want := range map[string]bool{"one": true, "two": true, "f": false, "": false} {
		if got, err := hasClass(storedDocument(c.Document), class); got != want || err != nil {
			t.Errorf("has class %q: got %t, %v, want %t", class, got, err, want)
		}
	}

	d := encodeDeployment(t, model.Deployment{
		Key: "d", PackageName: "p", ClassKey: "one", TargetEnvs: []string{"west", "east", "west"}, AvailableEnvs: []string{"north"},
		NFRRequirements: model.NFRRequirements{MinThroughputRPS: &number},
		EnvTemplates:    map[string]string{"target_envs": "x", "package_name": "x"},
	})
	gotTerms, err := deploymentTerms(storedDocument(d.Document))
	wantTerms := deploymentIndexTerms{pkg: "p", class: "one", environments: d.Environments}
	if diff := cmp.Diff(wantTerms, gotTerms, cmp.AllowUnexported(deploymentIndexTerms{})); err != nil || diff != "" {
		t.Errorf("deployment terms: error %v (-want +got):\n%s", err, diff)
	}
}

func TestTermsOfDamagedDocuments(t *testing.T) {
	t.Parallel()
	for _, doc := range []string{"", "{", "[]", `{"metadata":[]}`, `{"metadata":{"tags":1}}`, `{"dependencies":{}}`, `{"target_envs":7}`, `{"package_name":7}`, `{"classes":7}`} {
		_, packageErr := packageTerms([]byte(doc))
		_, deploymentErr := deploymentTerms([]byte(doc))
		_, classErr := hasClass([]byte(doc), "x")
		if packageErr == nil && deploymentErr == nil && classErr == nil {
			t.Errorf("terms of %q: got no error, want one", doc)
		}
	}
}

func TestCutDeletionMark(t *testing.T) {
	t.Parallel()
	const mark = `"deletion_requested_at":"2026-01-01T00:00:00Z"`
	tests := []struct {
		observed, rest string
		marked         bool
	}{
		{"", "", false},
		{`"condition":"DOWN"`, `"condition":"DOWN"`, false},
		{mark, "", true},
		{mark + `,"condition":"DOWN"`, `"condition":"DOWN"`, true},
		// Only as the first member is it the store's.
		{`"condition":"DOWN",` + mark, `"condition":"DOWN",` + mark, false},
		{`"deletion_requested_at":"cut off`, `cut off`, true},
	}
	for _, tt := range tests {
		rest, marked := cutDeletionMark([]byte(tt.observed))
		if string(rest) != tt.rest || marked != tt.marked {
			t.Errorf("cut %q: got %q, %t, want %q, %t", tt.observed, rest, marked, tt.rest, tt.marked)
		}
	}
}

// TestJoinMembersCopies: its arguments are parts of what the state file lends.
func TestJoinMembersCopies(t *testing.T) {
	t.Parallel()
	whole := []byte(`"a":1,"b":2`)
	for _, b := range []string{"", `"c":3`} {
		joined := joinMembers(whole[:5], []byte(b))
		if got, want := string(whole), `"a":1,"b":2`; got != want {
			t.Fatalf("join with %q wrote into its argument: %s", b, got)
		}
		want := `"a":1`
		if b != "" {
			want += "," + b
		}
		if string(joined) != want {
			t.Errorf("join: got %s, want %s", joined, want)
		}
	}
	if joined := joinMembers(whole[:0], []byte(`"c":3`)); string(joined) != `"c":3` || whole[1] != 'a' {
		t.Errorf("join with an empty part of something: got %s, and the whole is %s", joined, whole)
	}
	if got := joinMembers(nil, whole); !bytes.Equal(got, whole) {
		t.Errorf("join with nothing: got %s, want %s", got, whole)
	}
}

// TestEventsKeepNoEntry: an event lives long, the entry it came in must not.
func TestEventsKeepNoEntry(t *testing.T) {
	t.Parallel()
	f := openFSM(t, t.TempDir())
	w, err := f.Watch(storage.WatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	var before []string
	for i, c := range []storage.Command{
		namedPackage(t, "p"), clusterCommand(t, "east", model.ManagedByAPI), deployCommand(t, "d", "p", "east"), recordPut("d", 1, running("d", "east", "u")), stateCommand(t, "s", "up"),
	} {
		entry := logEntry(t, uint64(i+1), c)
		apply(t, f, entry)
		before = append(before, contents(t, f))
		clear(entry.Data)
		if after := contents(t, f); after != before[i] {
			t.Errorf("the state after %T changed with the entry's buffer:\n%s", c, cmp.Diff(before[i], after))
		}
	}
	events, _, err := w.Next(t.Context())
	if err != nil || len(events) != 5 {
		t.Fatalf("next: got %d events, %v, want 5", len(events), err)
	}
	for _, event := range events {
		if event.Document[0] != '{' || bytes.IndexByte(event.Document, 0) >= 0 {
			t.Errorf("document of %s %s changed with the entry's buffer: %q", event.Kind, event.Key, event.Document)
		}
	}
}

// TestDeepDependencies is a chain as long as nobody has one.
func TestDeepDependencies(t *testing.T) {
	t.Parallel()
	const n = 2000
	w := newWorld(t)
	var chain []storage.Proposal
	for i := range n {
		var dependencies []string
		if i > 0 {
			dependencies = []string{fmt.Sprintf("p%d", i-1)}
		}
		chain = append(chain, storage.Proposal{Request: storage.Request{Command: namedPackage(t, fmt.Sprintf("p%d", i), dependencies...)}, At: noon})
	}
	w.run(chain...)
	result := w.do(namedPackage(t, "p0", fmt.Sprintf("p%d", n-1)))
	if result.Code != model.CodeInvalid {
		t.Errorf("a cycle of %d: got %+v, want it rejected", n, result)
	}
	const want = "dependencies: would make a cycle: p0 -> p1999 -> p1998 -> p1997 -> p1996 -> p1995 -> ... -> p1 -> p0"
	if result.Message != want {
		t.Errorf("message of a long cycle: got %.300q, want %q", result.Message, want)
	}
}
