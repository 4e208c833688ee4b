package cluster

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// runDisks is the leader's look at everybody's disk: it refuses writes while it, or
// a majority, could not store them, and tells in events what is short.
func (n *Node) runDisks(ctx context.Context, _ uint64) {
	defer n.disk.refusal.Store(nil)
	tick := time.NewTicker(n.cfg.Disk.Interval)
	defer tick.Stop()
	told := make(map[string]diskState)
	for {
		n.compareDisks(ctx, told)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// votersDisk is the disk of a voter, if it told of it.
type votersDisk struct {
	id, name string
	own      bool
	known    bool
	peerDisk
}

func (n *Node) compareDisks(ctx context.Context, told map[string]diskState) {
	disks := n.votersDisks(ctx)
	if ctx.Err() != nil {
		return
	}
	refusal := refusalOf(disks)
	if before := n.disk.refusal.Load(); before == nil && refusal != nil {
		n.logger.Error("writes are refused until there is space on the disk", "why", *refusal)
	} else if before != nil && refusal == nil {
		n.logger.Info("writes are taken again")
	}
	n.disk.refusal.Store(refusal)
	n.recordDisks(ctx, disks, told)
	if to := n.roomier(disks); refusal != nil && to != "" {
		n.logger.Warn("handing leadership over to a node that has space", "to", n.memberName(to))
		n.wg.Go(func() { // not in the run, which ends by it
			ctx, cancel := context.WithTimeout(n.ctx, n.cfg.DefaultTimeout)
			defer cancel()
			if err := n.transferHere(ctx, to); err != nil {
				n.logger.Warn("leadership was not handed over", "err", err)
			}
		})
	}
}

func (n *Node) votersDisks(ctx context.Context) []votersDisk {
	ctx, cancel := context.WithTimeout(ctx, memberTimeout)
	defer cancel()
	var disks []votersDisk
	for _, s := range n.raft.GetConfiguration().Configuration().Servers {
		if id := string(s.ID); s.Suffrage == raft.Voter {
			disks = append(disks, votersDisk{id: id, own: id == n.id.serverID, name: cmp.Or(n.memberName(id), id)})
		}
	}
	var wg sync.WaitGroup
	for i := range disks {
		wg.Go(func() {
			st, err := n.askStatus(ctx, disks[i].id)
			if disks[i].known = err == nil; disks[i].known {
				disks[i].peerDisk = st.Disk
			}
		})
	}
	wg.Wait()
	return disks
}

// refusalOf says why writes are refused, or nil. A voter that is silent is not
// counted as full: whether a majority answers is for Raft to find out.
func refusalOf(disks []votersDisk) *string {
	var full []string
	refuse := false
	for _, d := range disks {
		if d.State == diskFull {
			full = append(full, fmt.Sprintf("%s has %d bytes left of %d", d.name, d.Free, d.Total))
			refuse = refuse || d.own
		}
	}
	if !refuse && len(disks)-len(full) > len(disks)/2 {
		return nil
	}
	if len(full) == 0 {
		return nil
	}
	slices.Sort(full)
	text := "the disk is full: " + strings.Join(full, ", ") + "; nothing was changed"
	return &text
}

// roomier is who should lead instead of this node, whose disk is full: a voter that
// has space, if a majority has. "" if nobody.
func (n *Node) roomier(disks []votersDisk) string {
	best, room := "", 0
	var most uint64
	ownFull := false
	for _, d := range disks {
		switch {
		case d.own:
			ownFull = d.State == diskFull
		case d.known && d.State != diskFull:
			room++
			if best == "" || d.Free > most {
				best, most = d.id, d.Free
			}
		}
	}
	if !ownFull || room <= len(disks)/2 {
		return ""
	}
	return best
}

// recordDisks records what changed since this leader looked last. Nothing is
// recorded while nothing changes.
func (n *Node) recordDisks(ctx context.Context, disks []votersDisk, told map[string]diskState) {
	for _, d := range disks {
		if !d.known || told[d.id] == d.State {
			continue
		}
		e := model.Event{
			Type: model.EventAlarm, Kind: model.EventAboutNode, Name: d.name, Reason: "DiskShort",
			Message: fmt.Sprintf("the disk of %s is %s: %d bytes left of %d", d.name, d.State, d.Free, d.Total),
		}
		if d.State == diskOK {
			e.Type, e.Reason = model.EventNormal, "DiskHasSpace"
		}
		if _, err := n.proposeHere(ctx, storage.RecordEvents{Events: []model.Event{e}}); err != nil {
			n.logger.Warn("event was not recorded", "err", err)
			continue
		}
		told[d.id] = d.State
	}
}

// refuseFull is the error of a write while there is no space for it, or nil. Only
// what a term begins with is taken then.
func (n *Node) refuseFull() error {
	refusal := n.disk.refusal.Load()
	if refusal == nil {
		return nil
	}
	n.disk.refused.Inc()
	return &model.Error{Code: model.CodeDiskFull, Message: *refusal}
}
