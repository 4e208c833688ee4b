package model

// TopologySnapshot is a graph of what is deployed where, in the shape that
// existing clients draw. All members are always present.
type TopologySnapshot struct {
	Nodes []TopologyNode `json:"nodes"`
	Edges []TopologyEdge `json:"edges"`
	// Timestamp is nil when its source tells none.
	Timestamp *TopologyTime `json:"timestamp"`
}

// TopologyNode is one thing of a topology.
type TopologyNode struct {
	ID string `json:"id"`
	// NodeType is package, class, function or environment; a CRM adds its own.
	NodeType string `json:"node_type"`
	// Status is healthy, degraded, unhealthy or unknown.
	Status          string            `json:"status"`
	Metadata        map[string]string `json:"metadata"`
	DeployedClasses []string          `json:"deployed_classes"`
}

// TopologyEdge leads from one node to another.
type TopologyEdge struct {
	FromID   string            `json:"from_id"`
	ToID     string            `json:"to_id"`
	Metadata map[string]string `json:"metadata"`
}

// TopologyTime is a time as the protocol of the CRMs writes it.
type TopologyTime struct {
	Seconds int64 `json:"seconds"`
	Nanos   int32 `json:"nanos"`
}
