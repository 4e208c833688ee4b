package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/oprc/oprc-pm/internal/config"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if err := leaks(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// leaks waits for all goroutines to end. goleak by itself gives up before the
// janitor of the HTTP library's workers has noticed that its server is closed: it
// looks twice a second.
func leaks() (err error) {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		// The HTTP library keeps the date of its answers in a goroutine of the
		// process.
		if err = goleak.Find(goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1")); err == nil {
			return nil
		}
	}
	return err
}

// result is one run of the program.
type result struct {
	code     int
	out, err string
}

// cli runs the program against the node at server ("" for none) with stdin.
func cli(t *testing.T, server, stdin string, args ...string) result {
	t.Helper()
	var environ []string
	if server != "" {
		environ = append(environ, "OPRC_SERVER="+server)
	}
	return runIn(t.Context(), environ, stdin, args...)
}

func runIn(ctx context.Context, environ []string, stdin string, args ...string) result {
	var out, errOut bytes.Buffer
	code := run(ctx, args, strings.NewReader(stdin), &out, &errOut, environ)
	return result{code, out.String(), errOut.String()}
}

// want fails the test unless the run ended with code.
func (r result) want(t *testing.T, code int) result {
	t.Helper()
	if r.code != code {
		t.Fatalf("exit code %d, want %d\nstdout:\n%s\nstderr:\n%s", r.code, code, r.out, r.err)
	}
	return r
}

// settled replaces what differs between runs: ages and ids of units.
func settled(text string) string {
	text = regexp.MustCompile(`\b\d+s\b`).ReplaceAllString(text, "0s")
	text = regexp.MustCompile(`\b(record|shop-cart)-[a-z2-7]{16}\b`).ReplaceAllString(text, "$1-xxxxxxxxxxxxxxxx")
	return regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+Z`).ReplaceAllString(text, "TIME")
}

// startNode runs a node that keeps its state in memory, with the two simulated
// clusters of a development node, and returns its URL.
func startNode(t *testing.T) string {
	t.Helper()
	s, _ := startNodeWith(t, func(*config.Config) {})
	return "http://" + s.advertised
}

func startNodeWith(t *testing.T, change func(*config.Config)) (*service, *simulators) {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	dir := t.TempDir()
	sims, err := startSims(t.Context(), dir, logger)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sims.stop)
	cfg := devConfig(devOptions{dataDir: dir, httpAddr: "127.0.0.1:0", logLevel: "info"})
	cfg.Storage.Type = config.StorageMemory
	for name, url := range sims.urls {
		cluster := config.DefaultCRMCluster()
		cluster.BaseURL = url
		cfg.CRM.Clusters[name] = cluster
	}
	change(&cfg)
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	s, err := startService(t.Context(), cfg, logger)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.stop(10 * time.Second); err != nil {
			t.Error(err)
		}
	})
	return s, sims
}

const example = "../../deploy/examples/echo.yml"

// buffer is what a run that is still going on has printed.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// background is a run that goes on until it is told to stop.
type background struct {
	out, err buffer
	stop     context.CancelFunc
	code     chan int
}

func inBackground(t *testing.T, environ []string, args ...string) *background {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	b := &background{stop: stop, code: make(chan int, 1)}
	go func() { // Ends with stop; the cleanup waits for it.
		b.code <- run(ctx, args, strings.NewReader(""), &b.out, &b.err, environ)
		close(b.code)
	}()
	t.Cleanup(func() {
		stop()
		<-b.code // its code, or closed after it was taken
	})
	return b
}

// end tells the run to stop and returns its exit code.
func (b *background) end(t *testing.T) int {
	t.Helper()
	b.stop()
	select {
	case code := <-b.code:
		return code
	case <-time.After(20 * time.Second):
		t.Fatalf("the program did not end\nstdout:\n%s\nstderr:\n%s", b.out.String(), b.err.String())
		return -1
	}
}

// waitFor polls until cond returns nil.
func waitFor(t *testing.T, what string, cond func() error) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for {
		err := cond()
		if err == nil {
			return
		}
		select {
		case <-poll.C:
		case <-deadline.C:
			t.Fatalf("%s: %v", what, err)
		}
	}
}

func waitForText(t *testing.T, b fmt.Stringer, texts ...string) {
	t.Helper()
	waitFor(t, "output", func() error {
		for _, text := range texts {
			if !strings.Contains(b.String(), text) {
				return fmt.Errorf("%q is not in it:\n%s", text, b.String())
			}
		}
		return nil
	})
}

func contains(t *testing.T, text string, wanted ...string) {
	t.Helper()
	for _, want := range wanted {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in:\n%s", want, text)
		}
	}
}

func tempFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := writeFile(path, content); err != nil {
		t.Fatal(err)
	}
	return path
}
