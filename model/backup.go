package model

import "time"

// StoredBackup is a backup at a destination of scheduled ones.
type StoredBackup struct {
	Name string `json:"name"`
	// Destination is where it is, without credentials.
	Destination string    `json:"destination"`
	CreatedAt   time.Time `json:"created_at"`
	Index       uint64    `json:"index"`
	Size        int64     `json:"size"`
}
