package model

import "time"

// Event tells of a decision or a change that people want to know about. Events
// are kept up to a number, the oldest go first.
type Event struct {
	// Sequence counts events, from 1; the store assigns it.
	Sequence uint64    `json:"sequence"`
	At       time.Time `json:"at"`
	// Type is EventNormal, EventWarning or EventAlarm.
	Type EventType `json:"type"`
	// Kind and Name say what the event is about: deployment, cluster, package, node.
	Kind string `json:"kind"`
	Name string `json:"name"`
	// Reason is CamelCase, for programs; Message is for people.
	Reason  string `json:"reason"`
	Message string `json:"message,omitempty"`
	// Cluster and Unit narrow an event about a deployment.
	Cluster string `json:"cluster,omitempty"`
	Unit    string `json:"unit,omitempty"`
}

// EventType says how much an event matters.
type EventType string

const (
	EventNormal  EventType = "Normal"
	EventWarning EventType = "Warning"
	// EventAlarm asks for a person.
	EventAlarm EventType = "Alarm"
)

// Kinds of things that events are about.
const (
	EventAboutDeployment = "deployment"
	EventAboutCluster    = "cluster"
	EventAboutPackage    = "package"
	// EventAboutNode: a server of the control plane itself.
	EventAboutNode = "node"
)

// Reasons of the events about a cluster that is taken out of service or put back.
const (
	EventCordoned     = "ClusterCordoned"
	EventUncordoned   = "ClusterUncordoned"
	EventDrainStarted = "DrainStarted"
	// EventDrainComplete: nothing is left, or only what fits nowhere else.
	EventDrainComplete = "DrainComplete"
)
