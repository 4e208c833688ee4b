package inventory

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/oprc/oprc-pm/internal/wait"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// kinds of documents that the inventory is made of.
var kinds = []storage.Kind{storage.KindCluster, storage.KindClusterHealth, storage.KindDeployment, storage.KindUnit}

// prefixes under which they are stored, in the same order.
var prefixes = []string{storage.ClusterPrefix, storage.ClusterHealthPrefix, storage.DeploymentPrefix, storage.UnitPrefix}

// pageSize is how many documents are read in one view, which must be short.
const pageSize = 256

// follow loads the state, publishes it and applies changes until an error. It
// tells whether it came to publishing.
//
// The stream is opened before the first page is read, so no change is missed.
// Pages may be newer than the changes that are applied to them afterwards; that
// sets a document back only until the stream has reached the index of the last
// page, and nothing is published before.
func (i *Inventory) follow(ctx context.Context) (loaded bool, err error) {
	watcher, err := i.store.Watch(ctx, storage.WatchOptions{Kinds: kinds})
	if err != nil {
		return false, fmt.Errorf("watch inventory: %w", err)
	}
	defer watcher.Close()
	s := newSnapshot()
	target, err := i.load(ctx, s)
	if err != nil {
		return false, fmt.Errorf("load inventory: %w", err)
	}
	index, err := i.catchUp(ctx, watcher, s, target)
	if err != nil {
		return false, fmt.Errorf("catch up with the store: %w", err)
	}
	s.keepNotes(i.current.Load())
	i.publish(s, index, nil)
	i.metrics.loads.Inc()
	for {
		events, index, err := i.next(ctx, watcher)
		if err != nil {
			return true, err
		}
		if len(events) == 0 {
			i.include(index)
			continue
		}
		s := i.current.Load().edit()
		i.publish(s, index, i.applyAll(s, events))
	}
}

// catchUp applies the changes of the stream to s until it has reached target,
// and returns the index that it is at.
func (i *Inventory) catchUp(ctx context.Context, watcher storage.Watcher, s *snapshot, target uint64) (uint64, error) {
	delay := retryMin / 50
	for {
		events, index, err := i.look(ctx, watcher)
		if err != nil {
			return 0, err
		}
		i.applyAll(s, events)
		if index >= target {
			return index, nil
		}
		if len(events) == 0 {
			wait.For(ctx, delay)
			delay = min(2*delay, retryMin)
		}
	}
}

// look takes what the stream has and does not wait for more.
func (i *Inventory) look(ctx context.Context, watcher storage.Watcher) ([]storage.Event, uint64, error) {
	lookCtx, cancel := context.WithCancel(ctx)
	cancel()
	events, index, err := watcher.Next(lookCtx)
	if errors.Is(err, context.Canceled) && ctx.Err() == nil {
		err = nil
	}
	return events, index, err
}

// load reads all documents in pages and returns the index of the last.
func (i *Inventory) load(ctx context.Context, s *snapshot) (uint64, error) {
	var index uint64
	for n, prefix := range prefixes {
		start := []byte(prefix)
		for start != nil {
			var next []byte
			info, err := i.store.View(ctx, storage.ReadOptions{Consistency: storage.Stale}, func(r storage.Reader) error {
				var err error
				next, err = i.loadPage(r, s, kinds[n], prefix, start)
				return err
			})
			if err != nil {
				return 0, err
			}
			index, start = max(index, info.Index), next
		}
	}
	return index, nil
}

// loadPage reads some documents from start on and returns where to go on, or
// nil after the last.
func (i *Inventory) loadPage(r storage.Reader, s *snapshot, kind storage.Kind, prefix string, start []byte) ([]byte, error) {
	var next []byte
	count := 0
	err := r.Scan(start, storage.PrefixEnd([]byte(prefix)), func(key, value []byte) (bool, error) {
		if count == pageSize {
			next = bytes.Clone(key)
			return false, nil
		}
		count++
		i.put(s, kind, string(key[len(prefix):]), value, time.Time{})
		return true, nil
	})
	return next, err
}

// applyAll applies changes and returns the names of the clusters that they
// concern.
func (i *Inventory) applyAll(s *snapshot, events []storage.Event) map[string]bool {
	touched, now := map[string]bool{}, time.Now()
	for _, e := range events {
		if e.Kind == storage.KindCluster || e.Kind == storage.KindClusterHealth {
			touched[e.Key] = true
		}
		if e.Type == storage.EventDelete {
			remove(s, e.Kind, e.Key)
		} else {
			i.put(s, e.Kind, e.Key, e.Document, now)
		}
	}
	return touched
}

// put takes a document in. One that cannot be read, which no version of the
// program writes, is told of and taken as absent: the rest must go on. now is zero
// for a document that may be old.
func (i *Inventory) put(s *snapshot, kind storage.Kind, key string, document []byte, now time.Time) {
	if err := put(s, kind, key, document, now); err != nil {
		i.metrics.unreadable.Inc()
		i.logger.Error("document in the store cannot be read", "kind", kind, "key", key, "err", err)
		remove(s, kind, key)
	}
}

func put(s *snapshot, kind storage.Kind, key string, document []byte, now time.Time) error {
	switch kind {
	case storage.KindCluster:
		spec, err := model.ParseCluster(document)
		if err != nil {
			return err
		}
		entry := s.entry(key)
		spec.Name, entry.spec = key, &spec
		s.setCluster(key, entry)
	case storage.KindClusterHealth:
		health, err := model.ParseClusterHealth(document)
		if err != nil {
			return err
		}
		s.setCluster(key, s.entry(key).setHealth(&health, now))
	case storage.KindDeployment:
		class, err := classOf(document)
		if err != nil {
			return err
		}
		s.setClass(key, class)
	case storage.KindUnit:
		unit, err := model.ParseUnit(document)
		if err != nil {
			return err
		}
		deployment, cluster, id, ok := splitUnit(key)
		if !ok {
			return fmt.Errorf("unit key %q has not three parts", key)
		}
		s.setUnit(UnitRef{Deployment: deployment, Cluster: cluster, Unit: id, CRMID: unit.CRMID, Phase: unit.Phase})
	}
	return nil
}

func remove(s *snapshot, kind storage.Kind, key string) {
	switch kind {
	case storage.KindCluster:
		entry := s.entry(key)
		s.setCluster(key, clusterEntry{health: entry.health, noted: entry.noted})
	case storage.KindClusterHealth:
		s.setCluster(key, clusterEntry{spec: s.entry(key).spec})
	case storage.KindDeployment:
		s.setClass(key, "")
	case storage.KindUnit:
		if deployment, cluster, unit, ok := splitUnit(key); ok {
			s.dropUnit(deployment, cluster, unit)
		}
	}
}

// splitUnit takes DEPLOYMENT/CLUSTER/UNIT apart.
func splitUnit(key string) (deployment, cluster, unit string, ok bool) {
	deployment, rest, ok := strings.Cut(key, "/")
	if !ok {
		return "", "", "", false
	}
	cluster, unit, ok = strings.Cut(rest, "/")
	return deployment, cluster, unit, ok
}

// classOf reads PACKAGE.CLASS of a stored deployment; nothing else of it is
// decoded, since observed states change often.
func classOf(document []byte) (string, error) {
	_, user, err := storage.SplitDocument(document)
	if err != nil {
		return "", err
	}
	var names struct {
		Package string `json:"package_name"`
		Class   string `json:"class_key"`
	}
	object := make([]byte, 0, len(user)+2)
	object = append(append(append(object, '{'), user...), '}')
	if err := json.Unmarshal(object, &names); err != nil {
		return "", fmt.Errorf("parse stored deployment: %w", err)
	}
	return names.Package + "." + names.Class, nil
}
