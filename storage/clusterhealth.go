package storage

import "time"

// ClusterState is how the leader sees the servers of the cluster.
type ClusterState struct {
	// Healthy: every server is.
	Healthy bool `json:"healthy"`
	// FailureTolerance is how many voters may fail before nothing can be written.
	FailureTolerance int            `json:"failure_tolerance"`
	Voters           int            `json:"voters"`
	Leader           string         `json:"leader"`
	Servers          []ServerHealth `json:"servers"`
}

// ServerHealth is one server in a ClusterState.
type ServerHealth struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	ClusterAddr string `json:"cluster_addr"`
	Version     string `json:"version,omitempty"`
	Role        Role   `json:"role"`
	Voter       bool   `json:"voter"`
	// Alive: it answered when it was last asked.
	Alive bool `json:"alive"`
	// Healthy: alive, in contact with the leader, and not far behind it.
	Healthy bool `json:"healthy"`
	// Leaving: it asked to be removed.
	Leaving bool `json:"leaving,omitempty"`
	// StableSince is when Healthy last changed, by the leader's clock.
	StableSince time.Time `json:"stable_since"`
	// LastContactMS is the time since it heard from the leader, -1 when unknown.
	LastContactMS int64 `json:"last_contact_ms"`
	// LastIndex of its log, and by how many entries that is behind the leader's.
	LastIndex uint64 `json:"last_index"`
	Lag       uint64 `json:"lag"`
	// SilentMS is the time since it answered, or since this leader began to ask.
	SilentMS int64 `json:"silent_ms"`
	// Reason says why it is not healthy.
	Reason string `json:"reason,omitempty"`
}
