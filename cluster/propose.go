package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	"golang.org/x/sync/semaphore"

	"github.com/oprc/oprc-pm/fsm"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// entriesInFlight is how many log entries the proposer has under way; the next
// one is packed meanwhile, so packs grow with the load.
const entriesInFlight = 64

// errBusy says that the bounded queue of writes is full.
var errBusy = errors.New("too many writes are waiting")

// raftApplier is the one method of raft.Raft that the proposer needs.
type raftApplier interface {
	Apply(cmd []byte, timeout time.Duration) raft.ApplyFuture
}

// proposer packs encoded proposals into log entries on the leader.
//
// Two goroutines: one packs and hands to Raft, one waits for the entries in
// order and distributes their results.
type proposer struct {
	raft        raftApplier
	maxBytes    int
	maxCommands int
	timeout     time.Duration // for the library to take an entry
	metrics     *nodeMetrics
	logger      *slog.Logger

	queue   chan *proposal
	bytes   *semaphore.Weighted // of everything queued or in flight
	flight  chan flight
	stopped chan struct{}
	pending atomic.Int64
	wg      sync.WaitGroup

	// gate is held for reading while something is put into queue: once stop has
	// had it for writing, the queue only shrinks.
	gate sync.RWMutex
	// held is held for reading while an entry is handed to Raft; flying counts the
	// entries that are not decided.
	held   sync.RWMutex
	flying sync.WaitGroup
}

// proposal is one encoded command on its way.
type proposal struct {
	data []byte
	// key of the document it changes; "" when it may touch anything, and then it
	// gets an entry for itself. Two changes of one document never share an entry:
	// its resource version is the index of the entry.
	key string
	// done is called once. It must not block.
	done func(storage.Result, error)
}

// flight is one entry handed to Raft.
type flight struct {
	future raft.ApplyFuture
	pack   []*proposal
}

func newProposer(r raftApplier, cfg Config, m *nodeMetrics, logger *slog.Logger) *proposer {
	return &proposer{
		raft: r, maxBytes: cfg.MaxEntryBytes, maxCommands: cfg.MaxEntryCommands, timeout: cfg.IOTimeout,
		metrics: m, logger: logger,
		queue:   make(chan *proposal, cfg.WriteQueue),
		bytes:   semaphore.NewWeighted(cfg.WriteQueueBytes),
		flight:  make(chan flight, entriesInFlight),
		stopped: make(chan struct{}),
	}
}

func (p *proposer) start() {
	p.wg.Go(p.runPack)
	p.wg.Go(p.runCollect)
}

// stop refuses what is new, fails what waits, and returns when what is in
// flight is decided, or with ctx's error. It must come before Raft is shut down:
// the library may forget the futures of a node that it shuts down.
func (p *proposer) stop(ctx context.Context) error {
	close(p.stopped)
	p.awaitPutters()
	done := make(chan struct{})
	go func() { // ends with the goroutines that it waits for
		p.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for writes in flight: %w", ctx.Err())
	}
}

// awaitPutters waits out those who are putting something into the queue: they
// passed the check in put before stopped closed.
func (p *proposer) awaitPutters() {
	p.gate.Lock()
	defer p.gate.Unlock()
}

func (p *proposer) waiting() int { return int(p.pending.Load()) }

// newProposal checks data, an encoded proposal from this or another node, and
// finds the key that it changes. What cannot be decoded must never get into the
// log, where it would stop every node.
func newProposal(data []byte, maxBytes int, done func(storage.Result, error)) (*proposal, error) {
	if len(data) > maxBytes {
		return nil, model.Errorf(model.CodeTooLarge, "the change has %d bytes, the limit is %d", len(data), maxBytes)
	}
	if _, err := fsm.DecodeProposal(data); err != nil {
		return nil, remoteErrorf(remoteInvalid, "undecodable proposal: %v", err)
	}
	return &proposal{data: data, key: fsm.PeekKey(data), done: done}, nil
}

// propose queues pr. An error means that it was not taken and done will not be
// called. With wait it waits for room until ctx ends, else it fails with
// errBusy at once.
func (p *proposer) propose(ctx context.Context, pr *proposal, wait bool) error {
	size := int64(len(pr.data))
	if !p.bytes.TryAcquire(size) {
		if !wait {
			p.metrics.rejectedBusy.Inc()
			return notProposed(errBusy)
		}
		if err := p.bytes.Acquire(ctx, size); err != nil {
			return notProposed(fmt.Errorf("%w: %w", errBusy, err))
		}
	}
	done := pr.done
	pr.done = func(r storage.Result, err error) {
		p.bytes.Release(size)
		p.pending.Add(-1)
		done(r, err)
	}
	p.pending.Add(1)
	if err := p.put(ctx, pr, wait); err != nil {
		p.bytes.Release(size)
		p.pending.Add(-1)
		return err
	}
	p.metrics.proposals.Inc()
	return nil
}

func (p *proposer) put(ctx context.Context, pr *proposal, wait bool) error {
	p.gate.RLock()
	defer p.gate.RUnlock()
	select {
	case <-p.stopped:
		return notProposed(ErrClosed)
	default:
	}
	select {
	case p.queue <- pr:
		return nil
	default:
	}
	if !wait {
		p.metrics.rejectedBusy.Inc()
		return notProposed(errBusy)
	}
	select {
	case p.queue <- pr:
		return nil
	case <-p.stopped:
		return notProposed(ErrClosed)
	case <-ctx.Done():
		return notProposed(fmt.Errorf("%w: %w", errBusy, ctx.Err()))
	}
}

// runPack makes entries of what waits, in order.
func (p *proposer) runPack() {
	defer close(p.flight)
	var next *proposal
	for {
		if next == nil {
			select {
			case next = <-p.queue:
			case <-p.stopped:
				p.drain(nil)
				return
			}
		}
		select {
		case <-p.stopped:
			p.drain(next)
			return
		default:
		}
		var pack []*proposal
		pack, next = p.pack(next)
		p.hand(pack)
	}
}

// pack collects proposals that can share an entry, beginning with first, until
// the queue is empty, the entry is full, or one does not fit; that one is
// returned as the beginning of the next entry, so the order is kept.
func (p *proposer) pack(first *proposal) (pack []*proposal, next *proposal) {
	pack = append(make([]*proposal, 0, 8), first)
	if first.key == "" {
		return pack, nil
	}
	size := len(first.data)
	var keys map[string]struct{}
	for len(pack) < p.maxCommands {
		select {
		case next = <-p.queue:
		default:
			return pack, nil
		}
		if keys == nil {
			keys = map[string]struct{}{first.key: {}}
		}
		_, taken := keys[next.key]
		if next.key == "" || taken || size+len(next.data) > p.maxBytes {
			return pack, next
		}
		keys[next.key] = struct{}{}
		size += len(next.data)
		pack = append(pack, next)
	}
	return pack, nil
}

func (p *proposer) hand(pack []*proposal) {
	encoded := make([][]byte, len(pack))
	for i, pr := range pack {
		encoded[i] = pr.data
	}
	data := fsm.PackEntry(encoded)
	p.metrics.entryCommands.Update(float64(len(pack)))
	p.metrics.entryBytes.Update(float64(len(data)))
	p.held.RLock()
	defer p.held.RUnlock()
	p.flying.Add(1)
	p.flight <- flight{future: p.raft.Apply(data, p.timeout), pack: pack}
}

// hold keeps entries from being handed to Raft until release, and returns when all
// that were are decided.
func (p *proposer) hold(ctx context.Context) (release func(), err error) {
	held := make(chan struct{})
	var once sync.Once
	release = func() { once.Do(p.held.Unlock) }
	go func() { // ends with the entries that it waits for
		p.held.Lock()
		p.flying.Wait()
		close(held)
	}()
	select {
	case <-held:
		return release, nil
	case <-ctx.Done():
		go func() {
			<-held
			release()
		}()
		return nil, ctx.Err()
	}
}

// drain fails everything that was not handed to Raft.
func (p *proposer) drain(next *proposal) {
	p.awaitPutters()
	err := notProposed(ErrClosed)
	if next != nil {
		next.done(storage.Result{}, err)
	}
	for {
		select {
		case pr := <-p.queue:
			pr.done(storage.Result{}, err)
		default:
			return
		}
	}
}

// runCollect distributes results by position.
func (p *proposer) runCollect() {
	for f := range p.flight {
		results, err := p.await(f)
		p.flying.Done()
		for i, pr := range f.pack {
			if err != nil {
				pr.done(storage.Result{}, err)
				continue
			}
			pr.done(results[i], nil)
		}
	}
}

func (p *proposer) await(f flight) ([]storage.Result, error) {
	if err := f.future.Error(); err != nil {
		return nil, classify(err)
	}
	switch response := f.future.Response().(type) {
	case []storage.Result:
		if len(response) == len(f.pack) {
			return response, nil
		}
		return nil, maybeProposed(fmt.Errorf("%d results for %d commands", len(response), len(f.pack)))
	case error:
		return nil, maybeProposed(response)
	default:
		return nil, maybeProposed(fmt.Errorf("unexpected response %T", response))
	}
}
