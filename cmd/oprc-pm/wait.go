package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oprc/oprc-pm/internal/client"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// maxLive is how many deployments are redrawn in place: a table must fit on the
// screen, since nothing above it can be overwritten.
const maxLive = 8

// errWaitOver is the cause when the time of --wait is up.
var errWaitOver = errors.New("the time to wait is up")

// waitRunning follows deployments until all run, one is down, or the time is up.
func (p *program) waitRunning(ctx context.Context, c *client.Client, applied []appliedDeployment, wait time.Duration) error {
	if len(applied) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, wait, errWaitOver)
	defer cancel()
	r := &rollout{p: p, c: c, applied: map[string]appliedDeployment{}}
	r.reset()
	for _, a := range applied {
		r.order = append(r.order, a.key)
		r.since = max(r.since, a.index)
		r.applied[a.key] = a
	}
	r.live = p.terminal(p.err) && len(r.order) <= maxLive
	err := r.run(ctx)
	if err != nil && errors.Is(context.Cause(ctx), errWaitOver) {
		return timeoutf("after %v not everything runs: %s", wait, strings.Join(r.waiting(), "; "))
	}
	if err == nil {
		r.warn()
	}
	return err
}

// rollout is the progress of deployments, as it is shown.
type rollout struct {
	p     *program
	c     *client.Client
	order []string
	since uint64
	// applied is what was sent; before are the rollouts that were over at the first
	// look.
	applied map[string]appliedDeployment
	before  map[string]model.RolloutStatus
	// behind are those that run what their package said before, at the last look.
	behind map[string]bool

	deployments map[string]model.Deployment
	// units by deployment, then by cluster and id.
	units map[string]map[string]model.UnitStatus

	// live redraws a table on a terminal; otherwise each change is a line.
	live  bool
	drawn int
	said  map[string]string
}

func (r *rollout) reset() {
	r.deployments = map[string]model.Deployment{}
	r.units = map[string]map[string]model.UnitStatus{}
	r.said = map[string]string{}
	r.before = map[string]model.RolloutStatus{}
	r.behind = map[string]bool{}
}

func (r *rollout) run(ctx context.Context) error {
	for {
		err := r.look(ctx)
		if err == nil {
			err = r.follow(ctx)
		}
		if model.CodeOf(err) != model.CodeGone {
			return err
		}
	}
}

// look reads the present state; the stream goes on from there.
func (r *rollout) look(ctx context.Context) error {
	fresh := url.Values{"min_index": {strconv.FormatUint(r.since, 10)}}
	for i, key := range r.order {
		raw, meta, err := r.c.GetRaw(ctx, client.Resource(client.Deployments, key), fresh)
		if err != nil {
			return fmt.Errorf("wait for deployment/%s: %w", key, err)
		}
		if i == 0 {
			r.since = max(r.since, meta.Index)
		}
		var d model.Deployment
		if err := json.Unmarshal(raw, &d); err != nil {
			return fmt.Errorf("decode deployment/%s: %w", key, err)
		}
		r.deployments[key] = d
		if _, looked := r.before[key]; !looked {
			r.before[key] = model.RolloutStatus{}
			if rolloutOver(d) {
				r.before[key] = *d.RolloutStatus
			}
		}
		units, err := client.ListAll[model.UnitStatus](ctx, r.c, client.Resource(client.Deployments, key, "units"), fresh)
		if err != nil {
			return fmt.Errorf("wait for deployment/%s: %w", key, err)
		}
		r.units[key] = map[string]model.UnitStatus{}
		for _, u := range units {
			r.units[key][u.Cluster+"/"+u.ID] = u
		}
	}
	return nil
}

// follow takes changes until the outcome is known.
func (r *rollout) follow(ctx context.Context) error {
	stream := r.c.Watch(ctx, r.since, storage.KindDeployment, storage.KindUnit)
	defer stream.Close()
	for {
		r.show()
		if done, err := r.outcome(); done {
			if err != nil {
				return err
			}
			if final, err := r.final(ctx); err != nil || final {
				return err
			}
		}
		change, err := stream.Next()
		if err != nil {
			return err
		}
		if err := r.take(change); err != nil {
			return err
		}
		r.since = change.Index
	}
}

func (r *rollout) take(change client.Change) error {
	key, rest, isUnit := strings.Cut(change.Key, "/")
	if !slices.Contains(r.order, key) {
		return nil
	}
	if change.Kind == storage.KindUnit && isUnit {
		if change.Document == nil {
			delete(r.units[key], rest)
			return nil
		}
		var u model.UnitStatus
		if err := json.Unmarshal(change.Document, &u); err != nil {
			return fmt.Errorf("decode unit %s: %w", change.Key, err)
		}
		r.units[key][rest] = u
		return nil
	}
	if change.Document == nil {
		return model.Errorf(model.CodeNotFound, "deployment/%s was deleted while it was waited for", key)
	}
	var d model.Deployment
	if err := json.Unmarshal(change.Document, &d); err != nil {
		return fmt.Errorf("decode deployment/%s: %w", key, err)
	}
	if d.ResourceVersion >= r.deployments[key].ResourceVersion {
		r.deployments[key] = d
	}
	return nil
}

// outcome reports whether there is nothing more to wait for, and why not.
func (r *rollout) outcome() (done bool, err error) {
	running := 0
	for _, key := range r.order {
		d := r.deployments[key]
		if d.ObservedGeneration < d.Generation {
			continue
		}
		if err := r.givenUp(d); err != nil {
			return true, err
		}
		if why := unplanned(d); why != "" && !r.applied[key].repackaged {
			// Of a package's change this may be what was before; caughtUp asks.
			return true, fmt.Errorf("deployment/%s cannot be planned (%s); what it runs is left as it is", key, why)
		}
		switch d.Condition {
		case model.DeploymentRunning:
			running++
		case model.DeploymentDown:
			return true, fmt.Errorf("deployment/%s is down: %s", key, r.reason(d))
		case model.DeploymentDeleted:
			return true, model.Errorf(model.CodeNotFound, "deployment/%s was deleted while it was waited for", key)
		}
	}
	return running == len(r.order), nil
}

// reason is why a deployment is not running, in its own words. What befell a unit
// says more than how far the rollout is.
func (r *rollout) reason(d model.Deployment) string {
	if d.Status != nil && d.Status.LastError != "" {
		return d.Status.LastError
	}
	for _, u := range r.sorted(d.Key) {
		if u.Phase == model.UnitDown && unitText(u) != "" {
			return u.Cluster + ": " + cell(unitText(u))
		}
	}
	for _, condition := range d.Conditions {
		if condition.Status != model.ConditionTrue && condition.Message != "" {
			return condition.Message
		}
	}
	return "no reason is given"
}

// waiting words what is still missing.
func (r *rollout) waiting() []string {
	var missing []string
	for _, key := range r.order {
		d, known := r.deployments[key]
		switch {
		case !known:
			missing = append(missing, "deployment/"+key+" could not be read")
		case d.Condition != model.DeploymentRunning || d.ObservedGeneration < d.Generation:
			missing = append(missing, fmt.Sprintf("deployment/%s is %s (%s)", key, conditionText(d), r.reason(d)))
		case r.behind[key]:
			missing = append(missing, "deployment/"+key+" runs what its package said before (rollout status tells why)")
		}
	}
	if len(missing) == 0 {
		missing = append(missing, "the servers did not say whether it does")
	}
	return missing
}

// table is the progress with one row per unit.
func (r *rollout) table() table {
	t := table{header: []string{"DEPLOYMENT", "CONDITION", "CLUSTER", "UNIT", "PHASE", "MESSAGE"}}
	for _, key := range r.order {
		d := r.deployments[key]
		units := r.sorted(key)
		if len(units) == 0 {
			t.rows = append(t.rows, []string{cell(key), conditionText(d), "-", "-", "-", "-"})
		}
		for i, u := range units {
			row := []string{cell(key), conditionText(d), cell(u.Cluster), cell(u.ID), cell(string(u.Phase)), cell(shorten(unitText(u), 60))}
			if i > 0 {
				row[0], row[1] = "", ""
			}
			t.rows = append(t.rows, row)
		}
	}
	return t
}

func (r *rollout) sorted(key string) []model.UnitStatus {
	var ids []string
	for id := range r.units[key] {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	units := make([]model.UnitStatus, len(ids))
	for i, id := range ids {
		units[i] = r.units[key][id]
	}
	return units
}

func unitText(u model.UnitStatus) string {
	if u.LastError != "" {
		return u.LastError
	}
	return u.Message
}

// show prints the progress: redrawn in place on a terminal, else a line for each
// deployment whose state changed.
func (r *rollout) show() {
	if r.live {
		r.drawn = redraw(r.p.err, r.table(), r.drawn)
		return
	}
	for _, key := range r.order {
		var units []string
		for _, u := range r.sorted(key) {
			units = append(units, u.Cluster+" "+string(u.Phase))
		}
		line := fmt.Sprintf("deployment/%s %s", key, conditionText(r.deployments[key]))
		if len(units) > 0 {
			line += " (" + strings.Join(units, ", ") + ")"
		}
		if r.said[key] != line {
			r.said[key] = line
			_, _ = fmt.Fprintln(r.p.err, line)
		}
	}
}

// redraw prints t over the lines drawn before and returns how many there are now.
func redraw(w io.Writer, t table, drawn int) int {
	var text strings.Builder
	if drawn > 0 {
		fmt.Fprintf(&text, "\x1b[%dA\x1b[J", drawn)
	}
	// Without wrapping, a row is one line however narrow the terminal is.
	text.WriteString("\x1b[?7l")
	t.write(&text)
	text.WriteString("\x1b[?7h")
	_, _ = io.WriteString(w, text.String())
	return len(t.rows) + 1
}
