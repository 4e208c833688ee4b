package health

import (
	"fmt"
	"time"

	"github.com/oprc/oprc-pm/model"
)

// Reasons of the events about clusters.
const (
	// EventConnected: the first word of a cluster that is well.
	EventConnected = "ClusterConnected"
	EventRecovered = "ClusterRecovered"
	EventDegraded  = "ClusterDegraded"
	EventUnhealthy = "ClusterUnhealthy"
	EventUnknown   = "ClusterUnknown"
)

// transition tells of a change of status.
func transition(before, now model.ClusterHealth, name string, at time.Time) model.Event {
	event := model.Event{
		At: at, Type: model.EventWarning, Kind: model.EventAboutCluster, Name: name, Cluster: name,
		Message: fmt.Sprintf("%s, was %s", now.Status, before.Status),
	}
	if now.Reason != "" {
		event.Message = fmt.Sprintf("%s, was %s: %s: %s", now.Status, before.Status, now.Reason, now.Message)
	}
	switch now.Status {
	case model.ClusterHealthy:
		event.Type, event.Reason = model.EventNormal, EventRecovered
		if before.Status == model.ClusterUnknown && before.LastSeen.IsZero() {
			event.Reason = EventConnected
		}
	case model.ClusterDegraded:
		event.Reason = EventDegraded
	case model.ClusterUnhealthy:
		event.Reason = EventUnhealthy
	default:
		event.Reason = EventUnknown
	}
	return event
}
