package cluster

// Starting says why this node cannot take part in the cluster's work yet: it has
// not been ready since it was opened. Once it has, the answer is "" for good:
// a leader that is lost later is soon replaced, and what waits for that is not
// told to go elsewhere.
func (n *Node) Starting() string {
	if n.started.Load() {
		return ""
	}
	if !n.opened.Load() {
		return "not running"
	}
	leader := n.leaderID()
	ready, reason := n.readiness(leader, n.fsm.AppliedIndex())
	if ready {
		n.started.Store(true)
		return ""
	}
	if m, ok := n.gossip.member(leader); ok && m.HTTPAddr != "" {
		reason += "; the leader answers at " + m.HTTPAddr
	}
	return reason
}
