package cluster

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	autopilot "github.com/hashicorp/raft-autopilot"
)

// AutopilotConfig says when a server becomes a voter and when a dead one goes.
type AutopilotConfig struct {
	// CleanupDeadServers removes servers that were silent for longer than
	// DeadServerThreshold. Servers that were replaced go in any case.
	CleanupDeadServers  bool
	DeadServerThreshold time.Duration
	// A server is healthy when it heard from the leader within
	// LastContactThreshold and is at most MaxTrailingLogs entries behind.
	LastContactThreshold time.Duration
	MaxTrailingLogs      uint64
	// ServerStabilizationTime is how long a server must be healthy before it
	// becomes a voter, and all others before one is removed.
	ServerStabilizationTime time.Duration
	// MinQuorum is the number of voters below which none is removed by itself;
	// 0 means a majority of the larger of BootstrapExpect and the voters there are.
	MinQuorum int
	// Interval is how often the servers are asked.
	Interval time.Duration
}

// DefaultAutopilotConfig returns the production settings.
func DefaultAutopilotConfig() AutopilotConfig {
	return AutopilotConfig{
		CleanupDeadServers:      true,
		DeadServerThreshold:     5 * time.Minute,
		LastContactThreshold:    time.Second,
		MaxTrailingLogs:         250,
		ServerStabilizationTime: 10 * time.Second,
		Interval:                2 * time.Second,
	}
}

// pilot is the autopilot of one leader run. The library computes the servers'
// health, promotes and prunes; the pilot tells it what this node knows and
// vetoes what would be unsafe.
type pilot struct {
	n     *Node
	cfg   AutopilotConfig
	begun time.Time

	mu sync.Mutex // guards the fields below
	// answers are the last answers of the servers, and when they came.
	answers map[raft.ServerID]statusAnswer
	state   *autopilot.State
	last    uint64 // the leader's last index when state was computed
	// updated is poked by every new state.
	updated signal
}

type statusAnswer struct {
	at time.Time
	peerStatus
}

// runAutopilot looks after the servers for one leader run.
func (n *Node) runAutopilot(ctx context.Context, _ uint64) {
	p := &pilot{n: n, cfg: n.cfg.Autopilot, begun: time.Now(), answers: make(map[raft.ServerID]statusAnswer)}
	lib := autopilot.New(pilotRaft{n.raft, n}, p,
		autopilot.WithLogger(newHCLog(n.base, "autopilot")),
		autopilot.WithPromoter(&promoter{pilot: p}),
		autopilot.WithUpdateInterval(p.cfg.Interval), autopilot.WithReconcileInterval(p.cfg.Interval))
	n.pilot.Store(p)
	lib.Start(ctx)
	p.runAlarms(ctx)
	<-lib.Stop()
	n.pilot.CompareAndSwap(p, nil)
}

// AutopilotConfig implements autopilot.ApplicationIntegration.
func (p *pilot) AutopilotConfig() *autopilot.Config {
	return &autopilot.Config{
		// Who goes, and how many must stay, is the promoter's decision: a server
		// that was replaced goes in any case.
		CleanupDeadServers:      true,
		MinQuorum:               1,
		LastContactThreshold:    p.cfg.LastContactThreshold,
		MaxTrailingLogs:         p.cfg.MaxTrailingLogs,
		ServerStabilizationTime: p.cfg.ServerStabilizationTime,
	}
}

// minQuorum is the number of voters below which none is removed by itself.
func (p *pilot) minQuorum(voters int) int {
	if p.cfg.MinQuorum > 0 {
		return p.cfg.MinQuorum
	}
	// Two at the least: a cluster must not shrink to one node that then accepts
	// writes alone.
	return max(2, max(p.n.cfg.BootstrapExpect, voters)/2+1)
}

func (p *pilot) servers() []raft.Server {
	return p.n.raft.GetConfiguration().Configuration().Servers
}

// NotifyState implements autopilot.ApplicationIntegration. It is called with a
// lock of the library's held.
func (p *pilot) NotifyState(state *autopilot.State) {
	p.mu.Lock()
	p.state, p.last = state, p.n.raft.LastIndex()
	p.mu.Unlock()
	p.updated.broadcast()
}

// FetchServerStats implements autopilot.ApplicationIntegration: it asks every
// server. One that does not answer gets the stats of a server without contact:
// the library would keep its last ones otherwise.
func (p *pilot) FetchServerStats(ctx context.Context, servers map[raft.ServerID]*autopilot.Server) map[raft.ServerID]*autopilot.ServerStats {
	out := make(map[raft.ServerID]*autopilot.ServerStats, len(servers))
	var mu sync.Mutex // guards out
	var wg sync.WaitGroup
	for id := range servers {
		wg.Go(func() {
			st, err := p.n.askStatus(ctx, string(id))
			stats := &autopilot.ServerStats{LastContact: -1}
			if err == nil {
				stats.LastIndex, stats.LastTerm = st.logPosition()
				stats.LastContact = st.LastContact
				if id == raft.ServerID(p.n.id.serverID) {
					stats.LastContact = 0
				}
				p.heard(id, st)
			}
			mu.Lock()
			out[id] = stats
			mu.Unlock()
		})
	}
	wg.Wait()
	return out
}

func (p *pilot) heard(id raft.ServerID, st peerStatus) {
	p.n.names.learn(string(id), st.NodeName)
	p.mu.Lock()
	p.answers[id] = statusAnswer{at: time.Now(), peerStatus: st}
	p.mu.Unlock()
}

// logPosition is where a server's log ends. One that does not tell has at least
// what it applied.
func (s peerStatus) logPosition() (index, term uint64) {
	if s.LastLogIndex == 0 {
		return s.AppliedIndex, s.Term
	}
	return s.LastLogIndex, s.LastLogTerm
}

// lastLog is where this node's log or its newest snapshot ends.
func (n *Node) lastLog() (index, term uint64) {
	stats := n.raft.Stats()
	number := func(name string) uint64 {
		value, err := strconv.ParseUint(stats[name], 10, 64)
		if err != nil {
			return 0
		}
		return value
	}
	index, term = number("last_log_index"), number("last_log_term")
	if at := number("last_snapshot_index"); at > index {
		return at, number("last_snapshot_term")
	}
	return index, term
}

// silence is the time since a server answered, or since this leader began to
// ask: a new leader gives everybody the whole time again.
func (p *pilot) silence(id raft.ServerID) time.Duration {
	p.mu.Lock()
	last, ok := p.answers[id]
	p.mu.Unlock()
	if !ok || last.at.Before(p.begun) {
		return time.Since(p.begun)
	}
	return time.Since(last.at)
}

// KnownServers implements autopilot.ApplicationIntegration: the servers of the
// configuration, and nobody else.
func (p *pilot) KnownServers() map[raft.ServerID]*autopilot.Server {
	servers := p.servers()
	out := make(map[raft.ServerID]*autopilot.Server, len(servers))
	for _, s := range servers {
		known := &autopilot.Server{
			ID: s.ID, Name: p.n.serverName(string(s.ID)), Address: s.Address, RaftVersion: 3,
			NodeStatus: autopilot.NodeAlive, IsLeader: string(s.ID) == p.n.id.serverID,
		}
		// Only who votes counts where the library asks how many voters would stay.
		if s.Suffrage == raft.Voter {
			known.NodeType = autopilot.NodeVoter
		}
		if p.gone(servers, s) != "" {
			known.NodeStatus = autopilot.NodeFailed
			known.Meta = map[string]string{metaSuccessor: p.successor(servers, s)}
		}
		out[s.ID] = known
	}
	return out
}

// metaSuccessor names, in a dead server's Meta, the voter that replaced it.
const metaSuccessor = "successor"

// gone says why a server is not coming back, or "". Gossip alone never makes it
// so, and while gossip holds it alive it is not.
func (p *pilot) gone(servers []raft.Server, s raft.Server) string {
	id := string(s.ID)
	if _, alive := p.n.gossip.member(id); alive || id == p.n.id.serverID {
		return ""
	}
	silent := p.silence(s.ID)
	switch {
	case silent < 2*p.cfg.Interval:
		return ""
	case s.Suffrage != raft.Voter && p.n.departing.has(id):
		return "it left"
	case silent >= p.cfg.ServerStabilizationTime && p.successor(servers, s) != "":
		return "replaced by " + p.successor(servers, s)
	case p.cfg.CleanupDeadServers && silent >= p.cfg.DeadServerThreshold:
		return "silent for " + silent.Round(time.Second).String()
	}
	return ""
}

// successor finds the voter that took a silent server's name, or "": the node
// came back with an empty disk.
func (p *pilot) successor(servers []raft.Server, old raft.Server) string {
	name := p.n.serverName(string(old.ID))
	if name == "" {
		return ""
	}
	for _, s := range servers {
		if s.ID == old.ID || s.Suffrage != raft.Voter || p.n.serverName(string(s.ID)) != name {
			continue
		}
		if p.silence(s.ID) < 2*p.cfg.Interval {
			return string(s.ID)
		}
	}
	return ""
}

// RemoveFailedServer implements autopilot.ApplicationIntegration. It runs on the
// library's own goroutine, which has nothing better to do meanwhile.
func (p *pilot) RemoveFailedServer(s *autopilot.Server) {
	servers := p.servers()
	why := ""
	for _, have := range servers {
		if have.ID == s.ID {
			why = p.gone(servers, have)
		}
	}
	if why == "" {
		return // it came back, or went by other hands
	}
	if err := p.n.removeServer(string(s.ID)); err != nil {
		p.n.logger.Warn("dead server was not removed", "server", s.ID, "name", s.Name, "err", err)
		return
	}
	p.n.metrics.deadRemoved.Inc()
	p.n.logger.Warn("dead server removed", "server", s.ID, "name", s.Name, "reason", why)
	p.n.recordNodeEvent(p.n.ctx, s.Name, string(s.ID), reasonServerRemoved, "server "+string(s.ID)+" was removed from the cluster: "+why)
}

// pilotRaft is Raft as the library may change it: every change goes the way that
// all others go.
type pilotRaft struct {
	*raft.Raft
	n *Node
}

// AddVoter implements autopilot.Raft.
func (r pilotRaft) AddVoter(id raft.ServerID, addr raft.ServerAddress, _ uint64, _ time.Duration) raft.IndexFuture {
	return r.n.change(configChange{what: "promote to voter", id: string(id), addr: string(addr), voter: true})
}

// RemoveServer implements autopilot.Raft.
func (r pilotRaft) RemoveServer(id raft.ServerID, _ uint64, _ time.Duration) raft.IndexFuture {
	return r.n.change(configChange{what: "remove server", id: string(id), remove: true})
}

// LeadershipTransferToServer implements autopilot.Raft. The promoter names no
// leader, so it is not called; a transfer must end the leader run first.
func (r pilotRaft) LeadershipTransferToServer(id raft.ServerID, addr raft.ServerAddress) raft.Future {
	return r.Raft.LeadershipTransferToServer(id, addr)
}
