package cluster

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// Who waits for the answer of a leader that fell silent goes on when there is
// another leader, and not only when the connection or the request times out.
func TestForwardLeavesSilentLeader(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig()
	cfg.NodeName, cfg.DataDir = "n", filepath.Join(t.TempDir(), "n")
	cfg.ClusterAddr, cfg.GossipAddr, cfg.FastGossip = "127.0.0.1:0", "127.0.0.1:0", true
	cfg.HeartbeatTimeout, cfg.ElectionTimeout = time.Second, time.Second
	cfg.IOTimeout = 20 * time.Second
	n := New(cfg, Deps{})
	if err := n.Open(context.Background()); err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	silent := newEndpoint(t, "", func(m *mux) {
		m.serve = map[protocol]func(net.Conn, string){protocolRPC: func(net.Conn, string) {}}
	})
	n.book.learn(silent.id.serverID, silent.addr)
	data := encoded(t, storage.Barrier{}, "1")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	// This node is about to be elected: then it is the other leader.
	_, err := n.tryForward(ctx, silent.id.serverID, framePropose, data)
	var attempt *attemptError
	if !errors.Is(err, errLeaderMoved) || !errors.As(err, &attempt) || !attempt.proposed {
		t.Errorf("error = %v, want a command that may have been proposed, and %v", err, errLeaderMoved)
	}
}

// A leader that refuses a command for good does not undo that an earlier one may
// have proposed it.
func TestRefusalAfterProposalIsUnknown(t *testing.T) {
	t.Parallel()
	n := New(DefaultConfig(), Deps{})
	refusal := model.Errorf(model.CodeTooLarge, "too large for this leader")
	for proposed, want := range map[bool]model.Code{false: model.CodeTooLarge, true: model.CodeUnknownOutcome} {
		if got := model.CodeOf(n.refused(proposed, refusal)); got != want {
			t.Errorf("refused after proposed = %v: code %q, want %q", proposed, got, want)
		}
	}
}
