package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/oprc/oprc-pm/internal/wait"
)

// Load says how hard and how long one turn works. The loop is closed: a client
// sends its next operation when it has the answer to the last.
type Load struct {
	Clients  int
	Warmup   time.Duration
	Duration time.Duration
}

// Validate returns what is wrong with l.
func (l Load) Validate() error {
	switch {
	case l.Clients < 1 || l.Clients > maxClients:
		return fmt.Errorf("number of clients is %d, must be 1 to %d", l.Clients, maxClients)
	case l.Warmup < 0:
		return fmt.Errorf("warm-up is %s, must not be negative", l.Warmup)
	case l.Duration <= 0:
		return fmt.Errorf("duration is %s, must be positive", l.Duration)
	}
	return nil
}

const (
	// maxClients bounds the memory of the histograms (32 KiB each).
	maxClients = 10_000
	// maxSamples bounds the errors that a turn quotes.
	maxSamples = 3
	// errorPause keeps a client from spinning on a server that refuses.
	errorPause = 10 * time.Millisecond
)

// turnResult is what one turn gave.
type turnResult struct {
	latency Histogram
	// elapsed is the time from the end of the warm-up to the last answer.
	elapsed time.Duration
	tally   tally
}

// tally counts what went wrong in a whole turn, the warm-up included.
type tally struct {
	errors, wrong uint64
	samples       []string
}

func (t *tally) add(err error) {
	var wrong *WrongAnswerError
	if errors.As(err, &wrong) {
		t.wrong++
	} else {
		t.errors++
	}
	t.sample(err.Error())
}

func (t *tally) sample(text string) {
	for _, known := range t.samples {
		if known == text {
			return
		}
	}
	if len(t.samples) < maxSamples {
		t.samples = append(t.samples, text)
	}
}

func (t *tally) merge(other *tally) {
	t.errors += other.errors
	t.wrong += other.wrong
	for _, text := range other.samples {
		t.sample(text)
	}
}

// runTurn puts l on s. atStart and atEnd are called at the ends of the measured
// time. An operation belongs to it when it began in it, and is waited for
// however long it takes: what is slow at the end counts like any other. A client
// that had no turn in all that time, on a machine that is busy otherwise, has one
// more, so that each contributes.
func runTurn(ctx context.Context, s *Subject, l Load, atStart, atEnd func()) (*turnResult, error) {
	begin := time.Now().Add(l.Warmup)
	workers := make([]*worker, l.Clients)
	for i := range workers {
		workers[i] = &worker{session: s.Open(i), begin: begin, end: begin.Add(l.Duration), last: begin}
	}
	var group sync.WaitGroup
	for _, w := range workers {
		group.Go(func() { w.run(ctx) })
	}
	if pause(ctx, time.Until(begin)) == nil {
		atStart()
	}
	group.Wait()
	atEnd()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	result := new(turnResult)
	last := begin
	for _, w := range workers {
		result.latency.Merge(&w.latency)
		result.tally.merge(&w.tally)
		if w.last.After(last) {
			last = w.last
		}
	}
	result.elapsed = last.Sub(begin)
	return result, nil
}

// worker is one client of one turn.
type worker struct {
	session    Session
	begin, end time.Time
	// tried is set once an operation began after the warm-up; last is when the
	// last counted answer came.
	tried   bool
	last    time.Time
	latency Histogram
	tally   tally
}

func (w *worker) run(ctx context.Context) {
	defer w.session.Close()
	for ctx.Err() == nil {
		began := time.Now()
		if w.tried && !began.Before(w.end) {
			return
		}
		counts := !began.Before(w.begin)
		w.tried = w.tried || counts
		if err := w.session.Do(ctx, began); err != nil {
			if ctx.Err() != nil {
				return
			}
			w.tally.add(err)
			if pause(ctx, errorPause) != nil {
				return
			}
			continue
		}
		if counts {
			w.last = time.Now()
			w.latency.Record(w.last.Sub(began))
		}
	}
}

// pause waits for d, or fails with what ended ctx.
func pause(ctx context.Context, d time.Duration) error {
	if !wait.For(ctx, d) {
		return context.Cause(ctx)
	}
	return nil
}
