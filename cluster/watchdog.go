package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// A leader whose disk stalls goes on leading: its heartbeats are sent beside the
// write that hangs, so nobody else is elected and nothing commits. The library
// cannot help itself, because the goroutine that hangs is the one that would hand
// over or step down. So the watchdog silences it: its leader run ends, nothing of
// Raft leaves this node any more, and the others elect one of themselves. When the
// write returns the node finds itself deposed and follows.

// watchdogSteps is how often in a stall timeout the watchdog looks.
const watchdogSteps = 10

// runWatchdog looks at the write that is going on until ctx ends.
func (n *Node) runWatchdog(ctx context.Context) {
	tick := time.NewTicker(max(n.cfg.Disk.StallTimeout/watchdogSteps, time.Millisecond))
	defer tick.Stop()
	stalled := false
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			if stalled {
				n.unstall()
			}
			return
		}
		age := n.stores.disk.stalledFor()
		switch {
		case !stalled && age >= n.cfg.Disk.StallTimeout:
			stalled = true
			n.stall(ctx, age)
		case stalled && age < n.cfg.Disk.StallTimeout:
			stalled = false
			n.unstall()
		}
	}
}

// stall is the begin of a stall.
func (n *Node) stall(ctx context.Context, age time.Duration) {
	n.metrics.diskStalls.Inc()
	n.stalled.Store(true)
	leads := n.raft.State() == raft.Leader
	n.logger.Error("disk has stalled: a write to the log does not return", "since", age.Round(time.Millisecond), "leads", leads)
	if !leads || n.otherVoters() == 0 {
		return
	}
	n.silenced.Store(true)
	n.logger.Warn("stepping down because the disk has stalled")
	bounded, cancel := context.WithTimeout(ctx, memberTimeout)
	defer cancel()
	if err := n.leader.suspend(bounded); err != nil {
		n.logger.Warn("the leader's work did not stop in time", "err", err)
	}
	n.reads.forbidLease(n.raft.CurrentTerm())
	n.stream.muted.Store(true)
	n.transport.CloseStreams()
	n.changed.broadcast()
}

// unstall is the end of a stall.
func (n *Node) unstall() {
	n.stalled.Store(false)
	if n.silenced.CompareAndSwap(true, false) {
		n.stream.muted.Store(false)
		n.leader.resume()
	}
	n.logger.Info("disk writes again")
}

// writable is the error of a write that this leader must not take, or nil.
func (n *Node) writable() error {
	if n.stalled.Load() {
		return notProposed(fmt.Errorf("the disk of %s has stalled", n.cfg.NodeName))
	}
	return n.refuseFull()
}

// scrubPause is how often a node that is not ready yet is asked again.
const scrubPause = 500 * time.Millisecond

// runScrub reads the whole state once, when the node has come up: what the disk
// changed while the node was down shows in no other way before it does harm.
func (n *Node) runScrub(ctx context.Context) {
	tick := time.NewTicker(scrubPause)
	defer tick.Stop()
	for n.readyAt.Load() == 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
	begun := time.Now()
	if err := n.fsm.Scrub(ctx, n.dir.rebuildRemedy()); err == nil {
		n.logger.Debug("state was verified", "dur", time.Since(begun))
	}
}
