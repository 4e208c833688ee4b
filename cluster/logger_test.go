package cluster

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestComplaintsAboutAPeerAreSpaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		logger := newHCLog(slog.New(slog.NewTextHandler(&out, nil)), "raft")
		lines := func() []string {
			got := strings.Split(strings.TrimSpace(out.String()), "\n")
			out.Reset()
			return got
		}
		for range 5 {
			logger.Error("failed to heartbeat to", "peer", "a", "error", "refused")
			logger.Named("x").With("k", "v").Error("failed to heartbeat to", "peer", "a", "error", "reset")
		}
		logger.Error("failed to heartbeat to", "peer", "b", "error", "refused")
		logger.Warn("failed to contact", "server-id", "a")
		if got := lines(); len(got) != 3 {
			t.Errorf("%d lines, want one for each peer and message:\n%s", len(got), strings.Join(got, "\n"))
		}
		<-time.After(complaintPeriod)
		logger.Error("failed to heartbeat to", "peer", "a", "error", "refused")
		if got := lines(); len(got) != 1 || !strings.Contains(got[0], "left_out=9") {
			t.Errorf("after the period: %q, want one line that counts the 9 left out", got)
		}
		for range 3 {
			logger.Warn("heartbeat timeout reached, starting election", "last-leader-addr", "a")
		}
		if got := lines(); len(got) != 3 {
			t.Errorf("a message about no peer was logged %d times of 3", len(got))
		}
	})
}
