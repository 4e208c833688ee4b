package testcluster

import (
	"bytes"
	"log/slog"
	"os"
	"sync"
	"testing"
)

// testLog gives the nodes' logs to the test, which shows them when it fails.
// OPRC_TEST_LOG=debug adds what the libraries say.
type testLog struct {
	mu      sync.Mutex // guards stopped: no line may come after the test's end
	t       testing.TB
	stopped bool
}

func (l *testLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.stopped {
		l.t.Log(string(bytes.TrimSpace(p)))
	}
	return len(p), nil
}

func (l *testLog) stop() {
	l.mu.Lock()
	l.stopped = true
	l.mu.Unlock()
}

func (l *testLog) logger(i int) *slog.Logger {
	level := slog.LevelInfo
	if os.Getenv("OPRC_TEST_LOG") == "debug" {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: level})).With("n", i)
}
