package drift

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/oprc/oprc-pm/crm"
	"github.com/oprc/oprc-pm/crm/inventory"
	"github.com/oprc/oprc-pm/internal/wait"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// lookout watches one cluster. It belongs to one goroutine, but for soon.
type lookout struct {
	*Controller
	name string
	term uint64
	// fence is what CRMs are shown instead of the term.
	fence uint64
	// soon asks for a look before its time.
	soon chan struct{}

	// absent counts the looks in a row that missed a unit, or found it ended.
	absent map[string]int
	// orphans by the id under which they were asked for.
	orphans map[string]*orphan
	// shown and shownForeign are this cluster's part of the gauges.
	shown, shownForeign int64
	// kept: orphans are so many that they stay. keptBefore: this leader has
	// told so before.
	kept, keptBefore bool
	// clock measures how long something lasts and does not jump.
	clock func() time.Time
	// failing: the last look failed, and that was told.
	failing bool
}

func newLookout(c *Controller, name string, term uint64) *lookout {
	fence := term
	if c.deps.Fence != nil {
		fence = c.deps.Fence(term)
	}
	return &lookout{
		Controller: c, name: name, term: term, fence: fence, soon: make(chan struct{}, 1),
		absent: map[string]int{}, orphans: map[string]*orphan{}, clock: time.Now,
	}
}

// hurry asks for a look soon. It may be called from any goroutine.
func (l *lookout) hurry() {
	select {
	case l.soon <- struct{}{}:
	default: // asked for already
	}
}

// run looks at the cluster until ctx ends.
func (l *lookout) run(ctx context.Context) {
	defer l.rest()
	// The first looks of a leader are spread evenly.
	timer := time.NewTimer(time.Duration(rand.Float64() * float64(l.cfg.Interval)))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.soon:
			// Many clusters recover together when a network does.
			timer.Reset(time.Duration(rand.Float64() * float64(min(l.cfg.ConfirmDelay, l.cfg.Interval))))
			continue
		case <-timer.C:
		}
		delay := l.cfg.Interval
		if l.look(ctx) {
			delay = min(delay, l.cfg.ConfirmDelay)
		}
		timer.Reset(wait.Jitter(delay, 0.2))
	}
}

// look is one look at the cluster. It tells whether something waits to be
// confirmed by another.
func (l *lookout) look(ctx context.Context) (unproven bool) {
	view, exists := l.deps.Inventory.Cluster(l.name)
	client, reachable := l.deps.Fleet.Client(l.name)
	switch {
	case !exists || !answers(view):
		return false
	case !reachable:
		return true // its client is being made
	}
	ctx, cancel := context.WithTimeout(ctx, l.cfg.LookTimeout)
	defer cancel()
	begun := time.Now()
	before := l.deps.Inventory.UnitsOn(l.name)
	records, err := l.list(ctx, client, before)
	l.figures.duration.UpdateDuration(begun)
	if err != nil {
		l.noteFailure(ctx, err)
		return false
	}
	l.figures.ok.Inc()
	l.failing = false
	l.deps.Sink.PollUnits(l.name, false)
	// What is recorded now includes the intent of every call that the list can
	// show the effect of.
	if err := l.catchUp(ctx, storage.Stale); err != nil {
		return false
	}
	after := l.deps.Inventory.UnitsOn(l.name)
	found := compare(before, after, records)
	for _, change := range found.changed {
		l.figures.changed.Inc()
		l.deps.Sink.Changed(l.name, change.unit, change.condition, change.message)
	}
	l.figures.foreign.Add(int64(found.foreign) - l.shownForeign)
	l.shownForeign = int64(found.foreign)
	unproven = l.judgeAbsent(ctx, client, found.missing, found.ended)
	return l.judgeOrphans(ctx, client, found.unknown, len(after)) || unproven
}

// answers tells whether there is a point in calling a cluster.
func answers(view inventory.ClusterView) bool {
	switch {
	case view.Health.Status == model.ClusterUnknown:
		return false
	case view.Health.Circuit == model.CircuitOpen, view.Health.Circuit == model.CircuitHalfOpen:
		return false
	case view.Health.Circuit == "":
		return view.Health.Status != model.ClusterUnhealthy
	}
	return true
}

// noteFailure counts a look that gave no list. It proves nothing about any unit.
func (l *lookout) noteFailure(ctx context.Context, err error) {
	if crm.ClassOf(err) == crm.ClassNotSupported {
		l.figures.unlisted.Inc()
		l.deps.Sink.PollUnits(l.name, true)
		return
	}
	l.figures.failed.Inc()
	if !l.failing && !errors.Is(context.Cause(ctx), context.Canceled) {
		l.failing = true
		l.deps.Logger.Warn("records of a cluster cannot be listed", "cluster", l.name, "error", err)
	}
}

// catchUp waits until the inventory includes all that is committed here now, or,
// when it must be linearizable, anywhere.
func (l *lookout) catchUp(ctx context.Context, how storage.Consistency) error {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.StoreTimeout)
	defer cancel()
	info, err := l.deps.Store.View(ctx, storage.ReadOptions{Consistency: how}, func(storage.Reader) error { return nil })
	if err != nil {
		return fmt.Errorf("find the applied index: %w", err)
	}
	if err := l.deps.Inventory.WaitFor(ctx, info.Index); err != nil {
		return fmt.Errorf("wait for the inventory: %w", err)
	}
	return nil
}

// maxAsked is how many units of one cluster are asked for by name at once.
const maxAsked = 4

// judgeAbsent finds out about units that the list lacks, and those that it says
// have ended. It tells whether one of them waits to be seen so again. Both are
// counted together: a CRM may forget between two looks what it remembered.
func (l *lookout) judgeAbsent(ctx context.Context, client crm.Client, missing, ended []inventory.UnitRef) (unproven bool) {
	absent := map[string]int{}
	var group errgroup.Group
	group.SetLimit(maxAsked)
	note := func(unit inventory.UnitRef, remembered bool) {
		absent[unit.Unit] = l.absent[unit.Unit] + 1
		if absent[unit.Unit] < provenLooks {
			unproven = true
			return
		}
		group.Go(func() error {
			l.ask(ctx, client, unit, remembered)
			return nil
		})
	}
	for _, unit := range missing {
		note(unit, false)
	}
	for _, unit := range ended {
		note(unit, true)
	}
	_ = group.Wait() // no asker fails
	l.absent = absent
	return unproven
}

// ask asks for an absent unit by name: a list that is capped, filtered or stale
// must not have units deployed again and again. The answer counts as any other
// look at the unit; without one, the next look asks again. Of a unit that the list
// has called ended, remembered, it is enough that it does not run: not every CRM
// tells the two apart by name.
func (l *lookout) ask(ctx context.Context, client crm.Client, unit inventory.UnitRef, remembered bool) {
	status, err := client.Status(ctx, crm.Origin{Term: l.fence}, unit.CRMID)
	phase := crm.PhaseOf(status.Status)
	switch class := crm.ClassOf(err); {
	case class == crm.ClassNotFound,
		err == nil && (crm.Gone(status.Status) || remembered && phase == model.UnitDown):
		l.figures.lost.Inc()
		l.deps.Logger.Warn("unit was lost", "cluster", l.name, "deployment", unit.Deployment, "unit", unit.Unit)
		l.deps.Sink.Lost(l.name, unit)
	case err == nil && phase != "" && phase != unit.Phase:
		l.figures.changed.Inc()
		l.deps.Sink.Changed(l.name, unit, status.Status, text(status.Message))
	}
}

// showOrphans sets this cluster's part of the gauge.
func (l *lookout) showOrphans() {
	proven := int64(0)
	for _, o := range l.orphans {
		if o.looks >= provenLooks && o.elsewhere == "" {
			proven++
		}
	}
	l.figures.orphans.Add(proven - l.shown)
	l.shown = proven
}

// rest takes this cluster's part out of the gauges.
func (l *lookout) rest() {
	l.figures.orphans.Add(-l.shown)
	l.figures.foreign.Add(-l.shownForeign)
}
