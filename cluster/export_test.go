package cluster

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
