package dispatch

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// queue hands out keys to workers: each key at most once at a time, and once
// more when it was added while it was being worked on. Keys can be added to be
// due later; all delays share one timer.
//
// Keys that something happened to go before those that are only looked at again
// in passing, so a resync of everything does not hold up a user's change; but
// some of the latter are always handed out, so they are not forgotten either.
type queue struct {
	// wake tells the timer goroutine that an earlier delay was added.
	wake chan struct{}

	// mu guards everything below; ready is signalled under it.
	mu      sync.Mutex
	ready   sync.Cond
	urgent  []string
	passing []string
	// queued are the keys in urgent (true) or passing (false). A key moves from
	// passing to urgent by being in both; the second is then skipped.
	queued map[string]bool
	// pops counts the keys handed out, see passingShare.
	pops   int
	active map[string]bool
	// again are active keys to be queued when they are done, with urgency.
	again   map[string]bool
	delays  delayHeap
	delayed map[string]*delay
	closed  bool
}

func newQueue() *queue {
	q := &queue{
		wake:    make(chan struct{}, 1),
		queued:  map[string]bool{},
		active:  map[string]bool{},
		again:   map[string]bool{},
		delayed: map[string]*delay{},
	}
	q.ready.L = &q.mu
	return q
}

// add queues a key that something happened to.
func (q *queue) add(key string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.push(key, true)
}

// addPassing queues a key to be looked at when nothing else is to be done.
func (q *queue) addPassing(key string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.push(key, false)
}

func (q *queue) push(key string, urgent bool) {
	if q.closed {
		return
	}
	if q.active[key] {
		q.again[key] = q.again[key] || urgent
		return
	}
	present, isQueued := q.queued[key]
	if isQueued && (present || !urgent) {
		return
	}
	q.queued[key] = urgent
	if urgent {
		q.urgent = append(q.urgent, key)
	} else {
		q.passing = append(q.passing, key)
	}
	q.ready.Signal()
}

// addAfter queues a key once after has passed. Of several delays of a key the
// shortest counts; they end when the key is handed out.
func (q *queue) addAfter(key string, after time.Duration) {
	if after <= 0 {
		q.add(key)
		return
	}
	due := time.Now().Add(after)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	d, exists := q.delayed[key]
	switch {
	case !exists:
		d = &delay{key: key, due: due}
		q.delayed[key] = d
		heap.Push(&q.delays, d)
	case due.Before(d.due):
		d.due = due
		heap.Fix(&q.delays, d.position)
	}
	if d.position == 0 {
		select {
		case q.wake <- struct{}{}:
		default: // woken already
		}
	}
}

// next blocks until there is a key to work on, and reports false when the queue
// is closed. The caller must call done with the key.
func (q *queue) next() (key string, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		if q.closed {
			return "", false
		}
		if key, ok := q.pop(); ok {
			q.active[key] = true
			if d, exists := q.delayed[key]; exists {
				heap.Remove(&q.delays, d.position)
				delete(q.delayed, key)
			}
			return key, true
		}
		q.ready.Wait()
	}
}

// passingShare: one in so many keys handed out is one in passing.
const passingShare = 10

func (q *queue) pop() (string, bool) {
	q.pops++
	if q.pops%passingShare == 0 {
		if key, ok := q.popPassing(); ok {
			return key, true
		}
	}
	if len(q.urgent) > 0 {
		key := q.urgent[0]
		q.urgent = q.urgent[1:]
		delete(q.queued, key)
		return key, true
	}
	return q.popPassing()
}

func (q *queue) popPassing() (string, bool) {
	for len(q.passing) > 0 {
		key := q.passing[0]
		q.passing = q.passing[1:]
		if urgent, isQueued := q.queued[key]; isQueued && !urgent {
			delete(q.queued, key)
			return key, true
		}
	}
	return "", false
}

// done ends the work on a key.
func (q *queue) done(key string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.active, key)
	if urgent, again := q.again[key]; again {
		delete(q.again, key)
		q.push(key, urgent)
	}
}

// close ends the queue: next returns false to every worker.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.ready.Broadcast()
}

// depth is the number of keys that wait for a worker.
func (q *queue) depth() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.queued)
}

// runTimer queues keys as they become due, until ctx ends.
func (q *queue) runTimer(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(q.releaseDue(time.Now()))
		select {
		case <-timer.C:
		case <-q.wake:
		case <-ctx.Done():
			return
		}
	}
}

// releaseDue queues what is due at now and returns the time until the next.
func (q *queue) releaseDue(now time.Time) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.delays) > 0 {
		if wait := q.delays[0].due.Sub(now); wait > 0 {
			return wait
		}
		d := heap.Pop(&q.delays).(*delay)
		delete(q.delayed, d.key)
		q.push(d.key, true)
	}
	return time.Hour
}

// delay is a key that is due later.
type delay struct {
	key      string
	due      time.Time
	position int
}

// delayHeap is a container/heap of delays, the earliest first.
type delayHeap []*delay

func (h delayHeap) Len() int           { return len(h) }
func (h delayHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h delayHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].position, h[j].position = i, j
}
func (h *delayHeap) Push(x any) {
	d := x.(*delay)
	d.position = len(*h)
	*h = append(*h, d)
}
func (h *delayHeap) Pop() any {
	last := len(*h) - 1
	d := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return d
}
