package storage

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Kind names a type of document, as it is written in event streams and queries.
type Kind string

const (
	KindPackage      Kind = "package"
	KindDeployment   Kind = "deployment"
	KindUnit         Kind = "unit"
	KindRuntimeState Kind = "runtime_state"
	KindCluster      Kind = "cluster"
	// KindClusterHealth documents are JSON of model.ClusterHealth.
	KindClusterHealth Kind = "cluster_health"
	// KindEvent documents are JSON of model.Event, their keys the sequence in 20
	// digits. One that makes room is deleted.
	KindEvent Kind = "event"
	// KindRevision documents are JSON of model.Revision, their keys
	// DEPLOYMENT/REVISION, the latter in 20 digits.
	KindRevision Kind = "revision"
)

// EventType says what happened to a document.
type EventType string

const (
	EventPut    EventType = "put"
	EventDelete EventType = "delete"
)

// Event is one change of one document. All changes of one index are delivered
// together. Document belongs to the store and must not be modified; it is nil
// for EventDelete.
type Event struct {
	Index    uint64
	Type     EventType
	Kind     Kind
	Key      string
	Document []byte
}

// kindOfPrefix tells what kind of document the keys under a prefix hold.
var kindOfPrefix = map[string]Kind{
	PackagePrefix:       KindPackage,
	DeploymentPrefix:    KindDeployment,
	UnitPrefix:          KindUnit,
	RuntimeStatePrefix:  KindRuntimeState,
	ClusterPrefix:       KindCluster,
	ClusterHealthPrefix: KindClusterHealth,
	RevisionPrefix:      KindRevision,
	StoredEventPrefix:   KindEvent,
}

// EventOf is the event that announces c as a part of index, for drivers that
// learn of a change by its key. There is none for indexes and other keys that
// hold no document.
func EventOf(index uint64, c Change) (Event, bool) {
	prefix, name, _ := strings.Cut(string(c.Key), "/")
	kind, ok := kindOfPrefix[prefix+"/"]
	switch {
	case !ok || c.Old == nil && c.Value == nil:
		return Event{}, false
	case c.Value == nil:
		return Event{Index: index, Type: EventDelete, Kind: kind, Key: name}, true
	}
	return Event{Index: index, Type: EventPut, Kind: kind, Key: name, Document: c.Value}, true
}

// WatchOptions selects a stream of changes.
type WatchOptions struct {
	// Since is the index after which to begin; 0 means from now on.
	Since uint64
	// Kinds limits the stream; empty means all.
	Kinds []Kind
}

// Watcher is a stream of changes in index order, each exactly once. It is for
// one goroutine.
type Watcher interface {
	// Next blocks until there are changes, and returns all those of one or more
	// whole indexes. index is up to where the stream is now complete, also when
	// ctx ended the wait (err is then ctx's error): resume from there. It fails
	// with *CompactedError when the watcher fell behind the kept history, and
	// with ErrClosed when the store closes.
	Next(ctx context.Context) (events []Event, index uint64, err error)
	// Close ends the stream and may be called more than once.
	Close()
}

// ErrClosed is returned by a store and its watchers after Close.
var ErrClosed = errors.New("store is closed")

// CompactedError tells that the changes after Since are no longer all kept. Read
// the present state, then watch from its index.
type CompactedError struct {
	Since uint64
	// Oldest is the smallest Since that can be served.
	Oldest uint64
}

func (e *CompactedError) Error() string {
	return fmt.Sprintf("changes since index %d are not kept any more, oldest available is %d", e.Since, e.Oldest)
}
