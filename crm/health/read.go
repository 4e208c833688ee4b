package health

import (
	"context"
	"time"

	"github.com/oprc/oprc-pm/model"
)

// Allow tells whether a call to a cluster may be made now: its circuit is closed.
// While it is half open only probes are made. It is true for a cluster that is
// not watched, and on a node that does not lead.
func (m *Monitor) Allow(cluster string) bool {
	r := m.running.Load()
	if r == nil {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.entries[cluster]
	return e == nil || e.state.allowed()
}

// Report tells how a call to a cluster went; nil: it was answered. Refusals are
// answers too. It is for calls that Allow let pass, and does not block.
func (m *Monitor) Report(cluster string, err error) {
	r := m.running.Load()
	if r == nil {
		return
	}
	if o, telling := explainCall(err); telling {
		m.announce(r.report(cluster, o))
	}
}

// Refresh probes a cluster now, on any node, and returns what that one probe
// found: no damping, no memory. On the leader it counts like any other probe,
// unless it fails right after one. Errors: not_found, or unavailable when ctx
// ended before the answer; that the CRM does not answer is a result.
func (m *Monitor) Refresh(ctx context.Context, cluster string) (model.ClusterHealth, error) {
	view, known := m.deps.Inventory.Cluster(cluster)
	if !known {
		return model.ClusterHealth{}, model.Errorf(model.CodeNotFound, "cluster %q does not exist", cluster)
	}
	o := m.probe(ctx, view.Spec)
	if ctx.Err() != nil {
		return model.ClusterHealth{}, &model.Error{
			Code: model.CodeUnavailable, Message: "the cluster did not answer before the request ended", Err: context.Cause(ctx),
		}
	}
	now := m.now()
	health := view.Health
	if r := m.running.Load(); r != nil {
		live, n, watched := r.refreshed(cluster, o)
		m.announce(n)
		if watched {
			health = live
		}
	}
	s := state{health: health}
	v := verdict{model.ClusterUnhealthy, o.reason, o.message}
	switch o.outcome {
	case answered:
		v = assess(m.cfg, o.report, o.took)
		s.takeFigures(o.report)
		s.health.LastSeen = now
	case unusable:
		v.status = model.ClusterUnknown
	}
	if v.status != s.health.Status || s.health.Since == nil {
		s.health.Since = &now
	}
	s.health.Status, s.health.Reason, s.health.Message = v.status, v.reason, v.message
	return s.health, nil
}

// refreshed takes in a probe that somebody asked for, and returns the live health
// of the cluster, if it is watched.
func (r *run) refreshed(cluster string, o observation) (live model.ClusterHealth, n news, watched bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.entries[cluster]
	if e == nil {
		return model.ClusterHealth{}, news{}, false
	}
	// Impatience must not make one hiccup look like several failures in a row.
	if o.outcome == answered || time.Since(e.begun) > r.m.cfg.Interval/2 {
		n = r.take(e, o)
		if e.queue != nil {
			e.begun = time.Now()
			r.plan(e, delay(r.m.cfg, &e.state))
		}
	}
	return e.state.health, n, true
}

// View is a recorded health as readers are to see it: with the time of the last
// contact. The leader knows it once it has asked; until then, a moment after it
// began, it says that what it tells is stale. Other nodes know that a cluster recorded as
// answering had answered when the leader, from which they heard lastContact ago,
// last probed it. A negative lastContact means never.
func (m *Monitor) View(cluster string, recorded model.ClusterHealth, lastContact time.Duration) model.ClusterHealth {
	seen := recorded.LastSeen
	if r := m.running.Load(); r != nil {
		live, asked, watched := r.lastSeen(cluster)
		if watched {
			seen, recorded.Stale = live, !asked
		}
	} else if answering(recorded) && lastContact >= 0 {
		seen = m.now().Add(-lastContact - m.cfg.Interval)
	}
	if seen.After(recorded.LastSeen) {
		recorded.LastSeen = seen
	}
	return recorded
}

// lastSeen returns when a cluster last answered, and whether it was asked in this
// run; watched is false for one that the run does not know.
func (r *run) lastSeen(cluster string) (at time.Time, asked, watched bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.entries[cluster]
	if e == nil {
		return time.Time{}, false, false
	}
	return e.state.health.LastSeen, !e.untouched, true
}

// answering tells whether a recorded health means that probes are answered; one
// that flaps may or may not.
func answering(recorded model.ClusterHealth) bool {
	switch recorded.Reason {
	case ReasonProbeFailed, ReasonFlapping:
		return false
	}
	return recorded.Circuit == model.CircuitClosed && !recorded.LastSeen.IsZero()
}
