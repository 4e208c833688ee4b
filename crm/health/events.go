package health

import (
	"fmt"
	"time"

	"github.com/oprc/oprc-pm/model"
)

// Reasons of the events about clusters.
const (
	// EventConnected: a cluster is well of which nothing was known before.
	EventConnected = "ClusterConnected"
	EventRecovered = "ClusterRecovered"
	EventDegraded  = "ClusterDegraded"
	EventUnhealthy = "ClusterUnhealthy"
	EventUnknown   = "ClusterUnknown"
)

// transition tells of a change of status; first: nobody was told yet what the
// cluster says.
func transition(before, now model.ClusterHealth, name string, first bool, at time.Time) model.Event {
	was := "was " + before.Status
	switch {
	case first && now.LastSeen.IsZero():
		was = "was never reached"
	case first:
		was = "first contact"
	}
	event := model.Event{
		At: at, Type: model.EventWarning, Kind: model.EventAboutCluster, Name: name, Cluster: name,
		Message: now.Status + ", " + was,
	}
	if now.Reason != "" {
		event.Message = fmt.Sprintf("%s, %s: %s: %s", now.Status, was, now.Reason, now.Message)
	}
	switch now.Status {
	case model.ClusterHealthy:
		event.Type, event.Reason = model.EventNormal, EventRecovered
		if first {
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
