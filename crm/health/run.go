package health

import (
	"context"
	"reflect"
	"sync"
	"time"

	"github.com/oprc/oprc-pm/crm/inventory"
	"github.com/oprc/oprc-pm/model"
)

// run is one term of a leader. All that it knows ends with it: the next leader
// goes on from what is recorded.
type run struct {
	m    *Monitor
	term uint64

	// mu guards what follows. It is not held over calls.
	mu      sync.Mutex
	entries map[string]*entry
	// inherited is how many clusters there were when the run began.
	inherited int
	schedule  schedule
	// dirty are clusters that may differ from what is recorded; events wait to
	// be recorded with them.
	dirty  map[string]bool
	events []model.Event

	// wake and record tell the scheduler and the recorder to look; each holds
	// at most one such word.
	wake, record chan struct{}
	// over: the run has ended and takes nothing in any more.
	over bool
}

// Run probes the clusters of the inventory and records what changes, as the
// leader of term, until ctx ends. Clusters may come and go meanwhile. All its
// goroutines have ended when it returns. Runs must not overlap.
func (m *Monitor) Run(ctx context.Context, term uint64) {
	r := &run{
		m: m, term: term,
		entries: map[string]*entry{}, schedule: schedule{workers: m.cfg.Workers}, dirty: map[string]bool{},
		wake: make(chan struct{}, 1), record: make(chan struct{}, 1),
	}
	select {
	case <-m.deps.Inventory.Ready():
	case <-ctx.Done():
		return
	}
	unsubscribe := m.deps.Inventory.Subscribe(r.follow)
	defer r.forgetAll()
	defer unsubscribe()
	views := m.deps.Inventory.Clusters()
	r.inherited = len(views)
	for _, view := range views {
		r.follow(inventory.Change{Cluster: view.Spec.Name, After: &view})
	}
	m.running.Store(r)
	defer m.running.Store(nil)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { r.runRecorder(ctx) })
	r.runScheduler(ctx, &wg)
}

// follow takes a change of the inventory in.
func (r *run) follow(change inventory.Change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return
	}
	e := r.entries[change.Cluster]
	if change.After == nil {
		r.forget(change.Cluster)
		return
	}
	if e != nil && !sameTime(e.spec.CreatedAt, change.After.Spec.CreatedAt) {
		// Another cluster of the same name.
		r.forget(change.Cluster)
		e = nil
	}
	if e == nil || e.untouched {
		r.introduce(e, change.After)
		return
	}
	before := e.spec
	e.spec = change.After.Spec
	if !sameCRM(before, e.spec) {
		r.hurry(e)
	}
}

// introduce begins to watch a cluster, or takes a newer record of one of which
// nothing is known yet.
func (r *run) introduce(e *entry, view *inventory.ClusterView) {
	name := view.Spec.Name
	if e == nil {
		e = &entry{untouched: true}
		r.entries[name] = e
	}
	e.spec, e.state = view.Spec, seed(r.m.cfg, name, view.Health, time.Now())
	r.m.metrics.show(name, &e.state)
	if e.begun.IsZero() {
		r.plan(e, firstDelay(r.m.cfg, &e.state, r.inherited))
	}
}

func sameTime(a, b *time.Time) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Equal(*b)
}

// sameCRM tells whether two documents lead to the same CRM in the same way.
func sameCRM(a, b model.Cluster) bool {
	return a.BaseURL == b.BaseURL && a.Protocol == b.Protocol && a.ManagedBy == b.ManagedBy &&
		reflect.DeepEqual(a.Auth, b.Auth) && reflect.DeepEqual(a.TLS, b.TLS)
}

// hurry has e probed at once, or right after the probe that is in flight.
func (r *run) hurry(e *entry) {
	e.absent = 0
	if e.queue == nil {
		e.again = true
		return
	}
	r.plan(e, 0)
}

// plan has e probed after a while.
func (r *run) plan(e *entry, after time.Duration) {
	r.schedule.add(e, time.Now().Add(after))
	poke(r.wake)
}

func (r *run) forget(name string) {
	if e := r.entries[name]; e != nil {
		r.schedule.drop(e)
		delete(r.entries, name)
		delete(r.dirty, name)
		r.m.metrics.hide(name)
	}
}

// forgetAll ends what outlives the goroutines of the run: its metrics.
func (r *run) forgetAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
	for name := range r.entries {
		r.forget(name)
	}
}

// runScheduler begins probes when they are due, until ctx ends. wg counts them.
func (r *run) runScheduler(ctx context.Context, wg *sync.WaitGroup) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		wait := r.beginDue(ctx, wg)
		timer.Stop()
		if wait >= 0 {
			timer.Reset(wait)
		}
		select {
		case <-timer.C:
		case <-r.wake:
		case <-ctx.Done():
		}
	}
}

// beginDue begins the probes that are due and says how long to wait for the
// next; negative: until woken.
func (r *run) beginDue(ctx context.Context, wg *sync.WaitGroup) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		now := time.Now()
		e, doubtful, wait := r.schedule.take(now)
		if e == nil {
			return wait
		}
		r.m.metrics.lag.Update(now.Sub(e.due).Seconds())
		e.begun = now
		spec := e.spec
		wg.Go(func() { r.runProbe(ctx, e, spec, doubtful) })
	}
}

// runProbe makes one probe and takes its result in.
func (r *run) runProbe(ctx context.Context, e *entry, spec model.Cluster, doubtful bool) {
	o := r.m.probe(ctx, spec)
	r.m.announce(r.probed(ctx, e, o, doubtful))
}

func (r *run) probed(ctx context.Context, e *entry, o observation, doubtful bool) (n news) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.schedule.done(doubtful)
	poke(r.wake)
	// The end of the run says nothing about the cluster, nor does an answer
	// about one that is not the run's any more.
	if ctx.Err() != nil || r.entries[e.state.name] != e {
		return news{}
	}
	if o.absent && e.absent < patience {
		// A new cluster's client is made when the change is seen elsewhere.
		e.absent++
		r.plan(e, min(r.m.cfg.Interval, absentDelay<<e.absent))
		return news{}
	}
	if !o.absent {
		e.absent = 0
	}
	first := e.untouched
	n = r.take(e, o)
	pause := delay(r.m.cfg, &e.state)
	if first {
		pause = secondDelay(r.m.cfg, &e.state)
	}
	after := max(pause-time.Since(e.begun), r.m.cfg.Interval/10)
	if e.again {
		e.again, after = false, 0
	}
	r.plan(e, after)
	return n
}

// A client that is not found is looked for again this often, the first time
// after twice the delay, before the cluster is said to have none.
const (
	patience    = 6
	absentDelay = 10 * time.Millisecond
)

// news is what others are told of a change once no lock is held.
type news struct {
	cluster          string
	before, now      model.ClusterHealth
	changed          bool
	opened, admitted bool
}

// take makes of an observation what becomes of the cluster.
func (r *run) take(e *entry, o observation) news {
	before := e.state
	next, changed, events := advance(r.m.cfg, before, o, time.Now(), r.m.now())
	e.state, e.untouched = next, false
	r.events = append(r.events, events...)
	if changed || len(events) > 0 {
		r.dirty[next.name] = true
		poke(r.record)
	}
	n := news{cluster: next.name, before: before.health, now: next.health}
	n.changed = before.health.Status != next.health.Status || before.circuit != next.circuit
	n.opened = before.allowed() && !next.allowed()
	n.admitted = !before.allowed() && next.allowed()
	if n.changed {
		r.m.metrics.show(next.name, &next)
	}
	return n
}

// announce tells operators, and who waits for the cluster, what changed.
func (m *Monitor) announce(n news) {
	if n.changed {
		m.deps.Logger.Info("cluster health changed", "cluster", n.cluster, "before", n.before.Status, "now", n.now.Status,
			"reason", n.now.Reason, "message", n.now.Message, "circuit", n.now.Circuit)
	}
	if n.opened {
		m.metrics.opened.Inc()
	}
	if n.admitted {
		m.deps.Admitted(n.cluster)
	}
}

// report takes in how one of the dispatcher's calls went.
func (r *run) report(cluster string, o observation) (n news) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.entries[cluster]
	if e == nil {
		return news{}
	}
	n = r.take(e, o)
	if n.opened && e.queue != nil {
		// The circuit was opened by calls: leave the CRM alone for a while.
		r.plan(e, delay(r.m.cfg, &e.state))
	}
	return n
}

// poke leaves word on a channel that holds one.
func poke(word chan<- struct{}) {
	select {
	case word <- struct{}{}:
	default:
	}
}
