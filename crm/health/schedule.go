package health

import (
	"container/heap"
	"math/rand/v2"
	"time"

	"github.com/oprc/oprc-pm/internal/wait"
	"github.com/oprc/oprc-pm/model"
)

// entry is one cluster of a run; the run's mutex guards it.
type entry struct {
	spec  model.Cluster
	state state
	// untouched: nothing has been observed since the state was seeded.
	untouched bool

	// due is when the next probe is to begin. The entry is in queue, at
	// position, unless a probe is in flight; again asks for another right after.
	due      time.Time
	queue    *queue
	position int
	again    bool
	// absent counts the times in a row that no client was found, begun the
	// last probe.
	absent int
	begun  time.Time
}

// queue holds entries by when they are due.
type queue struct{ entries []*entry }

func (q *queue) Len() int           { return len(q.entries) }
func (q *queue) Less(a, b int) bool { return q.entries[a].due.Before(q.entries[b].due) }

func (q *queue) Swap(a, b int) {
	q.entries[a], q.entries[b] = q.entries[b], q.entries[a]
	q.entries[a].position, q.entries[b].position = a, b
}

func (q *queue) Push(x any) {
	e := x.(*entry)
	e.queue, e.position = q, len(q.entries)
	q.entries = append(q.entries, e)
}

func (q *queue) Pop() any {
	last := len(q.entries) - 1
	e := q.entries[last]
	q.entries[last] = nil
	q.entries = q.entries[:last]
	e.queue = nil
	return e
}

// schedule says which cluster is probed next. Those that may well not answer
// have a queue of their own and at most half of the workers: however many hang,
// the others are probed in time.
type schedule struct {
	workers        int
	sure, suspects queue
	// Probes in flight, and those of them for suspects.
	busy, doubtful int
}

// add puts e into the queue it belongs to, or moves it there.
func (s *schedule) add(e *entry, due time.Time) {
	s.drop(e)
	e.due = due
	if e.state.suspect() {
		heap.Push(&s.suspects, e)
	} else {
		heap.Push(&s.sure, e)
	}
}

// drop takes e out of its queue, if it is in one.
func (s *schedule) drop(e *entry) {
	if e.queue != nil {
		heap.Remove(e.queue, e.position)
	}
}

// take removes and returns the entry to probe now, and whether it is a suspect.
// When there is none it says how long to wait; negative: until something changes.
func (s *schedule) take(now time.Time) (e *entry, doubtful bool, wait time.Duration) {
	if s.busy >= s.workers {
		return nil, false, -1
	}
	next := s.sure.first()
	if s.doubtful < max(1, s.workers/2) {
		if other := s.suspects.first(); next == nil || other != nil && other.due.Before(next.due) {
			next = other
		}
	}
	if next == nil {
		return nil, false, -1
	}
	if wait := next.due.Sub(now); wait > 0 {
		return nil, false, wait
	}
	doubtful = next.queue == &s.suspects
	s.drop(next)
	s.busy++
	if doubtful {
		s.doubtful++
	}
	return next, doubtful, 0
}

// done gives a worker back.
func (s *schedule) done(doubtful bool) {
	s.busy--
	if doubtful {
		s.doubtful--
	}
}

func (q *queue) first() *entry {
	if len(q.entries) == 0 {
		return nil
	}
	return q.entries[0]
}

// soon is how long after its beginning a run takes at most to begin the first
// probes of so many clusters, and of all that it knows nothing good of.
const (
	soon      = 250 * time.Millisecond
	soonCount = 100
)

// firstDelay is when a cluster is first probed in a run of so many: at once when
// nothing good is known of it; else soon, since until then only what an earlier
// leader recorded can be told.
func firstDelay(cfg Config, s *state, clusters int) time.Duration {
	within := soon
	if s.health.Status == model.ClusterHealthy {
		within = soon * time.Duration(1+clusters/soonCount)
	}
	return rand.N(min(within, cfg.Interval))
}

// secondDelay is the time from the first probe of a run to the second. They are
// spread over the interval, as the first ones are not. A cluster that did not
// answer has its interval: a hiccup at the beginning must not look like two.
func secondDelay(cfg Config, s *state) time.Duration {
	if s.suspect() {
		return delay(cfg, s)
	}
	return rand.N(cfg.Interval)
}

// delay is the time from the beginning of one probe to that of the next.
func delay(cfg Config, s *state) time.Duration {
	if s.circuit == model.CircuitOpen {
		return wait.Jitter(openDelay(cfg, s.tries), 0.1)
	}
	return wait.Jitter(cfg.Interval, 0.1)
}

// openDelay is how long an open circuit stays alone after tries failed.
func openDelay(cfg Config, tries int) time.Duration {
	delay, longest := cfg.OpenTimeout, max(cfg.OpenTimeout, cfg.RetryTimeout)
	for ; tries > 0 && delay < longest; tries-- {
		delay *= 2
	}
	return min(delay, longest, cfg.MaxOpenInterval)
}
