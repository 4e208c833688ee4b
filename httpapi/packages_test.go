package httpapi_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPackageLifecycle(t *testing.T) {
	t.Parallel()
	a := start(t, options{})

	created := a.must(a.putPackage("shop", "a"), 201)
	want := `{"id":"shop","status":"created","message":"Package created successfully"}` + "\n"
	if diff := cmp.Diff(want, string(created.body)); diff != "" {
		t.Errorf("create answer (-want +got):\n%s", diff)
	}
	if got := created.header.Get("ETag"); got != `"1"` {
		t.Errorf("ETag %q, want \"1\"", got)
	}
	if got := created.header.Get("X-Oprc-Index"); got != "1" {
		t.Errorf("X-Oprc-Index %q, want 1", got)
	}
	if got := a.putPackage("shop"); got.status != 409 {
		t.Errorf("create again: status %d, want 409: %s", got.status, got.body)
	}
	a.must(a.get("/api/v1/packages/shop"), 200)
	updated := a.must(a.do(call{"POST", "/api/v1/packages/shop", packageJSON("shop", "b"), nil}), 200)
	want = `{"id":"shop","status":"updated","message":"Package updated successfully"}` + "\n"
	if diff := cmp.Diff(want, string(updated.body)); diff != "" {
		t.Errorf("update answer (-want +got):\n%s", diff)
	}
	deleted := a.must(a.do(call{"DELETE", "/api/v1/packages/shop", "", nil}), 204)
	if len(deleted.body) != 0 {
		t.Errorf("delete answered %q, want no body", deleted.body)
	}
	a.must(a.get("/api/v1/packages/shop"), 404)
	a.must(a.do(call{"DELETE", "/api/v1/packages/shop", "", nil}), 404)
}
