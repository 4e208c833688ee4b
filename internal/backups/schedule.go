package backups

import (
	"context"
	"time"

	"github.com/oprc/oprc-pm/internal/wait"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// Reasons of events.
const (
	ReasonFailed    = "BackupFailed"
	ReasonRecovered = "BackupRecovered"
	ReasonRestored  = "InitialRestore"
	ReasonNoBackup  = "NothingToRestore"
)

// eventTimeout bounds the writing of an event.
const eventTimeout = 10 * time.Second

// Lead makes the scheduled backups as the leader of term until ctx ends. The first one
// is due an interval after the newest that is there.
func (m *Manager) Lead(ctx context.Context, term uint64) {
	if m.cfg.Interval <= 0 || len(m.deps.Destinations) == 0 {
		return
	}
	failing := false
	for ctx.Err() == nil {
		pause, err := m.due(ctx)
		if err == nil && pause > 0 {
			wait.For(ctx, pause)
			continue
		}
		if err == nil {
			_, err = m.runAll(ctx)
		}
		if ctx.Err() != nil {
			return
		}
		if (err != nil) != failing {
			failing = err != nil
			m.tell(ctx, term, err)
		}
		if err != nil {
			wait.For(ctx, wait.Jitter(min(m.cfg.Retry, m.cfg.Interval), 0.1))
		}
	}
}

// due is how long it is until the next backup: until the destination that has waited
// longest is due.
func (m *Manager) due(ctx context.Context) (time.Duration, error) {
	id := m.deps.Store.Status().ClusterID
	pause := m.cfg.Interval
	for _, d := range m.deps.Destinations {
		files, err := d.List(ctx)
		if err != nil {
			return 0, err
		}
		var newest File
		for _, f := range files {
			if f.ClusterID == id && (newest.Name == "" || newer(f, newest) < 0) {
				newest = f
			}
		}
		if newest.Name == "" {
			return 0, nil
		}
		pause = min(pause, newest.CreatedAt.Add(m.cfg.Interval).Sub(m.deps.Now()))
	}
	return max(0, pause), nil
}

// tell leaves an event when backups begin to fail, and when they no longer do.
func (m *Manager) tell(ctx context.Context, term uint64, failure error) {
	event := model.Event{Type: model.EventNormal, Reason: ReasonRecovered, Message: "scheduled backups are made again"}
	if failure != nil {
		event = model.Event{Type: model.EventAlarm, Reason: ReasonFailed, Message: failure.Error()}
	}
	m.record(ctx, term, event)
}

// maxMessage bounds what of an error goes into an event, in bytes.
const maxMessage = 1024

func (m *Manager) record(ctx context.Context, term uint64, event model.Event) {
	ctx, cancel := context.WithTimeout(ctx, eventTimeout)
	defer cancel()
	event.At, event.Kind, event.Name = m.deps.Now().UTC(), model.EventAboutNode, m.cfg.Node
	event.Message = event.Message[:min(len(event.Message), maxMessage)]
	_, err := m.deps.Store.Apply(ctx, storage.Request{LeaderTerm: term, Command: storage.RecordEvents{Events: []model.Event{event}}})
	if err != nil {
		m.deps.Logger.Warn("event was not recorded", "reason", event.Reason, "err", err)
	}
}
