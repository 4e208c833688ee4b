package storage

// Compaction is what a node did to its files.
type Compaction struct {
	// Node is its name.
	Node string `json:"node"`
	// Snapshot: one was made; there is none when nothing changed since the last.
	Snapshot bool `json:"snapshot"`
	// Before and After are the bytes of the state file.
	Before int64 `json:"before_bytes"`
	After  int64 `json:"after_bytes"`
}
