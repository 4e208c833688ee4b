package cluster

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Of more fresh nodes than expected the lowest ids found the cluster, as every
// one of them sees it; of fewer, and of nodes of another mind, none do.
func TestFounders(t *testing.T) {
	t.Parallel()
	fresh := memberMeta{Expect: 3}
	tests := []struct {
		name  string
		self  string
		alive map[string]memberMeta
		want  []string
		fails string
	}{
		{"exactly as many", "b", map[string]memberMeta{"a": fresh, "c": fresh}, []string{"a", "b", "c"}, ""},
		{"more, this one among the lowest", "b", map[string]memberMeta{"a": fresh, "c": fresh, "d": fresh, "e": fresh}, []string{"a", "b", "c"}, ""},
		{"more, this one not among them", "e", map[string]memberMeta{"a": fresh, "c": fresh, "d": fresh, "b": fresh}, []string{"a", "b", "c"}, ""},
		{"fewer", "a", map[string]memberMeta{"b": fresh}, nil, "2 of 3"},
		{"one expects another number", "a", map[string]memberMeta{"b": fresh, "c": fresh, "d": {Expect: 4}}, nil, "expects 4"},
		{"one belongs to a cluster", "a", map[string]memberMeta{"b": fresh, "c": fresh, "d": {Expect: 3, ClusterID: "x"}}, nil, "belongs to cluster x"},
		{"one holds state", "a", map[string]memberMeta{"b": fresh, "c": fresh, "d": {Expect: 3, HasState: true}}, nil, "raft state"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := &Node{cfg: Config{BootstrapExpect: 3}, id: &identity{serverID: tt.self}, gossip: &gossip{members: tt.alive}}
			got, err := n.founders()
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("founders (-want +got):\n%s", diff)
			}
			if tt.fails != "" && (err == nil || !strings.Contains(err.Error(), tt.fails)) {
				t.Errorf("error %v, want one that says %q", err, tt.fails)
			}
		})
	}
}
