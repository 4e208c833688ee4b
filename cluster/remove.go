package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/oprc/oprc-pm/model"
)

// askLeader calls the leader, or this node when it is the leader. A leader that
// has just been elected is waited for.
func (n *Node) askLeader(ctx context.Context, kind frameType, payload []byte) ([]byte, error) {
	for {
		b, err := n.askLeaderOnce(ctx, kind, payload)
		if err == nil {
			return b, nil
		}
		var remote *remoteError
		if errors.As(err, &remote) && remote.code != remoteNotLeader && remote.code != remoteBusy {
			if remote.code == remoteUnknownType {
				return nil, model.Errorf(model.CodeFailedPrecondition, "the leader runs an older release, which cannot do this")
			}
			return nil, unavailable(err, "the leader refused: %s", remote.message)
		}
		select {
		case <-time.After(retryMax):
		case <-ctx.Done():
			return nil, unavailable(errors.Join(ctx.Err(), err), "the leader did not answer in time")
		}
	}
}

func (n *Node) askLeaderOnce(ctx context.Context, kind frameType, payload []byte) ([]byte, error) {
	if n.raft.State() != raft.Leader {
		_, leader := n.raft.LeaderWithID()
		if leader == "" || string(leader) == n.id.serverID {
			return nil, errNoLeader
		}
		return n.client.call(ctx, string(leader), laneQuick, kind, payload)
	}
	switch kind {
	case frameHealth:
		return n.serveHealth(ctx, n.id.serverID, payload)
	default:
		return n.serveDepart(ctx, n.id.serverID, payload)
	}
}

var errNoLeader = errors.New("no leader is known")

// Resolve finds the one server with an id or name.
func (n *Node) Resolve(ref string) (string, error) {
	var found []string
	for _, s := range n.raft.GetConfiguration().Configuration().Servers {
		id := string(s.ID)
		if id == ref {
			return id, nil
		}
		if n.serverName(id) == ref {
			found = append(found, id)
		}
	}
	switch len(found) {
	case 0:
		return "", model.Errorf(model.CodeNotFound, "the cluster has no server with the id or name %q", ref)
	case 1:
		return found[0], nil
	}
	return "", model.Errorf(model.CodeConflict, "several servers have the name %q: give one of the ids %s", ref, strings.Join(found, ", "))
}

// Remove takes a server out of the cluster. One that answers is asked to leave,
// and stops; one that does not is struck off the configuration. Force skips the
// question whether its vote is needed. The last voter is never removed.
func (n *Node) Remove(ctx context.Context, ref string, force bool) error {
	ctx, cancel := n.bounded(ctx)
	defer cancel()
	id, err := n.Resolve(ref)
	if err != nil {
		return err
	}
	if id == n.id.serverID {
		if n.otherVoters() == 0 {
			return lastVoter(n.serverName(id))
		}
		return n.Leave(ctx, force)
	}
	if n.answers(ctx, id) {
		return n.askToLeave(ctx, id, force)
	}
	payload, err := json.Marshal(departRequest{ID: id, Remove: true, Force: force})
	if err != nil {
		return fmt.Errorf("encode removal: %w", err)
	}
	b, err := n.askLeader(ctx, frameDepart, payload)
	if err != nil {
		return err
	}
	return decodeAdminAnswer(b)
}

func (n *Node) askToLeave(ctx context.Context, id string, force bool) error {
	payload := []byte{0}
	if force {
		payload[0] = 1
	}
	b, err := n.client.call(ctx, id, laneQuick, frameLeave, payload)
	if err != nil {
		return unavailable(err, "server %s did not confirm that it leaves", id)
	}
	return decodeAdminAnswer(b)
}

func (n *Node) answers(ctx context.Context, id string) bool {
	ctx, cancel := context.WithTimeout(ctx, memberTimeout)
	defer cancel()
	_, err := n.askStatus(ctx, id)
	return err == nil
}

func lastVoter(name string) error {
	return model.Errorf(model.CodeFailedPrecondition, "%s is the last voter: without it there is no cluster", name)
}

// removeHere is Remove at the leader, for a server that does not answer whoever
// asked.
func (n *Node) removeHere(ctx context.Context, id string, force bool) error {
	if err := n.mayLose(ctx, id, force); err != nil {
		return err
	}
	return n.removeServer(id)
}

// demote takes a voter's vote and leaves it a replica.
func (n *Node) demote(ctx context.Context, id string, force bool) error {
	if err := n.mayLose(ctx, id, force); err != nil {
		return err
	}
	if s, ok := n.configured(id); !ok || s.Suffrage != raft.Voter {
		return nil
	}
	if err := n.change(configChange{what: "demote to non-voter", id: id, demote: true}).Error(); err != nil {
		return unavailable(err, "the vote of %s was not taken", id)
	}
	return nil
}

func (n *Node) removeServer(id string) error {
	if _, ok := n.configured(id); !ok {
		return nil
	}
	// Gossip may hold it alive for a while yet.
	n.departing.add(id)
	if err := n.change(configChange{what: "remove server", id: id, remove: true}).Error(); err != nil {
		n.departing.drop(id)
		return unavailable(err, "server %s was not removed", id)
	}
	return nil
}

func (n *Node) configured(id string) (raft.Server, bool) {
	for _, s := range n.raft.GetConfiguration().Configuration().Servers {
		if string(s.ID) == id {
			return s, true
		}
	}
	return raft.Server{}, false
}

// mayLose refuses what would take the cluster's ability to decide: its last
// voter, or one without which those that answer are no majority. The change
// itself is committed by a majority of the voters that stay.
func (n *Node) mayLose(ctx context.Context, id string, force bool) error {
	target, ok := n.configured(id)
	if !ok {
		return model.Errorf(model.CodeNotFound, "the cluster has no server %s", id)
	}
	if target.Suffrage != raft.Voter {
		return nil
	}
	var others []string
	for _, s := range n.raft.GetConfiguration().Configuration().Servers {
		if s.Suffrage == raft.Voter && string(s.ID) != id {
			others = append(others, string(s.ID))
		}
	}
	if len(others) == 0 {
		return lastVoter(n.serverName(id))
	}
	if force {
		return nil
	}
	var alive atomic.Int64
	var wg sync.WaitGroup
	for _, other := range others {
		wg.Go(func() {
			if n.answers(ctx, other) {
				alive.Add(1)
			}
		})
	}
	wg.Wait()
	if int(alive.Load()) < quorum(len(others)) {
		return model.Errorf(model.CodeFailedPrecondition,
			"of the %d other voters %d answer, which is no majority: without %s nothing could be written",
			len(others), alive.Load(), n.serverName(id))
	}
	return nil
}
