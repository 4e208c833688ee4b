package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// A read index is a log index such that a node which has applied it has applied
// every write acknowledged before the read began. Only the leader can give one,
// and only after it has made sure that it still is the leader.
//
// Making sure is a round: the leader takes its commit index, asks the voters for
// their term, and needs a majority (itself included) that are still in its own.
// A later leader must have won a later term from one of those, after the round
// began, so it cannot have acknowledged a write before. The library's own
// VerifyLeader is not used: it counts answers of non-voters, and answers to
// heartbeats sent before the round began.
//
// Readers that come while a round is under way share the next one.

// readWaiter is told the index, or why there is none. It must not block.
type readWaiter func(index uint64, err error)

// rounds runs one round at a time for any number of waiters.
type rounds struct {
	exec    func(ctx context.Context) (uint64, error)
	metrics *nodeMetrics
	kick    chan struct{}

	mu      sync.Mutex // guards waiters, closed
	waiters []readWaiter
	closed  bool
}

func newRounds(m *nodeMetrics, exec func(context.Context) (uint64, error)) *rounds {
	return &rounds{exec: exec, metrics: m, kick: make(chan struct{}, 1)}
}

// join adds a waiter to the next round to begin.
func (r *rounds) join(w readWaiter) {
	r.mu.Lock()
	closed := r.closed
	if !closed {
		r.waiters = append(r.waiters, w)
	}
	r.mu.Unlock()
	if closed {
		w(0, ErrClosed)
		return
	}
	r.metrics.readWaiters.Inc()
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// run executes rounds until ctx ends.
func (r *rounds) run(ctx context.Context) {
	for {
		select {
		case <-r.kick:
		case <-ctx.Done():
			r.mu.Lock()
			r.closed = true
			r.mu.Unlock()
			r.finish(r.take(), 0, ErrClosed)
			return
		}
		if waiters := r.take(); len(waiters) > 0 {
			r.metrics.readRounds.Inc()
			index, err := r.exec(ctx)
			r.finish(waiters, index, err)
		}
	}
}

func (r *rounds) take() []readWaiter {
	r.mu.Lock()
	defer r.mu.Unlock()
	waiters := r.waiters
	r.waiters = nil
	return waiters
}

func (r *rounds) finish(waiters []readWaiter, index uint64, err error) {
	for _, w := range waiters {
		w(index, err)
	}
}

// readIndexes gives read indexes.
type readIndexes struct {
	node *Node
	// lead makes rounds as the leader, follow asks the leader for one.
	lead   *rounds
	follow *rounds

	// single is true while the latest configuration has this node as its only
	// voter. It is cleared before this node adds another.
	single atomic.Bool

	mu        sync.Mutex // guards the lease
	leaseTerm uint64
	leaseEnd  time.Time
	// forbidden is a term in which there is no lease any more.
	forbidden uint64
}

func newReadIndexes(n *Node) *readIndexes {
	r := &readIndexes{node: n}
	r.lead = newRounds(n.metrics, r.leaderRound)
	r.follow = newRounds(n.metrics, r.followerRound)
	return r
}

var errNotEstablished = errors.New("this node does not lead, or not yet for certain")

// fast returns the commit index when this node needs nobody's word for being
// the leader: it is the only voter.
func (r *readIndexes) fast() (uint64, bool) {
	if !r.single.Load() {
		return 0, false
	}
	index := r.node.raft.CommitIndex()
	// Still the leader after the index was taken: nobody else can have been
	// elected before, without this node's vote.
	if r.node.established() == 0 || !r.single.Load() {
		return 0, false
	}
	return index, true
}

// leased returns the commit index when the last round is recent enough.
func (r *readIndexes) leased() (uint64, bool) {
	index := r.node.raft.CommitIndex()
	term := r.node.established()
	if term == 0 {
		return 0, false
	}
	r.mu.Lock()
	valid := r.forbidden != term && r.leaseTerm == term && time.Now().Before(r.leaseEnd)
	r.mu.Unlock()
	return index, valid
}

// grant extends the lease: a majority of voters had heard from this leader at
// from or later, and none of them helps to elect another one within the lease
// timeout. A tenth is kept back for clocks that run at different speeds.
func (r *readIndexes) grant(term uint64, from time.Time) {
	d := r.node.cfg.LeaderLeaseTimeout
	end := from.Add(d - d/10)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.leaseTerm != term || end.After(r.leaseEnd) {
		r.leaseTerm, r.leaseEnd = term, end
	}
}

func (r *readIndexes) revoke() {
	r.mu.Lock()
	r.leaseTerm, r.leaseEnd = 0, time.Time{}
	r.mu.Unlock()
}

// forbidLease turns leases off for the rest of a term, in which leadership is to
// be transferred: then voters elect another leader without waiting. They may do so
// even after the transfer was given up, when its message was only late.
func (r *readIndexes) forbidLease(term uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forbidden = term
}

// leaderRound is one round on the leader.
func (r *readIndexes) leaderRound(ctx context.Context) (uint64, error) {
	n := r.node
	term := n.established()
	if term == 0 {
		return 0, errNotEstablished
	}
	index := n.raft.CommitIndex()
	start := time.Now()
	from, err := n.confirmTerm(ctx, term, start)
	if err != nil {
		return 0, err
	}
	if n.established() != term {
		return 0, errNotEstablished
	}
	r.grant(term, from)
	return index, nil
}

// confirmTerm asks the voters whether they are still in term. It returns the
// time since when a majority has certainly heard from this leader.
func (n *Node) confirmTerm(ctx context.Context, term uint64, start time.Time) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, n.roundTimeout())
	defer cancel()
	var others []string
	var heard []time.Time
	for _, s := range n.raft.GetConfiguration().Configuration().Servers {
		switch {
		case s.Suffrage != raft.Voter:
		case string(s.ID) == n.id.serverID:
			heard = append(heard, start)
		default:
			others = append(others, string(s.ID))
		}
	}
	need := (len(others)+len(heard))/2 + 1
	payload := binary.BigEndian.AppendUint64(nil, term)
	replies := make(chan *call, len(others))
	for _, id := range others {
		c := n.client.start(id, laneQuick, frameConfirm, payload, replies)
		defer c.fail(context.Canceled) // without effect when it has ended
	}
	for pending := len(others); len(heard) < need; pending-- {
		if pending+len(heard) < need {
			return time.Time{}, errors.New("no majority of voters confirms this node's leadership")
		}
		select {
		case c := <-replies:
			if from, ok := confirmed(c, term, start); ok {
				heard = append(heard, from)
			}
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("confirm leadership: %w", context.Cause(ctx))
		}
	}
	slices.SortFunc(heard, time.Time.Compare)
	return heard[len(heard)-need], nil // need of them are at or after it
}

// confirmed reads a voter's reply: it is in term, and it had heard from the
// leader some time before it replied, which was after start.
func confirmed(c *call, term uint64, start time.Time) (time.Time, bool) {
	if c.err != nil || len(c.answer) != 16 || binary.BigEndian.Uint64(c.answer) != term {
		return time.Time{}, false
	}
	silence := time.Duration(binary.BigEndian.Uint64(c.answer[8:]))
	return start.Add(-min(max(silence, 0), time.Hour)), true
}

// serveConfirm answers a leader's question for this node's term. Reading the
// term last makes the answer true at a moment after the question.
func (n *Node) serveConfirm(_ context.Context, peer string, payload []byte, respond respond) {
	if len(payload) != 8 {
		respond(nil, remoteErrorf(remoteInvalid, "confirm takes a term"))
		return
	}
	silence := time.Hour // of no use for a lease
	if _, leader := n.raft.LeaderWithID(); string(leader) == peer && n.raft.State() == raft.Follower {
		if last := n.raft.LastContact(); !last.IsZero() {
			silence = time.Since(last)
		}
	}
	b := binary.BigEndian.AppendUint64(nil, n.raft.CurrentTerm())
	respond(binary.BigEndian.AppendUint64(b, uint64(silence)), nil)
}

// followerRound asks the leader for a read index, once for all waiters.
func (r *readIndexes) followerRound(ctx context.Context) (uint64, error) {
	return r.askLeader(ctx, false)
}

func (r *readIndexes) askLeader(ctx context.Context, lease bool) (uint64, error) {
	n := r.node
	leader := n.leaderID()
	if leader == "" || leader == n.id.serverID {
		return 0, errors.New("no leader is known")
	}
	ctx, cancel := context.WithTimeout(ctx, n.roundTimeout())
	defer cancel()
	payload := []byte{0}
	if lease {
		payload[0] = 1
	}
	answer, err := n.client.call(ctx, leader, laneQuick, frameReadIndex, payload)
	if err != nil {
		return 0, fmt.Errorf("ask leader for read index: %w", err)
	}
	if len(answer) != 8 {
		return 0, errBadFrame
	}
	return binary.BigEndian.Uint64(answer), nil
}

// serveReadIndex answers a follower. It joins a round of this node as leader and
// never asks another one.
func (n *Node) serveReadIndex(_ context.Context, _ string, payload []byte, respond respond) {
	if len(payload) != 1 {
		respond(nil, remoteErrorf(remoteInvalid, "read index takes one byte"))
		return
	}
	n.reads.onLeader(payload[0] == 1, func(index uint64, err error) {
		if err != nil {
			respond(nil, &remoteError{code: remoteNotLeader, leader: n.leaderID(), message: err.Error()})
			return
		}
		respond(binary.BigEndian.AppendUint64(nil, index), nil)
	})
}

// onLeader gives w a read index by the cheapest means that holds.
func (r *readIndexes) onLeader(lease bool, w readWaiter) {
	if index, ok := r.fast(); ok {
		r.node.metrics.readFast.Inc()
		w(index, nil)
		return
	}
	if lease {
		if index, ok := r.leased(); ok {
			r.node.metrics.readLease.Inc()
			w(index, nil)
			return
		}
	}
	if r.node.established() == 0 {
		w(0, errNotEstablished)
		return
	}
	r.lead.join(w)
}

// roundTimeout bounds one round: beyond it an election is due anyway.
func (n *Node) roundTimeout() time.Duration {
	return max(n.cfg.ElectionTimeout, 200*time.Millisecond)
}
