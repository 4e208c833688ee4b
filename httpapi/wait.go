package httpapi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// observedDeployment is what a waiting client's request looks at.
type observedDeployment struct {
	Generation          uint64                         `json:"generation"`
	ObservedGeneration  uint64                         `json:"observed_generation"`
	DeletionRequestedAt *time.Time                     `json:"deletion_requested_at"`
	Condition           model.DeploymentCondition      `json:"condition"`
	Status              *model.DeploymentStatusSummary `json:"status"`
	RolloutStatus       *model.RolloutStatus           `json:"rollout_status"`
}

// settled reports whether the outcome of a generation is known. A newer
// generation and a deletion settle older ones: they will never be acted on.
func (d *observedDeployment) settled(generation uint64) bool {
	switch {
	case d.deleting(), d.Generation > generation:
		return true
	case d.ObservedGeneration < generation:
		return false
	}
	return d.failed(generation) || d.Condition == model.DeploymentRunning || d.Condition == model.DeploymentDown
}

// failed tells that a generation will not get any further by itself, although what
// ran before may still serve, so that the deployment is not down.
func (d *observedDeployment) failed(generation uint64) bool {
	r := d.RolloutStatus
	return r != nil && r.Generation == generation && (r.Phase == model.RolloutFailed || r.Phase == model.RolloutRolledBack)
}

// deleting tells that the deployment is marked deleted or gone. What it has
// observed is then of no use: it may be from long before.
func (d *observedDeployment) deleting() bool { return d == nil || d.DeletionRequestedAt != nil }

// awaitDeployment looks at a deployment from index on, each time it changes,
// until done or until wait is over. It returns what it saw last; nil stands for
// a deployment that does not exist. When too many wait already, it looks once.
func (rq request) awaitDeployment(key string, index uint64, wait time.Duration, done func(*observedDeployment) bool) (last *observedDeployment, ok bool, err error) {
	defer rq.s.waiting.Add(-1)
	crowded := rq.s.waiting.Add(1) > int64(rq.s.cfg.MaxWaiters)
	ctx, cancel := context.WithTimeout(rq.s.watches.ctx, wait)
	defer cancel()
	for {
		last, ok, err = rq.awaitFrom(ctx, key, index, last, !crowded, done)
		var compacted *storage.CompactedError
		switch {
		case errors.As(err, &compacted):
			// Too slow for the kept history: look again, go on from there.
		case err != nil && ctx.Err() != nil:
			return last, false, nil
		default:
			return last, ok, err
		}
	}
}

func (rq request) awaitFrom(ctx context.Context, key string, index uint64, last *observedDeployment, wait bool, done func(*observedDeployment) bool) (*observedDeployment, bool, error) {
	info, err := rq.s.deps.Store.View(ctx, storage.ReadOptions{Consistency: storage.Stale, MinIndex: index}, func(r storage.Reader) error {
		doc, err := r.Get(storage.DeploymentKey(key))
		if err != nil {
			return err
		}
		last, err = observe(key, doc)
		return err
	})
	if err != nil {
		return last, false, err
	}
	if done(last) || !wait {
		return last, done(last), nil
	}
	watcher, err := rq.s.deps.Store.Watch(ctx, storage.WatchOptions{Since: info.Index, Kinds: []storage.Kind{storage.KindDeployment}})
	if err != nil {
		return last, false, err
	}
	defer watcher.Close()
	for {
		events, _, err := watcher.Next(ctx)
		if err != nil {
			return last, false, err
		}
		for _, event := range events {
			if event.Key != key {
				continue
			}
			if last, err = observe(key, event.Document); err != nil {
				return last, false, err
			}
			if done(last) {
				return last, true, nil
			}
		}
	}
}

// observe decodes what awaitDeployment needs; no document gives nil.
func observe(key string, doc []byte) (*observedDeployment, error) {
	if doc == nil {
		return nil, nil
	}
	var d observedDeployment
	if err := json.Unmarshal(doc, &d); err != nil {
		return nil, fmt.Errorf("decode deployment %q: %w", key, err)
	}
	return &d, nil
}

// awaitNoUnits looks at a deployment's units from index on until none is left in
// a cluster, or wait is over.
func (rq request) awaitNoUnits(key, cluster string, index uint64, wait time.Duration) (gone bool, err error) {
	defer rq.s.waiting.Add(-1)
	crowded := rq.s.waiting.Add(1) > int64(rq.s.cfg.MaxWaiters)
	ctx, cancel := context.WithTimeout(rq.s.watches.ctx, wait)
	defer cancel()
	for {
		info, err := rq.s.deps.Store.View(ctx, storage.ReadOptions{Consistency: storage.Stale, MinIndex: index}, func(r storage.Reader) error {
			units, err := storage.DecodeUnits(r, key)
			gone = !slices.ContainsFunc(units, func(u model.UnitStatus) bool { return u.Cluster == cluster })
			return err
		})
		if err == nil && !gone && !crowded {
			index, err = rq.awaitChangeOf(ctx, key, info.Index)
		}
		var compacted *storage.CompactedError
		switch {
		case errors.As(err, &compacted):
			// Too slow for the kept history: look again.
		case err != nil && ctx.Err() != nil:
			return false, nil
		case err != nil, gone, crowded:
			return gone, err
		}
	}
}

// awaitChangeOf returns once a unit of a deployment, or the deployment, has
// changed after since.
func (rq request) awaitChangeOf(ctx context.Context, key string, since uint64) (uint64, error) {
	watcher, err := rq.s.deps.Store.Watch(ctx, storage.WatchOptions{Since: since, Kinds: []storage.Kind{storage.KindUnit, storage.KindDeployment}})
	if err != nil {
		return since, err
	}
	defer watcher.Close()
	for {
		events, index, err := watcher.Next(ctx)
		if err != nil {
			return since, err
		}
		for _, event := range events {
			if owner, _, _ := strings.Cut(event.Key, "/"); owner == key {
				return index, nil
			}
		}
	}
}
