package cluster

import (
	"context"
	"time"

	"github.com/hashicorp/raft"
)

// runMembership is the leader's work on the Raft configuration beside the
// autopilot: it adds nodes that gossip knows as non-voters and corrects its own
// address. It never removes a server and never makes one a voter.
func (n *Node) runMembership(ctx context.Context, _ uint64) {
	tick := time.NewTicker(n.cfg.MembershipInterval)
	defer tick.Stop()
	for {
		changed := n.gossipChanged.wait()
		for ctx.Err() == nil && n.adjustOne() {
		}
		select {
		case <-tick.C:
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// configChange is one step towards the wanted configuration.
type configChange struct {
	what string
	id   string
	addr string
	// voter says what it is added as; demote and remove replace the addition.
	voter, demote, remove bool
}

// adjustOne makes at most one change, because each must be committed before the
// next may begin. It reports whether it made one.
func (n *Node) adjustOne() bool {
	n.configMu.Lock()
	defer n.configMu.Unlock()
	future := n.raft.GetConfiguration()
	change, ok := n.nextChange(future.Configuration().Servers)
	return ok && n.changeAt(change, future.Index()).Error() == nil
}

// change makes one change to the present configuration.
func (n *Node) change(c configChange) raft.IndexFuture {
	n.configMu.Lock()
	defer n.configMu.Unlock()
	return n.changeAt(c, n.raft.GetConfiguration().Index())
}

// madeChange is a change whose end was waited for.
type madeChange struct {
	index uint64
	err   error
}

func (c madeChange) Error() error  { return c.err }
func (c madeChange) Index() uint64 { return c.index }

// changeAt makes a change unless the configuration is another than the one at
// index prev by now. Changes come from several places; configMu is held, so that
// none decides on what another is about to replace.
func (n *Node) changeAt(c configChange, prev uint64) raft.IndexFuture {
	if c.voter {
		// The only voter is about to get company: from now on it must ask.
		n.reads.single.Store(false)
	}
	defer n.refreshVoters()
	id, addr := raft.ServerID(c.id), raft.ServerAddress(c.addr)
	var result raft.IndexFuture
	switch {
	case c.remove:
		result = n.raft.RemoveServer(id, prev, n.cfg.IOTimeout)
	case c.demote:
		result = n.raft.DemoteVoter(id, prev, n.cfg.IOTimeout)
	case c.voter:
		result = n.raft.AddVoter(id, addr, prev, n.cfg.IOTimeout)
	default:
		result = n.raft.AddNonvoter(id, addr, prev, n.cfg.IOTimeout)
	}
	if err := result.Error(); err != nil {
		n.logger.Warn("raft configuration was not changed", "change", c.what, "server", c.id, "err", err)
		return madeChange{err: err}
	}
	n.metrics.configChanges.Inc()
	n.logger.Info("raft configuration changed", "change", c.what, "server", c.id,
		"name", n.serverName(c.id), "addr", c.addr, "index", result.Index())
	return madeChange{index: result.Index()}
}

// nextChange compares the configuration with what is known.
func (n *Node) nextChange(servers []raft.Server) (configChange, bool) {
	alive := n.gossip.alive()
	n.departing.observe(alive)
	alive = n.withoutRivals(alive)
	known := make(map[string]raft.Server, len(servers))
	users := make(map[string]raft.Server, len(servers)) // by address
	for _, s := range servers {
		known[string(s.ID)] = s
		users[string(s.Address)] = s
	}
	// Each leader corrects its own address. It could correct those of others too,
	// but the library changes the address of a peer beneath a replication that
	// reads it. Nothing is lost: these addresses are only the last resort.
	if s, ok := known[n.id.serverID]; ok && string(s.Address) != n.id.advertise {
		return moveTo(users, s, n.id.advertise), true
	}
	for id, m := range alive {
		if _, member := known[id]; member || !n.wanted(id, m) {
			continue
		}
		if user, taken := users[m.ClusterAddr]; taken {
			return moveTo(users, user, ""), true
		}
		return configChange{what: "add non-voter", id: id, addr: m.ClusterAddr}, true
	}
	return configChange{}, false
}

// wanted reports whether a node that gossip knows should become a server.
func (n *Node) wanted(id string, m memberMeta) bool {
	if m.ClusterAddr == "" || (m.ClusterID != "" && m.ClusterID != n.id.clusterID()) || n.isLeaving(id) {
		return false
	}
	// State without a cluster id is a founding that never came about: its log
	// contradicts ours.
	if m.HasState && m.ClusterID == "" {
		if n.mux.quiet.allow("state" + id) {
			n.logger.Warn("node has raft state of no cluster and is not added; clear its data directory", "server", id, "name", m.Name)
		}
		return false
	}
	return true
}

// withoutRivals leaves out the members that claim one cluster address together.
// At most one of them has it, and to follow each in turn would change the
// configuration for ever.
func (n *Node) withoutRivals(alive map[string]memberMeta) map[string]memberMeta {
	claims := map[string]int{n.id.advertise: 1}
	for _, m := range alive {
		claims[m.ClusterAddr]++
	}
	for id, m := range alive {
		if claims[m.ClusterAddr] < 2 {
			continue
		}
		delete(alive, id)
		if n.mux.quiet.allow("rival" + id) {
			n.logger.Warn("several nodes advertise one cluster address", "server", id, "name", m.Name, "addr", m.ClusterAddr)
		}
	}
	return alive
}

// moveTo gives server s the address addr. The library refuses one address for
// two servers, so a server that still stands in the configuration with it is
// first moved out of the way, to a name that cannot exist; its real address is
// known from gossip or will be.
func moveTo(users map[string]raft.Server, s raft.Server, addr string) configChange {
	if user, taken := users[addr]; addr != "" && taken && user.ID != s.ID {
		s, addr = user, ""
	}
	if addr == "" {
		addr = string(s.ID) + ".moved.invalid:1"
	}
	return configChange{what: "update address", id: string(s.ID), addr: addr, voter: s.Suffrage == raft.Voter}
}

// refreshVoters looks whether this node is the only voter.
func (n *Node) refreshVoters() {
	voters, self := 0, false
	for _, s := range n.raft.GetConfiguration().Configuration().Servers {
		if s.Suffrage == raft.Voter {
			voters++
			self = self || string(s.ID) == n.id.serverID
		}
	}
	n.reads.single.Store(voters == 1 && self)
}
