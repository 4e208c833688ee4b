package cluster

import (
	"context"
	"time"

	"github.com/hashicorp/raft"
)

// promotionLag is how many entries a non-voter may be behind and count as caught
// up; two checks in a row must find it so.
const promotionLag = 256

// runMembership is the leader's work on the Raft configuration: it adds nodes
// that gossip knows as non-voters, makes voters of those that caught up, and
// corrects its own address. It never removes a server.
func (n *Node) runMembership(ctx context.Context, _ uint64) {
	ready := make(map[string]int) // consecutive checks that found a non-voter caught up
	tick := time.NewTicker(n.cfg.MembershipInterval)
	defer tick.Stop()
	for {
		changed := n.gossipChanged.wait()
		for n.adjustOne(ctx, ready) && ctx.Err() == nil {
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
	what  string
	id    string
	addr  string
	voter bool
}

// adjustOne makes at most one change, because each must be committed before the
// next may begin. It reports whether it made one.
func (n *Node) adjustOne(ctx context.Context, ready map[string]int) bool {
	future := n.raft.GetConfiguration()
	servers := future.Configuration().Servers
	change, ok := n.nextChange(ctx, servers, ready)
	if !ok {
		return false
	}
	if change.voter {
		// The only voter is about to get company: from now on it must ask.
		n.reads.single.Store(false)
	}
	defer n.refreshVoters()
	var result raft.IndexFuture
	if change.voter {
		result = n.raft.AddVoter(raft.ServerID(change.id), raft.ServerAddress(change.addr), future.Index(), n.cfg.IOTimeout)
	} else {
		result = n.raft.AddNonvoter(raft.ServerID(change.id), raft.ServerAddress(change.addr), future.Index(), n.cfg.IOTimeout)
	}
	if err := result.Error(); err != nil {
		n.logger.Warn("raft configuration was not changed", "change", change.what, "server", change.id, "err", err)
		return false
	}
	n.logger.Info("raft configuration changed", "change", change.what, "server", change.id,
		"addr", change.addr, "index", result.Index())
	return true
}

// nextChange compares the configuration with what is known.
func (n *Node) nextChange(ctx context.Context, servers []raft.Server, ready map[string]int) (configChange, bool) {
	alive := n.withoutRivals(n.gossip.alive())
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
	own := n.id.clusterID()
	for id, m := range alive {
		if _, member := known[id]; member || m.ClusterAddr == "" || (m.ClusterID != "" && m.ClusterID != own) {
			continue
		}
		// State without a cluster id is a founding that never came about: its log
		// contradicts ours.
		if m.HasState && m.ClusterID == "" {
			if n.mux.quiet.allow("state" + id) {
				n.logger.Warn("node has raft state of no cluster and is not added; clear its data directory", "server", id, "name", m.Name)
			}
			continue
		}
		if user, taken := users[m.ClusterAddr]; taken {
			return moveTo(users, user, ""), true
		}
		return configChange{what: "add non-voter", id: id, addr: m.ClusterAddr}, true
	}
	for _, s := range servers {
		if s.Suffrage == raft.Voter {
			continue
		}
		id := string(s.ID)
		if !n.caughtUp(ctx, id) {
			delete(ready, id)
			continue
		}
		if ready[id]++; ready[id] >= 2 {
			delete(ready, id)
			return configChange{what: "promote to voter", id: id, addr: string(s.Address), voter: true}, true
		}
	}
	return configChange{}, false
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

// caughtUp asks a server how far it is.
func (n *Node) caughtUp(ctx context.Context, id string) bool {
	ctx, cancel := context.WithTimeout(ctx, n.roundTimeout())
	defer cancel()
	st, err := n.askStatus(ctx, id)
	return err == nil && st.AppliedIndex+promotionLag >= n.raft.CommitIndex()
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
