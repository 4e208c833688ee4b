package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"
)

// onFault stops the node: its state can no longer be trusted. It is called on
// the library's own goroutine and so must not wait.
func (n *Node) onFault(err error) {
	n.faultOnce.Do(func() {
		n.logger.Error("node stopped because of a fault", "err", err)
		n.fault = err
		close(n.done)
		n.serving.Store(false)
		n.cancel(fmt.Errorf("node stopped: %w", err))
		n.stopRaft() // only signals
	})
}

// stopRaft tells Raft to stop and returns what to wait on. The library gives a
// future that really waits only to the first who asks, so that one is kept.
func (n *Node) stopRaft() raft.Future {
	r := n.raftRef.Load()
	if r == nil {
		return nil
	}
	n.downOnce.Do(func() { n.down = r.Shutdown() })
	return n.down
}

// Shutdown leaves the cluster's service in good order: it hands leadership over,
// says goodbye to gossip, and closes. ctx bounds the handing over. The node
// stays a member: it is expected to come back.
func (n *Node) Shutdown(ctx context.Context) error {
	if n.opened.Load() && n.Err() == nil {
		if n.raft.State() == raft.Leader && n.otherVoters() > 0 {
			if err := n.TransferLeadership(ctx, ""); err != nil {
				n.logger.Warn("leadership was not handed over", "err", err)
			}
		}
		n.sayGoodbye(ctx)
		n.leaving.Store(true)
	}
	return n.Close()
}

func (n *Node) otherVoters() int {
	servers := n.raft.GetConfiguration().Configuration().Servers
	return len(slices.DeleteFunc(slices.Clone(servers), func(s raft.Server) bool {
		return s.Suffrage != raft.Voter || string(s.ID) == n.id.serverID
	}))
}

// Close stops the node at once and waits for everything it started. What is in
// flight is decided first, as far as a majority can be reached. It may be called
// more than once.
func (n *Node) Close() error {
	n.openMu.Lock()
	defer n.openMu.Unlock()
	return n.closeLocked()
}

func (n *Node) closeLocked() error {
	if n.closed {
		return n.closeErr
	}
	n.closed = true
	n.opened.Store(false)
	n.serving.Store(false)
	n.closeErr = n.close()
	return n.closeErr
}

// close goes from the outside in: first whoever asks, then Raft, then the files.
func (n *Node) close() error {
	var errs []error
	n.cancel(ErrClosed) // waiting callers, leader runs, all loops
	if n.gossip != nil && n.gossip.list != nil {
		if n.leaving.Load() {
			n.gossip.leave()
		}
		n.gossip.close()
	}
	n.wg.Wait()
	// A transfer ends by itself within an election timeout; the library may not
	// answer one that it is shut down in.
	n.transferMu.Lock()
	defer n.transferMu.Unlock()
	if n.proposer != nil {
		// Without a majority Raft steps down after the lease and answers then.
		patience := 2*n.cfg.LeaderLeaseTimeout + n.cfg.IOTimeout
		if n.Err() != nil {
			patience = time.Second // Raft is down, what it has not answered it never will
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		errs = append(errs, n.proposer.stop(ctx))
		cancel()
	}
	down := n.stopRaft()
	if n.mux != nil && n.mux.listener != nil {
		n.mux.shut() // nothing waits for a peer any more
	}
	if down != nil {
		errs = append(errs, down.Error())
	}
	if n.transport != nil {
		n.transport.CloseStreams()
		errs = append(errs, n.transport.Close())
	}
	n.cancelLate()
	if n.mux != nil && n.mux.listener != nil {
		n.client.close()
		n.mux.wait()
	}
	n.lateWG.Wait()
	return errors.Join(append(errs, n.closeFiles())...)
}

func (n *Node) closeFiles() error {
	var errs []error
	if n.fsm != nil {
		errs = append(errs, n.fsm.Close())
	}
	if n.stores != nil {
		errs = append(errs, n.stores.close())
	}
	if n.dir != nil {
		n.dir.close()
	}
	return errors.Join(errs...)
}
