package storage

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDocumentRoundTrip(t *testing.T) {
	t.Parallel()
	created := time.Date(2026, 1, 2, 3, 4, 5, 600, time.FixedZone("east", 3600))
	want := Stamp{ResourceVersion: 1<<63 + 5, Generation: 3, CreatedAt: created.UTC(), UpdatedAt: created.Add(time.Hour).UTC()}
	stamp := want
	stamp.CreatedAt = created
	tests := map[string]struct{ extra, user string }{
		"ok":                {"", `"name":"a"`},
		"ok_observed":       {`"condition":"DOWN","status":{"x":[1,2]}`, `"name":"a","list":[]`},
		"ok_tricky":         {`"updated_at":"not the stamp"`, `"text":"line\nend },\"{","updated_at":"x"`},
		"ok_user_has_lines": {"", "\"text\":\n\"x\""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			doc := BuildDocument(stamp, []byte(tt.extra), []byte(tt.user))
			if !json.Valid(doc) {
				t.Errorf("document is no JSON: %s", doc)
			}
			system, user, err := SplitDocument(doc)
			if err != nil || string(user) != tt.user {
				t.Errorf("split: got user line %s, %v, want %s", user, err, tt.user)
			}
			extra, err := ObservedMembers(system)
			if err != nil || string(extra) != tt.extra {
				t.Errorf("observed members: got %s, %v, want %s", extra, err, tt.extra)
			}
			if got := ResourceVersion(doc); got != want.ResourceVersion {
				t.Errorf("resource version: got %d, want %d", got, want.ResourceVersion)
			}
			if name == "ok_tricky" {
				return // Two members of one name are for no decoder.
			}
			got, err := ReadStamp(doc)
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("stamp: error %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestDamagedDocuments(t *testing.T) {
	t.Parallel()
	good := string(BuildDocument(Stamp{ResourceVersion: 1, Generation: 1}, nil, []byte(`"a":1`)))
	seam := strings.IndexByte(good, '\n')
	for _, doc := range []string{"", "\n", ",\n", "{\n}", "{,\n", good[:seam], good[:seam+1], good[1:], good[:len(good)-1], strings.Replace(good, ",\n", "\n", 1)} {
		if system, user, err := SplitDocument([]byte(doc)); err == nil {
			t.Errorf("split %q: got %q and %q, want an error", doc, system, user)
		}
		if stamp, err := ReadStamp([]byte(doc)); err == nil {
			t.Errorf("stamp of %q: got %+v, want an error", doc, stamp)
		}
	}
	for _, doc := range []string{"{,\n}", "{x,\n}", `{"resource_version":"1",` + "\n}", `{"created_at":"today",` + "\n}"} {
		if stamp, err := ReadStamp([]byte(doc)); err == nil && stamp != (Stamp{}) {
			t.Errorf("stamp of %q: got %+v, %v, want nothing", doc, stamp, err)
		}
	}
	for _, system := range []string{"", `"updated_at":`, `"updated_at":"cut off`, `"created_at":"x"`} {
		if members, err := ObservedMembers([]byte(system)); err == nil {
			t.Errorf("observed members of %q: got %q, want an error", system, members)
		}
	}
	for _, doc := range []string{"", "{}", `{"resource_version":`, `{"resource_version":x`, `{"version":5}`, "null"} {
		if got := ResourceVersion([]byte(doc)); got != 0 {
			t.Errorf("resource version of %q: got %d, want 0", doc, got)
		}
	}
}

func TestPrefixEnd(t *testing.T) {
	t.Parallel()
	tests := map[string]any{
		"": nil, "a": "b", "a/": "a0", "a\xff": "b", "a\xff\xff": "b", "\xff": nil, "\xff\xff": nil, "\x00": "\x01", "a\xffb": "a\xffc",
	}
	for prefix, want := range tests {
		given := []byte(prefix)
		got := PrefixEnd(given)
		if (want == nil) != (got == nil) || want != nil && string(got) != want {
			t.Errorf("end of %q: got %q, want %q", prefix, got, want)
		}
		if string(given) != prefix {
			t.Errorf("prefix %q was changed to %q", prefix, given)
		}
	}
}

func TestRejectionIsAnError(t *testing.T) {
	t.Parallel()
	if err := (Result{Index: 1, Outcome: Created}).Err(); err != nil {
		t.Errorf("accepted: got %v, want nil", err)
	}
	if err := (Result{Code: "conflict", Message: "taken"}).Err(); err == nil || err.Error() != "taken" {
		t.Errorf("rejected: got %v, want its message", err)
	}
}
