package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/raft"
)

// proposal of a new cluster, as its initiator makes it.
type promiseRequest struct {
	Initiator string   `json:"initiator"`
	ClusterID string   `json:"cluster_id"`
	Servers   []string `json:"servers"` // sorted server ids
	Expect    int      `json:"expect"`
	// Query asks only whether the receiver still holds this proposal of its own.
	Query bool `json:"query,omitempty"`
}

// promiseAnswer grants (or, for a query, confirms) or says why not.
type promiseAnswer struct {
	Granted bool   `json:"granted"`
	Reason  string `json:"reason,omitempty"`
	// Addr is the granter's advertised address, for the configuration.
	Addr string `json:"addr,omitempty"`
}

// runBootstrap founds or waits for a cluster, until this node has Raft state and
// knows which cluster's.
func (n *Node) runBootstrap(ctx context.Context) {
	tick := time.NewTicker(n.cfg.MembershipInterval)
	defer tick.Stop()
	var said string
	for {
		if n.hasState() {
			if n.settle() {
				return
			}
		} else {
			n.releasePromise(ctx)
			if err := n.tryBootstrap(ctx); err != nil && err.Error() != said && ctx.Err() == nil {
				said = err.Error()
				n.logger.Info("not bootstrapping", "reason", said)
			}
		}
		// A tick also notices state that a leader gave to this node.
		select {
		case <-tick.C:
		case <-n.gossipChanged.wait():
		case <-ctx.Done():
			return
		}
	}
}

// hasState reports whether this node holds Raft state of any kind.
func (n *Node) hasState() bool {
	return n.raft.LastIndex() > 0 || n.raft.CurrentTerm() > 0
}

// settle is called when this node has Raft state: what was promised is now a
// fact, or void. It reports whether nothing is left to find out.
func (n *Node) settle() bool {
	// First what the promise says must be in node.json: it could not be told after
	// a restart otherwise.
	if own := n.id.clusterID(); own != "" {
		if err := n.id.adopt(own); err != nil {
			if n.mux.quiet.allow("settle") {
				n.logger.Warn("cluster id was not saved", "cluster_id", own, "err", err)
			}
			return false
		}
	}
	n.promises.asking.Lock()
	err := n.promises.clear()
	n.promises.asking.Unlock()
	if err != nil {
		n.logger.Warn("bootstrap promise was not removed", "err", err)
	}
	n.tellGossip()
	minted := n.fsm.ClusterID()
	if minted == "" {
		return false
	}
	if err := n.id.adopt(minted); err != nil {
		n.onFault(fmt.Errorf("applied state is of cluster %s: %w", minted, err))
	}
	return true
}

// resume takes up a founding that was interrupted between Raft's own files and
// node.json.
func (n *Node) resume() error {
	held := n.promises.held()
	if held == nil || held.Initiator != n.id.serverID || n.id.clusterID() != "" || !n.hasState() {
		return nil
	}
	return n.id.adopt(held.ClusterID)
}

// tryBootstrap makes one attempt. The error says what stands in the way.
func (n *Node) tryBootstrap(ctx context.Context) error {
	expect := n.cfg.BootstrapExpect
	if n.id.clusterID() != "" {
		return fmt.Errorf("this node was added to cluster %s and waits for its log", n.id.clusterID())
	}
	if expect == 1 {
		if len(n.cfg.Join) > 0 {
			return errors.New("waiting to be added to a cluster")
		}
		request := promiseRequest{Initiator: n.id.serverID, ClusterID: randomID(), Servers: []string{n.id.serverID}, Expect: 1}
		if err := n.promises.save(request); err != nil {
			return err
		}
		return n.found(request, map[string]string{n.id.serverID: n.id.advertise})
	}
	servers, err := n.founders()
	if err != nil {
		return err
	}
	if servers[0] != n.id.serverID {
		return fmt.Errorf("server %s has the lowest id and bootstraps", servers[0])
	}
	request := promiseRequest{Initiator: n.id.serverID, ClusterID: randomID(), Servers: servers, Expect: expect}
	addrs, err := n.collectPromises(ctx, request)
	if err != nil {
		n.metrics.bootstrapRefused.Inc()
		return errors.Join(err, n.dropProposal(request))
	}
	return n.found(request, addrs)
}

// founders returns the sorted ids of the nodes that may found a cluster: as many
// as expected, all fresh, all of the same mind. Of more nodes than expected the
// lowest ids found it and add the others; each of those must see the same set,
// so two sets can come about only where two groups do not know of each other.
func (n *Node) founders() ([]string, error) {
	alive := n.gossip.alive()
	for _, id := range slices.Sorted(maps.Keys(alive)) {
		switch m := alive[id]; {
		case m.ClusterID != "":
			return nil, fmt.Errorf("member %s (%s) belongs to cluster %s", id, m.Name, m.ClusterID)
		case m.HasState:
			return nil, fmt.Errorf("member %s (%s) holds raft state", id, m.Name)
		case m.Expect != n.cfg.BootstrapExpect:
			return nil, fmt.Errorf("member %s (%s) expects %d nodes, this node %d", id, m.Name, m.Expect, n.cfg.BootstrapExpect)
		}
	}
	if len(alive)+1 < n.cfg.BootstrapExpect {
		return nil, fmt.Errorf("%d of %d expected nodes are here", len(alive)+1, n.cfg.BootstrapExpect)
	}
	servers := append(slices.Collect(maps.Keys(alive)), n.id.serverID)
	slices.Sort(servers)
	return servers[:n.cfg.BootstrapExpect], nil
}

// collectPromises asks every founder, this node first. It returns their
// addresses when all of them promised.
func (n *Node) collectPromises(ctx context.Context, request promiseRequest) (map[string]string, error) {
	own, err := n.grantPromise(ctx, request)
	if err != nil {
		return nil, err
	}
	if !own.Granted {
		return nil, errors.New(own.Reason)
	}
	addrs := map[string]string{n.id.serverID: n.id.advertise}
	payload, err := json.Marshal(request)
	if err != nil {
		return nil, fmt.Errorf("encode promise: %w", err)
	}
	for _, id := range request.Servers {
		if id == n.id.serverID {
			continue
		}
		answer, err := n.askPromise(ctx, id, payload)
		if err != nil {
			return nil, fmt.Errorf("ask %s for its promise: %w", id, err)
		}
		if !answer.Granted {
			return nil, fmt.Errorf("server %s refuses: %s", id, answer.Reason)
		}
		addrs[id] = answer.Addr
	}
	return addrs, nil
}

func (n *Node) askPromise(ctx context.Context, id string, payload []byte) (promiseAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, n.cfg.IOTimeout)
	defer cancel()
	b, err := n.client.call(ctx, id, laneQuick, framePromise, payload)
	if err != nil {
		return promiseAnswer{}, err
	}
	var answer promiseAnswer
	if err := json.Unmarshal(b, &answer); err != nil {
		return promiseAnswer{}, fmt.Errorf("decode promise: %w", err)
	}
	return answer, nil
}

// dropProposal forgets this node's own proposal, so that those who promised can
// be told that it is off.
func (n *Node) dropProposal(request promiseRequest) error {
	n.promises.asking.Lock()
	defer n.promises.asking.Unlock()
	if held := n.promises.held(); held == nil || held.ClusterID != request.ClusterID {
		return nil
	}
	return n.promises.clear()
}

// found writes the first configuration. While it does so this node grants no
// promise, and it stops when it has granted another one since: then the promises
// it collected are void. From the moment that Raft has state this node says that
// it belongs to the new cluster, so that it is told apart from any other that
// its founders may form without it.
func (n *Node) found(request promiseRequest, addrs map[string]string) error {
	n.promises.asking.Lock()
	defer n.promises.asking.Unlock()
	if held := n.promises.held(); held == nil || held.ClusterID != request.ClusterID {
		return errors.New("this node took part in another founding")
	}
	var configuration raft.Configuration
	for _, id := range request.Servers {
		configuration.Servers = append(configuration.Servers, raft.Server{
			Suffrage: raft.Voter, ID: raft.ServerID(id), Address: raft.ServerAddress(addrs[id]),
		})
	}
	if !n.id.claim(request.ClusterID) {
		return fmt.Errorf("this node belongs to cluster %s", n.id.clusterID())
	}
	n.logger.Info("bootstrapping a new cluster", "cluster_id", request.ClusterID, "servers", len(request.Servers))
	if err := n.raft.BootstrapCluster(configuration).Error(); err != nil {
		if !n.hasState() {
			n.id.unclaim()
		}
		return fmt.Errorf("bootstrap: %w", err)
	}
	if err := n.id.adopt(request.ClusterID); err != nil {
		return err
	}
	return n.electAtOnce(n.raft)
}
