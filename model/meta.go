package model

import "time"

// Meta is what the store, never the user, writes on a document. It is ignored
// in input.
type Meta struct {
	// ResourceVersion is the log index of the last change of the document. It
	// is the value of the ETag, and may be given to ?min_index and ?since.
	ResourceVersion uint64 `json:"resource_version,omitempty"`
	// Generation counts the changes of the desired state, from 1.
	Generation uint64     `json:"generation,omitempty"`
	CreatedAt  *time.Time `json:"created_at,omitempty"`
	UpdatedAt  *time.Time `json:"updated_at,omitempty"`
}
