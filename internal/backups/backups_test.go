package backups

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/oprc/oprc-pm/fsm"
	"github.com/oprc/oprc-pm/internal/testtls"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/backup"
	"github.com/oprc/oprc-pm/storage/memory"
)

func newStore(t testing.TB, packages int) *memory.Store {
	t.Helper()
	s := memory.New(fsm.NewMachine())
	t.Cleanup(func() { _ = s.Close() })
	for i := range packages {
		c, err := storage.NewPutPackage(model.Package{Name: fmt.Sprintf("p%d", i)}, storage.Upsert, 0)
		if err != nil {
			t.Fatal(err)
		}
		apply(t, s, c)
	}
	return s
}

func apply(t testing.TB, s *memory.Store, c storage.Command) {
	t.Helper()
	if _, err := s.Apply(t.Context(), storage.Request{Command: c}); err != nil {
		t.Fatal(err)
	}
}

func content(t testing.TB, s *memory.Store) (digest string) {
	t.Helper()
	_, err := s.View(t.Context(), storage.ReadOptions{}, func(r storage.Reader) error {
		d, err := storage.ContentDigest(r)
		digest = d.String()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

func newManager(t testing.TB, s *memory.Store, change func(*Config), destinations ...Destination) *Manager {
	t.Helper()
	cfg := Config{Node: "n1", Release: "test", Driver: "memory", TempDir: func() (string, error) { return t.TempDir(), nil }}
	if change != nil {
		change(&cfg)
	}
	m := New(cfg, Deps{Store: s, Destinations: destinations, Logger: slog.New(slog.DiscardHandler), Metrics: metrics.NewSet()})
	t.Cleanup(m.Close)
	return m
}

// s3 is a server that speaks S3, over TLS, and what it was asked.
type s3 struct {
	cfg S3
	mu  sync.Mutex
	// parts counts uploaded parts, fail makes requests fail that it accepts.
	parts int
	fail  func(*http.Request) bool
}

func startS3(t testing.TB) *s3 {
	t.Helper()
	backend := s3mem.New()
	if err := backend.CreateBucket("backups"); err != nil {
		t.Fatal(err)
	}
	fake := gofakes3.New(backend).Server()
	s := &s3{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		if r.Method == http.MethodPut && r.URL.Query().Has("partNumber") {
			s.parts++
		}
		fail := s.fail != nil && s.fail(r)
		s.mu.Unlock()
		if fail {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		fake.ServeHTTP(w, r)
	}))
	ca := testtls.NewCA(t)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Server(t, "127.0.0.1")}}
	server.StartTLS()
	t.Cleanup(server.Close)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.cfg = S3{
		Endpoint: server.URL, Bucket: "backups", Prefix: "/oprc/east/", Region: "us-east-1", AccessKey: "key", SecretKeyFile: secret,
		PathStyle: true, CACertPath: ca.WriteCA(t, t.TempDir(), "ca.pem"),
	}
	return s
}

func (s *s3) failing(fail func(*http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = fail
}

func (s *s3) destination(t testing.TB) Destination {
	t.Helper()
	d, err := NewS3(s.cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// eachDestination runs a test for a directory and for S3.
func eachDestination(t *testing.T, test func(t *testing.T, d Destination)) {
	t.Run("directory", func(t *testing.T) {
		t.Parallel()
		test(t, NewDirectory(filepath.Join(t.TempDir(), "made", "when", "needed")))
	})
	t.Run("s3", func(t *testing.T) {
		t.Parallel()
		test(t, startS3(t).destination(t))
	})
}

func TestRunAndRestore(t *testing.T) {
	t.Parallel()
	eachDestination(t, func(t *testing.T, d Destination) {
		s := newStore(t, 50)
		m := newManager(t, s, nil, d)
		made, err := m.Run(t.Context())
		if err != nil || len(made) != 1 {
			t.Fatalf("run: %v, %v", made, err)
		}
		list, err := m.List(t.Context())
		if err != nil || !slices.Equal(list, made) {
			t.Errorf("list: %v, %v, want %v", list, err, made)
		}
		if made[0].Index != 50 || made[0].Size == 0 || strings.Contains(made[0].Destination, "secret") {
			t.Errorf("made %+v", made[0])
		}
		// A cluster that starts with these destinations begins with this state.
		fresh := newStore(t, 0)
		f := newManager(t, fresh, func(c *Config) { c.RestoreIfEmpty = true }, d)
		if f.Undecided(t.Context()) == "" {
			t.Error("a fresh node is ready before anything was restored")
		}
		f.RunInitial(t.Context())
		if f.Undecided(t.Context()) != "" || !f.Hold(t.Context()) {
			t.Error("the node is not ready after the restore")
		}
		var names []string
		_, err = fresh.View(t.Context(), storage.ReadOptions{}, func(r storage.Reader) error {
			return storage.ListPackages(r, storage.PackageQuery{}, "", func(name string, _ []byte) (bool, error) {
				names = append(names, name)
				return true, nil
			})
		})
		if err != nil || len(names) != 50 {
			t.Errorf("%d packages were restored, %v, want 50", len(names), err)
		}
		if got := reasons(t, fresh); !slices.Equal(got, []string{ReasonRestored}) {
			t.Errorf("events: %v", got)
		}
		// Once only, also when all is gone again.
		for _, name := range names {
			apply(t, fresh, storage.DeletePackage{Name: name})
		}
		before := content(t, fresh)
		again := newManager(t, fresh, func(c *Config) { c.RestoreIfEmpty = true }, d)
		again.RunInitial(t.Context())
		if got := content(t, fresh); got != before {
			t.Error("what people had deleted was restored again")
		}
	})
}

func reasons(t testing.TB, s *memory.Store) (list []string) {
	t.Helper()
	_, err := s.View(t.Context(), storage.ReadOptions{}, func(r storage.Reader) error {
		list = nil
		return storage.ListEvents(r, storage.EventQuery{}, func(e model.Event, _ []byte) (bool, error) {
			list = append(list, e.Reason)
			return true, nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestInitialRestoreSkipsDamage takes the newest backup that is whole.
func TestInitialRestoreSkipsDamage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := NewDirectory(dir)
	s := newStore(t, 3)
	m := newManager(t, s, nil, d)
	if _, err := m.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(dir, "oprc-other-20991231T000000Z-99.backup")
	if err := os.WriteFile(bad, []byte("OPRCBKUP and no more"), 0o600); err != nil {
		t.Fatal(err)
	}
	fresh := newStore(t, 0)
	newManager(t, fresh, func(c *Config) { c.RestoreIfEmpty = true }, d).RunInitial(t.Context())
	if _, err := fresh.View(t.Context(), storage.ReadOptions{}, func(r storage.Reader) error {
		if document, err := r.Get(storage.PackageKey("p2")); document == nil {
			t.Errorf("the backup before the damaged one was not restored: %v", err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestInitialRestoreOfNothing(t *testing.T) {
	t.Parallel()
	fresh := newStore(t, 0)
	m := newManager(t, fresh, func(c *Config) { c.RestoreIfEmpty = true }, NewDirectory(t.TempDir()))
	m.RunInitial(t.Context())
	if m.Undecided(t.Context()) != "" || !slices.Equal(reasons(t, fresh), []string{ReasonNoBackup}) {
		t.Errorf("without any backup: undecided %q, events %v", m.Undecided(t.Context()), reasons(t, fresh))
	}
}

// noise does not compress.
func noise(t testing.TB, s *memory.Store, size int) {
	t.Helper()
	data := make([]byte, size/2)
	state := uint64(1)
	for i := range data {
		state = state*6364136223846793005 + 1442695040888963407
		data[i] = byte(state >> 56)
	}
	c, err := storage.NewUpdateRuntimeState(model.RuntimeState{Key: "noise", Status: fmt.Sprintf("%x", data)}, 0)
	if err != nil {
		t.Fatal(err)
	}
	apply(t, s, c)
}

// TestUploadIsInParts uploads more than a part.
func TestUploadIsInParts(t *testing.T) {
	t.Parallel()
	server := startS3(t)
	d := server.destination(t)
	want := bytes.Repeat([]byte("0123456789abcdef"), (2*partBytes+5000)/16)
	err := d.Put(t.Context(), "oprc-c-20260101T000000Z-7.backup", func(w io.Writer) error {
		_, err := io.Copy(w, bytes.NewReader(want))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if server.parts != 3 {
		t.Errorf("%d parts were uploaded, want 3", server.parts)
	}
	r, err := d.Open(t.Context(), "oprc-c-20260101T000000Z-7.backup")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
		t.Errorf("read %d bytes back, %v, want what was written: %d", len(got), err, len(want))
	}
}

// TestFailedPutLeavesNothing fails in the middle of writing.
func TestFailedPutLeavesNothing(t *testing.T) {
	t.Parallel()
	eachDestination(t, func(t *testing.T, d Destination) {
		broken := errors.New("the source is broken")
		for _, size := range []int{0, 1000, partBytes + 1000} {
			err := d.Put(t.Context(), "oprc-c-20260101T000000Z-7.backup", func(w io.Writer) error {
				if _, err := w.Write(make([]byte, size)); err != nil {
					return err
				}
				return broken
			})
			if !errors.Is(err, broken) {
				t.Errorf("after %d bytes: got error %v, want %v", size, err, broken)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		err := d.Put(ctx, "oprc-c-20260101T000000Z-8.backup", func(w io.Writer) error {
			cancel()
			for {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					return err
				}
			}
		})
		if err == nil {
			t.Error("a canceled put succeeded")
		}
		if files, err := d.List(t.Context()); err != nil || len(files) != 0 {
			t.Errorf("left behind: %v, %v", files, err)
		}
	})
}

// TestRetention keeps the bounds and touches nothing of others.
func TestRetention(t *testing.T) {
	t.Parallel()
	eachDestination(t, func(t *testing.T, d Destination) {
		s := newStore(t, 1)
		id := s.Status().ClusterID
		put := func(name string) {
			if err := d.Put(t.Context(), name, func(w io.Writer) error { _, err := w.Write([]byte("x")); return err }); err != nil {
				t.Fatal(err)
			}
		}
		now := time.Now().UTC()
		at := func(ago time.Duration) string { return now.Add(-ago).Format(nameTime) }
		old := fmt.Sprintf("oprc-%s-%s-5.backup", id, at(100*time.Hour))
		recent := []string{
			fmt.Sprintf("oprc-%s-%s-6.backup", id, at(3*time.Hour)), fmt.Sprintf("oprc-%s-%s-7.backup", id, at(2*time.Hour)),
			fmt.Sprintf("oprc-%s-%s-8.backup", id, at(time.Hour)),
		}
		others := []string{
			fmt.Sprintf("oprc-OTHER-%s-5.backup", at(1000*time.Hour)),
			// Of a clock that is ahead: newer than what was just made.
			fmt.Sprintf("oprc-%s-%s-9.backup", id, now.Add(time.Hour).Format(nameTime)),
		}
		for _, name := range append(append([]string{old}, recent...), others...) {
			put(name)
		}
		m := newManager(t, s, func(c *Config) { c.Count, c.Age = 3, 50*time.Hour }, d)
		made, err := m.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want := append([]string{made[0].Name, recent[1], recent[2]}, others...)
		slices.Sort(want)
		files, err := d.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range files {
			got = append(got, f.Name)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("kept %q, want %q", got, want)
		}
	})
}

func TestDirectoryKeepsStrangers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"notes.txt", "oprc-x.backup", "oprc-c-20260101T000000Z-1.backup.partial", "oprc-c-20200101T000000Z-1.backup.partial"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	long := time.Now().Add(-2 * stalePartial)
	if err := os.Chtimes(filepath.Join(dir, "oprc-c-20200101T000000Z-1.backup.partial"), long, long); err != nil {
		t.Fatal(err)
	}
	if files, err := NewDirectory(dir).List(t.Context()); err != nil || len(files) != 0 {
		t.Errorf("list: %v, %v, want nothing", files, err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 3 {
		t.Errorf("left: %v, %v, want all but what was half written long ago", left, err)
	}
}

// corrupting hands out a file with one byte changed.
type corrupting struct {
	Destination
	mu  sync.Mutex
	bad bool
	// made is how often something was written.
	made int
}

func (c *corrupting) set(bad bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bad = bad
}

func (c *corrupting) Put(ctx context.Context, name string, write func(io.Writer) error) error {
	c.mu.Lock()
	c.made++
	c.mu.Unlock()
	return c.Destination.Put(ctx, name, write)
}

func (c *corrupting) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	r, err := c.Destination.Open(ctx, name)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil || !c.bad {
		return r, err
	}
	defer func() { _ = r.Close() }()
	b, err := io.ReadAll(r)
	b[len(b)/2] ^= 1
	return io.NopCloser(bytes.NewReader(b)), err
}

// TestWhatCannotBeReadBackIsNoBackup finds damage, keeps what was there before, and
// leaves nothing that looks like a backup.
func TestWhatCannotBeReadBackIsNoBackup(t *testing.T) {
	t.Parallel()
	s := newStore(t, 2)
	d := &corrupting{Destination: NewDirectory(t.TempDir())}
	m := newManager(t, s, func(c *Config) { c.Count = 1 }, d)
	made, err := m.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	d.set(true)
	noise(t, s, 1000)
	var damage *backup.DamagedError
	if _, err := m.Run(t.Context()); !errors.As(err, &damage) || model.CodeOf(err) != model.CodeUnavailable {
		t.Errorf("run: got error %v, want damage", err)
	}
	list, err := m.List(t.Context())
	if err != nil || !slices.Equal(list, made) {
		t.Errorf("left: %v, %v, want the one before: %v", list, err, made)
	}
}

// TestSchedule runs leaders, with the clock of the test.
func TestSchedule(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 2)
		d := &corrupting{Destination: NewDirectory(t.TempDir())}
		m := newManager(t, s, func(c *Config) { c.Interval, c.Count = time.Hour, 3 }, d)
		lead := func() (stop func()) {
			ctx, cancel := context.WithCancel(t.Context())
			var done sync.WaitGroup
			done.Go(func() { m.Lead(ctx, 1) })
			return func() { cancel(); done.Wait() }
		}
		made := func(want int, when string) {
			t.Helper()
			synctest.Wait()
			d.mu.Lock()
			defer d.mu.Unlock()
			if d.made != want {
				t.Errorf("%s: %d backups, want %d", when, d.made, want)
			}
		}
		pass := func(d time.Duration) {
			<-time.After(d)
			synctest.Wait()
		}
		stop := lead()
		made(1, "at first")
		pass(59 * time.Minute)
		made(1, "before the next is due")
		index := s.Status().AppliedIndex
		stop()
		stop = lead()
		made(1, "under a new leader")
		pass(2 * time.Minute)
		made(2, "after an hour")
		if got := s.Status().AppliedIndex; got != index {
			t.Errorf("backups that succeed wrote %d entries", got-index)
		}
		d.set(true)
		pass(59 * time.Minute)
		made(3, "the one that fails")
		pass(5 * time.Minute)
		d.set(false)
		pass(2 * time.Minute)
		stop()
		if got, want := reasons(t, s), []string{ReasonFailed, ReasonRecovered}; !slices.Equal(got, want) {
			t.Errorf("events: %v, want %v", got, want)
		}
		if files, err := d.List(t.Context()); err != nil || len(files) != 3 {
			t.Errorf("%d backups are kept, %v, want 3", len(files), err)
		}
	})
}

func TestS3Refused(t *testing.T) {
	t.Parallel()
	server := startS3(t)
	server.failing(func(r *http.Request) bool { return r.Method == http.MethodPut })
	m := newManager(t, newStore(t, 1), nil, server.destination(t))
	if _, err := m.Run(t.Context()); model.CodeOf(err) != model.CodeUnavailable {
		t.Errorf("run: got %v, want unavailable", err)
	}
	if list, err := m.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("list: %v, %v", list, err)
	}
	for name, change := range map[string]func(*S3){
		"no scheme": func(c *S3) { c.Endpoint = "localhost:9000" },
		"a path":    func(c *S3) { c.Endpoint += "/x" },
		"no CA":     func(c *S3) { c.CACertPath = "/does/not/exist" },
	} {
		cfg := server.cfg
		change(&cfg)
		if _, err := NewS3(cfg); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	// Without the authority the server is nobody.
	cfg := server.cfg
	cfg.CACertPath = ""
	d, err := NewS3(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if _, err := d.List(ctx); err == nil {
		t.Error("a server was trusted that nobody vouches for")
	}
}

func TestNothingConfigured(t *testing.T) {
	t.Parallel()
	m := newManager(t, newStore(t, 0), nil)
	if _, err := m.List(t.Context()); model.CodeOf(err) != model.CodeFailedPrecondition {
		t.Errorf("list: %v", err)
	}
	if _, err := m.Run(t.Context()); model.CodeOf(err) != model.CodeFailedPrecondition {
		t.Errorf("run: %v", err)
	}
	m.Lead(t.Context(), 1)
	m.RunInitial(t.Context())
	if m.Undecided(t.Context()) != "" {
		t.Error("a node that restores nothing is not ready")
	}
}
