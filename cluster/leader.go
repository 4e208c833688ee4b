package cluster

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// establishPause spaces the attempts to establish a term.
const establishPause = 20 * time.Millisecond

// leadership turns the library's edges into leader runs.
//
// runEdges always drains the channel that Raft blocks on, and ends the present
// run's context at once. runTerms establishes terms, starts runs, and waits for
// them to return before it starts the next. A repeated "true" is leadership
// lost and regained.
type leadership struct {
	notify chan bool
	kick   chan struct{}

	// term is the term this node leads and has committed an entry of its own
	// in; 0 otherwise.
	term atomic.Uint64

	mu sync.Mutex // guards the fields below
	// leading and edge describe the last edge; edge counts all of them.
	leading   bool
	edge      uint64
	suspended int
	run       *leaderRun
	waiters   map[chan struct{}]struct{} // of Lead, for the next run
	idle      chan struct{}              // closed while there is no run
}

// leaderRun is the time between establishing a term and leaving it.
type leaderRun struct {
	term   uint64
	edge   uint64
	ctx    context.Context
	cancel context.CancelCauseFunc
	// wg counts what runs in it; joined is guarded by leadership.mu and false
	// once nothing may join any more.
	wg     sync.WaitGroup
	closed bool
}

func newLeadership() *leadership {
	idle := make(chan struct{})
	close(idle)
	return &leadership{
		// Room for the edges of a stormy second; runEdges drains at once anyway.
		notify:  make(chan bool, 64),
		kick:    make(chan struct{}, 1),
		waiters: make(map[chan struct{}]struct{}),
		idle:    idle,
	}
}

func (l *leadership) poke() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// edgeSeen records an edge and ends the present run.
func (l *leadership) edgeSeen(leading bool) {
	l.term.Store(0)
	l.mu.Lock()
	l.leading = leading
	l.edge++
	if l.run != nil {
		l.run.cancel(ErrLeadershipLost)
	}
	l.mu.Unlock()
	l.poke()
}

// wanted reports whether a run should be going on, and for which edge.
func (l *leadership) wanted() (edge uint64, leading, run bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.edge, l.leading, l.leading && l.suspended == 0
}

// begin makes a run current. It returns nil when things changed meanwhile.
func (l *leadership) begin(ctx context.Context, term, edge uint64) *leaderRun {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.edge != edge || !l.leading || l.suspended > 0 {
		return nil
	}
	run := &leaderRun{term: term, edge: edge}
	run.ctx, run.cancel = context.WithCancelCause(ctx)
	l.run = run
	l.idle = make(chan struct{})
	for w := range l.waiters {
		close(w)
	}
	clear(l.waiters)
	return run
}

// end cancels the run and waits for everything in it.
func (l *leadership) end(run *leaderRun, cause error) {
	run.cancel(cause)
	l.mu.Lock()
	run.closed = true
	l.mu.Unlock()
	run.wg.Wait()
	l.mu.Lock()
	l.run = nil
	close(l.idle)
	l.mu.Unlock()
}

// join enters the present run, or returns a channel that closes when there is a
// next one.
func (l *leadership) join(after *leaderRun) (*leaderRun, chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.run != nil && l.run != after && !l.run.closed {
		l.run.wg.Add(1)
		return l.run, nil
	}
	w := make(chan struct{})
	l.waiters[w] = struct{}{}
	return nil, w
}

func (l *leadership) forget(w chan struct{}) {
	l.mu.Lock()
	delete(l.waiters, w)
	l.mu.Unlock()
}

// suspend ends the present run and keeps new ones from starting until resume.
func (l *leadership) suspend(ctx context.Context) error {
	l.mu.Lock()
	l.suspended++
	if l.run != nil {
		l.run.cancel(errSuspended)
	}
	idle := l.idle
	l.mu.Unlock()
	l.poke()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// restart ends the present run; the next one begins in the same term.
func (l *leadership) restart(cause error) {
	l.mu.Lock()
	if l.run != nil {
		l.run.cancel(cause)
	}
	l.mu.Unlock()
	l.poke()
}

func (l *leadership) resume() {
	l.mu.Lock()
	l.suspended--
	l.mu.Unlock()
	l.poke()
}

// runEdges drains Raft's notifications until ctx ends.
func (n *Node) runEdges(ctx context.Context) {
	for {
		select {
		case leading := <-n.leader.notify:
			n.leader.edgeSeen(leading)
			n.reads.revoke()
			n.changed.broadcast()
		case <-n.observed:
			n.changed.broadcast()
		case <-ctx.Done():
			n.leader.edgeSeen(false)
			return
		}
	}
}

// runLeaderLog tells the operator of every node who leads: the library says it
// on the leader only.
func (n *Node) runLeaderLog(ctx context.Context) {
	var last string
	for ctx.Err() == nil {
		changed := n.changed.wait()
		if leader := n.leaderID(); leader != last {
			if leader == "" {
				n.logger.Warn("leader lost", "last_leader", n.memberName(last), "last_leader_id", last)
			} else {
				n.logger.Info("leader known", "leader", n.memberName(leader), "leader_id", leader, "term", n.raft.CurrentTerm())
			}
			last = leader
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// memberName is the name of a server as far as it is known.
func (n *Node) memberName(id string) string {
	if id == n.id.serverID {
		return n.cfg.NodeName
	}
	m, _ := n.gossip.member(id)
	return m.Name
}

// runTerms starts and stops leader runs until ctx ends.
func (n *Node) runTerms(ctx context.Context) {
	var run *leaderRun
	for {
		edge, leading, want := n.leader.wanted()
		if run != nil && (run.edge != edge || !want || run.ctx.Err() != nil) {
			n.leader.end(run, context.Cause(run.ctx))
			n.logger.Info("leader run ended", "term", run.term, "cause", context.Cause(run.ctx))
			run = nil
			continue
		}
		if ctx.Err() != nil {
			return
		}
		if run == nil && leading {
			retry := false
			if run, retry = n.tryRun(ctx, edge, want); retry {
				select {
				case <-n.leader.kick:
				case <-time.After(establishPause):
				case <-ctx.Done():
				}
				continue
			}
		}
		select {
		case <-n.leader.kick:
		case <-ctx.Done():
		}
	}
}

// tryRun establishes the term and, if wanted, starts the run. retry says that
// this node still leads and the term is not established yet.
func (n *Node) tryRun(ctx context.Context, edge uint64, want bool) (run *leaderRun, retry bool) {
	// The library changes its state before it announces the edge, so what was
	// established before may be past already.
	term := n.established()
	if term == 0 {
		var err error
		if term, err = n.establish(ctx, edge); err != nil {
			again := n.raft.State() == raft.Leader && ctx.Err() == nil
			n.logger.Warn("term could not be established", "err", err, "retry", again)
			return nil, again
		}
	}
	if !want {
		return nil, false
	}
	run = n.leader.begin(ctx, term, edge)
	if run == nil {
		return nil, false
	}
	n.metrics.leaderRuns.Inc()
	n.logger.Info("leader run started", "term", term)
	for _, task := range []func(context.Context, uint64){n.runMembership, n.runAutopilot, n.runDigests, n.runDisks} {
		run.wg.Go(func() { task(run.ctx, term) })
	}
	return run, false
}

// establish commits an entry of this node's own term that the state machine
// sees, and waits until it is applied here. From then on "the state machine has
// applied the commit index" is a condition that is always reached: the entry
// that the library itself begins a term with is never shown to it.
func (n *Node) establish(ctx context.Context, edge uint64) (uint64, error) {
	term := n.raft.CurrentTerm()
	if err := n.mintClusterID(ctx); err != nil {
		return 0, err
	}
	result, err := n.proposeHere(ctx, storage.Barrier{})
	if err != nil {
		return 0, err
	}
	if err := n.fsm.WaitApplied(ctx, result.Index); err != nil {
		return 0, err
	}
	// Terms only grow: the same term before and after is the entry's.
	if n.raft.State() != raft.Leader || n.raft.CurrentTerm() != term {
		return 0, ErrLeadershipLost
	}
	n.refreshVoters()
	n.leader.mu.Lock()
	current := n.leader.edge == edge && n.leader.leading
	if current {
		n.leader.term.Store(term)
	}
	n.leader.mu.Unlock()
	if !current {
		return 0, ErrLeadershipLost
	}
	n.metrics.leaderChanges.Inc()
	n.changed.broadcast()
	n.logger.Info("leadership established", "term", term, "index", result.Index)
	return term, nil
}

// mintClusterID gives a new cluster its id: the one its founders agreed on.
func (n *Node) mintClusterID(ctx context.Context) error {
	own := n.id.clusterID()
	if minted := n.fsm.ClusterID(); minted != "" {
		if own == "" {
			return n.id.adopt(minted)
		}
		return nil
	}
	if own == "" {
		own = randomID()
	}
	_, err := n.proposeHere(ctx, storage.MintClusterID{ClusterID: own})
	if model.CodeOf(err) == model.CodeConflict {
		err = nil // a predecessor's entry was still on its way
	}
	if err != nil {
		return err
	}
	return n.id.adopt(n.fsm.ClusterID())
}

// proposeHere commits a command through this node or not at all.
func (n *Node) proposeHere(ctx context.Context, c storage.Command) (storage.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, n.cfg.DefaultTimeout)
	defer cancel()
	data, err := n.encode(storage.Request{Command: c})
	if err != nil {
		return storage.Result{}, err
	}
	result, err := n.tryLocal(ctx, data)
	if err != nil {
		return storage.Result{}, err
	}
	return result, result.Err()
}

// established is the term that this node leads with an entry of its own applied,
// or 0. It is cheap: the hot path of reads asks it.
func (n *Node) established() uint64 {
	term := n.leader.term.Load()
	if term == 0 || n.raft.State() != raft.Leader || n.raft.CurrentTerm() != term {
		return 0
	}
	return term
}

// Lead implements storage.Store.
func (n *Node) Lead(ctx context.Context, fn func(ctx context.Context, term uint64)) error {
	var last *leaderRun
	for {
		run, next := n.leader.join(last)
		if run == nil {
			select {
			case <-next:
				last = nil
			case <-ctx.Done():
				n.leader.forget(next)
				return ctx.Err()
			case <-n.ctx.Done():
				n.leader.forget(next)
				return context.Cause(n.ctx)
			}
			continue
		}
		n.leadOnce(ctx, run, fn)
		last = run
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// leadOnce calls fn with a context that ends with the run or the caller.
func (n *Node) leadOnce(ctx context.Context, run *leaderRun, fn func(ctx context.Context, term uint64)) {
	defer run.wg.Done()
	both, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(run.ctx, func() { cancel(context.Cause(run.ctx)) })
	defer stop()
	fn(both, run.term)
}

// TransferLeadership makes the voter id the leader, or with an empty id the most
// caught-up one. It may be called on any node and returns when this node's
// leader has given up its leadership.
func (n *Node) TransferLeadership(ctx context.Context, id string) error {
	ctx, cancel := n.bounded(ctx)
	defer cancel()
	if n.raft.State() == raft.Leader {
		return n.transferHere(ctx, id)
	}
	if id != "" && n.leaderID() == id {
		return nil
	}
	_, leader := n.raft.LeaderWithID()
	if leader == "" || string(leader) == n.id.serverID {
		return unavailable(nil, "there is no leader")
	}
	_, err := n.client.call(ctx, string(leader), laneQuick, frameTransfer, []byte(id))
	if err != nil {
		return unavailable(err, "leadership was not transferred")
	}
	return nil
}

// transferHere stops this node's leader run first, so that it has ended before
// the successor's begins, and takes it up again when the transfer fails.
func (n *Node) transferHere(ctx context.Context, id string) error {
	n.transferMu.Lock() // one at a time; Close waits for it
	defer n.transferMu.Unlock()
	if n.ctx.Err() != nil {
		return unavailable(context.Cause(n.ctx), "this node is shutting down")
	}
	if id == n.id.serverID {
		return nil
	}
	edge, _, _ := n.leader.wanted()
	defer n.leader.resume()
	if err := n.leader.suspend(ctx); err != nil {
		return unavailable(err, "the leader's work did not stop in time")
	}
	n.reads.forbidLease(n.raft.CurrentTerm())
	var future raft.Future
	if id == "" {
		future = n.raft.LeadershipTransfer()
	} else {
		addr := n.peerAddr(id)
		if addr == "" {
			return model.Errorf(model.CodeNotFound, "no server %s is known", id)
		}
		future = n.raft.LeadershipTransferToServer(raft.ServerID(id), raft.ServerAddress(addr))
	}
	if err := n.awaitTransfer(future); err != nil {
		return unavailable(err, "leadership was not transferred")
	}
	// The library answers when it leaves the leader's loop. Only once the edge was
	// seen is this node's run safe from being started again.
	for {
		changed := n.changed.wait()
		if now, _, _ := n.leader.wanted(); now != edge {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return unavailable(ctx.Err(), "leadership was not transferred in time")
		}
	}
}

// awaitTransfer waits for the library's answer, or for a fault: Raft is then shut
// down at once and may have forgotten the future.
func (n *Node) awaitTransfer(future raft.Future) error {
	answer := make(chan error, 1)
	go func() { answer <- future.Error() }() // ends with the answer, if there is one
	select {
	case err := <-answer:
		return err
	case <-n.done:
		return n.Err()
	}
}
