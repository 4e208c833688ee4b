package testproc

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// limitFiles lets no file that a process writes grow beyond size: the kernel then
// fails writes as it does on a full disk, wherever they are.
func limitFiles(t *testing.T, n *Node, size uint64) {
	t.Helper()
	limit := syscall.Rlimit{Cur: size, Max: size}
	_, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(n.cmd.Process.Pid), syscall.RLIMIT_FSIZE,
		uintptr(unsafe.Pointer(&limit)), 0, 0, 0)
	if errno != 0 {
		t.Fatalf("limit the files of %s: %v", n.Name, errno)
	}
}

func (c *Cluster) tryPut(n *Node, name string) (status int, body string, err error) {
	document := fmt.Sprintf(`{"name":%q,"version":"1.0.0","classes":[],"functions":[],"metadata":{"description":%q}}`, name, strings.Repeat("x", 2000))
	request, err := http.NewRequest(http.MethodPost, n.URL("/api/v1/packages"), strings.NewReader(document))
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := c.HTTP.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	var text bytes.Buffer
	_, err = text.ReadFrom(response.Body)
	return response.StatusCode, text.String(), err
}

// TestFilesCannotGrow: the kernel refuses a node's writes. It stops with exit code
// 70 and names the file; started again where it can write, it has everything that
// it acknowledged.
func TestFilesCannotGrow(t *testing.T) {
	t.Parallel()
	c := NewCluster(t, 1)
	n := c.Nodes[0]
	mustPut(t, c, n, "before")
	limitFiles(t, n, 400<<10)
	var acknowledged []string
	for i := 0; n.Running(); i++ {
		name := fmt.Sprintf("p%d", i)
		if status, _, err := c.tryPut(n, name); err == nil && status == http.StatusCreated {
			acknowledged = append(acknowledged, name)
		}
		if i > 20_000 {
			t.Fatal("the files grew on")
		}
	}
	if code := n.Wait(t, time.Second); code != 70 {
		t.Errorf("exit code %d, want 70", code)
	}
	if log := n.Log(); !strings.Contains(log, "file too large") || !strings.Contains(log, ".db") {
		t.Errorf("the log names neither the fault nor the file:\n%s", tail(n.log.Name(), 4<<10))
	}
	if len(acknowledged) == 0 {
		t.Error("nothing was acknowledged: the test shows nothing")
	}
	if code, out := oprcPM(t, "check", n.DataDir); code != 0 {
		t.Errorf("check: exit code %d\n%s", code, out)
	}
	c.Start(t, 0)
	c.WaitReady(t, 0, 20*time.Second)
	for _, name := range append(acknowledged, "before") {
		if status, _, err := c.Get(n, "/api/v1/packages/"+name); err != nil || status != http.StatusOK {
			t.Errorf("acknowledged package %s: status %d, %v", name, status, err)
		}
	}
}

// TestDiskRefusesWrites: a disk with less free space than was asked for, as the
// system tells it.
func TestDiskRefusesWrites(t *testing.T) {
	t.Parallel()
	settings := filepath.Join(t.TempDir(), "settings.yaml")
	mustWrite(t, settings, "disk: {alarm_percent: 99.9, refuse_percent: 99.9, alarm_bytes: 1000000000000000000, refuse_bytes: 1000000000000000000, reserve_bytes: 0, interval: 50ms}\n")
	c := NewCluster(t, 1, "--config", settings)
	n := c.Nodes[0]
	waitFor(t, 10*time.Second, "writes to be refused", func() error {
		status, body, err := c.tryPut(n, "p")
		if err == nil && (status != http.StatusInsufficientStorage || !strings.Contains(body, `"disk_full"`)) {
			err = fmt.Errorf("status %d: %s", status, body)
		}
		return err
	})
	if status, _, err := c.Get(n, "/readyz"); err != nil || status != http.StatusOK {
		t.Errorf("readiness: status %d, %v", status, err)
	}
	if code, out := oprcPM(t, "apply", "-f", packageFile(t), "--server", n.URL("")); code != 5 || !strings.Contains(out, "disk is full: node-0 has") {
		t.Errorf("apply: exit code %d\n%s", code, out)
	}
}

func packageFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "package.yaml")
	mustWrite(t, path, "name: q\nversion: 1.0.0\nclasses: []\nfunctions: []\n")
	return path
}

// TestDiskCommands walks through what an operator does with files.
func TestDiskCommands(t *testing.T) {
	t.Parallel()
	c := NewCluster(t, 1)
	n := c.Nodes[0]
	for i := range 20 {
		mustPut(t, c, n, fmt.Sprintf("p%d", i))
	}
	want := func(wantCode int, wantText string, args ...string) {
		t.Helper()
		code, out := oprcPM(t, args...)
		if code != wantCode || !strings.Contains(out, wantText) {
			t.Errorf("%v: exit code %d, want %d with %q:\n%s", args, code, wantCode, wantText, out)
		}
	}
	at := "--server=" + n.URL("")
	want(0, "a snapshot was made; state:", "cluster", "compact", at)
	want(0, "node-0: ", "cluster", "compact", at, "--node", "node-0")
	want(3, "no node is called", "cluster", "compact", at, "--node", "nobody")
	want(1, "in use", "check", n.DataDir)
	want(1, "in use", "cluster", "rejoin", "--data-dir", n.DataDir)
	want(1, "in use", "cluster", "compact", "--data-dir", n.DataDir)
	n.Stop(t, 15*time.Second)
	want(0, "no problem was found", "check", n.DataDir)
	want(0, `"last_index"`, "check", n.DataDir, "--positions")
	want(0, "became", "cluster", "compact", "--data-dir", n.DataDir)
	want(0, "no problem was found", "check", n.DataDir)
	want(4, "only copy", "cluster", "rejoin", "--data-dir", n.DataDir)
	want(2, "--data-dir", "cluster", "rejoin")
	want(1, "not the data directory of a node", "check", t.TempDir())

	// A torn state file: the node says what mends it, and that does.
	state := filepath.Join(n.DataDir, "fsm", "state.db")
	info, err := os.Stat(state)
	if err == nil {
		err = os.Truncate(state, info.Size()/2)
	}
	if err != nil {
		t.Fatal(err)
	}
	want(1, "oprc-pm cluster rebuild --data-dir "+n.DataDir, "check", n.DataDir)
	c.Start(t, 0)
	if code := n.Wait(t, 10*time.Second); code != 65 || !strings.Contains(n.Log(), "oprc-pm cluster rebuild --data-dir "+n.DataDir) {
		t.Errorf("start: exit code %d, want 65 and the command", code)
	}
	want(0, "moved to", "cluster", "rebuild", "--data-dir", n.DataDir)
	c.args = append(c.args, "--compact")
	c.Start(t, 0)
	c.WaitReady(t, 0, 15*time.Second)
	if packages := listPackages(t, c, n); len(packages) != 20 {
		t.Errorf("%d packages after the rebuild, want 20", len(packages))
	}
	if !strings.Contains(n.Log(), "compacted the log") {
		t.Error("the log was not compacted at the start")
	}
}
