package bench

import (
	"testing"
	"time"
)

// BenchmarkGet is the cost of one read with one client: what the load generator
// and the plain handler take together, system calls included.
func BenchmarkGet(b *testing.B) {
	doc := mustTemplate(b, "bench-0000001", 2048)
	d := &document{template: doc, path: packagesPath + "/" + doc.name}
	d.answer = answer{URI: d.path, Body: doc.body, Headers: [][2]string{{"Content-Type", "application/json"}, {"Etag", `"7"`}}}
	addr := serve(b, plainHandler([]answer{d.answer}))
	w, err := NewGet(&Documents{docs: []*document{d}}, "")
	if err != nil {
		b.Fatal(err)
	}
	s := w.Subject("get", []string{addr}, testTimeout, nil).Open(0)
	defer s.Close()
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Do(b.Context(), time.Now()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRecognise is the check of a read while others write.
func BenchmarkRecognise(b *testing.B) {
	doc := mustTemplate(b, "bench-0000001", 2048)
	answer := storedForm(doc.appendVersion(nil, 42))
	if err := doc.learn(answer); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := doc.recognise(answer); err != nil {
			b.Fatal(err)
		}
	}
}
