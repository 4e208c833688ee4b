package etcd

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// register is who is up, who leads and who asked for a turn, as the watch tells it.
type register struct {
	mu sync.Mutex // guards the fields below
	// nodes, candidates and turns are by key.
	nodes, candidates, turns map[string]member
	// changed is closed and replaced when candidates or turns change.
	changed chan struct{}
}

// member is a node behind a key of the register, and the revision that made the key.
// Of candidates, and of turns, the oldest is first.
type member struct {
	key      string
	revision int64
	// touched is the revision that wrote the key last.
	touched int64
	node    Node
}

func newRegister() *register {
	r := &register{changed: make(chan struct{})}
	r.clear()
	return r
}

func (r *register) clear() {
	r.nodes, r.candidates, r.turns = map[string]member{}, map[string]member{}, map[string]member{}
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

// of is the part of the register that a key belongs to.
func (r *register) of(key string) map[string]member {
	switch {
	case strings.HasPrefix(key, nodePrefix):
		return r.nodes
	case strings.HasPrefix(key, electionPrefix):
		return r.candidates
	}
	return r.turns
}

// note takes in a change of one key.
func (r *register) note(key string, kv *mvccpb.KeyValue, deleted bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.set(key, kv, deleted)
	if !strings.HasPrefix(key, nodePrefix) {
		r.announce()
	}
}

func (r *register) set(key string, kv *mvccpb.KeyValue, deleted bool) {
	if deleted {
		delete(r.of(key), key)
		return
	}
	r.of(key)[key] = member{key: key, revision: kv.CreateRevision, touched: kv.ModRevision, node: decodeNode(kv.Value)}
}

func (r *register) announce() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// replace takes in what was loaded.
func (r *register) replace(kvs map[string]*mvccpb.KeyValue) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clear()
	for key, kv := range kvs {
		r.set(key, kv, false)
	}
	r.announce()
}

// first is the oldest of some members; one without revision when there is none.
func first(members map[string]member) member {
	var oldest member
	for _, m := range members {
		if oldest.revision == 0 || m.revision < oldest.revision {
			oldest = m
		}
	}
	return oldest
}

// leading returns the first candidate, and what announces that something changed.
func (r *register) leading() (member, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return first(r.candidates), r.changed
}

// stands says whether key is a candidate's.
func (r *register) stands(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, known := r.candidates[key]
	return known
}

// turn returns who goes first, and what announces that something changed.
func (r *register) turn() (member, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return first(r.turns), r.changed
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
	nodes := make([]Node, 0, len(r.nodes))
	for _, m := range slices.Collect(maps.Values(r.nodes)) {
		nodes = append(nodes, m.node)
	}
	slices.SortFunc(nodes, func(a, b Node) int {
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return nodes
}
