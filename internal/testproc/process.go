package testproc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Process is one run of the program.
type Process struct {
	name string
	cmd  *exec.Cmd
	log  *os.File
	// done is closed when the process has ended; err is then how.
	done chan struct{}
	err  error
}

// Start runs the program with args; its output goes to a log file in dir, after
// that of earlier runs. The test's cleanup kills it when it still runs.
func Start(t testing.TB, name, dir string, args ...string) *Process {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	log, err := os.OpenFile(filepath.Join(dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	p := &Process{name: name, cmd: exec.Command(Binary(t), args...), log: log, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	// The settings of whoever runs the tests must not leak into the nodes.
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + os.TempDir()}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() { // Ends with the process; Kill waits for it.
		p.err = errors.Join(p.cmd.Wait(), log.Close())
		close(p.done)
	}()
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("log of %s (%s):\n%s", name, log.Name(), tail(log.Name(), 8<<10))
		}
	})
	return p
}

// Kill ends the process at once (SIGKILL) and waits until it is gone.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // It may have ended already.
	<-p.done
}

// Signal sends a signal.
func (p *Process) Signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		t.Fatalf("signal %s: %v", p.name, err)
	}
}

// Stop asks the process to end (SIGTERM) and fails the test unless it does so
// with exit code 0 within limit.
func (p *Process) Stop(t testing.TB, limit time.Duration) {
	t.Helper()
	p.Signal(t, syscall.SIGTERM)
	if code := p.Wait(t, limit); code != 0 {
		t.Errorf("%s ended with exit code %d after SIGTERM, want 0", p.name, code)
	}
}

// Wait returns the exit code of a process that ends within limit.
func (p *Process) Wait(t testing.TB, limit time.Duration) int {
	t.Helper()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(limit):
		t.Fatalf("%s still runs after %s", p.name, limit)
		return -1
	}
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Log returns what the process has printed so far.
func (p *Process) Log() string {
	content, err := os.ReadFile(p.log.Name())
	if err != nil {
		return fmt.Sprintf("(no log: %v)", err)
	}
	return string(content)
}

func tail(path string, limit int) []byte {
	content, err := os.ReadFile(path)
	if err != nil {
		return []byte(err.Error())
	}
	if len(content) > limit {
		content = content[len(content)-limit:]
		if _, rest, found := bytes.Cut(content, []byte("\n")); found {
			content = rest
		}
	}
	return content
}

// waitFor polls until cond returns nil; on the deadline it fails the test with
// cond's last error. It looks less often at what takes long to look at: looking
// must not keep what it waits for from its work.
func waitFor(t testing.TB, limit time.Duration, what string, cond func() error) {
	t.Helper()
	const pace = 20 * time.Millisecond
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	pause := time.NewTimer(pace)
	defer pause.Stop()
	for {
		begun := time.Now()
		err := cond()
		if err == nil {
			return
		}
		pause.Reset(max(pace, 2*time.Since(begun)))
		select {
		case <-pause.C:
		case <-deadline.C:
			t.Fatalf("%s: not within %s: %v", what, limit, err)
		}
	}
}

// dataDir returns a directory that is removed only when the test passes.
func dataDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "oprc-pm-data-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("data directories kept in %s", dir)
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove data directories: %v", err)
		}
	})
	return dir
}
