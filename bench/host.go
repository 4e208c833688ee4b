package bench

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"time"
)

// Host is what the harness needs of the process it runs in.
type Host struct {
	// Version of the program, for reports.
	Version string
	// Executable is the program that children are started from. PlainVerb are
	// the arguments that make it a plain server, ProfileVerb those that, before
	// --out FILE -- and another verb, make it profile that, and SimVerb those
	// that make it simulated clusters.
	Executable  string
	PlainVerb   []string
	ProfileVerb []string
	SimVerb     []string
	// Env is the whole environment of children.
	Env []string
	// Dir takes the files of children, in a folder that is removed at the end;
	// empty means the system's place for such files. Where it is decides how
	// much a durable write costs.
	Dir string
	// ServerArgs are added to the arguments of every local node.
	ServerArgs []string
	// CPUProfileDir, when not empty, takes a CPU profile of every local node.
	CPUProfileDir string
	// OpTimeout is after how long an operation without an answer has failed.
	OpTimeout time.Duration
	// Progress is told, line by line, what is going on.
	Progress func(format string, args ...any)
}

// DefaultOpTimeout is longer than a server takes to give up by itself.
const DefaultOpTimeout = 30 * time.Second

func (h *Host) progress(format string, args ...any) {
	if h.Progress != nil {
		h.Progress(format, args...)
	}
}

// turnProgress tells of the turns of a run.
func (h *Host) turnProgress(run string, turns int) func(string, int, Turn) {
	return func(subject string, turn int, t Turn) {
		h.progress("%s: %s, turn %d of %d: %.0f ops/s, p99 %s", run, subject, turn, turns, t.OpsPerSecond, microText(t.Latency.P99))
	}
}

// scratch makes a folder for one call of the harness, and what removes it.
func (h *Host) scratch() (dir string, remove func() error, err error) {
	if h.Dir != "" {
		if err := os.MkdirAll(h.Dir, 0o755); err != nil {
			return "", nil, fmt.Errorf("make scratch folder: %w", err)
		}
	}
	if h.CPUProfileDir != "" {
		if err := os.MkdirAll(h.CPUProfileDir, 0o755); err != nil {
			return "", nil, fmt.Errorf("make profile folder: %w", err)
		}
	}
	dir, err = os.MkdirTemp(h.Dir, "oprc-pm-bench-")
	if err != nil {
		return "", nil, fmt.Errorf("make scratch folder: %w", err)
	}
	return dir, func() error {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("remove scratch folder: %w", err)
		}
		return nil
	}, nil
}

// newPrefix names the documents of one call, so that it finds and removes only
// its own.
func newPrefix() string {
	var random [4]byte
	_, _ = rand.Read(random[:]) // It never fails.
	return "bench-" + hex.EncodeToString(random[:])
}

// closing runs a clean-up and adds its error to *err.
func closing(err *error, clean func() error) { *err = errors.Join(*err, clean()) }
