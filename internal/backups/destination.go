package backups

import (
	"context"
	"io"
)

// Destination keeps backups.
type Destination interface {
	// String names it for people, without credentials.
	String() string
	// Put stores what write writes under a name: whole or not at all.
	Put(ctx context.Context, name string, write func(w io.Writer) error) error
	// Open reads a file.
	Open(ctx context.Context, name string) (io.ReadCloser, error)
	// List tells of all files whose names are those of backups, in any order.
	List(ctx context.Context) ([]File, error)
	// Remove removes a file.
	Remove(ctx context.Context, name string) error
	// Close ends connections.
	Close()
}
