package etcd

import (
	"fmt"
	"time"

	"github.com/oprc/oprc-pm/storage"
)

// heard notes that etcd answered.
func (s *Store) heard() {
	s.contact.Store(int64(time.Since(s.epoch)))
	s.lastTrouble.Store(nil)
}

// trouble notes why etcd is of no use at present.
func (s *Store) trouble(err error) {
	text := err.Error()
	s.lastTrouble.Store(&text)
}

// lastContact is the time since etcd answered; negative before it ever did.
func (s *Store) lastContact() time.Duration {
	at := s.contact.Load()
	if at < 0 {
		return -1
	}
	return time.Since(s.epoch) - time.Duration(at)
}

// contactReason says what is known about the way to etcd.
func (s *Store) contactReason() string {
	since := s.lastContact().Round(time.Millisecond)
	if text := s.lastTrouble.Load(); text != nil {
		return fmt.Sprintf("last contact %v ago, then: %s", since, *text)
	}
	return fmt.Sprintf("last contact %v ago", since)
}

// Status implements storage.Store.
func (s *Store) Status() storage.Status {
	v := s.current.Load()
	id, _ := v.tree.Get(storage.ClusterIDKey)
	leader, _ := s.register.leading()
	status := storage.Status{
		NodeID: s.cfg.Node.ID, NodeName: s.cfg.Node.Name, ClusterID: string(id),
		Role: storage.RoleFollower, Term: v.head.Term,
		LeaderID: leader.node.ID, LeaderHTTPAddr: leader.node.HTTPAddr,
		CommitIndex: v.head.Index, AppliedIndex: v.head.Index,
		Digest: v.digest.String(), DigestIndex: v.head.Index,
		LastContact: s.lastContact(),
	}
	if s.leading.Load() != 0 {
		status.Role = storage.RoleLeader
	}
	status.Reason = s.notReady()
	status.Ready = status.Reason == ""
	return status
}

// notReady says why this node should get no requests; empty when it should.
func (s *Store) notReady() string {
	s.mu.Lock()
	legacy := s.adoptable()
	s.mu.Unlock()
	lost, stuck := s.lost.Load(), s.stuck.Load()
	switch {
	case s.ctx.Err() != nil:
		return "closed"
	case lost != nil:
		return (*lost).Error()
	case stuck != nil:
		return "the copy of the state cannot be kept up: " + (*stuck).Error()
	case s.lastContact() > 2*s.cfg.SessionTTL:
		return "no contact with etcd: " + s.contactReason()
	case legacy > 0:
		return fmt.Sprintf("%d documents of an earlier package manager are still to be taken over", legacy)
	}
	return ""
}

// Nodes are the nodes that are up, as etcd's leases tell, and the leader's id.
func (s *Store) Nodes() (nodes []Node, leaderID string) {
	leader, _ := s.register.leading()
	return s.register.all(), leader.node.ID
}
