package bench

import (
	"bytes"
	"strings"
	"testing"

	"github.com/oprc/oprc-pm/model"
)

// storedForm is what a server makes of a document: what it knows itself comes
// first.
func storedForm(body []byte) []byte {
	return append([]byte(`{"resource_version":12,"generation":3,"created_at":"2026-01-02T03:04:05Z","updated_at":"2026-01-02T03:04:05Z",`+"\n"), body[1:]...)
}

func mustTemplate(t testing.TB, name string, size int) *template {
	t.Helper()
	doc, err := newTemplate(name, size)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestTemplateSizes(t *testing.T) {
	t.Parallel()
	for _, size := range []int{minDocumentBytes, minDocumentBytes + 1, 2 << 10, fillingBytes, fillingBytes + 1, 100_000, maxDocumentBytes} {
		doc := mustTemplate(t, "bench-0000001", size)
		if got := len(doc.appendVersion(nil, 7)); got != size {
			t.Errorf("got %d bytes, want %d", got, size)
		}
		p, unknown, err := model.DecodePackage(doc.appendVersion(nil, 7), model.JSON)
		if err != nil || len(unknown) > 0 {
			t.Fatalf("decode: %v, unknown fields %v", err, unknown)
		}
		if got, want := *p.Metadata.Description, "version 000000000007"; got != want {
			t.Errorf("description: got %q, want %q", got, want)
		}
	}
	for _, size := range []int{-1, 0, minDocumentBytes - 1, maxDocumentBytes + 1} {
		if _, err := newTemplate("bench", size); err == nil {
			t.Errorf("size %d: got no error", size)
		}
	}
	if _, err := newTemplate("no name", 2048); err == nil {
		t.Error("bad name: got no error")
	}
}

func TestTemplateRecognises(t *testing.T) {
	t.Parallel()
	doc := mustTemplate(t, "bench-0000001", 2048)
	if err := doc.learn(storedForm(doc.appendVersion(nil, 3))); err != nil {
		t.Fatal(err)
	}
	for _, seq := range []uint64{0, 3, 42, 999_999_999_999} {
		got, err := doc.recognise(storedForm(doc.appendVersion(nil, seq)))
		if err != nil || got != seq {
			t.Errorf("got %d and error %v, want %d", got, err, seq)
		}
	}
}

func TestTemplateRefuses(t *testing.T) {
	t.Parallel()
	doc := mustTemplate(t, "bench-0000001", 2048)
	good := storedForm(doc.appendVersion(nil, 3))
	if err := doc.learn(good); err != nil {
		t.Fatal(err)
	}
	other := mustTemplate(t, "bench-0000002", 2048)
	tests := map[string][]byte{
		"empty":          nil,
		"other_document": storedForm(other.appendVersion(nil, 3)),
		"longer_name":    bytes.Replace(good, []byte(`"bench-0000001"`), []byte(`"bench-00000012"`), 1),
		"cut":            good[:len(good)-1],
		"longer":         append(bytes.Clone(good), '\n'),
		"changed_before": bytes.Replace(good, []byte(`1.0.0`), []byte(`1.0.1`), 1),
		"changed_after":  bytes.Replace(good, []byte("xxxx"), []byte("xxyx"), 1),
		"no_number":      bytes.Replace(good, []byte("000000000003"), []byte("00000000000x"), 1),
	}
	for name, answer := range tests {
		if _, err := doc.recognise(answer); err == nil {
			t.Errorf("recognise %s: got no error", name)
		}
	}
	delete(tests, "longer") // Learning is about meaning, not about bytes.
	for name, answer := range tests {
		if err := mustTemplate(t, "bench-0000001", 2048).learn(answer); err == nil {
			t.Errorf("learn %s: got no error", name)
		}
	}
}

// TestTemplateLearnsNewFields: a server that knows more than this program writes
// more, and that is no wrong answer.
func TestTemplateLearnsNewFields(t *testing.T) {
	t.Parallel()
	doc := mustTemplate(t, "bench-0000001", 2048)
	newer := func(seq uint64) []byte {
		text := string(storedForm(doc.appendVersion(nil, seq)))
		return []byte(strings.Replace(text, `"name":"bench-0000001"`, `"name":"bench-0000001","flavour":"mild"`, 1))
	}
	if err := doc.learn(newer(1)); err != nil {
		t.Fatal(err)
	}
	if got, err := doc.recognise(newer(8)); err != nil || got != 8 {
		t.Errorf("got %d and error %v, want 8", got, err)
	}
}
