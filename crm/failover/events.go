package failover

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// Reasons of the events that failover records. Those about deployments (Evicted,
// NoFit, Failback) are the dispatcher's, who knows what came of a decision.
const (
	// ReasonBraked and ReasonResumed are about AllClusters.
	ReasonBraked  = "FailoverBraked"
	ReasonResumed = "FailoverResumed"
	// ReasonStarted: deployments begin to leave a lost cluster; ReasonDropped:
	// it returned before all had left. That a drain begins or is taken back is
	// told with the change itself, by the store.
	ReasonStarted = "FailoverStarted"
	ReasonDropped = "FailoverDropped"
)

// AllClusters is the name of events that are about all clusters together.
const AllClusters = "*"

func (r *run) event(kind model.EventType, cluster, reason, format string, args ...any) model.Event {
	return model.Event{
		At: r.deps.Now().UTC(), Type: kind, Kind: model.EventAboutCluster, Name: cluster, Reason: reason,
		Message: fmt.Sprintf(format, args...), Cluster: cluster,
	}
}

// record keeps an event to be written, and writes all that are kept. What cannot
// be written now is kept: a decision must not go untold because the store was
// busy when it was taken.
func (r *run) record(ctx context.Context, events ...model.Event) {
	for _, event := range events {
		r.deps.Logger.Info("failover decided", "reason", event.Reason, "cluster", event.Name, "message", event.Message)
	}
	r.unwritten = append(r.unwritten, events...)
	if len(r.unwritten) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.StoreTimeout)
	defer cancel()
	if r.requestID == "" {
		r.requestID = rand.Text()
		r.sending = len(r.unwritten)
	}
	// A repeated request carries what it carried before, or its id would be
	// refused.
	_, err := r.deps.Store.Apply(ctx, storage.Request{
		ID: r.requestID, LeaderTerm: r.term, Command: storage.RecordEvents{Events: r.unwritten[:r.sending:r.sending]},
	})
	if err != nil {
		r.figures.failures.Inc()
		if ctx.Err() == nil {
			r.deps.Logger.Warn("events will be recorded again", "events", r.sending, "error", err)
		}
		return
	}
	r.unwritten = append([]model.Event(nil), r.unwritten[r.sending:]...)
	r.requestID = ""
}

// newest returns the newest event about a cluster that accept takes, and whether
// there is one.
func newest(ctx context.Context, store Store, cluster string, accept func(model.Event) bool) (found model.Event, exists bool, err error) {
	_, err = store.View(ctx, storage.ReadOptions{Consistency: storage.Stale}, func(reader storage.Reader) error {
		return storage.ByEventSubject.Scan(reader, model.EventAboutCluster+"/"+cluster, "", func(name string) (bool, error) {
			sequence, err := strconv.ParseUint(name, 10, 64)
			if err != nil {
				return false, fmt.Errorf("read index of events: %w", err)
			}
			data, err := reader.Get(storage.StoredEventKey(sequence))
			if err != nil || data == nil {
				return err == nil, err
			}
			var event model.Event
			if err := json.Unmarshal(data, &event); err != nil {
				return false, fmt.Errorf("decode event %d: %w", sequence, err)
			}
			if accept(event) {
				found, exists = event, true
			}
			return true, nil
		})
	})
	return found, exists, err
}

// Recall works out the memory that a leader run begins with: whether the brake
// was on is what the newest event about it says, and what was moved in the last
// minute is not in the budget any more.
func (r *run) recall(ctx context.Context) (Memory, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.StoreTimeout)
	defer cancel()
	event, exists, err := newest(ctx, r.deps.Store, AllClusters, func(e model.Event) bool {
		return e.Reason == ReasonBraked || e.Reason == ReasonResumed
	})
	if err != nil {
		return Memory{}, fmt.Errorf("find out whether the brake is on: %w", err)
	}
	_, placed := r.known.concerned(nil)
	moved := r.known.recentMoves(r.deps.Now().Add(-time.Minute))
	return Memory{
		Brake:  Brake{On: exists && event.Reason == ReasonBraked},
		Budget: Budget{Moves: max(0, r.cfg.burst(placed)-float64(moved)), At: time.Now()},
	}, nil
}

// told tells whether an event about a cluster was recorded after begin, by this
// leader or one before.
func (r *run) told(ctx context.Context, cluster, reason string, begin time.Time) bool {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.StoreTimeout)
	defer cancel()
	_, exists, err := newest(ctx, r.deps.Store, cluster, func(e model.Event) bool {
		return e.Reason == reason && !e.At.Before(begin)
	})
	if err != nil && !errors.Is(err, context.Canceled) {
		r.deps.Logger.Warn("events cannot be read", "error", err)
	}
	return exists
}
