package cluster

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// newPromiser is a fresh node as far as promises need it.
func newPromiser(t *testing.T) *Node {
	t.Helper()
	e := newEndpoint(t, "", nil)
	p, err := openPromises(filepath.Join(t.TempDir(), "promise.json"))
	if err != nil {
		t.Fatal(err)
	}
	return &Node{
		cfg: DefaultConfig(), id: e.id, promises: p, mux: e.mux,
		gossip: &gossip{}, logger: slog.New(slog.DiscardHandler),
	}
}

// A node cannot join one cluster while it is promising itself to another.
func TestAdmissionWaitsForPromise(t *testing.T) {
	t.Parallel()
	n := newPromiser(t)
	n.promises.asking.Lock()
	admitted := make(chan error, 1)
	go func() { admitted <- n.admit(preamble{protocol: protocolRaft, clusterID: clusterA}) }()
	select {
	case err := <-admitted:
		t.Errorf("admitted while a promise was decided on: %v", err)
		admitted <- err
	case <-time.After(50 * time.Millisecond):
	}
	if err := n.promises.save(promiseRequest{Initiator: "someone", ClusterID: clusterB}); err != nil {
		t.Fatal(err)
	}
	n.promises.asking.Unlock()
	if err := <-admitted; err == nil {
		t.Error("a node promised to one cluster joined another")
	}
	if got := n.id.clusterID(); got != "" {
		t.Errorf("cluster id = %q, want none", got)
	}
	if err := n.admit(preamble{protocol: protocolRaft, clusterID: clusterB}); err != nil {
		t.Errorf("the cluster that was promised is refused: %v", err)
	}
}

// A node that restarted knows nobody through gossip yet. Its promise holds all
// the same while the initiator can be reached and does not take it back.
func TestPromiseSurvivesRestart(t *testing.T) {
	t.Parallel()
	for _, granted := range []bool{true, false} {
		initiator := &rpcServer{limit: 1 << 16, timeout: time.Second, metrics: newNodeMetrics(metrics.NewSet()),
			logger: slog.New(slog.DiscardHandler), ctx: context.Background()}
		initiator.handlers = map[frameType]handler{
			framePromise: func(_ context.Context, _ string, _ []byte, respond respond) {
				respond(json.Marshal(promiseAnswer{Granted: granted}))
			},
		}
		server := newEndpoint(t, "", func(m *mux) {
			m.serve = map[protocol]func(net.Conn, string){protocolRPC: initiator.serve}
		})
		n := newPromiser(t)
		n.client = newRPCClient(n.mux, func(string) string { return server.addr }, 1<<16, time.Second)
		defer func() { n.mux.shut(); n.client.close() }()
		held := &promiseRequest{Initiator: server.id.serverID, ClusterID: clusterA}
		if got := n.stillHeld(context.Background(), held); got != granted {
			t.Errorf("promise still held = %v, the initiator says %v", got, granted)
		}
	}
}

// The promise of a founder stays on disk until node.json tells the same.
func TestPromiseOutlivesUnsavedClusterID(t *testing.T) {
	t.Parallel()
	n := newPromiser(t)
	if err := n.promises.save(promiseRequest{Initiator: n.id.serverID, ClusterID: clusterA}); err != nil {
		t.Fatal(err)
	}
	// A directory in the place of the temporary file keeps node.json from being
	// written.
	if err := os.MkdirAll(n.id.dir.file("node.json.tmp", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	n.id.claim(clusterA)
	if n.settle() {
		t.Error("settled without a saved cluster id")
	}
	if n.promises.held() == nil {
		t.Error("the promise is forgotten")
	}
}
