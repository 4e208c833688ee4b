package testproc

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

var build struct {
	once sync.Once
	dir  string
	path string
	out  []byte
	err  error
}

// Binary builds the program, once per test process, and returns its path. The
// package's TestMain must call RemoveBinary at the end.
func Binary(t testing.TB) string {
	t.Helper()
	build.once.Do(func() {
		if build.dir, build.err = os.MkdirTemp("", "oprc-pm-test-"); build.err != nil {
			return
		}
		build.path = filepath.Join(build.dir, "oprc-pm")
		cmd := exec.Command("go", "build", "-trimpath", "-o", build.path, "github.com/oprc/oprc-pm/cmd/oprc-pm")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		build.out, build.err = cmd.CombinedOutput()
	})
	if build.err != nil {
		t.Fatalf("build the program: %v\n%s", build.err, build.out)
	}
	return build.path
}

// RemoveBinary removes what Binary built.
func RemoveBinary() {
	if build.dir != "" {
		_ = os.RemoveAll(build.dir) // A left-over temporary file harms nobody.
	}
}
