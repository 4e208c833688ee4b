package cluster

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/raft"

	"github.com/oprc/oprc-pm/storage"
)

// View implements storage.Store.
func (n *Node) View(ctx context.Context, opts storage.ReadOptions, fn func(storage.Reader) error) (storage.ReadInfo, error) {
	if !n.serving.Load() {
		return storage.ReadInfo{}, unavailable(ErrClosed, "this node is not running")
	}
	index := opts.MinIndex
	switch opts.Consistency {
	case storage.Stale:
	case storage.Linearizable, storage.Lease:
		if readIndex, ok := n.reads.fast(); ok {
			n.metrics.readFast.Inc()
			index = max(index, readIndex)
			break
		}
		readIndex, err := n.readIndex(ctx, opts.Consistency == storage.Lease)
		if err != nil {
			return storage.ReadInfo{}, err
		}
		index = max(index, readIndex)
	}
	if n.fsm.AppliedIndex() < index {
		if err := n.waitApplied(ctx, index); err != nil {
			return storage.ReadInfo{}, err
		}
	}
	seen, err := n.fsm.View(fn)
	return storage.ReadInfo{Index: seen, LastContact: n.lastContact()}, err
}

// readIndex gets a read index, trying again while there is time and no leader.
// Thousands of readers wait here at once: they derive no contexts, and set a
// timer only when the caller has no deadline.
func (n *Node) readIndex(ctx context.Context, lease bool) (uint64, error) {
	var expired <-chan time.Time
	if _, ok := ctx.Deadline(); !ok {
		timer := time.NewTimer(n.cfg.DefaultTimeout)
		defer timer.Stop()
		expired = timer.C
	}
	pause := retryMin
	for {
		changed := n.changed.wait()
		index, over, err := n.readIndexOnce(ctx, expired, lease)
		if err == nil {
			return index, nil
		}
		if !over {
			timer := time.NewTimer(pause)
			select {
			case <-changed:
			case <-timer.C:
			case <-ctx.Done():
				over = true
			case <-n.ctx.Done():
				over = true
			case <-expired:
				over = true
			}
			timer.Stop()
			pause = min(2*pause, retryMax)
		}
		if over {
			return 0, unavailable(err, "no leader confirmed a read index in time")
		}
	}
}

// readIndexOnce makes one attempt. over says that there is no time for another:
// ctx ended, the node closed or expired fired.
func (n *Node) readIndexOnce(ctx context.Context, expired <-chan time.Time, lease bool) (index uint64, over bool, err error) {
	type answer struct {
		index uint64
		err   error
	}
	done := make(chan answer, 1)
	w := func(index uint64, err error) { done <- answer{index, err} }
	switch {
	case n.raft.State() == raft.Leader:
		n.reads.onLeader(lease, w)
	case lease:
		// Not shared: with a valid lease it is one exchange, without a round.
		index, err = n.reads.askLeader(ctx, true)
		return index, false, err
	default:
		n.reads.follow.join(w)
	}
	select {
	case a := <-done:
		return a.index, false, a.err
	case <-ctx.Done():
		return 0, true, context.Cause(ctx)
	case <-n.ctx.Done():
		return 0, true, context.Cause(n.ctx)
	case <-expired:
		return 0, true, context.DeadlineExceeded
	}
}

// waitApplied waits until this node has applied index.
func (n *Node) waitApplied(ctx context.Context, index uint64) error {
	ctx, cancel := n.bounded(ctx)
	defer cancel()
	if err := n.fsm.WaitApplied(ctx, index); err != nil {
		if errors.Is(err, storage.ErrClosed) {
			return unavailable(err, "this node is shutting down")
		}
		return unavailable(err, "index %d is not applied on this node yet, it is at %d", index, n.fsm.AppliedIndex())
	}
	return nil
}

// lastContact is the time since the leader was heard: 0 on the leader, negative
// when there has been none.
func (n *Node) lastContact() time.Duration {
	if n.raft.State() == raft.Leader {
		return 0
	}
	last := n.raft.LastContact()
	if last.IsZero() {
		return -1
	}
	return time.Since(last)
}

// Watch implements storage.Store.
func (n *Node) Watch(_ context.Context, opts storage.WatchOptions) (storage.Watcher, error) {
	if !n.serving.Load() {
		return nil, storage.ErrClosed
	}
	return n.fsm.Watch(opts)
}
