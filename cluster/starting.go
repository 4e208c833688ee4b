package cluster

import (
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

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

// electAtOnce makes a node stand for election now if it is the only voter. The
// library begins with a wait for a leader to be heard of, and there is nobody else
// who could lead. It looks at its timer at once when that is made shorter, which
// is what happens here, from a little longer than it is set.
func (n *Node) electAtOnce(r *raft.Raft) error {
	servers := r.GetConfiguration().Configuration().Servers
	voters := 0
	for _, s := range servers {
		if s.Suffrage != raft.Voter {
			continue
		}
		if voters++; string(s.ID) != n.id.serverID {
			return nil
		}
	}
	if voters != 1 {
		return nil
	}
	wanted := r.ReloadableConfig()
	longer := wanted
	longer.HeartbeatTimeout += time.Millisecond
	longer.ElectionTimeout += time.Millisecond
	for _, c := range []raft.ReloadableConfig{longer, wanted} {
		if err := r.ReloadConfig(c); err != nil {
			return fmt.Errorf("reload timers: %w", err)
		}
	}
	return nil
}
