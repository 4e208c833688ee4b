package dispatch

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/oprc/oprc-pm/internal/wait"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// run is one time of being the leader: what it remembers is forgotten with it.
type run struct {
	*Dispatcher
	term uint64
	// fence is what CRMs are shown instead of the term.
	fence uint64
	queue *queue
	// resyncNow asks for a look at everything.
	resyncNow chan struct{}
	// clustersNow tells runClusters that clusters changed.
	clustersNow chan struct{}
	// remembered is what earlier runs of this process saw; it is not changed.
	remembered map[string]recollection
	// wg counts every goroutine of the run, calls included.
	wg sync.WaitGroup

	// mu guards everything below and all that hangs on it.
	mu          sync.Mutex
	deployments map[string]*knowledge
	phases      map[model.UnitPhase]int
	lanes       map[string]*lane
	// wanting are the deployments that would use another cluster if they could, or
	// that could not be recorded.
	wanting map[string]bool
	// epoch counts the changes of clusters that planning goes by.
	epoch uint64
	// changed are the clusters that runClusters has not seen to yet.
	changed map[string]clusterNews
	// silences are of the clusters that cannot be asked, or not for long again.
	silences map[string]*silence
}

func (d *Dispatcher) newRun(term uint64) *run {
	fence := term
	if d.deps.Fence != nil {
		fence = d.deps.Fence(term)
	}
	return &run{
		Dispatcher:  d,
		term:        term,
		fence:       fence,
		queue:       newQueue(),
		resyncNow:   make(chan struct{}, 1),
		clustersNow: make(chan struct{}, 1),
		deployments: map[string]*knowledge{},
		phases:      map[model.UnitPhase]int{},
		lanes:       map[string]*lane{},
		wanting:     map[string]bool{},
		changed:     map[string]clusterNews{},
		silences:    map[string]*silence{},
	}
}

// catchUp waits until the inventory knows what was committed before this run, so
// that no deployment is planned with clusters of the past. It reports false when
// ctx ended before.
func (r *run) catchUp(ctx context.Context) bool {
	for ctx.Err() == nil {
		var info storage.ReadInfo
		info, err := r.deps.Store.View(ctx, storage.ReadOptions{Consistency: storage.Stale}, func(storage.Reader) error { return nil })
		if err == nil {
			err = r.deps.Inventory.WaitFor(ctx, info.Index)
		}
		if err == nil {
			return true
		}
		if ctx.Err() == nil {
			r.deps.Logger.Warn("waiting for the inventory will be repeated", "error", err)
			wait.For(ctx, r.cfg.BackoffMin)
		}
	}
	return false
}

// runWorker reconciles one deployment after the other.
func (r *run) runWorker(ctx context.Context) {
	for {
		key, ok := r.queue.next()
		if !ok {
			return
		}
		again, err := r.reconcile(ctx, key)
		if err != nil && ctx.Err() == nil {
			r.tellFailure(ctx, key, again, err)
		}
		r.queue.done(key)
		if again > 0 {
			r.queue.addAfter(key, again)
		}
	}
}

// runWatch turns changes into hints. A hint that is lost is made good by a
// resync.
func (r *run) runWatch(ctx context.Context) {
	for ctx.Err() == nil {
		err := r.watch(ctx)
		if ctx.Err() != nil {
			return
		}
		var compacted *storage.CompactedError
		if !errors.As(err, &compacted) {
			r.deps.Logger.Warn("watch of changes will be repeated", "error", err)
			wait.For(ctx, r.cfg.BackoffMax/10)
		}
		// The next watch begins with a resync.
	}
}

func (r *run) watch(ctx context.Context) error {
	watcher, err := r.deps.Store.Watch(ctx, storage.WatchOptions{
		Kinds: []storage.Kind{storage.KindDeployment, storage.KindPackage},
	})
	if err != nil {
		return fmt.Errorf("watch deployments and packages: %w", err)
	}
	defer watcher.Close()
	// What changed before the watch began is found by looking at everything.
	r.requestResync()
	for {
		events, _, err := watcher.Next(ctx)
		if err != nil {
			return fmt.Errorf("read changes: %w", err)
		}
		for _, event := range events {
			if err := r.hint(ctx, event); err != nil {
				return err
			}
		}
	}
}

// hint queues the deployments that an event is about.
func (r *run) hint(ctx context.Context, event storage.Event) error {
	if event.Kind == storage.KindDeployment {
		if !r.ours(event) {
			r.queue.add(event.Key)
		}
		return nil
	}
	keys, err := r.list(ctx, storage.ByPackage, event.Key)
	if err != nil {
		return fmt.Errorf("list deployments of package %s: %w", event.Key, err)
	}
	for _, key := range keys {
		r.queue.add(key)
	}
	return nil
}

// ours tells whether a change is one that this run made itself, or acted on: its
// last command was accepted with this generation, so it had seen all of what was
// asked for by then. One index may hold several changes, so the generation counts
// as well.
func (r *run) ours(event storage.Event) bool {
	if event.Type != storage.EventPut {
		return false
	}
	stamp, err := storage.ReadStamp(event.Document)
	if err != nil {
		return false // who reads it all will say what is wrong
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	k, known := r.deployments[event.Key]
	return known && event.Index <= k.written && stamp.Generation == k.generation
}

// list returns the names under a term of an index.
func (r *run) list(ctx context.Context, index storage.Index, term string) (names []string, err error) {
	_, err = r.view(ctx, func(reader storage.Reader) error {
		names = nil
		return index.Scan(reader, term, "", func(name string) (bool, error) {
			names = append(names, name)
			return true, nil
		})
	})
	return names, err
}

func (r *run) requestResync() {
	select {
	case r.resyncNow <- struct{}{}:
	default: // asked for already
	}
}

// runResync looks at every deployment when asked to, and from time to time.
func (r *run) runResync(ctx context.Context) {
	timer := time.NewTimer(wait.Jitter(r.cfg.ResyncInterval, 0.1))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			timer.Reset(wait.Jitter(r.cfg.ResyncInterval, 0.1))
		case <-r.resyncNow:
		}
		if err := r.resync(ctx); err != nil && ctx.Err() == nil {
			r.deps.Logger.Warn("resync will be repeated", "error", err)
			wait.For(ctx, r.cfg.BackoffMin)
			r.requestResync()
		}
	}
}

// resyncPage is the number of keys read in one view, so that none is held long.
const resyncPage = 1000

// resync queues every deployment.
func (r *run) resync(ctx context.Context) error {
	prefix := []byte(storage.DeploymentPrefix)
	start, end := prefix, storage.PrefixEnd(prefix)
	for {
		var keys []string
		_, err := r.view(ctx, func(reader storage.Reader) error {
			keys = keys[:0]
			return reader.Scan(start, end, func(key, _ []byte) (bool, error) {
				keys = append(keys, string(key[len(prefix):]))
				return len(keys) < resyncPage, nil
			})
		})
		if err != nil {
			return fmt.Errorf("list deployments: %w", err)
		}
		for _, key := range keys {
			r.queue.addPassing(key)
		}
		if len(keys) < resyncPage {
			return nil
		}
		start = append(storage.DeploymentKey(keys[len(keys)-1]), 0)
	}
}

// view reads this node's own state. That is up to date enough: a run begins
// when everything committed before has been applied here, every write of the
// run returns when it has been applied here, and of others' changes a hint
// comes when they have.
func (r *run) view(ctx context.Context, fn func(storage.Reader) error) (index uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.StoreTimeout)
	defer cancel()
	info, err := r.deps.Store.View(ctx, storage.ReadOptions{Consistency: storage.Stale}, fn)
	return info.Index, err
}
