package etcd

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// register is who is up and who leads, as the watch tells it.
type register struct {
	mu         sync.Mutex // guards the fields below
	nodes      map[string]Node
	candidates map[string]candidate
	// changed is closed and replaced when the leader changes.
	changed chan struct{}
}

// candidate is a key of the election. The oldest leads.
type candidate struct {
	revision int64
	node     Node
}

func newRegister() *register {
	return &register{nodes: map[string]Node{}, candidates: map[string]candidate{}, changed: make(chan struct{})}
}

// decodeNode reads a node, as far as it can be read: another release may say more.
func decodeNode(value []byte) Node {
	var n Node
	// What cannot be read stays empty, and the key still counts.
	_ = json.Unmarshal(value, &n)
	return n
}

func encodeNode(n Node) string {
	b, err := json.Marshal(n)
	if err != nil {
		// Texts always have a JSON form.
		panic(err)
	}
	return string(b)
}

// note takes in a change of one key.
func (r *register) note(key []byte, kv *mvccpb.KeyValue, deleted bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.leader()
	name := string(key)
	switch {
	case strings.HasPrefix(name, nodePrefix) && deleted:
		delete(r.nodes, name)
	case strings.HasPrefix(name, nodePrefix):
		r.nodes[name] = decodeNode(kv.Value)
	case deleted:
		delete(r.candidates, name)
	default:
		r.candidates[name] = candidate{revision: kv.CreateRevision, node: decodeNode(kv.Value)}
	}
	if r.leader() != before {
		close(r.changed)
		r.changed = make(chan struct{})
	}
}

// replace takes in what was loaded.
func (r *register) replace(nodes map[string]Node, candidates map[string]candidate) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.nodes, r.candidates = nodes, candidates
	close(r.changed)
	r.changed = make(chan struct{})
}

// leader is the node of the oldest candidate. The caller holds mu.
func (r *register) leader() Node {
	var oldest candidate
	for _, c := range r.candidates {
		if oldest.revision == 0 || c.revision < oldest.revision {
			oldest = c
		}
	}
	return oldest.node
}

// leading returns the leader, or a Node without ID, and what announces another one.
func (r *register) leading() (Node, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.leader(), r.changed
}

// rivals is how many candidates there are besides the leader.
func (r *register) rivals() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return max(0, len(r.candidates)-1)
}

// all are the nodes that are up, by name.
func (r *register) all() []Node {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.SortedFunc(maps.Values(r.nodes), func(a, b Node) int {
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
}
