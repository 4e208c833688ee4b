package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/oprc/oprc-pm/storage"
)

// peerStatus is a node's answer to a status call.
type peerStatus struct {
	storage.Status
	ClusterAddr string
	HTTPAddr    string
	Version     string
	// Features is what the node can decode, see features.go.
	Features int
	// LastLogIndex and LastLogTerm are where the log or the newest snapshot ends.
	LastLogIndex, LastLogTerm uint64
	Disk                      peerDisk
}

// Status implements storage.Store.
func (n *Node) Status() storage.Status {
	if !n.opened.Load() {
		return storage.Status{NodeName: n.cfg.NodeName, Role: storage.RoleFollower, LastContact: -1, Reason: "not running"}
	}
	applied := n.fsm.AppliedIndex()
	st := storage.Status{
		NodeID:       n.id.serverID,
		NodeName:     n.cfg.NodeName,
		ClusterID:    n.id.clusterID(),
		Role:         n.role(),
		Term:         n.raft.CurrentTerm(),
		LeaderID:     n.leaderID(),
		AppliedIndex: applied,
		// After a restart the library learns the commit index from the leader;
		// what is applied was committed.
		CommitIndex: max(n.raft.CommitIndex(), applied),
		LastContact: n.lastContact(),
	}
	st.Digest, st.DigestIndex = n.fsm.Digest()
	if st.LeaderID == n.id.serverID {
		st.LeaderHTTPAddr = n.cfg.HTTPAddr
	} else if m, ok := n.gossip.member(st.LeaderID); ok {
		st.LeaderHTTPAddr = m.HTTPAddr
	}
	st.Ready, st.Reason = n.readiness(st.LeaderID, applied)
	if st.Ready {
		// Who was told so does not hear later that this node is only starting.
		n.started.Store(true)
	}
	return st
}

func (n *Node) role() storage.Role {
	switch n.raft.State() {
	case raft.Leader:
		return storage.RoleLeader
	case raft.Candidate:
		return storage.RoleCandidate
	default:
		return storage.RoleFollower
	}
}

// readiness: a leader is known, and what was committed when this node first
// heard of one is applied.
func (n *Node) readiness(leader string, applied uint64) (bool, string) {
	if err := n.Err(); err != nil {
		return false, "stopped: " + err.Error()
	}
	target := n.readyAt.Load()
	switch {
	case leader == "" && !n.hasState():
		return false, "not a member of a cluster yet"
	case leader == "":
		return false, "no leader known"
	case target == 0:
		return false, "asking the leader how far the log is"
	case applied < target:
		return false, fmt.Sprintf("catching up: applied %d of %d", applied, target)
	}
	return true, ""
}

// runReady finds out once what this node must apply to be ready.
func (n *Node) runReady(ctx context.Context) {
	for ctx.Err() == nil {
		changed := n.changed.wait()
		if n.leaderID() != "" {
			if index, _, err := n.readIndexOnce(ctx, nil, false); err == nil {
				n.readyAt.Store(index)
				return
			}
		}
		select {
		case <-changed:
		case <-time.After(retryMax):
		case <-ctx.Done():
		}
	}
}

// serveStatus answers at once: everything in it is at hand.
func (n *Node) serveStatus(_ context.Context, _ string, _ []byte, respond respond) {
	respond(json.Marshal(n.ownStatus()))
}

func (n *Node) ownStatus() peerStatus {
	st := peerStatus{Status: n.Status(), ClusterAddr: n.id.advertise, HTTPAddr: n.cfg.HTTPAddr, Version: n.cfg.Version, Features: n.features()}
	st.LastLogIndex, st.LastLogTerm = n.lastLog()
	st.Disk = n.disk.own()
	return st
}

// askStatus asks another server, or this node.
func (n *Node) askStatus(ctx context.Context, id string) (peerStatus, error) {
	if id == n.id.serverID {
		return n.ownStatus(), nil
	}
	b, err := n.client.call(ctx, id, laneQuick, frameStatus, nil)
	if err != nil {
		return peerStatus{}, fmt.Errorf("ask for status: %w", err)
	}
	var st peerStatus
	if err := json.Unmarshal(b, &st); err != nil {
		return peerStatus{}, fmt.Errorf("decode status: %w", err)
	}
	return st, nil
}

// memberTimeout bounds the question to one member.
const memberTimeout = time.Second

// Members returns all servers of the Raft configuration and all that gossip
// knows, sorted by name. Each is asked; who does not answer in a second has
// Alive false and Error set. Any node can tell.
func (n *Node) Members(ctx context.Context) ([]storage.Member, error) {
	if !n.serving.Load() {
		return nil, unavailable(ErrClosed, "this node is not running")
	}
	members := make(map[string]*storage.Member)
	for _, s := range n.raft.GetConfiguration().Configuration().Servers {
		members[string(s.ID)] = &storage.Member{
			ID: string(s.ID), Name: n.serverName(string(s.ID)), Voter: s.Suffrage == raft.Voter, ClusterAddr: string(s.Address), Role: storage.RoleFollower,
		}
	}
	for id, meta := range n.gossip.alive() {
		m := members[id]
		if m == nil {
			m = &storage.Member{ID: id, Role: storage.RoleFollower}
			members[id] = m
		}
		m.Name, m.HTTPAddr, m.ClusterAddr, m.Version = meta.Name, meta.HTTPAddr, meta.ClusterAddr, meta.Version
	}
	if members[n.id.serverID] == nil {
		members[n.id.serverID] = &storage.Member{ID: n.id.serverID}
	}
	ctx, cancel := context.WithTimeout(ctx, memberTimeout)
	defer cancel()
	var wg sync.WaitGroup
	for _, m := range members {
		wg.Go(func() { n.fillMember(ctx, m) })
	}
	wg.Wait()
	out := make([]storage.Member, 0, len(members))
	for _, m := range members {
		out = append(out, *m)
	}
	slices.SortFunc(out, func(a, b storage.Member) int {
		return strings.Compare(a.Name+"\x00"+a.ID, b.Name+"\x00"+b.ID)
	})
	return out, nil
}

func (n *Node) fillMember(ctx context.Context, m *storage.Member) {
	st, err := n.askStatus(ctx, m.ID)
	if err != nil {
		m.Error = whySilent(err)
		return
	}
	m.Alive = true
	m.Name, m.Role, m.HTTPAddr, m.ClusterAddr, m.Version = st.NodeName, st.Role, st.HTTPAddr, st.ClusterAddr, st.Version
	m.Term, m.AppliedIndex, m.CommitIndex = st.Term, st.AppliedIndex, st.CommitIndex
	m.Digest, m.DigestIndex = st.Digest, st.DigestIndex
	m.LastContactMS = st.LastContact.Milliseconds()
	if st.LastContact < 0 {
		m.LastContactMS = -1
	}
}

// whySilent words for an operator why a member did not answer.
func whySilent(err error) string {
	var broken *net.OpError
	switch {
	case errors.As(err, &broken) && broken.Addr != nil:
		return fmt.Sprintf("no answer from %s: %v", broken.Addr, broken.Err)
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer within " + memberTimeout.String()
	default:
		return "no answer: " + err.Error()
	}
}

// runDigests is the leader's check that all replicas hold the same: at equal
// index the digests must be equal. A mismatch is an alarm, never repaired here.
func (n *Node) runDigests(ctx context.Context, _ uint64) {
	tick := time.NewTicker(n.cfg.DigestInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			n.compareDigests(ctx)
		case <-ctx.Done():
			return
		}
	}
}

func (n *Node) compareDigests(ctx context.Context) {
	members, err := n.Members(ctx)
	if err != nil {
		return
	}
	seen := make(map[uint64]storage.Member)
	for _, m := range members {
		if !m.Alive || m.DigestIndex == 0 {
			continue
		}
		other, ok := seen[m.DigestIndex]
		if !ok {
			seen[m.DigestIndex] = m
			continue
		}
		if other.Digest != m.Digest {
			n.metrics.digestMismatches.Inc()
			n.logger.Error("replicas differ at the same index", "index", m.DigestIndex,
				"server", m.ID, "digest", m.Digest, "other_server", other.ID, "other_digest", other.Digest)
		}
	}
}
