package health

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/oprc/oprc-pm/internal/wait"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// Bounds of one command.
const (
	maxClusters = 256
	maxEvents   = 512
)

// Delays between two tries to record.
const (
	retryMin = 100 * time.Millisecond
	retryMax = 5 * time.Second
)

// runRecorder records what changed, until ctx ends or the term is over.
func (r *run) runRecorder(ctx context.Context) {
	for {
		select {
		case <-r.record:
		case <-ctx.Done():
			return
		}
		// Clusters often change together.
		wait.For(ctx, r.m.cfg.RecordDelay)
		for ctx.Err() == nil {
			command := r.batch()
			if command == nil {
				break
			}
			if !r.commit(ctx, *command) {
				return
			}
			r.recorded(command.Clusters)
		}
	}
}

// batch is the next command; nil when there is nothing to record.
func (r *run) batch() *storage.RecordClusterHealth {
	r.mu.Lock()
	defer r.mu.Unlock()
	var command storage.RecordClusterHealth
	take := min(len(r.events), maxEvents)
	command.Events = slices.Clone(r.events[:take])
	r.events = slices.Delete(r.events, 0, take)
	told := map[string]bool{}
	for _, event := range command.Events {
		told[event.Name] = true
	}
	for name := range r.dirty {
		if len(command.Clusters) == maxClusters {
			break
		}
		delete(r.dirty, name)
		state := &r.entries[name].state
		// It may have come back to what is recorded; Since has not, then.
		if significant(state.recorded, state.health) || told[name] {
			command.Clusters = append(command.Clusters, storage.NamedHealth{Name: name, Health: state.health})
		}
	}
	if len(command.Clusters) == 0 && len(command.Events) == 0 {
		return nil
	}
	slices.SortFunc(command.Clusters, func(a, b storage.NamedHealth) int { return strings.Compare(a.Name, b.Name) })
	return &command
}

// commit proposes a command until it is known to be applied, each time under the
// same id, so that it is applied once. It returns false when there is no use in
// recording any more: the run or its term is over.
func (r *run) commit(ctx context.Context, command storage.RecordClusterHealth) bool {
	req := storage.Request{Command: command, ID: rand.Text(), LeaderTerm: r.term}
	for delay := retryMin; ; delay = min(2*delay, retryMax) {
		applyCtx, cancel := context.WithTimeout(ctx, r.m.cfg.StoreTimeout)
		_, err := r.m.deps.Store.Apply(applyCtx, req)
		cancel()
		var refusal *model.Error
		switch {
		case err == nil:
			r.m.metrics.records.Inc()
			return true
		case ctx.Err() != nil:
			return false
		case errors.As(err, &refusal) && refusal.Code == model.CodeConflict:
			r.m.deps.Logger.Info("cluster health is recorded by a newer leader", "term", r.term, "err", err)
			return false
		case errors.As(err, &refusal) && refusal.Code == model.CodeInvalid:
			// It will not be taken however often it is sent.
			r.m.deps.Logger.Error("record of cluster health was refused", "clusters", len(command.Clusters), "err", err)
			return true
		}
		r.m.deps.Logger.Warn("cluster health could not be recorded yet", "clusters", len(command.Clusters), "err", err)
		wait.For(ctx, delay)
	}
}

// recorded notes what the store holds now, and what has changed again meanwhile.
func (r *run) recorded(clusters []storage.NamedHealth) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, written := range clusters {
		e := r.entries[written.Name]
		if e == nil {
			continue
		}
		e.state.recorded = written.Health
		if significant(written.Health, e.state.health) {
			r.dirty[written.Name] = true
		}
	}
}
