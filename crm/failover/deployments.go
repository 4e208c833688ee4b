package failover

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// deployments is what failover needs to know of all deployments, kept up by a
// watch. Those that have no place and avoid nothing are not kept.
type deployments struct {
	store   Store
	timeout time.Duration

	// mu guards what follows.
	mu    sync.Mutex
	table *table
}

// table is what is known of the deployments at one time.
type table struct {
	byKey    map[string]Deployment
	placed   int
	avoiding map[string]bool
	// placedOn leads from a cluster to the deployments with a place there.
	placedOn map[string]map[string]bool
}

func newTable() *table {
	return &table{byKey: map[string]Deployment{}, avoiding: map[string]bool{}, placedOn: map[string]map[string]bool{}}
}

func newDeployments(store Store, timeout time.Duration) *deployments {
	return &deployments{store: store, timeout: timeout, table: newTable()}
}

// follow loads all deployments, then calls loaded, and keeps them up to date
// until ctx ends or the watch does. changed is called after each change and must
// not block.
func (d *deployments) follow(ctx context.Context, loaded, changed func()) error {
	// The watch comes first: what changes while loading is then in it, and at
	// worst noted twice.
	watcher, err := d.store.Watch(ctx, storage.WatchOptions{Kinds: []storage.Kind{storage.KindDeployment}})
	if err != nil {
		return fmt.Errorf("watch deployments: %w", err)
	}
	defer watcher.Close()
	if err := d.load(ctx); err != nil {
		return err
	}
	loaded()
	changed()
	for {
		events, _, err := watcher.Next(ctx)
		if err != nil {
			return fmt.Errorf("read changes of deployments: %w", err)
		}
		if err := d.noteAll(events); err != nil {
			return err
		}
		changed()
	}
}

// loadPage is the number of deployments read in one view, so that none is held
// long.
const loadPage = 500

// load reads all deployments, page by page. Until it is done what was known stays:
// a deployment that is not read yet must not look like one that is gone.
func (d *deployments) load(ctx context.Context) error {
	fresh := newTable()
	prefix := []byte(storage.DeploymentPrefix)
	start, end := prefix, storage.PrefixEnd(prefix)
	for {
		count := 0
		err := d.view(ctx, func(r storage.Reader) error {
			return r.Scan(start, end, func(key, value []byte) (bool, error) {
				count++
				start = append(slices.Clone(key), 0)
				return count < loadPage, fresh.note(string(key[len(prefix):]), value)
			})
		})
		if err != nil {
			return fmt.Errorf("read deployments: %w", err)
		}
		if count < loadPage {
			break
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.table = fresh
	return nil
}

func (d *deployments) noteAll(events []storage.Event) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, event := range events {
		if err := d.table.note(event.Key, event.Document); err != nil {
			return err
		}
	}
	return nil
}

func (d *deployments) view(ctx context.Context, fn func(storage.Reader) error) error {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	_, err := d.store.View(ctx, storage.ReadOptions{Consistency: storage.Stale}, fn)
	return err
}

// conditionPlanned and reasonStranded are how the dispatcher says that a
// deployment cannot leave a cluster that it should leave.
const (
	conditionPlanned = "Planned"
	reasonStranded   = "Stranded"
)

// document is the part of a deployment's document that failover reads.
type document struct {
	DeletionRequestedAt *time.Time             `json:"deletion_requested_at"`
	PlacedOn            []model.PlacedCluster  `json:"placed_on"`
	AvoidedClusters     []model.AvoidedCluster `json:"avoided_clusters"`
	Failover            *model.Failover        `json:"failover"`
	Conditions          []model.Condition      `json:"conditions"`
}

// note takes over a deployment's document; nil: it is gone.
func (t *table) note(key string, data []byte) error {
	var doc document
	if data != nil {
		if err := json.Unmarshal(data, &doc); err != nil {
			return fmt.Errorf("decode deployment %s: %w", key, err)
		}
	}
	next := Deployment{Key: key}
	// One that is being deleted moves nowhere any more.
	if doc.DeletionRequestedAt == nil {
		next.Avoided = doc.AvoidedClusters
		next.Stranded = slices.ContainsFunc(doc.Conditions, func(c model.Condition) bool {
			return c.Type == conditionPlanned && c.Reason == reasonStranded
		})
		for _, place := range doc.PlacedOn {
			next.Placed = append(next.Placed, place.Cluster)
		}
		if doc.Failover != nil {
			next.Failover = doc.Failover.Enabled
			if doc.Failover.Toleration != nil {
				toleration := doc.Failover.Toleration.Value()
				next.Toleration = &toleration
			}
		}
	}
	t.replace(next)
	return nil
}

// replace puts a deployment in the place of its predecessor.
func (t *table) replace(next Deployment) {
	if before, known := t.byKey[next.Key]; known {
		for _, cluster := range before.Placed {
			delete(t.placedOn[cluster], next.Key)
			if len(t.placedOn[cluster]) == 0 {
				delete(t.placedOn, cluster)
			}
		}
		if len(before.Placed) > 0 {
			t.placed--
		}
		delete(t.avoiding, next.Key)
		delete(t.byKey, next.Key)
	}
	if len(next.Placed) == 0 && len(next.Avoided) == 0 {
		return
	}
	t.byKey[next.Key] = next
	if len(next.Placed) > 0 {
		t.placed++
	}
	for _, cluster := range next.Placed {
		if t.placedOn[cluster] == nil {
			t.placedOn[cluster] = map[string]bool{}
		}
		t.placedOn[cluster][next.Key] = true
	}
	if len(next.Avoided) > 0 {
		t.avoiding[next.Key] = true
	}
}

// concerned returns the deployments with a place in one of clusters and those
// that avoid any, and how many have a place at all. They are in no order and
// must not be modified.
func (d *deployments) concerned(clusters []string) (list []Deployment, placed int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	seen := map[string]bool{}
	add := func(keys map[string]bool) {
		for key := range keys {
			if !seen[key] {
				seen[key] = true
				list = append(list, d.table.byKey[key])
			}
		}
	}
	add(d.table.avoiding)
	for _, cluster := range clusters {
		add(d.table.placedOn[cluster])
	}
	return list, d.table.placed
}

// recentMoves counts the moves away that were recorded after begin.
func (d *deployments) recentMoves(begin time.Time) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	count := 0
	for key := range d.table.avoiding {
		for _, avoided := range d.table.byKey[key].Avoided {
			if avoided.Since.After(begin) {
				count++
			}
		}
	}
	return count
}
