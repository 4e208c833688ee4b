package cluster

import (
	"context"
	"errors"

	"github.com/oprc/oprc-pm/storage"
)

// What the tests of package cluster_test may look at.

// ConfiguredAddrs are the addresses in the Raft configuration as this node has
// it.
func (n *Node) ConfiguredAddrs() []string {
	var out []string
	for _, s := range n.raft.GetConfiguration().Configuration().Servers {
		out = append(out, string(s.Address))
	}
	return out
}

// FirstLogIndex is the oldest entry that the log still holds.
func (n *Node) FirstLogIndex() uint64 {
	first, err := n.stores.log.FirstIndex()
	if err != nil {
		return 0
	}
	return first
}

// ReadRounds counts the rounds and the readers that waited for one.
func (n *Node) ReadRounds() (rounds, waiters uint64) {
	return n.metrics.readRounds.Get(), n.metrics.readWaiters.Get()
}

// Forwarded counts the commands that this node sent to another.
func (n *Node) Forwarded() uint64 { return n.metrics.forwarded.Get() }

// DigestMismatches counts the alarms of runDigests.
func (n *Node) DigestMismatches() uint64 { return n.metrics.digestMismatches.Get() }

// GossipMembers counts the other nodes that gossip knows as alive.
func (n *Node) GossipMembers() int { return len(n.gossip.alive()) }

// CallStatus asks another server for its status.
func (n *Node) CallStatus(ctx context.Context, id string) error {
	_, err := n.askStatus(ctx, id)
	return err
}

// FastReadIndex is the read index of the only voter.
func (n *Node) FastReadIndex() (uint64, bool) { return n.reads.fast() }

// ForwardTo sends a command to a server as if that were the leader, and returns
// whom the refusal names instead.
func (n *Node) ForwardTo(ctx context.Context, id string, c storage.Command) (hint string, err error) {
	data, err := n.encode(storage.Request{Command: c})
	if err != nil {
		return "", err
	}
	_, err = n.tryForward(ctx, id, framePropose, data)
	var attempt *attemptError
	if errors.As(err, &attempt) {
		hint = attempt.hint
	}
	return hint, err
}

// Fault makes the node believe that its state machine failed.
func (n *Node) Fault(err error) { n.onFault(err) }
