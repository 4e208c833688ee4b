package cluster

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"
)

// Two nodes that advertise one address change nothing: whom to believe is not for
// the leader to guess, least of all in turn.
func TestRivalsForOneAddress(t *testing.T) {
	t.Parallel()
	n := newPromiser(t)
	own := n.id.advertise
	servers := []raft.Server{
		{ID: raft.ServerID(n.id.serverID), Address: raft.ServerAddress(own)},
		{ID: "b", Address: "h:2"},
		{ID: "c", Address: "h:3"},
	}
	tests := []struct {
		name  string
		alive map[string]memberMeta
		want  string // the server that is changed
	}{
		{"two voters", map[string]memberMeta{"b": {ClusterAddr: "h:2"}, "c": {ClusterAddr: "h:2"}}, ""},
		{"a voter and this node", map[string]memberMeta{"b": {ClusterAddr: own}, "c": {ClusterAddr: "h:3"}}, ""},
		{"a new node and this node", map[string]memberMeta{"d": {ClusterAddr: own}}, ""},
		{"a voter and a new node", map[string]memberMeta{"b": {ClusterAddr: "h:2"}, "d": {ClusterAddr: "h:2"}}, ""},
		{"a dead voter and a new node", map[string]memberMeta{"b": {ClusterAddr: "h:2"}, "d": {ClusterAddr: "h:3"}}, "c"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n.gossip.members = tt.alive
			change, _ := n.nextChange(servers)
			if diff := cmp.Diff(tt.want, change.id); diff != "" {
				t.Errorf("changed server (-want +got):\n%s", diff)
			}
		})
	}
}
