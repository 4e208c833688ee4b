package cluster

import (
	"context"
	"path/filepath"
	"testing"
	"time"
)

// openSingle opens a cluster of one and waits until it leads. The test must close
// it.
func openSingle(t *testing.T) *Node {
	t.Helper()
	cfg := DefaultConfig()
	cfg.NodeName, cfg.DataDir = "n", filepath.Join(t.TempDir(), "n")
	cfg.ClusterAddr, cfg.GossipAddr, cfg.FastGossip = "127.0.0.1:0", "127.0.0.1:0", true
	n := New(cfg, Deps{})
	if err := n.Open(context.Background()); err != nil {
		t.Fatal(err)
	}
	deadline := time.After(30 * time.Second)
	for {
		changed := n.changed.wait()
		if n.established() != 0 {
			return n
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatal("no leadership in time")
		}
	}
}

// After an attempt to hand leadership over there is no lease in that term, even
// when the attempt failed: the chosen successor may still be elected at once.
func TestNoLeaseAfterFailedTransfer(t *testing.T) {
	t.Parallel()
	n := openSingle(t)
	defer n.Close()
	n.reads.grant(n.established(), time.Now())
	if _, ok := n.reads.leased(); !ok {
		t.Fatal("no lease after a round")
	}
	if err := n.TransferLeadership(context.Background(), ""); err == nil {
		t.Fatal("the only voter handed leadership over")
	}
	n.reads.grant(n.established(), time.Now())
	if _, ok := n.reads.leased(); ok {
		t.Error("there is a lease in the term of a transfer")
	}
}

// A transfer that comes too late is refused: the library takes it and never
// answers.
func TestTransferAfterCloseReturns(t *testing.T) {
	t.Parallel()
	n := openSingle(t)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() {
		for range 20 {
			ended <- n.transferHere(context.Background(), "")
		}
	}()
	for range 20 {
		select {
		case err := <-ended:
			if err == nil {
				t.Error("a closed node transferred leadership")
			}
		case <-time.After(5 * time.Second):
			t.Fatal("a transfer on a closed node does not end")
		}
	}
}
