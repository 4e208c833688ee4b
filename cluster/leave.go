package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/oprc/oprc-pm/model"
)

// departureMemory is how long a leader does not add again who left or was
// removed, unless gossip lost it in between: then it came back.
const departureMemory = 30 * time.Second

// departures remembers who left or was removed.
type departures struct {
	mu sync.Mutex // guards at
	at map[string]*departure
}

type departure struct {
	at time.Time
	// lost: gossip did not know it for a while.
	lost bool
}

func (d *departures) add(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.at == nil {
		d.at = make(map[string]*departure)
	}
	d.at[id] = &departure{at: time.Now()}
}

func (d *departures) drop(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.at, id)
}

// observe compares with whom gossip knows: who was lost and is there again came
// back.
func (d *departures) observe(alive map[string]memberMeta) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, one := range d.at {
		_, here := alive[id]
		switch {
		case here && one.lost:
			delete(d.at, id)
		case !here:
			one.lost = true
		}
	}
}

func (d *departures) has(id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.at[id] != nil
}

func (d *departures) recent(id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	one := d.at[id]
	return one != nil && time.Since(one.at) < departureMemory
}

// isLeaving reports whether a server asked to be removed: it is neither added
// nor made a voter.
func (n *Node) isLeaving(id string) bool {
	m, alive := n.gossip.member(id)
	return alive && m.Leaving || n.departing.recent(id)
}

// Left is closed when this node has given up its vote for good: the program must
// then shut it down, which removes it from the configuration.
func (n *Node) Left() <-chan struct{} { return n.left }

// Leave takes this node out of the cluster. When it returns nil the node is no
// voter any more and still serves; Left is closed, and Shutdown removes it. The
// last voter cannot leave, and none whose vote is needed, unless forced: the last
// voter then stays what it is and only stops.
func (n *Node) Leave(ctx context.Context, force bool) error {
	ctx, cancel := n.bounded(ctx)
	defer cancel()
	if !n.serving.Load() {
		return unavailable(ErrClosed, "this node is not running")
	}
	if n.otherVoters() == 0 {
		if !force {
			return model.Errorf(model.CodeFailedPrecondition, "this node is the last voter: without it there is no cluster")
		}
		n.leaveNow()
		return nil
	}
	n.goodbye.Store(true)
	n.tellGossip()
	if err := n.depart(ctx, departRequest{ID: n.id.serverID, Force: force}); err != nil {
		n.goodbye.Store(false)
		n.tellGossip()
		return err
	}
	n.logger.Info("this node gave up its vote and leaves the cluster")
	n.leaveNow()
	return nil
}

func (n *Node) leaveNow() { n.leftOnce.Do(func() { close(n.left) }) }

// depart hands leadership over, if this node has it, and asks the leader; again
// when there is another leader by then.
func (n *Node) depart(ctx context.Context, request departRequest) error {
	payload, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("encode departure: %w", err)
	}
	for {
		if n.raft.State() == raft.Leader {
			err = n.transferHere(ctx, "")
		} else {
			var b []byte
			if b, err = n.askLeader(ctx, frameDepart, payload); err == nil {
				return decodeAdminAnswer(b)
			}
		}
		select {
		case <-time.After(retryMax):
		case <-ctx.Done():
			return unavailable(errors.Join(ctx.Err(), err), "no leader let this node go in time")
		}
	}
}

// sayGoodbye is called when the node shuts down: one that left is removed from
// the configuration now that it serves nobody any more. If that fails, the
// leader finds it gone and does so by itself.
func (n *Node) sayGoodbye(ctx context.Context) {
	if !n.goodbye.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, n.cfg.IOTimeout)
	defer cancel()
	if err := n.depart(ctx, departRequest{ID: n.id.serverID, Remove: true}); err != nil {
		n.logger.Warn("this node was not removed from the configuration; the leader will do so", "err", err)
	}
}

// departRequest asks the leader to take a server's vote, or the server.
type departRequest struct {
	ID     string `json:"id"`
	Remove bool   `json:"remove,omitempty"`
	Force  bool   `json:"force,omitempty"`
}

// adminAnswer is an outcome that the caller's client should see as it is.
type adminAnswer struct {
	Code    model.Code `json:"code,omitempty"`
	Message string     `json:"message,omitempty"`
}

func encodeAdminAnswer(err error) ([]byte, error) {
	var refused *model.Error
	switch {
	case err == nil:
		return json.Marshal(adminAnswer{})
	case errors.As(err, &refused):
		return json.Marshal(adminAnswer{Code: refused.Code, Message: refused.Message})
	default:
		return nil, err
	}
}

func decodeAdminAnswer(b []byte) error {
	var a adminAnswer
	if err := json.Unmarshal(b, &a); err != nil {
		return fmt.Errorf("decode answer: %w", err)
	}
	if a.Code != "" {
		return &model.Error{Code: a.Code, Message: a.Message}
	}
	return nil
}

// serveDepart is the leader's side of Leave.
func (n *Node) serveDepart(ctx context.Context, peer string, payload []byte) ([]byte, error) {
	var request departRequest
	if err := json.Unmarshal(payload, &request); err != nil {
		return nil, remoteErrorf(remoteInvalid, "decode departure: %v", err)
	}
	if n.established() == 0 {
		return nil, &remoteError{code: remoteNotLeader, leader: n.leaderID(), message: "this node is not the leader"}
	}
	if request.Remove && request.ID != peer {
		return encodeAdminAnswer(n.removeHere(ctx, request.ID, request.Force))
	}
	if request.ID != peer {
		return nil, remoteErrorf(remoteInvalid, "server %s asks in the name of %s", peer, request.ID)
	}
	n.departing.add(peer)
	if request.Remove {
		return encodeAdminAnswer(n.removeServer(peer))
	}
	err := n.demote(ctx, peer, request.Force)
	if err != nil {
		n.departing.drop(peer)
	}
	return encodeAdminAnswer(err)
}

// serveLeave makes this node leave because the cluster's operator, at another
// node, wants it so.
func (n *Node) serveLeave(ctx context.Context, _ string, payload []byte) ([]byte, error) {
	return encodeAdminAnswer(n.Leave(ctx, len(payload) == 1 && payload[0] == 1))
}

// Join meets the nodes at addrs, HOST[:PORT] of their gossip, now. Who adds whom
// is decided as ever.
func (n *Node) Join(_ context.Context, addrs []string) error {
	if !n.serving.Load() {
		return unavailable(ErrClosed, "this node is not running")
	}
	full := make([]string, len(addrs))
	for i, addr := range addrs {
		full[i] = withPort(addr)
	}
	met, err := n.gossip.list.Join(full)
	if met == 0 {
		return unavailable(err, "no node was reached at %v", full)
	}
	n.logger.Info("met other nodes", "addrs", full, "count", met)
	return nil
}
