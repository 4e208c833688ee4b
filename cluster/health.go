package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"
	autopilot "github.com/hashicorp/raft-autopilot"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// Reasons of the events about the cluster's own servers.
const (
	reasonVoterLost     = "VoterLost"
	reasonVoterBack     = "VoterBack"
	reasonServerRemoved = "ServerRemoved"
)

// Health is how the leader sees the servers. Any node can ask.
func (n *Node) Health(ctx context.Context) (storage.ClusterState, error) {
	ctx, cancel := n.bounded(ctx)
	defer cancel()
	var state storage.ClusterState
	b, err := n.askLeader(ctx, frameHealth, nil)
	if err != nil {
		return state, err
	}
	if err := json.Unmarshal(b, &state); err != nil {
		return state, fmt.Errorf("decode health: %w", err)
	}
	return state, nil
}

// serveHealth answers as leader.
func (n *Node) serveHealth(_ context.Context, _ string, _ []byte) ([]byte, error) {
	p := n.pilot.Load()
	if p == nil || n.established() == 0 {
		return nil, &remoteError{code: remoteNotLeader, leader: n.leaderID(), message: "this node is not the leader"}
	}
	state, ok := p.clusterState()
	if !ok {
		return nil, remoteErrorf(remoteBusy, "the leader has not looked at the servers yet")
	}
	return json.Marshal(state)
}

// clusterState renders the newest state; false: there is none yet.
func (p *pilot) clusterState() (storage.ClusterState, bool) {
	p.mu.Lock()
	state, last := p.state, p.last
	p.mu.Unlock()
	if state == nil || len(state.Servers) == 0 {
		return storage.ClusterState{}, false
	}
	out := storage.ClusterState{
		Healthy: state.Healthy, FailureTolerance: state.FailureTolerance, Voters: len(state.Voters), Leader: p.n.id.serverID,
		Servers: make([]storage.ServerHealth, 0, len(state.Servers)),
	}
	for id, s := range state.Servers {
		out.Servers = append(out.Servers, p.serverHealth(id, s, last))
	}
	slices.SortFunc(out.Servers, func(a, b storage.ServerHealth) int {
		return strings.Compare(a.Name+"\x00"+a.ID, b.Name+"\x00"+b.ID)
	})
	return out, true
}

func (p *pilot) serverHealth(id raft.ServerID, s *autopilot.ServerState, last uint64) storage.ServerHealth {
	p.mu.Lock()
	heard := p.answers[id]
	p.mu.Unlock()
	silent := p.silence(id)
	h := storage.ServerHealth{
		ID: string(id), Name: p.n.serverName(string(id)), ClusterAddr: string(s.Server.Address), Version: heard.Version,
		Role: storage.RoleFollower, Voter: s.HasVotingRights(), Healthy: s.Health.Healthy, StableSince: s.Health.StableSince,
		Alive: s.Stats.LastContact >= 0, Leaving: p.n.isLeaving(string(id)),
		LastContactMS: s.Stats.LastContact.Milliseconds(), LastIndex: s.Stats.LastIndex, SilentMS: silent.Milliseconds(),
	}
	if s.State == autopilot.RaftLeader {
		h.Role = storage.RoleLeader
	}
	if !h.Alive {
		h.LastContactMS = -1
		h.LastIndex, _ = heard.logPosition()
	}
	h.Lag = last - min(last, h.LastIndex)
	if !h.Healthy {
		h.Reason = p.whyUnhealthy(s, h, silent)
	}
	return h
}

func (p *pilot) whyUnhealthy(s *autopilot.ServerState, h storage.ServerHealth, silent time.Duration) string {
	switch {
	case !h.Alive:
		return "no answer for " + silent.Round(time.Millisecond).String()
	case s.Stats.LastContact > p.cfg.LastContactThreshold:
		return "out of contact with the leader for " + s.Stats.LastContact.Round(time.Millisecond).String()
	case h.Lag > p.cfg.MaxTrailingLogs:
		return fmt.Sprintf("%d entries behind", h.Lag)
	default:
		return "its log ends in an earlier term"
	}
}

// runAlarms tells of voters that do not answer, and of those that do again, as
// long as the leader run lasts.
func (p *pilot) runAlarms(ctx context.Context) {
	lost := make(map[string]bool)
	for {
		changed := p.updated.wait()
		if state, ok := p.clusterState(); ok {
			p.n.tolerance.Store(int64(state.FailureTolerance))
			p.raise(ctx, state, lost)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			p.n.tolerance.Store(0)
			p.n.deadVoters.Store(0)
			return
		}
	}
}

// raise compares a state with what was told before. A voter is lost when it was
// silent for two rounds: one lost message is not an alarm.
func (p *pilot) raise(ctx context.Context, state storage.ClusterState, lost map[string]bool) {
	dead := 0
	for _, s := range state.Servers {
		silent := time.Duration(s.SilentMS) * time.Millisecond
		isLost := s.Voter && !s.Alive && silent >= 2*p.cfg.Interval
		if isLost {
			dead++
		}
		switch {
		case isLost && !lost[s.ID]:
			lost[s.ID] = true
			p.n.logger.Error("voter lost", "server", s.ID, "name", s.Name, "failure_tolerance", state.FailureTolerance, "silent", silent)
			p.n.recordNodeEvent(ctx, s.Name, s.ID, reasonVoterLost,
				fmt.Sprintf("voter %s does not answer; %d more may fail before nothing can be written", s.ID, state.FailureTolerance))
		case s.Alive && lost[s.ID]:
			delete(lost, s.ID)
			p.n.logger.Info("voter is back", "server", s.ID, "name", s.Name, "failure_tolerance", state.FailureTolerance)
			p.n.recordNodeEvent(ctx, s.Name, s.ID, reasonVoterBack, "voter "+s.ID+" answers again")
		}
	}
	p.n.deadVoters.Store(int64(dead))
}

// recordNodeEvent keeps an event about a server, if it can. The log has it anyway.
func (n *Node) recordNodeEvent(ctx context.Context, name, id, reason, message string) {
	if name == "" {
		name = id
	}
	kind := model.EventWarning
	switch reason {
	case reasonVoterLost:
		kind = model.EventAlarm
	case reasonVoterBack:
		kind = model.EventNormal
	}
	ctx, cancel := context.WithTimeout(ctx, n.cfg.DefaultTimeout)
	defer cancel()
	_, err := n.proposeHere(ctx, storage.RecordEvents{Events: []model.Event{{
		At: time.Now().UTC(), Type: kind, Kind: model.EventAboutNode, Name: name, Reason: reason, Message: message,
	}}})
	if err != nil {
		n.logger.Debug("event was not recorded", "reason", reason, "name", name, "err", err)
	}
}

// serverName is the name of a server as far as it is known, also of one that is
// gone.
func (n *Node) serverName(id string) string {
	if name := n.memberName(id); name != "" {
		return name
	}
	return n.names.lookup(id)
}
