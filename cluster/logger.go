package cluster

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// hclogBridge lets the Raft libraries log through slog. Their info messages are
// about every step of an election and every connection: below what an operator
// wants, so they become debug.
//
// A peer that is down makes the library complain several times a second for as
// long as it is. Of such a complaint the first is logged, and then one in
// complaintPeriod, with the number of those left out.
type hclogBridge struct {
	out        *slog.Logger
	name       string
	implied    []any
	complaints *complaints
}

// complaintPeriod spaces equal complaints about one peer.
const complaintPeriod = 30 * time.Second

var _ hclog.Logger = (*hclogBridge)(nil)

func newHCLog(out *slog.Logger, name string) *hclogBridge {
	return &hclogBridge{out: out.With("component", name), name: name, complaints: newComplaints(complaintPeriod)}
}

func slogLevel(level hclog.Level) slog.Level {
	switch level {
	case hclog.Error:
		return slog.LevelError
	case hclog.Warn:
		return slog.LevelWarn
	case hclog.Trace:
		return slog.LevelDebug - 4
	default:
		return slog.LevelDebug
	}
}

func (b *hclogBridge) Log(level hclog.Level, msg string, args ...any) {
	l := slogLevel(level)
	if !b.out.Enabled(context.Background(), l) {
		return
	}
	out := make([]any, 0, len(args))
	for _, a := range args {
		if f, ok := a.(hclog.Format); ok && len(f) > 0 {
			if format, ok := f[0].(string); ok {
				a = fmt.Sprintf(format, f[1:]...)
			}
		}
		out = append(out, a)
	}
	if l >= slog.LevelWarn {
		left, ok := b.complaints.pass(msg, out)
		if !ok {
			return
		}
		if left > 0 {
			out = append(out, "left_out", left)
		}
	}
	b.out.Log(context.Background(), l, msg, out...) //nolint:sloglint // the messages are the library's
}

func (b *hclogBridge) Trace(msg string, args ...any) { b.Log(hclog.Trace, msg, args...) }
func (b *hclogBridge) Debug(msg string, args ...any) { b.Log(hclog.Debug, msg, args...) }
func (b *hclogBridge) Info(msg string, args ...any)  { b.Log(hclog.Info, msg, args...) }
func (b *hclogBridge) Warn(msg string, args ...any)  { b.Log(hclog.Warn, msg, args...) }
func (b *hclogBridge) Error(msg string, args ...any) { b.Log(hclog.Error, msg, args...) }

func (b *hclogBridge) enabled(level hclog.Level) bool {
	return b.out.Enabled(context.Background(), slogLevel(level))
}

func (b *hclogBridge) IsTrace() bool { return b.enabled(hclog.Trace) }
func (b *hclogBridge) IsDebug() bool { return b.enabled(hclog.Debug) }
func (b *hclogBridge) IsInfo() bool  { return b.enabled(hclog.Info) }
func (b *hclogBridge) IsWarn() bool  { return b.enabled(hclog.Warn) }
func (b *hclogBridge) IsError() bool { return b.enabled(hclog.Error) }

func (b *hclogBridge) ImpliedArgs() []any { return b.implied }
func (b *hclogBridge) Name() string       { return b.name }

func (b *hclogBridge) With(args ...any) hclog.Logger {
	return &hclogBridge{
		out: b.out.With(args...), name: b.name, implied: append(slices.Clip(b.implied), args...), complaints: b.complaints,
	}
}

func (b *hclogBridge) Named(name string) hclog.Logger {
	return &hclogBridge{out: b.out, name: b.name + "." + name, implied: b.implied, complaints: b.complaints}
}

func (b *hclogBridge) ResetNamed(name string) hclog.Logger {
	return &hclogBridge{out: b.out, name: name, implied: b.implied, complaints: b.complaints}
}

// SetLevel does nothing: the level belongs to the slog handler.
func (b *hclogBridge) SetLevel(hclog.Level) {}

func (b *hclogBridge) GetLevel() hclog.Level {
	for _, level := range []hclog.Level{hclog.Debug, hclog.Warn} {
		if b.enabled(level) {
			return level
		}
	}
	return hclog.Error
}

func (b *hclogBridge) StandardLogger(opts *hclog.StandardLoggerOptions) *log.Logger {
	return log.New(b.StandardWriter(opts), "", 0)
}

func (b *hclogBridge) StandardWriter(*hclog.StandardLoggerOptions) io.Writer {
	return &lineWriter{out: b.out}
}

// lineWriter turns lines such as "[WARN] memberlist: text" into records.
type lineWriter struct{ out *slog.Logger }

func (w *lineWriter) Write(p []byte) (int, error) {
	line := string(bytes.TrimSpace(p))
	level := slog.LevelDebug
	for prefix, l := range map[string]slog.Level{
		"[ERR] ": slog.LevelWarn, "[ERROR] ": slog.LevelWarn, "[WARN] ": slog.LevelDebug,
		"[INFO] ": slog.LevelDebug, "[DEBUG] ": slog.LevelDebug,
	} {
		if rest, ok := strings.CutPrefix(line, prefix); ok {
			line, level = rest, l
			break
		}
	}
	w.out.Log(context.Background(), level, "gossip library", "text", line)
	return len(p), nil
}

// throttle lets one message per key and period through, so that a peer which is
// refused a hundred times a second is logged like one that is refused once.
type throttle struct {
	period time.Duration
	mu     sync.Mutex // guards last
	last   map[string]time.Time
}

func newThrottle(period time.Duration) *throttle {
	return &throttle{period: period, last: make(map[string]time.Time)}
}

func (t *throttle) allow(key string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if at, ok := t.last[key]; ok && now.Sub(at) < t.period {
		return false
	}
	if len(t.last) > 256 {
		clear(t.last)
	}
	t.last[key] = now
	return true
}

// complaints counts messages about peers that say the same again.
type complaints struct {
	period time.Duration
	mu     sync.Mutex // guards seen
	seen   map[string]*complaint
}

type complaint struct {
	logged time.Time
	left   int
}

// maxComplaints bounds the table; beyond it is begun anew.
const maxComplaints = 256

func newComplaints(period time.Duration) *complaints {
	return &complaints{period: period, seen: make(map[string]*complaint)}
}

// pass reports whether a message is to be logged, and how many like it were not
// since the last one. A message that names no peer always is.
func (c *complaints) pass(msg string, args []any) (left int, ok bool) {
	peer := peerOf(args)
	if peer == "" {
		return 0, true
	}
	key := msg + "\x00" + peer
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.seen[key]
	if before != nil && now.Sub(before.logged) < c.period {
		before.left++
		return 0, false
	}
	if before != nil {
		left = before.left
	}
	if len(c.seen) >= maxComplaints {
		clear(c.seen)
	}
	c.seen[key] = &complaint{logged: now}
	return left, true
}

// peerOf is the server that the arguments of a message of the library name.
func peerOf(args []any) string {
	for i := 0; i+1 < len(args); i += 2 {
		switch args[i] {
		case "peer", "target", "server-id":
			return fmt.Sprint(args[i+1])
		}
	}
	return ""
}
