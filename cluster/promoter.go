package cluster

import (
	"time"

	"github.com/hashicorp/raft"
	autopilot "github.com/hashicorp/raft-autopilot"
)

// promoter is the library's own with a memory for what is safe.
type promoter struct {
	autopilot.StablePromoter
	pilot *pilot
}

// CalculatePromotionsAndDemotions promotes servers that were stable for the whole
// stabilization time, also right after an election, and nobody who is leaving.
func (m *promoter) CalculatePromotionsAndDemotions(c *autopilot.Config, s *autopilot.State) autopilot.RaftChanges {
	var changes autopilot.RaftChanges
	now := time.Now()
	for id, server := range s.Servers {
		if server.State == autopilot.RaftNonVoter && server.Health.IsStable(now, c.ServerStabilizationTime) &&
			!m.pilot.n.isLeaving(string(id)) {
			changes.Promotions = append(changes.Promotions, id)
		}
	}
	return changes
}

// FilterFailedServerRemovals lets at most one server go at a time, and only
// while every other that is not gone itself is healthy and has been so for a
// while: a cluster that is in motion is left alone.
func (m *promoter) FilterFailedServerRemovals(c *autopilot.Config, s *autopilot.State, failed *autopilot.FailedServers) *autopilot.FailedServers {
	gone := make(map[raft.ServerID]bool)
	for _, list := range [][]*autopilot.Server{failed.FailedVoters, failed.FailedNonVoters} {
		for _, server := range list {
			gone[server.ID] = true
		}
	}
	now := time.Now()
	voters, steady := 0, 0
	for id, server := range s.Servers {
		if server.HasVotingRights() {
			voters++
		}
		if gone[id] {
			continue
		}
		if !server.Health.IsStable(now, c.ServerStabilizationTime) {
			return &autopilot.FailedServers{}
		}
		if server.HasVotingRights() {
			steady++
		}
	}
	if len(failed.FailedNonVoters) > 0 {
		return &autopilot.FailedServers{FailedNonVoters: failed.FailedNonVoters[:1]}
	}
	if steady < quorum(voters) {
		return &autopilot.FailedServers{}
	}
	for _, server := range failed.FailedVoters {
		// With its successor the cluster is as large as it was meant to be.
		if server.Meta[metaSuccessor] != "" || voters-1 >= m.pilot.minQuorum(voters) {
			return &autopilot.FailedServers{FailedVoters: []*autopilot.Server{server}}
		}
	}
	return &autopilot.FailedServers{}
}

// quorum is how many of a number of voters are a majority.
func quorum(voters int) int { return voters/2 + 1 }
