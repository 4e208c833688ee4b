package cluster

import (
	"fmt"
	"testing"

	"github.com/hashicorp/raft"
)

// Servers that exchanged addresses reach the wanted configuration step by step,
// without ever giving one address to two of them.
func TestMoveTo(t *testing.T) {
	t.Parallel()
	for _, want := range []map[raft.ServerID]string{
		{"a": "h:9", "b": "h:2", "c": "h:3"},
		{"a": "h:2", "b": "h:1", "c": "h:3"},
		{"a": "h:2", "b": "h:3", "c": "h:1"},
	} {
		t.Run(fmt.Sprint(want), func(t *testing.T) {
			have := map[raft.ServerID]string{"a": "h:1", "b": "h:2", "c": "h:3"}
			for steps := 0; ; steps++ {
				users := make(map[string]raft.Server)
				var next *raft.Server
				for id, addr := range have {
					s := raft.Server{ID: id, Address: raft.ServerAddress(addr)}
					users[addr] = s
					if want[id] != addr && (next == nil || id < next.ID) {
						next = &s
					}
				}
				if len(users) != len(have) {
					t.Fatalf("configuration %v gives one address twice", have)
				}
				if next == nil {
					return
				}
				if steps > 6 {
					t.Fatalf("configuration %v after %d steps, want %v", have, steps, want)
				}
				change := moveTo(users, *next, want[next.ID])
				have[raft.ServerID(change.id)] = change.addr
			}
		})
	}
}
