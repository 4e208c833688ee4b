package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/internal/testproc"
)

// TestMain makes this program its own child: the plain server, and processes
// that fail.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "plain-server":
			os.Exit(plainChild(os.Args[2:]))
		case "server":
			fmt.Println("nothing to serve here")
			os.Exit(3)
		}
	}
	code := m.Run()
	testproc.RemoveBinary()
	os.Exit(code)
}

// plainChild runs ServePlain with the flags that StartPlain passes.
func plainChild(args []string) int {
	flags := make(map[string]string)
	for i := 0; i+1 < len(args); i += 2 {
		flags[args[i]] = args[i+1]
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := ServePlain(ctx, flags["--listen"], flags["--answers"], flags["--ready-file"]); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func testProgram(t testing.TB) string {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// TestPlain: the plain server answers what the API answered, byte by byte and
// header by header, and counts as a process.
func TestPlain(t *testing.T) {
	t.Parallel()
	_, docs := storedDocuments(t, 8)
	get, err := NewGet(docs, "stale")
	if err != nil {
		t.Fatal(err)
	}
	list, err := NewList(t.Context(), docs, 5, "")
	if err != nil {
		t.Fatal(err)
	}
	plain, err := StartPlain(t.Context(), testProgram(t), []string{"plain-server"}, nil, t.TempDir(), get, list)
	if err != nil {
		t.Fatal(err)
	}
	addr := plain.Addrs()[0]
	for _, w := range []*Workload{get, list} {
		if _, err := w.runOnce(t, addr); err != nil {
			t.Errorf("%s: %v", w.Name, err)
		}
		for _, want := range w.answers() {
			c := newConnection(addr, testTimeout)
			if _, err := c.call(t.Context(), "GET", want.URI, nil); err != nil {
				t.Fatal(err)
			}
			if got := captureAnswer(want.URI, &c.resp); fmt.Sprint(got.Headers) != fmt.Sprint(want.Headers) {
				t.Errorf("headers of %s: got %v, want %v", want.URI, got.Headers, want.Headers)
			}
			c.close()
		}
	}
	c := newConnection(addr, testTimeout)
	defer c.close()
	if _, err := c.call(t.Context(), "GET", "/else", nil); err == nil {
		t.Error("unknown path: got no error")
	}
	if err := plain.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if err := plain.Close(); err != nil {
		t.Errorf("close again: %v", err)
	}
}

func TestPlainRefusesWrites(t *testing.T) {
	t.Parallel()
	_, docs := storedDocuments(t, 4)
	put, err := NewPut(docs, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := StartPlain(t.Context(), testProgram(t), []string{"plain-server"}, nil, t.TempDir(), put); err == nil {
		t.Error("got no error")
	}
}

func TestChildFails(t *testing.T) {
	t.Parallel()
	program := testProgram(t)
	t.Run("err_ends", func(t *testing.T) {
		t.Parallel()
		_, err := StartLocal(t.Context(), LocalConfig{Executable: program, Nodes: 2, Dir: t.TempDir()})
		if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "nothing to serve here") {
			t.Errorf("got error %v, want the exit status and what was printed", err)
		}
	})
	t.Run("err_absent", func(t *testing.T) {
		t.Parallel()
		_, err := StartLocal(t.Context(), LocalConfig{Executable: filepath.Join(t.TempDir(), "absent"), Nodes: 1, Dir: t.TempDir()})
		if !errors.Is(err, os.ErrNotExist) {
			t.Errorf("got error %v, want %v", err, os.ErrNotExist)
		}
	})
	t.Run("err_no_nodes", func(t *testing.T) {
		t.Parallel()
		if _, err := StartLocal(t.Context(), LocalConfig{Executable: program, Dir: t.TempDir()}); err == nil {
			t.Error("got no error")
		}
	})
	t.Run("err_ready_file", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		script := filepath.Join(dir, "script")
		if err := os.WriteFile(script, []byte("#!/bin/sh\necho '{}' >"+filepath.Join(dir, "ready")+"\nexec sleep 60\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		_, err := startChild(t.Context(), childConfig{
			name: "broken", executable: script, readyFile: filepath.Join(dir, "ready"), logFile: filepath.Join(dir, "log"),
			env: []string{"PATH=/usr/bin:/bin"},
		})
		if err == nil || !strings.Contains(err.Error(), "ready file holds") {
			t.Errorf("got error %v, want one about the ready file", err)
		}
	})
}

// TestChildStopsWithContext: a child that is still starting ends when it is no
// longer wanted.
func TestChildStopsWithContext(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begun := time.Now()
	_, err := startChild(ctx, childConfig{
		name: "idle", executable: "/bin/sh", args: []string{"-c", "exec sleep 60"}, readyFile: filepath.Join(dir, "ready"),
		logFile: filepath.Join(dir, "log"), env: []string{"PATH=/usr/bin:/bin"},
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got error %v, want %v", err, context.DeadlineExceeded)
	}
	if took := time.Since(begun); took > startTimeout/2 {
		t.Errorf("took %v", took)
	}
}

func TestMeasureRefuses(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Options){
		"no_target":   func(*Options) {},
		"two_targets": func(o *Options) { o.Local, o.Servers = 1, []string{"a"} },
		"bad_server":  func(o *Options) { o.Servers = []string{"https://a"} },
	} {
		o := DefaultOptions()
		change(&o)
		if report, err := Measure(t.Context(), Host{Dir: t.TempDir()}, o); err == nil || report != nil {
			t.Errorf("%s: got report %v and error %v", name, report, err)
		}
	}
}

// TestMeasure loads a server that is there already, beside the plain one, and
// leaves nothing behind.
func TestMeasure(t *testing.T) {
	t.Parallel()
	server := startAPI(t)
	dir := t.TempDir()
	var lines []string
	h := Host{
		Version: "1.2.3", Executable: testProgram(t), PlainVerb: []string{"plain-server"}, Dir: dir,
		Progress: func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) },
	}
	o := DefaultOptions()
	o.Servers, o.VsPlain, o.Load, o.Turns, o.Documents = []string{server.addr}, true, shortLoad, 2, 10
	o.Consistencies = Consistencies
	report, err := Measure(t.Context(), h, o)
	if err != nil {
		t.Fatal(err)
	}
	run := report.Runs[0]
	if got, want := run.Name, "get, 4 clients"; got != want {
		t.Errorf("name: got %q, want %q", got, want)
	}
	if len(run.Subjects) != 4 || len(run.Ratios) != 3 || len(lines) == 0 {
		t.Errorf("got %d subjects, %d ratios, %d lines of progress", len(run.Subjects), len(run.Ratios), len(lines))
	}
	if len(server.docs) != 0 {
		t.Errorf("got %d documents left behind", len(server.docs))
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("got files %v and error %v, want none", left, err)
	}
	o.Workload = "dance"
	if _, err := Measure(t.Context(), h, o); err == nil {
		t.Error("unknown workload: got no error")
	}
}
