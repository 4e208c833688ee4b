package cluster

import (
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	autopilot "github.com/hashicorp/raft-autopilot"
)

// Who may be removed is a question to the state of all servers.
func TestFilterFailedServerRemovals(t *testing.T) {
	t.Parallel()
	const stable = 10 * time.Second
	long := time.Now().Add(-time.Hour)
	voter := func(healthy bool, since time.Time) *autopilot.ServerState {
		return &autopilot.ServerState{State: autopilot.RaftVoter, Health: autopilot.ServerHealth{Healthy: healthy, StableSince: since}}
	}
	nonvoter := func(healthy bool, since time.Time) *autopilot.ServerState {
		s := voter(healthy, since)
		s.State = autopilot.RaftNonVoter
		return s
	}
	tests := []struct {
		name      string
		expect    int
		servers   []*autopilot.ServerState
		gone      []int
		voters    int
		nonVoters int
		// replaced: those that are gone have successors.
		replaced bool
	}{
		{"one of three, two stay", 3, []*autopilot.ServerState{voter(true, long), voter(true, long), voter(false, long)}, []int{2}, 1, 0, false},
		{"one of two", 1, []*autopilot.ServerState{voter(true, long), voter(false, long)}, []int{1}, 0, 0, false},
		{"two of five go one by one", 5, []*autopilot.ServerState{voter(true, long), voter(true, long), voter(true, long), voter(false, long), voter(false, long)}, []int{3, 4}, 1, 0, false},
		{"another is unhealthy", 5, []*autopilot.ServerState{voter(true, long), voter(true, long), voter(true, long), voter(false, long), voter(false, long)}, []int{4}, 0, 0, false},
		{"another is healthy only now", 3, []*autopilot.ServerState{voter(true, long), voter(true, time.Now()), voter(false, long)}, []int{2}, 0, 0, false},
		{"a new replica is not steady yet", 3, []*autopilot.ServerState{voter(true, long), voter(true, long), voter(false, long), nonvoter(true, time.Now())}, []int{2}, 0, 0, false},
		{"three of five", 5, []*autopilot.ServerState{voter(true, long), voter(true, long), voter(false, long), voter(false, long), voter(false, long)}, []int{2, 3, 4}, 0, 0, false},
		{"below a majority of the founders", 5, []*autopilot.ServerState{voter(true, long), voter(true, long), voter(false, long)}, []int{2}, 0, 0, false},
		{"below it, but replaced", 9, []*autopilot.ServerState{voter(true, long), voter(true, long), voter(true, long), voter(false, long)}, []int{3}, 1, 0, true},
		{"replaced while another is unstable", 3, []*autopilot.ServerState{voter(true, long), voter(true, time.Now()), voter(true, long), voter(false, long)}, []int{3}, 0, 0, true},
		{"a dead replica goes first", 3, []*autopilot.ServerState{voter(true, long), voter(true, long), voter(false, long), nonvoter(false, long)}, []int{2, 3}, 0, 1, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := &pilot{n: &Node{cfg: Config{BootstrapExpect: tt.expect}}}
			state := &autopilot.State{Servers: map[raft.ServerID]*autopilot.ServerState{}}
			for i, s := range tt.servers {
				state.Servers[raft.ServerID(fmt.Sprint(i))] = s
			}
			failed := &autopilot.FailedServers{}
			for _, i := range tt.gone {
				server := &autopilot.Server{ID: raft.ServerID(fmt.Sprint(i))}
				if tt.replaced {
					server.Meta = map[string]string{metaSuccessor: "0"}
				}
				if tt.servers[i].State == autopilot.RaftVoter {
					failed.FailedVoters = append(failed.FailedVoters, server)
				} else {
					failed.FailedNonVoters = append(failed.FailedNonVoters, server)
				}
			}
			got := (&promoter{pilot: p}).FilterFailedServerRemovals(&autopilot.Config{ServerStabilizationTime: stable}, state, failed)
			if len(got.FailedVoters) != tt.voters || len(got.FailedNonVoters) != tt.nonVoters || len(got.StaleVoters)+len(got.StaleNonVoters) > 0 {
				t.Errorf("%d voters and %d non-voters may go, want %d and %d", len(got.FailedVoters), len(got.FailedNonVoters), tt.voters, tt.nonVoters)
			}
		})
	}
}
