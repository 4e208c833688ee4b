package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// promises keeps the one bootstrap promise that a fresh node may have given. It
// is on disk before it is told to anybody, so that a restart does not forget it.
//
// A promise binds this node to one founding: while it holds, no other set of
// servers can found a cluster that includes it. It ends when its cluster comes,
// or when its initiator says that it dropped it or has left.
type promises struct {
	files files
	path  string

	mu    sync.Mutex // guards given
	given *promiseRequest
	// asking serialises grants, which ask others while they decide.
	asking sync.Mutex
}

func openPromises(path string) (*promises, error) {
	p := &promises{path: path}
	var given promiseRequest
	found, err := readJSON(path, &given)
	if err != nil {
		return nil, err
	}
	if found {
		p.given = &given
	}
	return p, nil
}

func (p *promises) held() *promiseRequest {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.given
}

func (p *promises) save(r promiseRequest) error {
	if err := p.files.writeJSON(p.path, r); err != nil {
		return err
	}
	p.mu.Lock()
	p.given = &r
	p.mu.Unlock()
	return nil
}

func (p *promises) clear() error {
	if p.held() == nil {
		return nil
	}
	if err := p.files.removeSync(p.path); err != nil {
		return err
	}
	p.mu.Lock()
	p.given = nil
	p.mu.Unlock()
	return nil
}

// servePromise answers an initiator.
func (n *Node) servePromise(ctx context.Context, peer string, payload []byte) ([]byte, error) {
	var request promiseRequest
	if err := json.Unmarshal(payload, &request); err != nil {
		return nil, remoteErrorf(remoteInvalid, "decode promise: %v", err)
	}
	if request.Query {
		held := n.promises.held()
		holds := held != nil && held.Initiator == n.id.serverID && held.ClusterID == request.ClusterID
		// With state the founding happened, whatever became of the file.
		return json.Marshal(promiseAnswer{Granted: holds || n.hasState()})
	}
	if request.Initiator != peer {
		return nil, remoteErrorf(remoteInvalid, "server %s asks in the name of %s", peer, request.Initiator)
	}
	answer, err := n.grantPromise(ctx, request)
	if err != nil {
		return nil, err
	}
	return json.Marshal(answer)
}

// grantPromise decides whether this node takes part in a founding.
func (n *Node) grantPromise(ctx context.Context, request promiseRequest) (promiseAnswer, error) {
	n.promises.asking.Lock()
	defer n.promises.asking.Unlock()
	if reason := n.objection(ctx, request); reason != "" {
		n.logger.Info("bootstrap promise refused", "initiator", request.Initiator, "reason", reason)
		return promiseAnswer{Reason: reason}, nil
	}
	if err := n.promises.save(request); err != nil {
		return promiseAnswer{}, err
	}
	return promiseAnswer{Granted: true, Addr: n.id.advertise}, nil
}

// objection says why this node must not take part, or "".
func (n *Node) objection(ctx context.Context, request promiseRequest) string {
	if n.hasState() {
		return "this node holds raft state"
	}
	if id := n.id.clusterID(); id != "" {
		return "this node belongs to cluster " + id
	}
	if request.Expect != n.cfg.BootstrapExpect {
		return fmt.Sprintf("this node expects %d nodes, the initiator %d", n.cfg.BootstrapExpect, request.Expect)
	}
	servers, err := n.founders()
	if err != nil {
		return err.Error()
	}
	if !slices.Equal(servers, request.Servers) {
		return "this node sees other members"
	}
	if held := n.promises.held(); held != nil && held.Initiator != request.Initiator && n.stillHeld(ctx, held) {
		return fmt.Sprintf("this node gave its promise to %s", held.Initiator)
	}
	return ""
}

// stillHeld reports whether a promise given to an initiator still binds: the
// initiator does not say that it dropped it. In doubt it does. The initiator is
// asked even when gossip does not know it: after a restart this node knows of
// nobody, and that must not make it forget what is on its disk.
func (n *Node) stillHeld(ctx context.Context, held *promiseRequest) bool {
	if held.Initiator == n.id.serverID {
		return false // this node did not found: it has no state
	}
	query := *held
	query.Query = true
	payload, err := json.Marshal(query)
	if err != nil {
		return true
	}
	answer, err := n.askPromise(ctx, held.Initiator, payload)
	if err == nil {
		return answer.Granted
	}
	var remote *remoteError
	_, alive := n.gossip.member(held.Initiator)
	return alive || errors.As(err, &remote)
}

// releasePromise forgets a promise that binds no more.
func (n *Node) releasePromise(ctx context.Context) {
	held := n.promises.held()
	if held == nil || held.Initiator == n.id.serverID || n.stillHeld(ctx, held) {
		return
	}
	n.promises.asking.Lock()
	defer n.promises.asking.Unlock()
	if now := n.promises.held(); now == nil || now.ClusterID != held.ClusterID || n.hasState() {
		return
	}
	n.logger.Info("bootstrap promise released", "initiator", held.Initiator)
	if err := n.promises.clear(); err != nil {
		n.logger.Warn("bootstrap promise was not removed", "err", err)
	}
}

// admit decides on a connection of another node, beyond what its preamble shows:
// the first Raft connection with a cluster id makes a fresh node a member of
// that cluster.
func (n *Node) admit(p preamble) error {
	if p.protocol != protocolRaft || p.clusterID == "" {
		return nil
	}
	if n.id.clusterID() == "" {
		// Not while a promise is decided on: it may be to another cluster.
		n.promises.asking.Lock()
		defer n.promises.asking.Unlock()
		if held := n.promises.held(); held != nil && held.ClusterID != p.clusterID {
			return fmt.Errorf("this node promised to found cluster %s, the caller belongs to cluster %s", held.ClusterID, p.clusterID)
		}
		n.logger.Info("joining a cluster", "cluster_id", p.clusterID, "peer", p.serverID)
	}
	// Also when it is known already: perhaps it could not be written the last time.
	return n.id.adopt(p.clusterID)
}
