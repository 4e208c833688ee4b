package httpapi_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/httpapi"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/backup"
)

const snapshot = "/api/v1/cluster/snapshot"

// snapshots makes real backups of the API's store.
type snapshots struct {
	a *api
	// broken ends a backup after its first bytes.
	broken error
	list   []model.StoredBackup
}

func (s *snapshots) Save(ctx context.Context, w io.Writer, consistency storage.Consistency, begin func(backup.Header) error) error {
	if s.broken != nil {
		w = io.MultiWriter(w, &failing{s.broken})
	}
	_, err := backup.Save(ctx, s.a.store, w, backup.SaveOptions{Consistency: consistency, Node: "n1", At: time.Now(), Begin: begin})
	return err
}

type failing struct{ err error }

func (f *failing) Write([]byte) (int, error) { return 0, f.err }

func (s *snapshots) Restore(ctx context.Context, file io.ReadSeeker, force bool) (backup.Header, storage.Result, error) {
	return backup.Restore(ctx, s.a.store, file, backup.RestoreOptions{Force: force})
}

func (s *snapshots) List(context.Context) ([]model.StoredBackup, error) { return s.list, nil }

func (s *snapshots) Run(context.Context) ([]model.StoredBackup, error) {
	s.list = append(s.list, model.StoredBackup{Name: "made", Index: 7})
	return s.list, nil
}

func startWithSnapshots(t *testing.T, change func(*httpapi.Config)) (*api, *snapshots) {
	t.Helper()
	s := &snapshots{}
	s.a = start(t, options{config: change, deps: func(d *httpapi.Deps) { d.Snapshots = s }})
	return s.a, s
}

func TestSnapshotRoundTrip(t *testing.T) {
	t.Parallel()
	a, _ := startWithSnapshots(t, nil)
	a.must(a.do(call{"POST", pkgs, `{"name":"kept"}`, nil}), 201)
	saved := a.must(a.get(snapshot), 200)
	h, err := backup.Inspect(bytes.NewReader(saved.body))
	if err != nil {
		t.Fatal(err)
	}
	if saved.header.Get("X-Oprc-Digest") != h.Digest || saved.header.Get("X-Oprc-Index") != "1" || saved.header.Get("X-Oprc-Content-Digest") != h.ContentDigest {
		t.Errorf("headers %v of a backup with header %+v", saved.header, h)
	}
	a.must(a.get(snapshot+"?consistency=stale"), 200)
	a.must(a.do(call{"POST", pkgs, `{"name":"lost"}`, nil}), 201)
	a.must(a.do(call{"POST", snapshot, string(saved.body), nil}), 409)
	a.must(a.get(pkgs+"/lost"), 200)
	restored := decode[map[string]any](t, a.must(a.do(call{"POST", snapshot + "?force=true", string(saved.body), nil}), 200).body)
	if restored["status"] != "restored" || restored["content_digest"] != h.ContentDigest || restored["from_index"] != 1.0 {
		t.Errorf("answer: %v", restored)
	}
	a.must(a.get(pkgs+"/kept"), 200)
	a.must(a.get(pkgs+"/lost"), 404)
}

func TestSnapshotRefuses(t *testing.T) {
	t.Parallel()
	a, _ := startWithSnapshots(t, func(c *httpapi.Config) { c.MaxBodyBytes, c.MaxRestoreBytes = 2<<10, 64<<10 })
	for body, want := range map[string]int{
		"": 400, "no backup": 400, string(make([]byte, 60<<10)): 400, string(make([]byte, 70<<10)): 413,
	} {
		if got := a.do(call{"POST", snapshot, body, nil}); got.status != want {
			t.Errorf("a body of %d bytes: got %d, want %d: %s", len(body), got.status, want, got.body)
		}
	}
	a.must(a.do(call{"POST", snapshot + "?force=perhaps", "x", nil}), 400)
	a.must(a.get(snapshot+"?consistency=perhaps"), 400)
	// The larger limit is for backups only.
	a.must(a.do(call{"POST", pkgs, string(make([]byte, 3<<10)), nil}), 413)

	without := start(t, options{})
	without.must(without.get(snapshot), 412)
	without.must(without.do(call{"POST", snapshot, "x", nil}), 412)
	without.must(without.get("/api/v1/cluster/snapshots"), 412)
}

// TestSnapshotThatBreaks must not look whole.
func TestSnapshotThatBreaks(t *testing.T) {
	t.Parallel()
	a, s := startWithSnapshots(t, nil)
	s.broken = errors.New("the disk is gone")
	response, err := a.client.Get("http://" + a.addr + snapshot)
	if err == nil {
		var body []byte
		body, err = io.ReadAll(response.Body)
		err = errors.Join(err, response.Body.Close())
		if err == nil && response.StatusCode == http.StatusOK {
			_, err = backup.Inspect(bytes.NewReader(body))
		}
	}
	if err == nil {
		t.Error("a backup that broke off looks whole")
	}
}

func TestStoredSnapshots(t *testing.T) {
	t.Parallel()
	a, _ := startWithSnapshots(t, nil)
	if got := string(a.must(a.get("/api/v1/cluster/snapshots"), 200).body); got != "[]\n" {
		t.Errorf("list: %s", got)
	}
	for range 2 {
		a.must(a.do(call{"POST", "/api/v1/cluster/snapshots/run", "", nil}), 200)
	}
	if got := decode[[]model.StoredBackup](t, a.must(a.get("/api/v1/cluster/snapshots"), 200).body); len(got) != 2 || got[1].Name != "made" {
		t.Errorf("list: %v", got)
	}
}

func TestNotReady(t *testing.T) {
	t.Parallel()
	reason := "something comes first"
	a := start(t, options{deps: func(d *httpapi.Deps) { d.NotReady = func(context.Context) string { return reason } }})
	if got := a.must(a.get("/readyz"), 503); !bytes.Contains(got.body, []byte(reason)) {
		t.Errorf("readyz: %s", got.body)
	}
	reason = ""
	a.must(a.get("/readyz"), 200)
}
